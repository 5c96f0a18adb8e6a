/**
 * How much memory pretraining takes, told before anything is downloaded or made: a few steps are rehearsed, as those of
 * an adaptation are (`memory.ts`).
 */
import { noGrad, scope, zeros, type Need, type Tensor } from '../../engine/index.ts';
import type { Optimizer } from '../../models/adamw.ts';
import { UserError } from '../../models/errors.ts';
import { batchLoss, evaluationTokens } from '../../models/score.ts';
import { lossWith } from '../../models/teacher.ts';
import { trainStep } from '../../models/train.ts';
import type { TransformerConfig } from '../../models/transformer-config.ts';
import { assemble, parameters, parameterShapes } from '../../models/weights.ts';
import { gibibytes, rehearsed, widest } from './memory.ts';

/** Parameters by name. */
export type Members = Readonly<Record<string, Tensor>>;

/** What the need depends on. */
export interface PretrainingRun {
  readonly config: TransformerConfig;
  readonly window: number;
  readonly batchTokens: number;
  /** Whether an n-gram model teaches. */
  readonly teacher: boolean;
  readonly optimizer: (members: Members) => Optimizer;
}

/** Tokens of the widest batch: a window at least. */
const tokensOf = ({ window }: PretrainingRun, tokens: number): number => Math.max(window, tokens);

/**
 * Bytes that are needed whatever else is: parameters, gradients and one moment; logits and their gradient; logits of an
 * evaluation. Where these are too many nothing is rehearsed: ids and names of a rehearsal take memory too.
 */
function least(run: PretrainingRun): number {
  const { config } = run;
  const ofLayers = (layers: number) =>
    Object.values(parameterShapes({ ...config, layers })).reduce((n, shape) => n + shape.reduce((a, b) => a * b), 0);
  const count = ofLayers(1) + (config.layers - 1) * (ofLayers(2) - ofLayers(1));
  const logits = config.vocabSize * Math.max(2 * tokensOf(run, run.batchTokens), tokensOf(run, evaluationTokens));
  return 4 * Math.max(3 * count, logits);
}

function rehearsal(run: PretrainingRun, layers: number): Need {
  const config = { ...run.config, layers };
  const batchOf = (tokens: number) => widest(config, { batchTokens: tokensOf(run, tokens), maxBytes: run.window - 1 });
  return rehearsed(() => {
    const model = { config, ...assemble(config, (_, shape) => zeros(shape, { requiresGrad: true })) };
    const members = parameters(model);
    const optimizer = run.optimizer(members);
    const batch = batchOf(run.batchTokens);
    const loss = () => lossWith(model, batch, run.teacher ? shape => zeros(shape) : null);
    for (let i = 0; i < 2; i++) trainStep(loss, Object.values(members), optimizer, 1).dispose();
    optimizer.dispose();
    noGrad(() => scope(() => batchLoss(model, batchOf(evaluationTokens))));
  });
}

/**
 * What pretraining needs of the backend's memory. A rehearsal of many layers takes long, so those beyond
 * `rehearsedLayers` are taken to need what the last of these do.
 */
export function pretrainingNeed(run: PretrainingRun, rehearsedLayers = 32): Need {
  const { layers } = run.config;
  if (layers <= rehearsedLayers) return rehearsal(run, layers);
  const [half, whole] = [rehearsedLayers / 2, rehearsedLayers].map(n => rehearsal(run, n));
  const extended = (key: keyof Need) =>
    whole[key] + ((layers - rehearsedLayers) * (whole[key] - half[key])) / (rehearsedLayers / 2);
  return { tensors: extended('tensors'), memory: extended('memory') };
}

const needed = (run: PretrainingRun, memoryLimit: number): number => {
  const bytes = least(run);
  return bytes > memoryLimit ? bytes : pretrainingNeed(run).memory;
};

/** Whether a run fits in so much memory. */
export const fitsPretraining = (run: PretrainingRun, memoryLimit: number): boolean =>
  needed(run, memoryLimit) <= memoryLimit;

/** @throws UserError for a run that does not fit; it names those of `remedies` that would help, each by itself. */
export function fitPretraining(
  run: PretrainingRun,
  memoryLimit: number,
  remedies: (memoryLimit: number) => readonly string[],
): void {
  const bytes = needed(run, memoryLimit);
  if (bytes <= memoryLimit) return;
  const fitting = remedies(memoryLimit);
  throw new UserError(
    `pretraining needs ${gibibytes(bytes)} or more and the backend has ${gibibytes(memoryLimit)}; ${
      fitting.length > 0
        ? `it fits with ${fitting.join(', or ')}`
        : 'lower --width, --layers, --vocab-size and --batch-tokens'
    }`,
  );
}
