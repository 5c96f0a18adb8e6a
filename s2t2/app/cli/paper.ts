/** `paper`: every method over several seeds. */
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { writeFileAtomic } from '../../../models/node/files.ts';
import { Interrupted } from '../../../models/train.ts';
import { defaults, type Rates } from '../../settings.ts';
import { domains, type DomainName } from '../data/domains.ts';
import { ablationNames } from '../paper/ablations.ts';
import { rotated } from '../paper/cells.ts';
import { domainsMarkdown, paperMarkdown } from '../paper/markdown.ts';
import type { Paper } from '../paper/paper.ts';
import { helpPaper, paper, type PaperOptions } from '../paper/run.ts';
import { gridOf, lines } from '../paper/table.ts';
import { ablationList, domainList, fraction, nameList, rateList, whole } from './arguments.ts';
import { withHelpers } from './helpers.ts';
import { log, print, printPart, stop, withSignals } from './process.ts';

/** Adds `paper`. */
export function addPaperCommand(program: Command): void {
  program
    .command('paper')
    .description('reproduce the table of the paper with every baseline over several seeds; resumable')
    .option('--out <dir>', 'directory for cells and results', 'runs/paper')
    .option('--model <dir>', 'source model; default: the bundled one')
    .option(
      '--domain <names>',
      `domains to adapt to: ${Object.keys(domains).join(', ')}; with several, each has a directory below --out ` +
        'and one table covers all',
      domainList,
      ['proteins'],
    )
    .option('--data <dir>', 'directory in which `s2t2 data` put more texts of the domains; default: the bundled ones')
    .option('--seeds <n>', 'number of seeds', whole(1, 1000), 5)
    .option('--tokens <n>', 'training budget of every method', whole(1), defaults.budget.amount)
    .option('--held-out <n>', 'maximum number of validation and of test sequences', whole(2), 200)
    .option(
      '--lines <names>',
      `rows of the table: ${lines.map(l => l.name).join(', ')}`,
      nameList,
      lines.map(l => l.name),
    )
    .option('--ablate <names>', `settings to vary: ${ablationNames.join(', ')}`, ablationList, [])
    .option(
      '--rates <path>',
      'use the learning rates that an earlier table chose instead of a grid: its directory, whose ' +
        'cells are reused too, or a file like its rates.jsonl',
    )
    .option('--tune <names>', 'learning rates that the grid searches: rate, planRate, bodyRate', rateList, [
      'rate',
      'planRate',
      'bodyRate',
    ])
    .option(
      '--tune-from <path>',
      'begin the grid at the learning rates that an earlier table chose at the nearest budget: its directory, or a ' +
        'file like its rates.jsonl; rates that are not searched stay as they were there',
    )
    .option('--transfer <dir>', 'also apply the plans to this model with the same vocabulary')
    .option(
      '--jobs <n>',
      'processes that train cells in parallel, each on its share of the processors',
      whole(1, 256),
      1,
    )
    .addOption(new Option('--helper <share>').argParser(fraction).hideHelp())
    .action(
      async ({
        domain: names,
        out,
        jobs,
        helper,
        tune,
        ...flags
      }: Omit<PaperOptions, 'domain'> & {
        readonly domain: readonly DomainName[];
        readonly jobs: number;
        readonly tune: readonly (keyof Rates)[];
        readonly helper?: number;
      }) => {
        const papers = names.map(domain => ({
          ...flags,
          grid: gridOf(tune),
          domain,
          out: names.length === 1 ? out : join(out, domain),
          signal: stop.signal,
          interruptible: withSignals,
          log,
        }));
        if (helper !== undefined) {
          process.once('disconnect', () => stop.abort(new Interrupted('no longer needed')));
          process.channel?.unref();
          for (const options of rotated(papers, helper)) await helpPaper({ ...options, share: helper });
          return;
        }
        const results: Paper[] = [];
        await withHelpers(jobs - 1, async () => {
          for (const options of papers) {
            results.push(await paper(options));
            printPart(paperMarkdown(results.at(-1)!));
          }
        });
        if (names.length > 1) {
          printPart(domainsMarkdown(results));
          await writeFileAtomic(join(out, 'domains.md'), domainsMarkdown(results));
        }
        print({ out, papers: results }, `written to ${out}`);
      },
    );
}
