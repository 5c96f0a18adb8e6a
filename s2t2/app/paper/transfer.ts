/**
 * Transfer: the plan that was learned on one model, applied to another model of the same vocabulary, which the plan has
 * never seen, beside that model's other starts and a plan learned on it. The other may have another architecture.
 */
import { loadModel } from '../../../models/node/checkpoint.ts';
import { type LanguageModel } from '../../../models/checkpoint.ts';
import { UserError } from '../../../models/errors.ts';
import type { Method } from '../../method.ts';
import { translatedStart } from '../../methods.ts';
import { prepare } from '../prepare.ts';
import type { Rates, Settings } from '../../settings.ts';
import { cellName, planOf, runCells, type Bench } from './cells.ts';
import { Bootstrap, type Interval } from './statistics.ts';
import { lines, s2t2Cell, seedCell } from './table.ts';
import { parameters } from '../../../models/weights.ts';

/** The plans of one model on another, beside its own starts. */
export interface Transfer {
  readonly model: { readonly parameters: number; readonly family: string };
  readonly rows: readonly {
    readonly name: string;
    readonly before: Interval;
    readonly after: Interval;
    /** After finetuning, less the transferred plan's. */
    readonly againstTransferred: Interval | null;
  }[];
}

interface TransferOptions {
  /** Where the plans were learned. */
  readonly test: Bench;
  /** Where they are applied. */
  readonly model: LanguageModel;
  readonly settings: Settings;
  readonly rates: ReadonlyMap<string, Rates>;
  readonly seeds: readonly number[];
}

/** A model to transfer to; one with another vocabulary is rejected. */
export async function loadReceiver(directory: string, source: LanguageModel): Promise<LanguageModel> {
  const model = await loadModel(directory);
  if (model.tokenizer.hash !== source.tokenizer.hash)
    throw new UserError(
      `${directory}: has a different vocabulary from the source model; a plan applies to another model ` +
        `only if both share a vocabulary`,
    );
  return model;
}

/** Applies the plans of the source model to another model of its vocabulary, and finetunes. */
export async function transfer({ test, model, settings, rates, seeds }: TransferOptions): Promise<Transfer> {
  const prepared = await prepare(model, test.prepared.texts, settings, test.log, {
    target: test.prepared.target,
  });
  const bench: Bench = { ...test, prepared };
  const cells = seeds.flatMap(seed => {
    const learned = s2t2Cell(settings, rates, seed);
    const plan = () => planOf(test, learned);
    const transferred: Method = {
      name: 'transferred',
      vocabulary: 'target',
      learnsPlan: false,
      before: true,
      start: async context => translatedStart(context, await plan()),
    };
    return [
      ...['source', 'truncated', 'random', 'fvt', 'fvt-spread', 's2t2']
        .filter(name => rates.has(name))
        .map(name => ({ ...seedCell(lines.find(l => l.name === name)!, settings, rates, seed), line: name })),
      {
        key: `transferred ${seed}`,
        line: 'transferred',
        method: transferred,
        settings: learned.settings,
        given: cellName(test, learned),
      },
    ];
  });
  const results = await runCells(bench, 'transfer', cells);
  const bootstrap = new Bootstrap(
    prepared.texts.test.map(t => Buffer.byteLength(t)),
    seeds.length,
  );
  const of = (line: string, when: 'before' | 'after') =>
    cells.filter(c => c.line === line).map(c => results.get(c)![when]!);
  return {
    model: {
      parameters: Object.values(parameters(model.model)).reduce((n, w) => n + w.size, 0),
      family: model.model.config.family,
    },
    rows: [...new Set(cells.map(c => c.line))].map(name => ({
      name,
      before: bootstrap.bitsPerByte(of(name, 'before')),
      after: bootstrap.bitsPerByte(of(name, 'after')),
      againstTransferred:
        name === 'transferred' ? null : bootstrap.difference(of(name, 'after'), of('transferred', 'after')),
    })),
  };
}
