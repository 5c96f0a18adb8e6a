/**
 * `npm run bench:playground`: the playground in headless Chromium beside Node. When its largest paint is there and
 * what shifts after it, and the tokens a second of one adaptation of the bundled model in either, with the same
 * instructions and the same threads.
 *
 * Rates are from the first step of a stage to its last, by the clock and by the processor time of the whole process
 * (of the page's renderer, with its threads): in the page the pictures of the plan, the news, the drawing and the saves
 * are inside. The second rate is the one to read on a machine that does other work too; by the clock, drawing costs
 * nothing where a second processor is free.
 */
import { Command, Option } from 'commander';
import type { Browser } from 'playwright-core';
import { createWasmBackend, setBackend } from '../../engine/index.ts';
import { loadModel } from '../../models/node/checkpoint.ts';
import { enableRelaxedSimd } from '../../models/node/relaxed.ts';
import { renderTable } from '../../models/node/table.ts';
import { score } from '../../models/score.ts';
import { train, type Progress } from '../../models/train.ts';
import { readCorpus } from '../../s2t2/app/corpus.ts';
import { dataFolder } from '../../s2t2/app/data/tools.ts';
import { parkingFor } from '../../s2t2/app/memory.ts';
import { prepare } from '../../s2t2/app/prepare.ts';
import { playgroundFiles } from '../../s2t2/app/site/playground.ts';
import { serve } from '../../s2t2/app/site/serve.ts';
import { runCell } from '../../s2t2/cell.ts';
import { methods } from '../../s2t2/methods.ts';
import type { Message } from '../../s2t2/playground/protocol.ts';
import { defaultAlpha, defaults } from '../../s2t2/settings.ts';
import { launchChromium } from './chromium.ts';

/** The text that the page uses of a sample, in bytes. */
const textBytes = 400_000;
const planShare = 0.4;

interface Machine {
  readonly plain: boolean;
  readonly threads: number;
}

/** A step that was heard of, with the tokens of its stage so far: when, by either clock, in seconds. */
interface Heard {
  readonly stage: string;
  readonly tokens: number;
  readonly at: number;
  readonly processor: number;
}

/** Tokens a second of a stage, from its first step to its last. */
interface Rate {
  readonly clock: number;
  readonly processor: number;
}

function rates(steps: readonly Heard[]): Map<string, Rate> {
  const stages = [...new Set(steps.map(step => step.stage))];
  return new Map(
    stages.map(stage => {
      const heard = steps.filter(step => step.stage === stage);
      const [first, last] = [heard[0], heard.at(-1)!];
      const tokens = last.tokens - first.tokens;
      return [stage, { clock: tokens / (last.at - first.at), processor: tokens / (last.processor - first.processor) }];
    }),
  );
}

/** Processor time of this process, in seconds. */
function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

async function inNode({ plain, threads }: Machine, tokens: number): Promise<Map<string, Rate>> {
  const backend = createWasmBackend({ relaxedSimd: !plain, threads });
  setBackend(backend);
  const source = await loadModel(dataFolder('source'), {
    parking: ({ config }) => parkingFor(config, backend.memoryLimit),
  });
  const { documents } = await readCorpus(dataFolder('proteins.train.fasta.gz'));
  let bytes = 0;
  const texts = documents.map(d => d.text).filter(text => (bytes += text.length) - text.length < textBytes);
  const settings = {
    ...defaults,
    budget: { unit: 'tokens' as const, amount: tokens },
    planShare,
    alpha: defaultAlpha(source.model.config.vocabSize),
  };
  const domain = { train: texts, test: texts.slice(0, 2), format: 'fasta' as const };
  const prepared = await prepare(source, domain, settings, () => {});
  const steps: Heard[] = [];
  await runCell(prepared, methods.s2t2, {
    log: () => {},
    runStage: (stage, training) =>
      train(training, {
        onStep: (progress: Progress) =>
          void steps.push({
            stage,
            tokens: progress.tokens,
            at: performance.now() / 1000,
            processor: processorTime(),
          }),
      }),
    evaluate: async (_, model, sequences) => ({ scores: await score(model, sequences), seconds: 0 }),
  });
  return rates(steps);
}

async function inPage(browser: Browser, url: string, machine: Machine, tokens: number): Promise<Map<string, Rate>> {
  const context = await browser.newContext();
  const page = await context.newPage();
  const cdp = await browser.newBrowserCDPSession();
  const steps: Promise<Heard>[] = [];
  page.on('console', message => {
    if (message.type() !== 'info') return;
    const step = JSON.parse(message.text()) as Omit<Heard, 'processor'>;
    const time = cdp.send('SystemInfo.getProcessInfo').then(({ processInfo }) => {
      const renderers = processInfo.filter(({ type }) => type === 'renderer');
      return { ...step, processor: renderers.reduce((sum, { cpuTime }) => sum + cpuTime, 0) };
    });
    steps.push(time);
  });
  await page.addInitScript(() => {
    const { Worker } = globalThis;
    globalThis.Worker = class extends Worker {
      constructor(...args: ConstructorParameters<typeof Worker>) {
        super(...args);
        this.addEventListener('message', ({ data }: MessageEvent<Message>) => {
          if (!('event' in data) || data.event.type !== 'stage') return;
          const { stage, tokens: soFar } = data.event;
          console.info(JSON.stringify({ stage, tokens: soFar, at: performance.now() / 1000 }));
        });
      }
    };
  });
  const link = new URLSearchParams({
    sample: 'proteins',
    methods: 's2t2',
    tokens: String(tokens),
    planShare: String(planShare),
    validations: '0',
    plain: String(machine.plain),
    threads: String(machine.threads),
  });
  await page.goto(`${url}#${link}`);
  await page.getByRole('button', { name: 'Learn and compare' }).click({ timeout: 60_000 });
  await page.waitForFunction(
    () => document.querySelector('.progress [role=status]')?.textContent === 'Done.',
    undefined,
    { timeout: 300_000 },
  );
  const heard = await Promise.all(steps);
  await cdp.detach();
  await context.close();
  return rates(heard);
}

