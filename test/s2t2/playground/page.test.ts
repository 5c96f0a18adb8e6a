/**
 * The playground in a real headless Chromium, as a visitor uses it: a FASTA file is dropped, a plan learned, a model
 * finetuned, the page reloaded in the middle, and what is downloaded is read by the command line.
 */
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import axe from 'axe-core';
import { unzipSync } from 'fflate';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { chromiumPath, launchChromium } from '../../../bench/browser/chromium.ts';
import { createWasmBackend, setBackend } from '../../../engine/index.ts';
import { loadModel } from '../../../models/node/checkpoint.ts';
import { readSafetensors } from '../../../models/node/safetensors.ts';
import { score } from '../../../models/score.ts';
import { root } from '../../../s2t2/app/site/bundle.ts';
import { playgroundFiles } from '../../../s2t2/app/site/playground.ts';
import { serve, type File, type Site } from '../../../s2t2/app/site/serve.ts';
import { readCorpus } from '../../../s2t2/app/corpus.ts';
import { cutAll, toSequences } from '../../../s2t2/app/prepare.ts';
import type { Results } from '../../../s2t2/cell.ts';
import { metrics } from '../../../s2t2/evaluate.ts';
import { parsePlan } from '../../../s2t2/plan-format.ts';
import { temporaryDirectory } from '../../models/temporary.ts';

const missing = chromiumPath() === null;
if (missing) console.warn('SKIPPED: no chromium on the PATH, so the playground was opened in none');

/** 200 proteins of at most 60 residues. */
async function proteins(): Promise<string> {
  const fasta = gunzipSync(await readFile(join(root, 's2t2/data/proteins.test.fasta.gz'))).toString();
  const records = fasta.split('>').slice(1, 201);
  return records
    .map(record => {
      const [name, ...lines] = record.split('\n');
      return `>${name}\n${lines.join('').slice(0, 60)}\n`;
    })
    .join('');
}

