/**
 * The engine's bundle in a real headless Chromium: it needs nothing of Node, and computes there what it computes here,
 * on every backend.
 */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { engineBundle } from '../../bench/browser/bundle.ts';
import { bundle } from '../../s2t2/app/site/bundle.ts';
import { chromiumPath, launchChromium } from '../../bench/browser/chromium.ts';
import { serve, type Site } from '../../s2t2/app/site/serve.ts';
import { createWasmBackend, ops } from '../../engine/index.ts';
import type { inPage as InPage } from './page.ts';
import { boundsOf } from '../engine/gpu/bounds.ts';
import { lossCurve, parity, reference, sizes } from '../engine/parity.ts';

declare const inPage: typeof InPage;

test("the engine's bundle imports gpu.js and Dawn where a GPU is asked for, and nothing of Node", async () => {
  const { code, imports, dynamicImports } = await engineBundle();
  expect(imports).toEqual([]);
  expect([...dynamicImports].sort()).toEqual(['gpu.js', 'webgpu']);
  expect(code).not.toMatch(/(?:\bfrom|\bimport)\s*\(?\s*["'`]node:/);
});

/** Each update passes on the roundoff of the one before: a handful of units of float32 for each step so far. */
function expectSameCurve(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  actual.forEach((loss, i) =>
    expect(Math.abs(loss - expected[i]), `step ${i}`).toBeLessThanOrEqual(32 * (i + 1) * 2 ** -24 * expected[i]),
  );
}

const missing = chromiumPath() === null;
if (missing) console.warn('SKIPPED: no chromium on the PATH, so nothing of test/browser ran in one');

describe.skipIf(missing)('in Chromium', () => {
  let site: Site;
  let browser: Browser;
  let page: Page;
  const steps = 12;
  let expectedCurve: number[];

  beforeAll(async () => {
    const { code } = await bundle('test/browser/page.ts');
    site = await serve({
      '/': {
        type: 'text/html; charset=utf-8',
        body: '<!doctype html><link rel="icon" href="data:,"><script type="module" src="page.js"></script>',
      },
      '/page.js': { type: 'text/javascript; charset=utf-8', body: code },
    });
    browser = await launchChromium();
    page = await browser.newPage();
    page.setDefaultTimeout(0); // the limit is the test's: the machine may be busy
    page.on('pageerror', error => {
      throw error;
    });
    await page.goto(site.url);
    await page.waitForFunction('globalThis.inPage');
    expectedCurve = await lossCurve(reference, steps);
  });

  afterAll(async () => {
    await browser?.close();
    await site?.close();
  });

  test('wasm: every operation agrees with float64, and has the same bits as in Node', async () => {
    const { description, rows, submissions } = await page.evaluate(of => inPage.check('wasm', of), sizes);
    expect(description).toContain('WebAssembly SIMD');
    expect(submissions).toEqual({ webgpu: 0, webgl2: 0 });
    expect(rows.map(r => r.op)).toEqual(ops.map(r => r.name));
    const tolerance = 16 + 8 * Math.sqrt(Math.max(...sizes));
    const wasm = createWasmBackend({ threads: 1, relaxedSimd: false });
    for (const [i, row] of rows.entries()) {
      expect(row.values, row.op).toBeLessThanOrEqual(tolerance);
      expect(row.gradients, row.op).toBeLessThanOrEqual(4 * tolerance);
      expect(row.bits, row.op).toBe((await parity(ops[i], wasm, sizes)).bits);
    }
  });

  test('wasm: a transformer learns as it does on the reference in Node', async () => {
    expect(expectedCurve[steps - 1]).toBeLessThan(expectedCurve[0] - 0.01);
    expectSameCurve(await page.evaluate(n => inPage.curve('wasm', n), steps), expectedCurve);
  });

  test('wasm: threads are web workers over shared memory, and change no bit', async () => {
    const one = await page.evaluate(() => inPage.large(1, 1));
    expect(one.description).toContain('one thread');
    expect(page.workers()).toHaveLength(0);
    const three = await page.evaluate(() => inPage.large(3, 20));
    expect(three.description).toContain('3 threads over shared memory');
    expect(page.workers()).toHaveLength(2);
    expect(new Set(three.bits)).toEqual(new Set(one.bits));
  });

  for (const [mode, other] of [
    ['webgpu', 'webgl2'],
    ['webgl2', 'webgpu'],
  ] as const) {
    test(`${mode}: every row is float64’s, within what a device may do, and ran in that mode`, async () => {
      const { description, rows, submissions } = await page.evaluate(
        name => inPage.check(name, [17]), // engine/gpu/table.test.ts has more
        mode,
      );
      expect(description).toMatch(new RegExp(`^gpu: gpu\\.js in mode ${mode} on \\S.*no fallback$`));
      expect(submissions[mode]).toBeGreaterThan(ops.length);
      expect(submissions[other]).toBe(0);
      expect(rows.map(r => r.op)).toEqual(ops.map(r => r.name));
      for (const { op, values, gradients } of rows) {
        const [value, gradient] = boundsOf(op);
        expect(values, op).toBeLessThanOrEqual(value);
        expect(gradients, op).toBeLessThanOrEqual(gradient);
      }
    });

    test(`${mode}: kernels make outputs of any size after any other`, async () => {
      expect(await page.evaluate(name => inPage.wrongAfterResizing(name), mode)).toBe(0);
    });

    test(`${mode}: a transformer learns as it does on the reference in Node`, async () => {
      expectSameCurve(await page.evaluate(([name, n]) => inPage.curve(name, n), [mode, steps] as const), expectedCurve);
    });
  }
});