/** Milliseconds to the largest paint of a first visit, and the layout shift until the page is ready. */
async function paint(browser: Browser, url: string, width: number): Promise<{ paint: number; shift: number }> {
  const context = await browser.newContext({ viewport: { width, height: 800 } });
  const page = await context.newPage();
  await page.addInitScript(() => {
    const seen = { paint: 0, shift: 0 };
    Object.assign(globalThis, { seen });
    const observe = (type: string, entry: (entry: PerformanceEntry & { value: number }) => void) =>
      new PerformanceObserver(list => (list.getEntries() as never[]).forEach(entry)).observe({ type, buffered: true });
    observe('largest-contentful-paint', ({ startTime }) => (seen.paint = startTime));
    observe('layout-shift', ({ value }) => (seen.shift += value));
  });
  await page.goto(url);
  await page.locator('#backend', { hasText: 'passed its check' }).waitFor();
  const seen = await page.evaluate(() => (globalThis as unknown as { seen: { paint: number; shift: number } }).seen);
  await context.close();
  return seen;
}

const places = ['node', 'page'] as const;
type Place = (typeof places)[number];
const clocks = ['clock', 'processor'] as const;

const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** Either in turns, and who begins takes turns too; medians over rounds, of the ratio as well. */
async function compare(
  browser: Browser,
  url: string,
  machine: Machine,
  { tokens, rounds }: Flags,
): Promise<string[][]> {
  const measure = { node: () => inNode(machine, tokens), page: () => inPage(browser, url, machine, tokens) };
  const found: Record<Place, Map<string, Rate>>[] = [];
  for (let round = 0; round < rounds; round++) {
    const pair = { node: new Map<string, Rate>(), page: new Map<string, Rate>() };
    for (const where of round % 2 === 0 ? places : places.toReversed()) {
      pair[where] = await measure[where]();
      for (const [stage, rate] of pair[where]) {
        const figures = clocks.map(clock => `${rate[clock].toFixed(0)} by the ${clock}`);
        process.stderr.write(`round ${round + 1}, ${where}, ${stage}, tokens/s: ${figures.join(', ')}\n`);
      }
    }
    found.push(pair);
  }
  const { plain, threads } = machine;
  const name = `${plain ? 'plain' : 'relaxed'} SIMD, ${threads} thread${threads > 1 ? 's' : ''}`;
  return Array.from(found[0].node.keys(), stage => [
    name,
    stage,
    ...clocks.flatMap(clock => {
      const of = (where: Place) => found.map(pair => pair[where].get(stage)![clock]);
      const [node, page] = [of('node'), of('page')];
      return [
        median(node).toFixed(0),
        median(page).toFixed(0),
        median(page.map((rate, i) => rate / node[i])).toFixed(2),
      ];
    }),
  ]);
}

interface Flags {
  readonly tokens: number;
  readonly rounds: number;
  readonly threads: readonly number[];
  readonly simd: 'plain' | 'relaxed' | 'both';
}

async function main(flags: Flags): Promise<void> {
  const relaxed = enableRelaxedSimd() && flags.simd !== 'plain';
  const site = await serve(await playgroundFiles());
  const browser = await launchChromium();
  try {
    for (const width of [1280, 390]) {
      const { paint: milliseconds, shift } = await paint(browser, site.url, width);
      console.log(`${width} px: largest paint after ${Math.round(milliseconds)} ms, layout shift ${shift.toFixed(3)}`);
    }
    const rows: string[][] = [];
    for (const plain of [...(flags.simd === 'relaxed' ? [] : [true]), ...(relaxed ? [false] : [])])
      for (const threads of flags.threads) {
        const found = await compare(browser, site.url, { plain, threads }, flags);
        found.forEach(row => process.stderr.write(`${row.join('  ')}\n`));
        rows.push(...found);
      }
    console.log(
      `\n${renderTable(['backend', 'stage', ...clocks.flatMap(clock => [`Node, ${clock}`, 'page', 'ratio'])], rows)}`,
    );
  } finally {
    await browser.close();
    await site.close();
  }
}

await new Command('bench:playground')
  .description('The playground in headless Chromium: its largest paint, and its rate of training beside Node’s.')
  .option('--tokens <n>', 'that each run trains on', Number, 8000)
  .option('--threads <list>', 'one or more numbers', text => text.split(',').map(Number), [1, 2])
  .addOption(new Option('--simd <which>', 'instructions').choices(['plain', 'relaxed', 'both']).default('both'))
  .option('--rounds <n>', 'in turns; figures are medians', Number, 3)
  .action(main)
  .parseAsync();
