/**
 * The script of a report (view/live/report.ts and what it imports), as `npm run build` has bundled it: a report holds
 * it inside, so that it stays one file that makes no network requests.
 */
import { readFile } from 'node:fs/promises';
import type { ReportData } from '../../view/data.ts';
import { reportPage } from '../../view/report.ts';

/** `dist/report.js`, seen from this file and from its compiled form in `dist`. */
const places = ['../../../dist/report.js', '../../../report.js'].map(path => new URL(path, import.meta.url));

async function reportScript(): Promise<string> {
  for (const place of places) {
    const text = await readFile(place, 'utf8').catch(() => null);
    if (text !== null) return text;
  }
  throw new Error('the script of reports is missing; build it with npm run build');
}

/** A report as one HTML file. */
export const renderReport = async (data: ReportData): Promise<string> => reportPage(data, await reportScript());
