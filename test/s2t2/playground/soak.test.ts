/**
 * The playground in use for minutes: texts are brought, a plan is learned, rows are finetuned, stopped and resumed,
 * models speak and are downloaded, again and again. After a warm-up no kind of memory grows, compiled code apart: V8
 * compiles functions of the page, one after the other, for as long as they get hotter, so the page's own heap is
 * measured by what it holds beside code.
 *
 *     npm run test:long -- --playground --minutes 10
 */
import type { CDPSession, Page } from 'playwright-core';
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
  /** Objects, arrays, strings and closures of the page. */
  readonly data: number;
  /** Bytecode and machine code of the page. */
  readonly code: number;
  readonly nodes: number;
}

/** What a heap snapshot says of a node, field by field. */
interface Snapshot {
  readonly snapshot: { readonly meta: { readonly node_fields: string[]; readonly node_types: [string[]] } };
  readonly nodes: readonly number[];
}

/** Bytes in the page's JavaScript heap by the kind of what takes them, after a collection of garbage. */
async function bytesByKind(cdp: CDPSession): Promise<Map<string, number>> {
  const chunks: string[] = [];
  cdp.on('HeapProfiler.addHeapSnapshotChunk', ({ chunk }) => chunks.push(chunk));
  await cdp.send('HeapProfiler.takeHeapSnapshot');
  const { snapshot, nodes } = JSON.parse(chunks.join('')) as Snapshot;
  const { node_fields: fields, node_types: types } = snapshot.meta;
  const [type, size] = [fields.indexOf('type'), fields.indexOf('self_size')];
  const bytes = new Map<string, number>();
  for (let i = 0; i < nodes.length; i += fields.length) {
    const kind = types[0][nodes[i + type]];
    bytes.set(kind, (bytes.get(kind) ?? 0) + nodes[i + size]);
  }
  return bytes;
}

async function measure(page: Page): Promise<Held> {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Performance.enable');
  await cdp.send('HeapProfiler.collectGarbage');
  const { metrics } = await cdp.send('Performance.getMetrics');
  const metric = (name: string) => metrics.find(m => m.name === name)!.value;
  const nodes = metric('Nodes');
  const bytes = await bytesByKind(cdp);
  await cdp.detach();
  const code = bytes.get('code')!;
  // Blink's objects are `native`: nodes are counted, and the rest is in `heap`.
  const data = [...bytes].reduce((n, [kind, b]) => (kind === 'code' || kind === 'native' ? n : n + b), 0);
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
  return { wasm, heap, data, code, nodes };
}

/**
 * How much larger the median of the last rounds may be than that of the first. The page's data are 2.1 MB and vary by
 * 1 %, with the text that was generated and the points of the curves. Over twenty rounds, of which the medians lie ten
 * apart, 3 % finds 6 kB kept a run: a curve of 120 points, or a picture of the plan.
 */
const bound = 1.03;

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
        const { wasm, heap, data, code, nodes } = held.at(-1)!;
        const [mb, kb] = [1e6, 1e3].map(unit => (bytes: number) => (bytes / unit).toFixed(1));
        console.log(
          `round ${held.length}: wasm ${mb(wasm)} MB, heaps ${mb(heap)} MB, ` +
            `page's data ${kb(data)} kB, its code ${kb(code)} kB, ${nodes} nodes`,
        );
      }
      await browser.close();
      await site.close();
      expect(complaints).toEqual([]);
      const warm = held.slice(Math.ceil(held.length / 4));
      const third = Math.floor(warm.length / 3);
      for (const kind of ['wasm', 'heap', 'data', 'nodes'] as const) {
        const [early, late] = [warm.slice(0, third), warm.slice(-third)].map(part => median(part.map(h => h[kind])));
        expect(late, kind).toBeLessThanOrEqual(bound * early);
      }
    },
    60_000 * (minutes + 10),
  );
});
