/**
 * The playground on machines of several kinds: with a graphics card and without one, without shared memory, without a
 * network, and with a model of the visitor's own, small or too large.
 */
import { open as openFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchChromium } from '../../../bench/browser/chromium.ts';
import { modelTexts } from '../../../models/checkpoint.ts';
import { saveModel } from '../../../models/node/checkpoint.ts';
import { storedTensors } from '../../../models/stored.ts';
import { playgroundFiles } from '../../../s2t2/app/site/playground.ts';
import { serve, type File, type Site } from '../../../s2t2/app/site/serve.ts';
import { temporaryDirectory } from '../../models/temporary.ts';
import { tinyModel } from '../fixture.ts';
import { below, dragDirectory, drop, lastRow, learn, missing, open, proteins, ready, visit } from './browser.ts';

describe.skipIf(missing)('the playground on several machines', { timeout: 300_000 }, () => {
  const directory = temporaryDirectory();
  let files: Record<string, File>;
  let site: Site;
  let browser: Browser;

  beforeAll(async () => {
    files = await playgroundFiles();
    site = await serve(files);
    browser = await launchChromium();
  }, 120_000);

  afterAll(async () => {
    await browser?.close();
    await site?.close();
  });

  test('a dropped model takes two steps on a graphics card as on the processor, whose threads then end', async () => {
    const { page, context, complaints } = await visit(browser, site.url);
    const model = join(directory, 'tiny');
    await saveModel(model, await tinyModel());
    // 500 tokens: one batch for the plan and one for the model.
    await open(page, site.url, 'vocabulary=40&tokens=500&planShare=0.5&methods=s2t2&validations=0&threads=3');
    await dragDirectory(page, '#model-drop', model);
    await page.getByText('Source model: tiny, olmo').waitFor();
    await drop(page, 'mine.fasta', await proteins());
    await page.getByText('180 texts to learn from').waitFor();
    await learn(page);
    const processor = await lastRow(page);
    expect(processor.slice(-3, -1).every(cell => Number(cell.replace(',', '')) > 0)).toBe(true);

    expect(page.workers()).toHaveLength(3); // the lab and two of its threads
    const offers = page.locator('.offers');
    await offers.scrollIntoViewIfNeeded();
    await expect.poll(() => offers.textContent(), { timeout: 60_000 }).not.toMatch(/being checked|in view/);
    const offered = await page
      .locator('.offers li:has-text("passed its check")')
      .evaluateAll(all => all.map(li => (li as HTMLElement).dataset.backend!));
    if (!offered.includes('webgpu')) console.warn(`no WebGPU here: ${await offers.textContent()}`);
    expect(offered).not.toEqual([]);
    await page.getByLabel('Backend').selectOption(offered[0]);
    await page
      .locator('#backend')
      .filter({ hasText: `gpu.js in mode ${offered[0]}` })
      .waitFor();
    await expect.poll(() => page.workers().length).toBe(1);
    await learn(page);
    const card = await lastRow(page);
    // All but the seconds; figures have three decimals, and two steps of float32 move them by less than one of these.
    expect(card).toHaveLength(processor.length);
    card.slice(0, -1).forEach((cell, i) => {
      const [a, b] = [cell, processor[i]].map(text => Number.parseFloat(text.replace(',', '')));
      if (Number.isNaN(b)) expect(cell).toBe(processor[i]);
      else expect(Math.abs(a - b)).toBeLessThanOrEqual(0.0015 * Math.max(1, b / 10));
    });
    expect(complaints).toEqual([]);
    await context.close();
  });

  test('a model that is too large is rejected by its forecast, before a weight is read', async () => {
    const { page, context, complaints } = await visit(browser, site.url);
    const path = join(directory, 'large');
    await mkdir(path);
    const tiny = await tinyModel();
    const config = { ...tiny.model.config, width: 8192, feedForward: 32768, layers: 4 };
    const texts = modelTexts({ ...tiny, model: { ...tiny.model, config } }, 'F16');
    for (const [name, text] of Object.entries(texts)) await writeFile(join(path, name), text);
    let end = 0;
    const header: Record<string, unknown> = {};
    for (const { name, shape } of storedTensors(config)) {
      const begin = end;
      end += 2 * shape.reduce((a, b) => a * b, 1);
      header[name] = { dtype: 'F16', shape, data_offsets: [begin, end] };
    }
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    const file = await openFile(join(path, 'model.safetensors'), 'w');
    await file.write(Buffer.concat([length, text]));
    await file.truncate(8 + text.length + end); // a hole: nothing on the disk
    await file.close();

    await open(page, site.url, 'vocabulary=40');
    await dragDirectory(page, '#model-drop', path);
    await page
      .getByRole('alert')
      .filter({
        hasText: /^(finetuning|learning).* needs [\d.]+ GiB and the backend has 4\.0 GiB; take a smaller model$/,
      })
      .waitFor();
    // The bundled model is still there.
    await page.getByText('Source model: the bundled English model').waitFor();
    expect(complaints).toEqual([]);
    await context.close();
  });

  test('without a card, a service worker or isolation the page says why, and runs on one thread', async () => {
    const plain = await serve(files, { isolated: false });
    const { page, context, complaints } = await visit(browser, plain.url, { serviceWorkers: 'block' });
    await page.route('**/worker.js', async route => {
      const none =
        'navigator.gpu.requestAdapter = async () => null; OffscreenCanvas.prototype.getContext = () => null;';
      await route.fulfill({ contentType: 'text/javascript', body: `${none}${String(files['/worker.js'].body)}` });
    });
    await open(page, plain.url, 'vocabulary=40&tokens=500&methods=fvt&validations=0');
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(false);
    expect(await page.locator('#backend').textContent()).toMatch(/one thread.* it is not cross-origin isolated\.$/s);
    await page.locator('.offers').scrollIntoViewIfNeeded();
    for (const name of ['webgpu', 'webgl2']) {
      await page.locator(`.offers [data-backend=${name}]`, { hasText: /not available: \S.+\.$/ }).waitFor();
      const option = page.getByLabel('Backend').locator(`option[value=${name}]`);
      expect(await option.isDisabled()).toBe(true);
      expect(await option.textContent()).toContain('(not available)');
    }
    await drop(page, 'mine.fasta', await proteins());
    await page.getByText('180 texts to learn from').waitFor();
    await learn(page);
    expect(complaints).toEqual([]);
    await context.close();
    await plain.close();
  });

  test('once loaded the page works without its server', async () => {
    const leaving = await serve(below(files), { isolated: false });
    const { page, context, complaints } = await visit(browser, leaving.url);
    await open(page, `${leaving.url}below/`, 'vocabulary=40&tokens=500&methods=fvt&validations=0');
    expect(await page.evaluate(() => navigator.serviceWorker.controller !== null)).toBe(true);
    await leaving.close();
    await page.reload();
    await ready(page);
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
    await drop(page, 'mine.fasta', await proteins());
    await page.getByText('180 texts to learn from').waitFor();
    await learn(page);
    expect(await lastRow(page)).toHaveLength(8);
    expect(complaints).toEqual([]);
    await context.close();
  });
});
