/**
 * How much memory an adaptation takes, told before it starts: its stages are rehearsed (`engine/rehearsal.ts`), each
 * with its fullest batch. A run that does not fit computes layers again; one that does not fit then is rejected, and
 * told what would make it fit.
 */
import { noGrad, ones, Parking, rehearse, scope, zeros, type Need } from '../../engine/index.ts';
import { AdamW } from '../../models/adamw.ts';
import { makeBatch, type Batch } from '../../models/batches.ts';
import { UserError } from '../../models/errors.ts';
import { batchLoss } from '../../models/score.ts';
import { trainStep } from '../../models/train.ts';
import { longestSequence, type TransformerConfig } from '../../models/transformer-config.ts';
import { assemble, parameterShapes, type Transformer } from '../../models/weights.ts';
import { sparseLayer } from '../learn.ts';
import type { Vocabulary } from '../method.ts';
import { copyModel, methods as table, withEnds } from '../methods.ts';
import type { Settings } from '../settings.ts';
import { trained } from '../trained.ts';
import { translateEnds } from '../translate.ts';

/** What the need depends on. */
export interface RunShape {
  readonly config: TransformerConfig;
  readonly settings: Settings;
  readonly methods: readonly string[];
  /** Ordinary tokens of the target and of the source vocabulary. */
  readonly u: number;
  readonly v: number;
  /** Tokens that a target vocabulary keeps of the source's, beside the plan; 0 if missing. */
  readonly kept?: number;
  /** Held-out tokens, if they are fewer than an evaluation takes at once. */
  readonly testTokens?: number;
}

/** What a run needs, stage by stage. */
export interface Forecast {
  /** Whether layers are computed again in the backward pass. */
  readonly recompute: boolean;
  /** Of every stage, by what it does. */
  readonly stages: readonly { readonly stage: string; readonly need: Need }[];
}

/** The most that any stage needs. */
export const fullest = ({ stages }: Forecast): { stage: string; need: Need } =>
  stages.reduce((most, s) => (s.need.memory > most.need.memory ? s : most), {
    stage: 'nothing',
    need: { tensors: 0, memory: 0 },
  });

/** Where the source model waits: in the backend while it is a small part of it, else one layer or so at a time. */
export function parkingFor(config: TransformerConfig, memoryLimit = Infinity): Parking {
  const bytes = Object.values(parameterShapes(config)).reduce((n, shape) => n + 4 * shape.reduce((a, b) => a * b), 0);
  return new Parking(bytes <= memoryLimit / 4 ? Infinity : memoryLimit / 8);
}

/** Tokens in one forward pass of an evaluation; see `score`. */
const evaluated = 2048;

/** Rehearses the stages of a run on so much memory. */
export function forecast(shape: RunShape, recompute: boolean, memoryLimit = Infinity): Forecast {
  const { config, settings } = shape;
  const methods = shape.methods.filter(name => Object.hasOwn(table, name)); // others are reported where they run
  const vocabularies = new Set(methods.map(name => table[name].vocabulary));
  const stages = Array.from(vocabularies, vocabulary => ({
    stage: `finetuning in the ${vocabulary} vocabulary`,
    need: rehearsed(() => finetune(shape, vocabulary, recompute, memoryLimit)),
  }));
  if (methods.some(name => table[name].learnsPlan))
    stages.push({
      stage: 'learning the plan',
      need: rehearsed(() => learnPlan(config, settings, shape, recompute, memoryLimit)),
    });
  return { recompute, stages };
}

/** Threads whose workspace is counted; it is small. */
const threads = 2;
/** What `fn` needs, without values. */
export const rehearsed = (fn: () => void): Need => rehearse(threads, () => scope(fn));

/** The source model without values, frozen. */
function hollowSource(config: TransformerConfig, memoryLimit: number): Transformer {
  const parking = parkingFor(config, memoryLimit);
  return { config, ...assemble(config, (_, shape) => parking.park(() => {}, shape)) };
}

/** The widest batch: as many tokens as requested, or one long text. */
export function widest(
  config: TransformerConfig,
  { batchTokens, maxBytes }: Pick<Settings, 'batchTokens' | 'maxBytes'>,
  tokens = batchTokens,
): Batch {
  const length = Math.min(maxBytes + 1, longestSequence(config), Math.max(tokens, 1));
  const rows = Math.max(1, Math.floor(tokens / length));
  return makeBatch(Array.from({ length: rows }, () => ({ ids: new Int32Array(length + 1), bytes: length })));
}

function finetune(shape: RunShape, vocabulary: Vocabulary, recompute: boolean, memoryLimit: number): void {
  const { config, settings, testTokens = evaluated } = shape;
  const model = twoSteps(hollowSource(config, memoryLimit), shape, vocabulary, recompute);
  noGrad(() => scope(() => batchLoss(model, widest(config, settings, Math.min(evaluated, testTokens)))));
}

/**
 * Two steps of finetuning with the widest batch, from a copy of `source` whose ends have the size of the vocabulary;
 * `step` runs each.
 */
export function twoSteps(
  source: Transformer,
  { config, settings, u, kept = 0 }: RunShape,
  vocabulary: Vocabulary,
  recompute: boolean,
  step = (work: () => void) => work(),
): Transformer {
  const end = () => zeros([u + kept, config.width], { requiresGrad: true });
  const model = vocabulary === 'target' ? withEnds(source, { embedding: end(), head: end() }) : copyModel(source);
  const learner = trained(model, settings);
  const optimizer = new AdamW(learner.parameters);
  const batch = widest(config, settings);
  const loss = () => batchLoss(learner.model, batch, learner.model, recompute);
  for (let i = 0; i < 2; i++) step(() => trainStep(loss, Object.values(learner.parameters), optimizer, 1).dispose());
  optimizer.dispose();
  return learner.model;
}

