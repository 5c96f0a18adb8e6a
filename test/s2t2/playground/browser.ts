/** What the playground's tests share: a visit in Chromium, files and directories dropped, a run waited for. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { chromiumPath } from '../../../bench/browser/chromium.ts';
import { root } from '../../../s2t2/app/site/bundle.ts';
import type { File } from '../../../s2t2/app/site/serve.ts';

export const missing = chromiumPath() === null;
if (missing) console.warn('SKIPPED: no chromium on the PATH, so the playground was opened in none');

/** A page of its own, and what was wrong with it: errors, and requests to anywhere but `url`. */
export interface Visit {
  readonly context: BrowserContext;
  readonly page: Page;
  readonly complaints: string[];
}

export async function visit(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Visit> {
  const context = await browser.newContext({ viewport: { width: 390, height: 844 }, ...options });
  context.setDefaultTimeout(300_000); // a busy machine is slow, and a test has a limit of its own
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', error => complaints.push(error.message));
  page.on('console', message => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  context.on('request', request => {
    if (!request.url().startsWith(url) && !/^(blob|data):/.test(request.url())) complaints.push(request.url());
  });
  return { context, page, complaints };
}

/** The site's files, one directory down. */
export const below = (files: Readonly<Record<string, File>>): Record<string, File> =>
  Object.fromEntries(Object.entries(files).map(([path, file]) => [`/below${path}`, file]));

/** Opens the page with the settings of a link, and waits until it is ready. */
export async function open(page: Page, url: string, settings: string): Promise<void> {
  // A change of the fragment alone loads nothing.
  await page.goto('about:blank');
  await page.goto(`${url}#${settings}`);
  await ready(page);
}

export async function ready(page: Page): Promise<void> {
  await page.waitForFunction(() => document.querySelector('#backend')?.textContent?.includes('passed its check'));
  await page.getByText('Source model: the bundled English model').waitFor();
}

/** Drops a file on the zone for texts. */
export async function drop(page: Page, name: string, content: string | Uint8Array): Promise<void> {
  const bytes = Buffer.from(content).toString('latin1');
  const data = await page.evaluateHandle(
    ([fileName, latin1]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(latin1, c => c.charCodeAt(0))], fileName));
      return transfer;
    },
    [name, bytes],
  );
  await page.dispatchEvent('.drop', 'drop', { dataTransfer: data });
  await data.dispose(); // it would keep the file alive
}

/** Drags a directory of this machine onto an element, as a person does. */
export async function dragDirectory(page: Page, selector: string, path: string): Promise<void> {
  const target = page.locator(selector);
  await target.scrollIntoViewIfNeeded();
  const { x, y, width } = (await target.boundingBox())!;
  const cdp = await page.context().newCDPSession(page);
  const data = { items: [], files: [path], dragOperationsMask: 1 };
  for (const type of ['dragEnter', 'dragOver', 'drop'] as const)
    await cdp.send('Input.dispatchDragEvent', { type, x: x + width / 2, y: y + 10, data });
  await cdp.detach();
}

/** Learns and compares, to the end. */
export async function learn(page: Page): Promise<void> {
  await page.getByRole('button', { name: /Learn and compare|Start again/ }).click();
  await done(page);
}

export const done = async (page: Page): Promise<void> => {
  await page.waitForFunction(() => document.querySelector('.progress p')?.textContent === 'Done.');
};

/** The last row of the table, without its name. */
export const lastRow = (page: Page): Promise<string[]> =>
  page.locator('#live-table ~ .scroll tbody tr').last().locator('td').allTextContents();

/** 200 proteins of at most 60 residues. */
export async function proteins(): Promise<string> {
  const fasta = gunzipSync(await readFile(join(root, 's2t2/data/proteins.test.fasta.gz'))).toString();
  const records = fasta.split('>').slice(1, 201);
  return records
    .map(record => {
      const [name, ...lines] = record.split('\n');
      return `>${name}\n${lines.join('').slice(0, 60)}\n`;
    })
    .join('');
}
