/**
 * The playground in use for minutes: texts are brought, a plan is learned, rows are finetuned, stopped and resumed,
 * models speak and are downloaded, again and again. After a warm-up no kind of memory grows.
 *
 *     npm run test:long -- --playground --minutes 10
 */
import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import { launchChromium } from '../../../bench/browser/chromium.ts';
import { playgroundFiles } from '../../../s2t2/app/site/playground.ts';
import { serve } from '../../../s2t2/app/site/serve.ts';
import { done, drop, learn, missing, open, proteins, visit } from './browser.ts';

const minutes = Number(process.env.SOAK_MINUTES ?? 0);

/** Keeps the memories of WebAssembly where the test finds them; put before the worker's own script. */
const watchMemories = `globalThis.memories = [];
WebAssembly.Memory = new Proxy(WebAssembly.Memory, {
  construct(target, args) {
    const memory = new target(...args);
    memories.push(memory);
    return memory;
  },
});
`;

/** What is held, after the garbage is gone: bytes, and nodes of the document. */
interface Held {
  readonly wasm: number;
  /** The heaps of JavaScript, of the page and its workers, with their buffers. */
  readonly heap: number;
  readonly pageHeap: number;
  readonly nodes: number;
}

async function measure(page: Page): Promise<Held> {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Performance.enable');
  await cdp.send('HeapProfiler.collectGarbage');
  const { metrics } = await cdp.send('Performance.getMetrics');
  const metric = (name: string) => metrics.find(m => m.name === name)!.value;
  const [nodes, pageHeap] = [metric('Nodes'), metric('JSHeapUsedSize')];
  await cdp.detach();
  const wasm = await page
    .workers()[0]
    .evaluate(() =>
      (globalThis as unknown as { memories: WebAssembly.Memory[] }).memories.reduce(
        (n, { buffer }) => n + buffer.byteLength,
        0,
      ),
    );
  const heap = await page.evaluate(async () => {
    const { bytes } = await (
      performance as unknown as { measureUserAgentSpecificMemory(): Promise<{ bytes: number }> }
    ).measureUserAgentSpecificMemory();
    return bytes;
  });
  return { wasm, heap, pageHeap, nodes };
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

describe.skipIf(missing || minutes === 0)('the playground in use', () => {
  test(
    `${minutes} minutes leave its memory as it was after the first rounds`,
    async () => {
      const files = await playgroundFiles();
      files['/worker.js'] = { ...files['/worker.js'], body: `${watchMemories}${String(files['/worker.js'].body)}` };
      const site = await serve(files);
      // Measures at once, and not when the next garbage happens to be collected.
      const browser = await launchChromium({ args: ['--enable-blink-features=ForceEagerMeasureMemory'] });
      const { page, complaints } = await visit(browser, site.url, { acceptDownloads: true, serviceWorkers: 'block' });
      await open(page, site.url, 'vocabulary=64&tokens=1500&methods=s2t2,fvt&validations=1');
      const fasta = await proteins();
      const held: Held[] = [];
      const end = performance.now() + 60_000 * minutes;
      while (performance.now() < end || held.length < 8) {
        await drop(page, `round.fasta`, fasta);
        await page.getByText('180 texts to learn from').waitFor();
        if (held.length % 3 === 2) {
          await page.getByRole('button', { name: 'Learn and compare' }).click();
          await page.locator('.progress [role=status]', { hasText: 'finetuning' }).waitFor();
          await page.getByRole('button', { name: 'Stop' }).click();
          await page.getByRole('button', { name: 'Resume', exact: true }).click();
          await done(page);
        } else await learn(page);
        await page.getByRole('button', { name: 'Generate', exact: true }).click();
        await page.locator('.spoken .tokens').waitFor();
        await page.getByRole('button', { name: 'Score it both ways' }).click();
        await page.locator('#play ~ .sample .token').first().waitFor();
        const download = page.waitForEvent('download');
        await page.getByRole('button', { name: 'Download', exact: true }).click();
        await (await download).delete();
        held.push(await measure(page));
        const { wasm, heap, pageHeap, nodes } = held.at(-1)!;
        const mb = (bytes: number) => (bytes / 1e6).toFixed(1);
        console.log(
          `round ${held.length}: wasm ${mb(wasm)} MB, heaps ${mb(heap)} MB, page ${mb(pageHeap)} MB, ${nodes} nodes`,
        );
      }
      await browser.close();
      await site.close();
      expect(complaints).toEqual([]);
      const warm = held.slice(Math.ceil(held.length / 4));
      const third = Math.floor(warm.length / 3);
      for (const kind of ['wasm', 'heap', 'pageHeap', 'nodes'] as const) {
        const [early, late] = [warm.slice(0, third), warm.slice(-third)].map(part => median(part.map(h => h[kind])));
        expect(late, kind).toBeLessThanOrEqual(1.03 * early);
      }
    },
    60_000 * (minutes + 10),
  );
});
