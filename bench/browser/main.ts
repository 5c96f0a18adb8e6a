/** The command line of the benchmarks in a browser: `npm run bench:browser -- --help`. */
import { writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import { progressBar } from '../../models/node/progress.ts';
import { renderTable } from '../../models/node/table.ts';
import { launchChromium } from './chromium.ts';
import { pageFiles } from './files.ts';
import type { PageReport } from './page/main.ts';
import { serve } from '../../s2t2/app/site/serve.ts';

interface Flags {
  readonly filter: string;
  readonly headless?: boolean;
  readonly gpu?: boolean;
  readonly port: number;
  readonly json?: string;
}

function render({ browser, processors, isolated, backends, results }: PageReport): string {
  const facts = [
    `${browser}, ${processors} processors, ${isolated ? '' : 'not '}cross-origin isolated`,
    ...backends.map(b => b.description),
  ];
  const rows = results.map(r => [
    r.op,
    String(r.size),
    r.backend,
    r.seconds === undefined ? (r.note ?? '') : `${(1e3 * r.seconds).toPrecision(3)} ms`,
    r.rate ? `${r.rate.value.toPrecision(3)} ${r.rate.unit}` : '',
  ]);
  return `${facts.join('\n')}\n\n${renderTable(['op', 'size', 'by', 'time', 'rate'], rows)}\n`;
}

async function main({ filter, headless, gpu, port, json }: Flags): Promise<void> {
  const query = `?filter=${encodeURIComponent(new RegExp(filter).source)}`;
  let [arrived, failed]: [(report: PageReport) => void, (error: Error) => void] = [() => {}, () => {}];
  const report = new Promise<PageReport>((resolve, reject) => {
    [arrived, failed] = [resolve, reject];
  });
  const site = await serve(await pageFiles(), {
    onResults: text => arrived(JSON.parse(text) as PageReport),
    port,
  });
  const browser = headless ? await launchChromium({ gpu }).catch((error: Error) => failed(error)) : null;
  const bar = browser && progressBar('benchmarks', 1, '');
  try {
    if (browser) {
      const tab = await browser.newPage();
      tab.on('pageerror', failed).on('crash', () => failed(new Error('the page crashed')));
      tab.on('console', message => {
        if (message.type() === 'info') bar?.update(0, message.text());
      });
      await tab.goto(`${site.url}${query}&measure`);
    } else if (!headless) {
      process.stderr.write(`Open ${site.url}${query} and press Measure; the results are printed here.\n`);
    }
    const result = await report;
    bar?.stop();
    process.stdout.write(render(result));
    if (json) await writeFile(json, `${JSON.stringify(result, null, 1)}\n`);
  } finally {
    bar?.stop();
    await browser?.close();
    await site.close();
  }
}

await new Command('bench:browser')
  .description(
    'Microbenchmarks of every backend in a browser, verified before they are timed, and a live example of gradients.',
  )
  .option('--filter <pattern>', 'operations to run, as a regular expression', '.')
  .option('--headless', "run in this machine's Chromium instead of your browser")
  .option('--gpu', 'let headless Chromium use the GPU; otherwise WebGPU and WebGL2 run on the processor')
  .option('--port <n>', 'port on localhost; 0 picks a free one', Number, 0)
  .option('--json <file>', 'write the results to a file')
  .action((flags: Flags) =>
    main(flags).catch((error: Error) => {
      process.stderr.write(`bench:browser: ${error.message}\n`);
      process.exitCode = 1;
    }),
  )
  .parseAsync();
