/** How long a run takes, told before it starts: a step is timed in each vocabulary. */
import { getBackend, scope } from '../../engine/index.ts';
import { duration } from '../../models/node/progress.ts';
import { scoredTokens, sumOver, type Sequences } from '../../models/sequences.ts';
import type { Transformer } from '../../models/weights.ts';
import type { Cell } from '../cell.ts';
import type { Method, Vocabulary } from '../method.ts';
import { trainingWork } from './experiment.ts';
import { twoSteps, widest, type RunShape } from './memory.ts';

/** The work of a method's row, in tokens scored: what the bar of the run counts. */
export function workOf({ vocabulary, before }: Method, { sequences, settings: { budget } }: Cell): number {
  const tokens = (all: Sequences) => sumOver(all, scoredTokens);
  const train = sequences.train[vocabulary];
  const perByte = tokens(train) / sumOver(train, s => s.bytes);
  const training = budget.unit === 'tokens' ? budget.amount : budget.amount * perByte;
  return trainingWork * training + (before ? 2 : 1) * tokens(sequences.test[vocabulary]);
}

/** A step of finetuning: its tokens, and the seconds that it takes. */
interface TimedStep {
  readonly tokens: number;
  readonly seconds: number;
}

/** Times a step on the source model, which stays as it is. The step before it sets things up and does not count. */
function timeStep(source: Transformer, shape: RunShape, vocabulary: Vocabulary, recompute?: boolean): TimedStep {
  const [rows, length] = widest(shape.config, shape.settings).shape;
  let seconds = 0;
  scope(() => {
    twoSteps(source, shape, vocabulary, recompute ?? false, step => {
      const start = performance.now();
      step();
      seconds = (performance.now() - start) / 1000;
    });
  });
  return { tokens: rows * length, seconds };
}

/** A run of fewer steps is soon over: timing one first would take a good part of it. */
const worthTiming = 100;

/**
 * One line for people: the time of all rows, from a timed step. Undefined for a short run, and on a backend that
 * answers before it has computed.
 */
export function describeTime(rows: readonly Method[], cell: Cell, shape: RunShape): string | undefined {
  const { source, recompute, settings } = cell;
  const work = (vocabulary: Vocabulary) =>
    rows.filter(row => row.vocabulary === vocabulary).reduce((sum, row) => sum + workOf(row, cell), 0);
  const perStep = trainingWork * settings.batchTokens;
  const isImmediate = getBackend().readSync !== undefined;
  if (!isImmediate || work('source') + work('target') < worthTiming * perStep) return undefined;
  const timed = (['source', 'target'] as const)
    .filter(vocabulary => work(vocabulary) > 0)
    .map(vocabulary => {
      const { tokens, seconds } = timeStep(source.model, shape, vocabulary, recompute);
      const total = (work(vocabulary) * seconds) / (trainingWork * tokens);
      return { total, said: `${seconds.toPrecision(2)} s in the ${vocabulary} vocabulary` };
    });
  const total = timed.reduce((sum, t) => sum + t.total, 0);
  return `time: about ${duration(total)} for all rows; a step takes ${timed.map(t => t.said).join(', ')}`;
}