describe.skipIf(missing)('the playground in Chromium', { timeout: 120_000 }, () => {
  const directory = temporaryDirectory();
  let files: Record<string, File>;
  let site: Site;
  let browser: Browser;
  let page: Page;
  const complaints: string[] = [];

  beforeAll(async () => {
    files = await playgroundFiles();
    // As most web servers: without the headers of isolation, which the service worker adds; and not at the root.
    site = await serve(Object.fromEntries(Object.entries(files).map(([path, file]) => [`/below${path}`, file])), {
      isolated: false,
    });
    browser = await launchChromium();
    const context = await browser.newContext({ viewport: { width: 390, height: 844 }, acceptDownloads: true });
    page = await context.newPage();
    page.on('pageerror', error => complaints.push(error.message));
    page.on('console', message => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    context.on('request', request => {
      if (!request.url().startsWith(site.url) && !/^(blob|data):/.test(request.url())) complaints.push(request.url());
    });
  }, 120_000);

  afterEach(() => expect(complaints).toEqual([]));

  afterAll(async () => {
    await browser?.close();
    await site?.close();
  });

  const settings = 'vocabulary=64&tokens=4000&methods=s2t2&plain=true';
  const done = () => page.waitForFunction(() => document.querySelector('.progress p')?.textContent === 'Done.');
  const shown = () => page.locator('#live-table ~ .scroll tbody tr').last().locator('td').allTextContents();

  async function open(threads: number): Promise<void> {
    // A change of the fragment alone loads nothing.
    await page.goto('about:blank');
    await page.goto(`${site.url}below/#${settings}&threads=${threads}`);
    await page.waitForFunction(() => document.querySelector('#backend')?.textContent?.includes('passed its check'));
    await page.getByText('Source model: the bundled English model').waitFor();
  }

  async function drop(name: string, text: string): Promise<void> {
    const data = await page.evaluateHandle(
      ([fileName, content]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([content], fileName));
        return transfer;
      },
      [name, text],
    );
    await page.dispatchEvent('.drop', 'drop', { dataTransfer: data });
  }

  async function violations(): Promise<string[]> {
    await page.evaluate(axe.source);
    const results = await page.evaluate(() => (globalThis as unknown as { axe: typeof axe }).axe.run());
    return results.violations.map(v => `${v.id}: ${v.nodes.map(n => n.html.slice(0, 90)).join(' | ')}`);
  }

  /** Pauses the run in the page, as soon as its progress says so: from outside, a short stage can be over unseen. */
  const pauseWhen = (doing: string): Promise<void> =>
    page.evaluate(text => {
      const observer = new MutationObserver(() => {
        if (!document.querySelector('.progress [role=status]')?.textContent?.includes(text)) return;
        const button = [...document.querySelectorAll('button')].find(b => b.textContent === 'Pause');
        if (!button) return;
        observer.disconnect();
        button.click();
      });
      observer.observe(document.body, { subtree: true, childList: true, characterData: true });
    }, doing);

  /** A run that nothing disturbs, without threads; once, for the tests that need it. */
  const undisturbed = once(async () => {
    await open(1);
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
    expect(await page.locator('#backend').textContent()).toContain('one thread');
    await drop('mine.fasta', await proteins());
    await page.getByText('180 texts to learn from').waitFor();
    await page.getByText('20 held out').waitFor();
    await page.waitForFunction(() => document.querySelectorAll('.sample .token').length > 60);
    await page.getByRole('button', { name: 'Learn and compare' }).click();
    await done();
    const figures = await shown();
    expect(figures).toHaveLength(8);
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download', exact: true }).click(),
    ]);
    return { figures, archive: await readFile((await download.path())!) };
  });

  test('a dropped file becomes a model that the command line scores exactly as the page does', async () => {
    const { figures, archive } = await undisturbed();
    for (const [name, bytes] of Object.entries(unzipSync(archive))) {
      await mkdir(dirname(join(directory, name)), { recursive: true });
      await writeFile(join(directory, name), bytes);
    }
    const results = JSON.parse(await readFile(join(directory, 'results.json'), 'utf8')) as Results;
    const { after } = results.methods.find(row => row.name === 's2t2')!;
    expect(figures[1].startsWith(`${after.bitsPerByte.toFixed(3)} interval`)).toBe(true);
    setBackend(createWasmBackend({ relaxedSimd: false, threads: 1 }));
    const { model, tokenizer } = await loadModel(join(directory, 'model'));
    const texts = (await readCorpus(join(directory, 'held-out.jsonl'))).documents.map(d => d.text);
    const sequences = toSequences(cutAll(texts, 512), tokenizer, model.config.context);
    expect(metrics(await score(model, sequences))).toEqual(after);
    const plan = await parsePlan(await readSafetensors(join(directory, 'plan.safetensors')));
    expect(plan.target).toBe(tokenizer.hash);
    expect(await readFile(join(directory, 'report.html'), 'utf8')).toContain('id="translations"');
    const cli = join(root, 'dist/s2t2/app/cli.js');
    const data = ['--model', join(directory, 'model'), '--data', join(directory, 'held-out.jsonl')];
    const { stdout } = await promisify(execFile)(process.execPath, [cli, '--plain-simd', 'evaluate', ...data]);
    expect(stdout).toContain(after.bitsPerByte.toFixed(4));
  });

  test('threads and a reload in the middle of finetuning change no figure', async () => {
    const { figures } = await undisturbed();
    await open(2);
    expect(await page.locator('#backend').textContent()).toContain('2 threads over shared memory');
    await drop('mine.fasta', await proteins());
    await page.getByText('180 texts to learn from').waitFor();
    await pauseWhen('s2t2: finetuning');
    await page.getByRole('button', { name: 'Learn and compare' }).click();
    await page.locator('.progress [role=status]').filter({ hasText: 'Paused.' }).waitFor();
    await page.reload();
    await page.getByRole('button', { name: 'Resume the run' }).click();
    await done();
    // The seconds differ.
    expect((await shown()).slice(0, -1)).toEqual(figures.slice(0, -1));
  });

  test('a finished run answers questions, fits a phone, and has no barrier that axe knows', async () => {
    await undisturbed();
    if (!(await page.getByText('Done.', { exact: true }).isVisible())) {
      await open(1);
      await drop('mine.fasta', await proteins());
      await page.getByText('180 texts to learn from').waitFor();
      await page.getByRole('button', { name: 'Learn and compare' }).click();
      await done();
    }
    await page.getByRole('button', { name: 'Generate', exact: true }).click();
    await page.locator('.spoken .tokens').waitFor();
    await page.getByRole('button', { name: 'Score it both ways' }).click();
    await expect.poll(() => page.locator('#play ~ .sample .token').count()).toBeGreaterThan(60);
    await page.getByRole('combobox', { name: 'Target token' }).fill('L');
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.getByText('source tokens; the').waitFor();
    expect(await page.locator('.plan-room canvas').count()).toBe(1);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
    // In the dark: in the light the colours are the report's, whose contrast has a test.
    await page.emulateMedia({ colorScheme: 'dark' });
    expect(await violations()).toEqual([]);
    await page.emulateMedia({ colorScheme: 'light' });
  });

  test('a bad file is a line beside the drop zone, and the page goes on', async () => {
    await open(1);
    await drop('bad.fasta', '>a\nMKV\n>b\nMK1\n');
    await page.getByRole('alert').filter({ hasText: 'bad.fasta:4: unexpected "1" in a sequence' }).waitFor();
    await drop('empty.txt', '');
    await page.getByRole('alert').filter({ hasText: 'empty.txt: is empty' }).waitFor();
    await drop('few.txt', 'one text');
    await page.getByRole('alert').filter({ hasText: 'few.txt: 1 text is too few' }).waitFor();
  });
});

/** A function's result, computed at the first call. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}