function learnPlan(
  config: TransformerConfig,
  settings: Settings,
  { u, v, kept = 0 }: RunShape,
  recompute: boolean,
  memoryLimit: number,
): void {
  const source = hollowSource(config, memoryLimit);
  const cost = zeros([u, v], { requiresGrad: true });
  const [mu, nu] = [ones([u]), ones([v])];
  const map = {
    sourceIds: new Int32Array(v),
    targetIds: Int32Array.from({ length: u }, (_, i) => kept + i),
    specials: Int32Array.from({ length: 2 * kept }, (_, i) => i >> 1),
    unseen: new Int32Array(),
    targetSize: u + kept,
  };
  const ends = () => translateEnds(sparseLayer.plan(cost, mu, nu, settings).plan, mu, nu, source, map, settings);
  const optimizer = new AdamW({ cost }, { clip: Infinity });
  const batch = widest(config, settings);
  for (let step = 0; step < 2; step++)
    trainStep(() => batchLoss(source, batch, ends(), recompute), [cost], optimizer, 1).dispose();
  optimizer.dispose();
}

/** The share of the backend's memory above which layers are computed again. */
const roomy = 0.9;

/** Bytes for people. */
export const gibibytes = (bytes: number): string =>
  bytes < 2 ** 27 ? `${Math.ceil(bytes / 2 ** 20)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;

/** A change of a run that may make it fit, in the words of its host. */
export type Remedy = readonly [name: string, shape: RunShape];

/** What the command line can change. */
function flags(shape: RunShape): Remedy[] {
  const { settings } = shape;
  return [
    ...[2, 4].map((n): Remedy => {
      const batchTokens = Math.ceil(settings.batchTokens / n);
      const maxBytes = Math.min(settings.maxBytes, batchTokens);
      return [
        `--batch-tokens ${batchTokens} --max-bytes ${maxBytes}`,
        { ...shape, settings: { ...settings, batchTokens, maxBytes } },
      ];
    }),
    ...(['lora', 'ends'] as const)
      .filter(train => train !== settings.train)
      .map((train): Remedy => [`--train ${train}`, { ...shape, settings: { ...settings, train } }]),
    ['--methods without source', { ...shape, methods: shape.methods.filter(name => name !== 'source') }],
  ];
}

/**
 * The forecast of a run that fits, with layers computed again only where that is needed; throws where none does, and
 * names the `remedies` that would help.
 */
export function fitMemory(
  shape: RunShape,
  memoryLimit: number | undefined,
  remedies: (shape: RunShape) => readonly Remedy[] = flags,
): Forecast | null {
  if (memoryLimit === undefined) return null;
  const fits = (candidate: RunShape) =>
    [false, true]
      .map(recompute => forecast(candidate, recompute, memoryLimit))
      // A plan that turns out dense takes more than the rehearsed one: recomputing comes before the limit does.
      .find(f => fullest(f).need.memory <= memoryLimit * (f.recompute ? 1 : roomy));
  const found = fits(shape);
  if (found) return found;
  const { stage, need } = fullest(forecast(shape, true, memoryLimit));
  const fitting = remedies(shape)
    .filter(([, candidate]) => candidate.methods.length > 0 && fits(candidate))
    .map(([name]) => name);
  throw new UserError(
    `${stage} needs ${gibibytes(need.memory)} and the backend has ${gibibytes(memoryLimit)}; ${
      fitting.length > 0 ? `it fits with ${fitting.join(', or ')}` : 'take a smaller model'
    }`,
  );
}

/** What the process holds beside the backend's memory. */
export interface Host {
  /** Bytes of Node with its code and its objects, texts and tokenizers among them: measured. */
  readonly baseline: number;
  /** Bytes of arrays: weights that wait outside the backend, and texts as token ids. */
  readonly arrays: number;
}

/** Copies of a weight that are there at once: one is read while the one before still waits for the collector. */
const copies = 2;

/**
 * Bytes that the process takes: what it holds, the backend's memory, which never shrinks, and the arrays between them.
 * Weights pass one at a time (hashed, kept in a state, written). Where a plan is learned, three matrices of its size
 * are outside: the prior coupling, and the plan with its X when the duality gap is computed.
 */
export function processNeed(
  found: Forecast,
  { config, methods, u, v }: Pick<RunShape, 'config' | 'methods' | 'u' | 'v'>,
  { baseline, arrays }: Host,
): number {
  const sizes = Object.values(parameterShapes(config)).map(shape => shape.reduce((a, b) => a * b));
  const learnsPlan = methods.some(name => Object.hasOwn(table, name) && table[name].learnsPlan);
  const passing = 4 * Math.max(copies * Math.max(...sizes), learnsPlan ? 3 * u * v : 0);
  return baseline + arrays + passing + fullest(found).need.memory;
}

/** One line for people, of the backend's memory and, where that is known, of the process's. */
export function describeForecast(found: Forecast, processBytes?: number): string {
  const { stage, need } = fullest(found);
  const again = found.recompute ? '; layers are computed again in the backward pass to fit' : '';
  const [memory, tensors] = [gibibytes(need.memory), gibibytes(need.tensors)];
  const whole = processBytes === undefined ? '' : `; of the whole process: about ${gibibytes(processBytes)}`;
  return `memory of the backend: at most ${memory}, ${tensors} of it tensors, while ${stage}${again}${whole}`;
}
