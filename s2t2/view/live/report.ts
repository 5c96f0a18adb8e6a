/** What runs in a report: takes the page's data and brings its curves, its picture and its tokens to life. */
import { parseTokenizerJson } from '../../../models/tokenizer/index.ts';
import { unpackPicture } from '../picture.ts';
import type { ReportPayload } from '../report.ts';
import { renderPair } from '../sample.ts';
import { mountCurves } from './curves.ts';
import { mountDownloads } from './downloads.ts';
import { mountPicture } from './picture.ts';
import { mountSample } from './sample.ts';

const payload = JSON.parse(document.getElementById('data')!.textContent!) as ReportPayload;
const { plots, tables, picture, tokenizers } = payload;
mountCurves(document.body, () => plots);
mountDownloads(document.body, () => ({ plots, tables }));
if (picture) mountPicture(document.querySelector<HTMLElement>('.picture')!, unpackPicture(picture));

/** The visitor's own text, cut both ways as it is typed. */
const pair = document.querySelector<HTMLElement>('.sample');
if (pair && tokenizers) {
  mountSample(pair);
  const box = document.querySelector<HTMLTextAreaElement>('[data-own]')!;
  const problem = document.querySelector<HTMLElement>('[data-own-problem]')!;
  const source = parseTokenizerJson(tokenizers.source, 'the source tokenizer');
  const target = parseTokenizerJson(tokenizers.target, 'the target tokenizer');
  box.addEventListener('input', () => {
    try {
      pair.innerHTML = renderPair(box.value, source, target).text;
      problem.textContent = '';
    } catch (error) {
      problem.textContent = (error as Error).message;
    }
  });
}
