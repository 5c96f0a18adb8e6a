/**
 * The playground in a real headless Chromium, as a visitor uses it: a FASTA file is dropped, a plan learned, a model
 * finetuned, the page reloaded in the middle, and what is downloaded is read by the command line.
 */
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, extname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import axe from 'axe-core';
import { unzipSync } from 'fflate';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { launchChromium } from '../../../bench/browser/chromium.ts';
import { createWasmBackend, setBackend } from '../../../engine/index.ts';
import { loadModel } from '../../../models/node/checkpoint.ts';
import { readSafetensors } from '../../../models/node/safetensors.ts';
import { score } from '../../../models/score.ts';
import { root } from '../../../s2t2/app/site/bundle.ts';
import { serve, type File, type Site } from '../../../s2t2/app/site/serve.ts';
import { readCorpus } from '../../../s2t2/app/corpus.ts';
import { cutAll, toSequences } from '../../../s2t2/app/prepare.ts';
import type { Results } from '../../../s2t2/cell.ts';
import { metrics } from '../../../s2t2/evaluate.ts';
import { parsePlan } from '../../../s2t2/plan-format.ts';
import { temporaryDirectory } from '../../models/temporary.ts';
import { below, done, drop, lastRow, learn, missing, open as openPage, proteins, visit } from './browser.ts';

