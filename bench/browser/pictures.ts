/**
 * `npm run bench:pictures`: the pictures in README, taken of the playground in headless Chromium: the layer as a visit
 * finds it, and the table and the curves of a run on the bundled proteins.
 */
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Locator, Page } from 'playwright-core';
import { playgroundFiles } from '../../s2t2/app/site/playground.ts';
import { root } from '../../s2t2/app/site/bundle.ts';
import { serve } from '../../s2t2/app/site/serve.ts';
import { launchChromium } from './chromium.ts';

const width = 1072;
const margin = 16;

/** What of the page is between the tops of two elements. */
async function take(page: Page, name: string, from: Locator, to: Locator): Promise<void> {
  const topOf = (place: Locator): Promise<number> =>
    place.evaluate(element => element.getBoundingClientRect().top + globalThis.scrollY);
  const y = (await topOf(from)) - margin;
  const clip = { x: (page.viewportSize()!.width - width) / 2, y, width, height: (await topOf(to)) - margin - y };
  const path = join(root, 's2t2/playground', name);
  await page.screenshot({ path: `${path}.new`, type: 'png', fullPage: true, clip });
  await rename(`${path}.new`, path);
}

const site = await serve(await playgroundFiles());
const browser = await launchChromium();
try {
  const page = await browser.newPage({ viewport: { width: width + 80, height: 900 } });
  const run = new URLSearchParams({ sample: 'proteins', methods: 'truncated,fvt,s2t2', tokens: '12000' });
  await page.goto(`${site.url}#${run}`);
  const layer = page.locator('section', { has: page.locator('#layer') });
  await layer.getByRole('img', { name: 'misplaced' }).last().waitFor();
  await take(page, 'layer.png', layer.locator('h2'), layer.locator('.legend'));
  await page.getByRole('button', { name: 'Learn and compare' }).click({ timeout: 60_000 });
  await page.locator('.progress [role=status]', { hasText: 'Done.' }).waitFor({ timeout: 600_000 });
  const heading = (text: string): Locator => page.getByRole('heading', { name: text });
  await take(page, 'compare.png', heading('Held-out bits per byte'), heading('The plan'));
} finally {
  await browser.close();
  await site.close();
}
