/** The page of the benchmarks: the clock's own laws in Node, and the page in a real headless Chromium. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chromiumPath, launchChromium } from '../../bench/browser/chromium.ts';
import { pageFiles } from '../../bench/browser/files.ts';
import type { PageReport } from '../../bench/browser/page/main.ts';
import { measure, type Result } from '../../bench/browser/page/measure.ts';
import { serve, type Site } from '../../s2t2/app/site/serve.ts';
import { createWasmBackend, type Backend } from '../../engine/index.ts';

test('a wrong kernel is not timed, a correct one is', async () => {
  const right: Backend = createWasmBackend({ threads: 1 });
  const wrong: Backend = {
    ...right,
    reduce: (f, x, outer, n, inner) => right.reduce(f === 'sum' ? 'max' : f, x, outer, n, inner),
  };
  const results: Result[] = [];
  const candidates = (
    [
      ['wasm', right],
      ['webgpu', wrong],
    ] as const
  ).map(([name, backend]) => ({ name, backend, description: '' }));
  await measure(candidates, { filter: /^sum$/, onStart: () => {}, onResult: r => results.push(r) });
  expect(results.filter(r => r.backend === 'wasm').map(r => r.seconds! > 0)).toEqual([true, true]);
  for (const r of results.filter(x => x.backend === 'webgpu')) {
    expect(r.seconds).toBeUndefined();
    expect(r.note).toContain('sum on wasm gives');
  }
});

describe.skipIf(chromiumPath() === null)('in Chromium', () => {
  let site: Site;
  let browser: Browser;
  let page: Page;
  let posted: Promise<PageReport>;
  const output = async (id: string) => Number(await page.locator(`#${id}`).textContent());

  beforeAll(async () => {
    let arrived: (text: string) => void = () => {};
    posted = new Promise(resolve => {
      arrived = text => resolve(JSON.parse(text) as PageReport);
    });
    site = await serve(await pageFiles(), { onResults: arrived });
    browser = await launchChromium();
    page = await browser.newPage({ viewport: { width: 390, height: 800 } });
    page.setDefaultTimeout(0); // the limit is the test's: the machine may be busy
    page.on('pageerror', error => {
      throw error;
    });
    await page.goto(`${site.url}?filter=^sum$`);
  });

  afterAll(async () => {
    await browser?.close();
    await site?.close();
  });

  test('the example learns its curve, and learns again when the curve is bent', async () => {
    await page.waitForFunction('Number(document.getElementById("loss").textContent) < 0.01');
    await page.locator('#pause').click();
    const learned = await output('loss');
    await page.locator('#frequency').fill('3');
    await page.locator('#learning').fill('-4');
    await page.locator('#pause').click();
    await page.waitForFunction(before => Number(document.getElementById('loss')!.textContent) > 10 * before, learned);
  });

  test('its measurements are in its table, fit a phone, and are posted', async () => {
    await page.locator('#measure').click();
    const { isolated, backends, results } = await posted;
    expect(isolated).toBe(true);
    const here = backends.filter(b => b.here).map(b => b.name);
    expect(here).toContain('wasm');
    expect(results.map(r => `${r.size} ${r.backend}`).sort()).toEqual(
      [256, 1024].flatMap(size => here.map(name => `${size} ${name}`)).sort(),
    );
    for (const r of results) expect(r.seconds, r.note).toBeGreaterThan(0);
    expect(await page.locator('#results tbody td.bar').count()).toBe(results.length);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
  });
});
