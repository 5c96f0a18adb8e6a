/**
 * The report in a real headless Chromium, opened as a file: at both widths and in both colour schemes, by pointer and
 * by keys.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chromiumPath, launchChromium } from '../../../bench/browser/chromium.ts';
import { Random } from '../../../engine/index.ts';
import { trainBPE } from '../../../models/tokenizer/index.ts';
import { compress, type Plan } from '../../../s2t2/plan.ts';
import type { ReportData } from '../../../s2t2/view/data.ts';
import { visible } from '../../../models/printable.ts';
import { renderReport } from '../../../s2t2/app/report/page.ts';
import { temporaryDirectory } from '../../models/temporary.ts';
import { exampleReport, hostile, tokenizerOf } from './report-example.ts';

/** As a run makes it, with 60 target and 280 source tokens and a plan of noise, a tenth of it kept. */
function ordinary(): ReportData {
  const random = new Random(3);
  const source = trainBPE(
    [
      'The report of a run is one file, with the table, the curves, the plan and the tokens. '.repeat(9),
      'It makes no network requests. '.repeat(9),
    ],
    { vocabSize: 280, alphabet: 'bytes' },
  );
  const residues = Array.from({ length: 4000 }, () => 'ACDEFGHIKLMNPQRSTVWY'[Math.floor(20 * random.uniform())]).join(
    '',
  );
  const target = trainBPE([residues], { vocabSize: 60, alphabet: 'seen' });
  const [targetIds, sourceIds] = [target.ordinaryIds(), source.ordinaryIds()];
  const [u, v] = [targetIds.length, sourceIds.length];
  const dense = Float32Array.from({ length: u * v }, (_, e) =>
    Math.floor(e / v) === e % v || random.uniform() < 0.1 ? random.uniform() / (u * v) : 0,
  );
  const plan: Plan = {
    ...compress(dense, u, v),
    mu: new Float32Array(u).fill(1 / u),
    nu: new Float32Array(v).fill(1 / v),
    targetIds,
    sourceIds,
    specials: new Int32Array(),
    unseen: new Int32Array(),
    source: source.hash,
    target: target.hash,
    settings: { variant: 'dual', iterations: 3, alpha: 1, rowNormalisation: 'actual', headNormalisation: 'columns' },
    gap: 0,
  };
  const names = ['source', 'truncated', 'random', 'fvt', 'plain', 'dense', 's2t2', 's2t2 shuffled', 'scratch'];
  const curve = (k: number) =>
    Array.from({ length: 40 }, (_, i) => ({
      x: 500 * (i + 1),
      y: 4.2 + k / 20 + 4 / (i + 1),
      low: 4.1 + k / 20 + 4 / (i + 1),
      high: 4.3 + k / 20 + 4 / (i + 1),
    }));
  return {
    title: 'A run',
    lead: 'What was done, in a sentence or two that fill more than one line of a small screen.',
    facts: names.slice(0, 5).map((name, i) => [`A fact about ${name}`, String(1000 * i)]),
    tables: [
      {
        title: 'Bits per byte',
        note: 'Lower is better.',
        columns: [
          'method',
          'before',
          'after',
          'perplexity before',
          'perplexity after',
          'tokens/byte',
          'training tokens',
          'training bytes',
          'seconds',
        ],
        rows: names.map((name, i) => ({
          cells: [
            name,
            i === 8 ? '' : { mean: 5 + i / 9, low: 4.9 + i / 9, high: 5.2 + i / 9, digits: 3 },
            { mean: 4 + i / 99, low: 3.9, high: 4.3, digits: 3 },
            '12,345',
            '250.1',
            '0.545',
            '150,474',
            '274,859',
            '19',
          ],
          emphasis: name === 's2t2',
        })),
      },
    ],
    curves: ['tokens', 'bytes', 'seconds', 'alpha'].map(unit => ({
      section: unit === 'alpha' ? 'Ablations' : undefined,
      title: `By ${unit}`,
      x: { label: unit, log: unit === 'bytes' },
      y: { label: 'bits per byte' },
      series: names.map((name, k) => ({
        name,
        emphasis: name === 's2t2',
        points: unit === 'alpha' ? curve(k).slice(0, 5) : curve(k),
      })),
    })),
    plan: { plan, source, target },
    sample: { text: residues.slice(0, 300), source, target },
  };
}

const missing = chromiumPath() === null;
if (missing) console.warn('SKIPPED: no chromium on the PATH, so the report was looked at in none');

