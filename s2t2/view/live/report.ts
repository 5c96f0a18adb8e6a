/** What runs in a report: takes the page's data and brings its curves, its picture and its tokens to life. */
import { unpackPicture } from '../picture.ts';
import type { ReportPayload } from '../report.ts';
import { mountCurves } from './curves.ts';
import { mountPicture } from './picture.ts';
import { mountSample } from './sample.ts';

const { plots, picture } = JSON.parse(document.getElementById('data')!.textContent!) as ReportPayload;
mountCurves(document.body, () => plots);
if (picture) mountPicture(document.querySelector<HTMLElement>('.picture')!, unpackPicture(picture));
for (const sample of document.querySelectorAll<HTMLElement>('.sample')) mountSample(sample);