describe.skipIf(missing)('the playground in Chromium', { timeout: 300_000 }, () => {
  const directory = temporaryDirectory();
  let site: Site;
  let browser: Browser;
  let page: Page;
  let complaints: string[];

  beforeAll(async () => {
    // The site as it is written for any web server; served without the headers of isolation, and not at the root.
    const built = join(directory, 'site');
    await promisify(execFile)(process.execPath, [join(root, 'dist/s2t2/app/site/main.js'), '--build', built]);
    site = await serve(below(await filesOf(built)), { isolated: false });
    browser = await launchChromium();
    ({ page, complaints } = await visit(browser, site.url, { acceptDownloads: true }));
  }, 120_000);

  afterEach(() => expect(complaints).toEqual([]));

  afterAll(async () => {
    await browser?.close();
    await site?.close();
  });

  const settings = 'vocabulary=64&tokens=1500&methods=s2t2&plain=true';
  const open = (threads: number) => openPage(page, `${site.url}below/`, `${settings}&threads=${threads}`);

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
    await drop(page, 'mine.fasta', await proteins());
    await page.getByText('180 texts to learn from').waitFor();
    await page.getByText('20 held out').waitFor();
    await page.waitForFunction(() => document.querySelectorAll('.sample .token').length > 60);
    await learn(page);
    const figures = await lastRow(page);
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
    const here = metrics(await score(model, sequences));
    // Chromium's exp and Node's may differ in the last bit.
    expect(Math.abs(here.perplexity / after.perplexity - 1)).toBeLessThanOrEqual(2 ** -51);
    expect({ ...here, perplexity: 0 }).toEqual({ ...after, perplexity: 0 });
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
    await drop(page, 'mine.fasta', await proteins());
    await page.getByText('180 texts to learn from').waitFor();
    await pauseWhen('s2t2: finetuning');
    await page.getByRole('button', { name: 'Learn and compare' }).click();
    await page.locator('.progress [role=status]').filter({ hasText: 'Paused.' }).waitFor();
    await page.reload();
    await page.getByRole('button', { name: 'Resume the run' }).click();
    await done(page);
    // The seconds differ.
    expect((await lastRow(page)).slice(0, -1)).toEqual(figures.slice(0, -1));
  });

  test('a finished run answers questions, fits a phone, and has no barrier that axe knows', async () => {
    await undisturbed();
    if (!(await page.getByText('Done.', { exact: true }).isVisible())) {
      await open(1);
      await drop(page, 'mine.fasta', await proteins());
      await page.getByText('180 texts to learn from').waitFor();
      await learn(page);
    }
    await page.getByRole('button', { name: 'Generate', exact: true }).click();
    await page.locator('.spoken .tokens').waitFor();
    await page.getByRole('button', { name: 'Score it both ways' }).click();
    await expect.poll(() => page.locator('#play ~ .sample .token').count()).toBeGreaterThan(60);
    await page.getByRole('combobox', { name: 'Target token' }).fill('L');
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.getByText('source tokens. Together the').waitFor();
    expect(await page.locator('.plan-room canvas').count()).toBe(1);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
    // In the dark: in the light the colours are the report's, whose contrast has a test.
    await page.emulateMedia({ colorScheme: 'dark' });
    expect(await violations()).toEqual([]);
    await page.emulateMedia({ colorScheme: 'light' });
  });

  const letters = (n: number) =>
    Array.from({ length: n }, (_, i) => 'ACDEFGHIKLMNPQRSTVWY'[(i * i + 7 * i) % 20]).join('');
  const bad: readonly (readonly [name: string, content: string | Uint8Array])[] = [
    ['bad.fasta', '>a\nMKV\n>b\nMK1\n'],
    ['empty.txt', ''],
    ['reads.fastq', '@r1\nACGT\n+\nIIII\n'],
    ['pack.zip', Uint8Array.from([0x50, 0x4b, 3, 4, 20, 0, 0, 0])],
    ['pack.xz', Uint8Array.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 4])],
    ['page.pdf', '%PDF-1.4\n'],
    ['table.csv', 'a,b\n1,2\n3,4\n'],
    ['binary.txt', Uint8Array.from({ length: 4096 }, (_, i) => (i * 151 + (i >> 3)) % 256)],
    ['broken.jsonl', '{"text": "a"}\n{"text": \n'],
    ['half.fasta.gz', gzipSync(`>a\n${letters(5000)}\n`).subarray(0, -20)],
  ];

  test('a bad file gives the command line’s one line beside the drop zone, and the page keeps working', async () => {
    await open(1);
    for (const [name, content] of bad) {
      const path = join(directory, name);
      await writeFile(path, content);
      const error = await readCorpus(path).then(
        () => null,
        (e: Error) => e.message,
      );
      expect(error, name).not.toBeNull();
      // A page has no flags, and its gunzip does not say what is damaged.
      const line = error!
        .replaceAll(`${directory}/`, '')
        .replace(/, or force a format .*/, '')
        .replace(/(damaged gzip) \(.*?\)/, '$1');
      await drop(page, name, content);
      await expect
        .poll(() => page.locator('section:has(#domain) [role=alert]').textContent(), { message: name })
        .toBe(line);
    }
    await drop(page, 'few.txt', 'one text');
    await page.getByRole('alert').filter({ hasText: 'few.txt: 1 text is too few' }).waitFor();
  });

  test('the page reads only what it uses of a huge file, and says so', async () => {
    await open(1);
    const data = await page.evaluateHandle(() => {
      const transfer = new DataTransfer();
      const block = new Blob(Array.from({ length: 10_000 }, (_, i) => `text ${i} of this file has a few words\n\n`));
      transfer.items.add(new File(new Array(1000).fill(block), 'huge.txt')); // 400 MB, which share one block
      return transfer;
    });
    await page.dispatchEvent('.drop', 'drop', { dataTransfer: data });
    await page.getByText('huge.txt holds more text than is used').waitFor();
  });
});

/** A function's result, computed at the first call. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

/** A built site's files, by path. */
async function filesOf(built: string): Promise<Record<string, File>> {
  const types: Readonly<Record<string, string>> = { '.html': 'text/html', '.js': 'text/javascript' };
  const names = (await readdir(built, { recursive: true, withFileTypes: true })).filter(entry => entry.isFile());
  const entries = names.map(async ({ parentPath, name }) => {
    const path = join(parentPath, name);
    const type = types[extname(name)] ?? 'application/octet-stream';
    return [`/${relative(built, path)}`, { type, body: await readFile(path) }] as const;
  });
  const files: Record<string, File> = Object.fromEntries(await Promise.all(entries));
  return { ...files, '/': files['/index.html'] };
}