describe.skipIf(missing)('in Chromium', () => {
  const directory = temporaryDirectory();
  const data = ordinary();
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser?.close();
  });

  async function write(report: ReportData): Promise<string> {
    const file = join(directory, 'report.html');
    await writeFile(file, await renderReport(report));
    return file;
  }

  /** Opens a report; `complaints` are console messages, errors and requests other than for the file. */
  async function open(
    report: ReportData,
    { width = 1280, scheme = 'light' as 'light' | 'dark' } = {},
  ): Promise<{ page: Page; complaints: string[] }> {
    const url = pathToFileURL(await write(report)).href;
    const page = await browser.newPage({ viewport: { width, height: 844 }, colorScheme: scheme });
    page.setDefaultTimeout(0); // the limit is the test's: the machine may be busy
    const complaints: string[] = [];
    page.on('console', message => complaints.push(message.text()));
    page.on('pageerror', error => complaints.push(error.message));
    page.on('request', request => {
      if (request.url() !== url && request.url() !== 'data:,') complaints.push(request.url());
    });
    await page.addInitScript(() => {
      Object.assign(globalThis, { shifts: 0 });
      new PerformanceObserver(list => {
        for (const shift of list.getEntries())
          (globalThis as unknown as { shifts: number }).shifts += (shift as PerformanceEntry & { value: number }).value;
      }).observe({ type: 'layout-shift', buffered: true });
    });
    await page.goto(url);
    await page.evaluate(() => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve))));
    return { page, complaints };
  }

  /** Share of the canvas's pixels that are not clear. */
  const inked = (page: Page) =>
    page.evaluate(() => {
      const canvas = document.querySelector('canvas')!;
      const { data: pixels } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
      return pixels.filter((alpha, i) => i % 4 === 3 && alpha > 0).length / (pixels.length / 4);
    });
  const picture = (page: Page) => page.evaluate(() => document.querySelector('canvas')!.toDataURL());
  const cell = (page: Page) => page.locator('.detail .cell').textContent();

  test.each([
    [390, 'light'],
    [390, 'dark'],
    [1280, 'light'],
    [1280, 'dark'],
  ] as const)('%i pixels wide, %s: no complaint, no sideways scrolling, no shift of layout', async (width, scheme) => {
    const { page, complaints } = await open(data, { width, scheme });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
    // Only what is meant to scroll sideways is wider than the page.
    const wide = await page.evaluate(() =>
      [...document.querySelectorAll('main *, header *')]
        .filter(
          e =>
            !e.closest('.scroll') &&
            !e.closest('svg') &&
            !e.closest('.unseen') &&
            e.getBoundingClientRect().right > innerWidth + 0.5,
        )
        .map(e => e.outerHTML.slice(0, 80)),
    );
    expect(wide).toEqual([]);
    const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    expect(background).toBe(scheme === 'light' ? 'rgb(252, 252, 250)' : 'rgb(20, 23, 26)');
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    expect(await inked(page)).toBeGreaterThan(0.03);
    expect(await page.evaluate(() => (globalThis as unknown as { shifts: number }).shifts)).toBe(0);
    expect(complaints).toEqual([]);
    await page.close();
  });

  test('nothing is painted before all of it has been read', async () => {
    const text = await readFile(await write(data), 'utf8');
    const page = await browser.newPage();
    for (const share of [0.1, 0.5, 1]) {
      const end = Math.floor(share * text.indexOf('</main>'));
      await page.setContent(text.slice(0, end));
      expect(await page.evaluate(() => getComputedStyle(document.body).visibility)).toBe('hidden');
    }
    await page.setContent(text);
    expect(await page.evaluate(() => getComputedStyle(document.body).visibility)).toBe('visible');
    await page.close();
  });

  test('texts that look like markup stay texts', async () => {
    const plan = {
      ...data.plan!.plan,
      targetIds: Int32Array.of(0, 1),
      sourceIds: Int32Array.from({ length: 12 }, (_, i) => i),
      ...compress(new Float32Array(24).fill(1 / 24), 2, 12),
      mu: new Float32Array(2).fill(0.5),
      nu: new Float32Array(12).fill(1 / 12),
    };
    const plain = await open(
      exampleReport(
        hostile.map(() => 'plain'),
        plan,
        256,
      ),
    );
    const { page, complaints } = await open(exampleReport(hostile, plan, 256));
    const shape = (p: Page) =>
      p.evaluate(() =>
        [...document.querySelectorAll('*')]
          .map(e => `${e.tagName} ${e.getAttributeNames().sort().join(' ')}`)
          .join('\n'),
      );
    expect(await shape(page)).toBe(await shape(plain.page));
    expect(await page.evaluate(() => 'broken' in globalThis)).toBe(false);
    expect(await page.title()).toBe(hostile[0]);
    expect(complaints).toEqual([]);
    // In the options of a list, too, which the script fills.
    const target = tokenizerOf(hostile.toReversed(), 256);
    expect(
      await page.evaluate(() =>
        [...document.querySelectorAll('datalist option')].map(o => (o as HTMLOptionElement).value),
      ),
    ).toEqual([0, 1].map(id => visible(target.token(id))));
    await Promise.all([plain.page.close(), page.close()]);
  });

  test('the picture names rows, columns and P(source | target), by keys and by pointer', async () => {
    const { page, complaints } = await open(data);
    const { plan, source, target } = data.plan!;
    const percentage = (row: number, entry: number) => {
      const values = plan.values.slice(plan.pointers[row], plan.pointers[row + 1]);
      return (100 * plan.values[entry]) / values.reduce((a, b) => a + b, 0);
    };
    /** What the page says of a cell, checked against the plan. */
    const check = async () => {
      const [, from, to, p] = (await cell(page))!.match(/^P\((.*) \| (.*)\) = ([\d.]+)%?$/)!;
      const row = plan.targetIds.findIndex(id => visible(target.token(id)) === to);
      let entry = -1;
      for (let e = plan.pointers[row]; e < plan.pointers[row + 1]; e++)
        if (visible(source.token(plan.sourceIds[plan.columns[e]])) === from) entry = e;
      if (entry < 0) expect(p).toBe('0');
      else expect(Math.abs(Number(p) - percentage(row, entry))).toBeLessThan(0.01);
      return { row, column: entry < 0 ? -1 : plan.columns[entry], from, to };
    };
    await page.selectOption('[data-order]', 'id');
    await page.focus('canvas');
    await page.keyboard.press('Home');
    expect((await check()).row).toBe(0);
    await page.keyboard.press('ArrowDown');
    expect((await check()).row).toBe(1);
    const before = (await check()).column;
    await page.keyboard.press('ArrowRight');
    const after = (await check()).column;
    const row = plan.columns.slice(plan.pointers[1], plan.pointers[2]);
    expect(after).toBe(row[row.indexOf(before) + 1] ?? before);

    // Sorted by support, rows go from the smallest to the largest; the named cell stays named.
    await page.selectOption('[data-order]', 'support');
    expect((await check()).row).toBe(1);
    await page.focus('canvas');
    await page.keyboard.press('Home');
    const supports = Array.from(plan.mu, (_, i) => plan.pointers[i + 1] - plan.pointers[i]);
    expect(supports[(await check()).row]).toBe(Math.min(...supports));

    // Zooming in by buttons makes cells larger; Fit shows the whole plan again.
    await page.keyboard.press('0');
    const whole = await picture(page);
    for (let i = 0; i < 8; i++) await page.click('[data-action=in]');
    await page.waitForFunction(old => document.querySelector('canvas')!.toDataURL() !== old, whole);
    await page.locator('canvas').scrollIntoViewIfNeeded();
    const box = (await page.locator('canvas').boundingBox())!;
    // Moves reach the page with its next frame.
    const frame = () =>
      page.evaluate(
        () =>
          new Promise(done => {
            requestAnimationFrame(() => requestAnimationFrame(done));
          }),
      );
    await page.mouse.move(box.x + 300, box.y + 200);
    await frame();
    const under = await check();
    await page.mouse.move(box.x + 300 + 60, box.y + 200 + 60);
    await frame();
    expect((await check()).row).not.toBe(under.row);
    // A drag takes the cell along.
    await page.mouse.move(box.x + 400, box.y + 300);
    await page.mouse.down();
    const held = await check();
    await page.mouse.move(box.x + 360, box.y + 260, { steps: 4 });
    await page.mouse.up();
    await page.mouse.move(box.x + 361, box.y + 261);
    expect(await check()).toEqual(held);
    await page.click('[data-action=fit]');

    await page.fill('[data-find]', visible(target.token(plan.targetIds[9])));
    expect((await check()).row).toBe(9);
    expect(complaints).toEqual([]);
    await page.close();
  });

  test('the wheel zooms a picture that was clicked, and scrolls the page before', async () => {
    const { page } = await open(data);
    await page.locator('canvas').scrollIntoViewIfNeeded();
    const box = async () => (await page.locator('canvas').boundingBox())!;
    const start = await box();
    await page.mouse.move(start.x + 300, start.y + 200);
    await page.mouse.wheel(0, -120);
    await expect.poll(async () => (await box()).y).toBeGreaterThan(start.y);
    const now = await box();
    await page.mouse.click(now.x + 300, now.y + 200);
    const before = await picture(page);
    await page.mouse.wheel(0, -240);
    await expect.poll(() => picture(page)).not.toBe(before);
    expect((await box()).y).toBe(now.y);
    await page.close();
  });

  test('two fingers zoom the picture and do not scroll the page', async () => {
    const context = await browser.newContext({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
    context.setDefaultTimeout(0);
    const page = await context.newPage();
    await page.goto(pathToFileURL(await write(data)).href);
    await page.locator('canvas').scrollIntoViewIfNeeded();
    const box = (await page.locator('canvas').boundingBox())!;
    const devtools = await context.newCDPSession(page);
    const touch = (type: 'touchStart' | 'touchMove' | 'touchEnd', ...xs: number[]) =>
      devtools.send('Input.dispatchTouchEvent', {
        type,
        touchPoints: xs.map((x, id) => ({ id, x: box.x + x, y: box.y + 200 })),
      });
    const before = await picture(page);
    await touch('touchStart', 180, 220);
    for (let spread = 10; spread <= 80; spread += 10) await touch('touchMove', 180 - spread, 220 + spread);
    await touch('touchEnd');
    await expect.poll(() => picture(page)).not.toBe(before);
    expect((await page.locator('canvas').boundingBox())!).toEqual(box);
    expect(await page.evaluate(() => getComputedStyle(document.querySelector('canvas')!).touchAction)).toBe('none');
    // Back again, and a finger scrolls the page.
    await page.tap('[data-action=fit]');
    expect(await page.evaluate(() => getComputedStyle(document.querySelector('canvas')!).touchAction)).toBe('pan-y');
    await context.close();
  });

  test('curves: the legend hides a series in all plots of its section; the readout lists all values', async () => {
    const { page } = await open(data);
    const hidden = () => page.locator('.plots .series.off').count();
    expect(await hidden()).toBe(0);
    const button = page.getByRole('button', { name: 'fvt' }).first();
    await button.click();
    expect([await hidden(), await button.getAttribute('aria-pressed')]).toEqual([3, 'false']);
    const area = page.locator('[data-plot="0"] .area');
    await area.focus();
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    const rows = await page.locator('[data-plot="0"] .readout > span').allTextContents();
    const expected = data.curves[0].series
      .filter(s => s.name !== 'fvt')
      .map(s => [s.name, s.points[1].y] as const)
      .sort((a, b) => b[1] - a[1])
      .map(([name, y]) => `${name}${y.toFixed(3)}`);
    expect(rows).toEqual(expected);
    expect(await area.getAttribute('aria-label')).toContain('1,000 tokens');
    await button.click();
    expect(await hidden()).toBe(0);
    await page.close();
  });

  test('tables and plots are downloaded as CSV and SVG', async () => {
    const { page, complaints } = await open(data);
    const saved = async (label: string): Promise<string> => {
      const [download] = await Promise.all([
        page.waitForEvent('download'),
        page.getByRole('button', { name: label, exact: true }).click(),
      ]);
      return readFile((await download.path())!, 'utf8');
    };
    const table = (await saved('Download as CSV')).split('\r\n');
    expect(table[0]).toBe(
      'method,before,"before, low","before, high",after,"after, low","after, high",perplexity before,perplexity ' +
        'after,tokens/byte,training tokens,training bytes,seconds',
    );
    expect(table[2].split(',').slice(0, 4)).toEqual(['truncated', ...[5, 4.9, 5.2].map(x => String(x + 1 / 9))]);
    const points = (await saved('Download as CSV: By tokens')).split('\r\n');
    expect(points.slice(0, 2)).toEqual(['series,tokens,y', 'source,500,8.2']);
    const svg = await saved('Download as SVG: By tokens');
    // By itself it looks as it does in the page: an image of it has the colours of its lines.
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    expect(svg).toContain('stroke: rgb(21, 88, 176)');
    expect(complaints).toEqual([]);
    await page.close();
  });

  test('a text of one’s own is cut both ways as it is typed', async () => {
    const { page, complaints } = await open(data);
    const { source, target } = data.sample!;
    await page.getByLabel('The text').fill('ACDA');
    const shown = (side: number) => page.locator(`.sample > div:nth-child(${side}) .token`).allTextContents();
    for (const [side, tokenizer] of [source, target].entries())
      expect(await shown(side + 1)).toEqual(Array.from(tokenizer.encode('ACDA'), id => visible(tokenizer.token(id))));
    // The target's alphabet is what its text had: two bytes are unknown to it, and light up what the source has there.
    await page.getByLabel('The text').fill('ACéD');
    expect((await shown(2)).slice(-3)).toEqual(['<unk>', '<unk>', 'D']);
    await page.locator('.sample > div:nth-child(2) .token').last().hover();
    await expect.poll(() => page.locator('.sample > div:nth-child(1) .token.lit').allTextContents()).toEqual(['D']);
    expect(complaints).toEqual([]);
    await page.close();
  });

  test('a token of the sample lights up the tokens of the same bytes on the other side', async () => {
    const { page } = await open(data);
    const token = page.locator('.sample > div:nth-child(2) .token').nth(3);
    await token.hover();
    const [start, end] = [await token.getAttribute('data-start'), await token.getAttribute('data-end')].map(Number);
    const lit = () => page.locator('.sample > div:nth-child(1) .token.lit').allTextContents();
    await expect.poll(async () => (await lit()).join('')).toBe(data.sample!.text.slice(start, end));
    await page.close();
  });
});
