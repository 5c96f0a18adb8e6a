/**
 * The ways to start a model in a new domain, behind one interface: each gives a model for the target or the source
 * vocabulary, made from the pretrained one, and says what it has spent of the training budget. What follows
 * (evaluation, finetuning, evaluation) is the same for all and lives in `adapt.ts`.
 */
import {
  div,
  matmul,
  mul,
  neg,
  noGrad,
  Random,
  scope,
  sparseMatmul,
  sub,
  tensor,
  type Tensor,
} from '../engine/index.ts';
import { AdamW } from '../models/adamw.ts';
import { planBatches, type Sequence } from '../models/batches.ts';
import type { LanguageModel } from '../models/checkpoint.ts';
import { batchLoss } from '../models/score.ts';
import type { Tokenizer } from '../models/tokenizer/index.ts';
import type { Training, TrainingResult } from '../models/train.ts';
import { initTransformer } from '../models/init.ts';
import { assemble, parameters, type Ends, type Transformer } from '../models/weights.ts';
import { compress, dualityGap, type Plan } from './plan.ts';
import type { Settings } from './settings.ts';
import { denseSinkhorn, sparseSinkhorn, type SinkhornResult } from './sinkhorn.ts';
import { applyPlan, translateEnds, type TokenMap } from './translate.ts';

/** What a method may use. */
export interface Context {
  readonly settings: Settings;
  readonly source: LanguageModel;
  readonly target: Tokenizer;
  /** Training sequences in either vocabulary. */
  readonly train: Readonly<Record<Vocabulary, readonly Sequence[]>>;
  /** Runs a training stage, resumably, with its progress shown. */
  readonly runStage: (stage: string, training: Training) => Promise<TrainingResult>;
}

export type Vocabulary = 'source' | 'target';

export interface Start {
  readonly model: Transformer;
  readonly plan?: Plan;
  /** Of the budget, in its unit. */
  readonly spent: number;
}

export interface Method {
  readonly name: string;
  readonly vocabulary: Vocabulary;
  /** Whether the start itself says something, so that it is evaluated before finetuning. */
  readonly before: boolean;
  start(context: Context): Promise<Start>;
}

/** A weight that can be trained without touching the original: a tensor over the same, never written, values. */
const copyOf = (weight: Tensor): Tensor => weight.alias(undefined, null, true);

/** A copy of the model with other ends; untied, since the two differ. */
function withEnds(model: Transformer, ends: Ends): Transformer {
  const config = { ...model.config, vocabSize: ends.embedding.shape[0], tied: false };
  const weights = parameters(model);
  const isEnd = (name: string): name is keyof Ends => name === 'embedding' || name === 'head';
  return { config, ...assemble(config, name => (isEnd(name) ? ends[name] : copyOf(weights[name]))) };
}

/** The pretrained model with the source's own tokenizer. */
const source: Method = {
  name: 'source',
  vocabulary: 'source',
  before: true,
  start: async ({ source: { model } }) => {
    const weights = parameters(model);
    return { model: { config: model.config, ...assemble(model.config, name => copyOf(weights[name])) }, spent: 0 };
  },
};

/** Each target token takes the rows of the source token at its place: the head of the matrices, cut off. */
const truncated: Method = {
  name: 'truncated',
  vocabulary: 'target',
  before: true,
  start: async context =>
    withRows(context, ({ sourceIds, targetIds }) => {
      if (targetIds.length > sourceIds.length)
        throw new Error(
          `truncated: ${targetIds.length} target tokens do not fit into ${sourceIds.length} source tokens`,
        );
      return i => [sourceIds[i]];
    }),
};

/** Rows drawn at random, each end at the root mean square of the source's: what the text of a token teaches nothing about. */
const random: Method = {
  name: 'random',
  vocabulary: 'target',
  before: true,
  start: async context => ({
    model: withEnds(context.source.model, {
      embedding: await randomEnd(context, 'embedding'),
      head: await randomEnd(context, 'head'),
    }),
    spent: 0,
  }),
};

async function randomEnd({ source, target, settings }: Context, end: 'embedding' | 'head'): Promise<Tensor> {
  const { width } = source.model.config;
  const values = (await source.model[end].data()) as Float32Array;
  const scale = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
  const own = new Random(settings.seed).split(`random ${end}`);
  return tensor(
    new Float32Array(target.vocabSize * width).map(() => scale * own.normal()),
    { shape: [target.vocabSize, width], requiresGrad: true },
  );
}

/** Fast vocabulary transfer (Gee et al. 2022): each target token is the mean of the source tokens of its text. */
const fvt: Method = {
  name: 'fvt',
  vocabulary: 'target',
  before: true,
  start: async context =>
    withRows(context, ({ targetIds }) => i => [
      ...context.source.tokenizer.encodeBytes(context.target.tokenBytes(targetIds[i])),
    ]),
};

/** The architecture with fresh weights: what the training text alone teaches. */
const scratch: Method = {
  name: 'scratch',
  vocabulary: 'target',
  before: false,
  start: async ({ source, target, settings }) => ({
    model: initTransformer(
      { ...source.model.config, vocabSize: target.vocabSize, tied: false },
      new Random(settings.seed).split('scratch'),
    ),
    spent: 0,
  }),
};

/** Sparse Sinkhorn token translation: the plan is learned first, with the model frozen (phase 1). */
const s2t2: Method = {
  name: 's2t2',
  vocabulary: 'target',
  before: true,
  start: async context => {
    const learned = await learn(context, 's2t2', sparseLayer);
    const plan = await planFrom(context, learned);
    learned.dispose();
    const { planEnds } = context.settings;
    const fresh =
      planEnds === 'both'
        ? {}
        : planEnds === 'head'
          ? { embedding: await randomEnd(context, 'embedding') }
          : { head: await randomEnd(context, 'head') };
    return { model: await modelFromPlan(context.source.model, plan, fresh), plan, spent: learned.spent };
  },
};

/** A baseline with another layer in the place of the sparse one, learned in the same way. */
const withLayer = (name: string, layer: Layer): Method => ({
  name,
  vocabulary: 'target',
  before: true,
  start: async context => {
    const learned = await learn(context, name, layer);
    const { embedding, head } = noGrad(() => scope(learned.ends));
    learned.dispose();
    const model = withEnds(context.source.model, { embedding: copyOf(embedding), head: copyOf(head) });
    [embedding, head].forEach(t => t.dispose());
    return { model, spent: learned.spent };
  },
});

export const methods: Readonly<Record<string, Method>> = {
  source,
  truncated,
  random,
  fvt,
  plain: withLayer('plain', plainLayer),
  dense: withLayer('dense', denseLayer),
  s2t2,
  scratch,
};

/** Which tokens the plan translates, and the special tokens that map one to one by the part they play. */
export function tokenMap(source: Tokenizer, target: Tokenizer): TokenMap {
  const specials: number[] = [];
  const fallback = source.specialTokens.eos;
  for (const id of target.parts.special.values()) {
    const role = (['bos', 'eos', 'pad', 'unk'] as const).find(r => target.specialTokens[r] === id);
    const counterpart = (role && source.specialTokens[role]) ?? fallback;
    if (counterpart === undefined)
      throw new Error(`translate: the source tokenizer has no counterpart of ${target.token(id)}`);
    specials.push(id, counterpart);
  }
  return {
    sourceIds: source.ordinaryIds(),
    targetIds: target.ordinaryIds(),
    specials: Int32Array.from(specials),
    targetSize: target.vocabSize,
  };
}

/** A model whose ordinary target tokens are means of source rows; the special ones are copied. */
async function withRows(
  { source, target }: Context,
  choose: (map: TokenMap) => (i: number) => number[],
): Promise<Start> {
  const map = tokenMap(source.tokenizer, target);
  const rowsOf = choose(map);
  const { width } = source.model.config;
  const average = async (end: Tensor): Promise<Tensor> => {
    const from = (await end.data()) as Float32Array;
    const to = new Float32Array(map.targetSize * width);
    const put = (id: number, rows: readonly number[]) => {
      for (let c = 0; c < width; c++)
        to[id * width + c] = rows.reduce((sum, row) => sum + from[row * width + c], 0) / rows.length;
    };
    map.targetIds.forEach((id, i) => put(id, rowsOf(i)));
    for (let s = 0; s < map.specials.length; s += 2) put(map.specials[s], [map.specials[s + 1]]);
    return tensor(to, { shape: [map.targetSize, width], requiresGrad: true });
  };
  const { embedding, head } = source.model;
  return {
    model: withEnds(source.model, { embedding: await average(embedding), head: await average(head) }),
    spent: 0,
  };
}

/** What a layer makes of the learned Ĉ (u, v), of order one: P (u, v). */
type Layer = (cost: Tensor, mu: Tensor, nu: Tensor, settings: Settings) => SinkhornResult;

/** X = −Ĉ/(α̂ u v). */
function sparseLayer(cost: Tensor, mu: Tensor, nu: Tensor, settings: Settings): SinkhornResult {
  return sparseSinkhorn(mul(cost, -1 / (settings.alpha * cost.size)), mu, nu, settings);
}

/** The paper's dense plan: X = −Ĉ. */
function denseLayer(cost: Tensor, mu: Tensor, nu: Tensor, { iterations }: Settings): SinkhornResult {
  return denseSinkhorn(neg(cost), mu, nu, iterations);
}

/** The paper's unconstrained plan, at the scale of a plan: P = (1 − Ĉ)/(u v). */
function plainLayer(cost: Tensor): SinkhornResult {
  return { plan: div(sub(1, cost), cost.size) };
}

interface Learned {
  readonly map: TokenMap;
  readonly mu: Tensor;
  readonly nu: Tensor;
  readonly layer: () => SinkhornResult;
  readonly ends: () => Ends;
  /** Of the budget, in its unit. */
  readonly spent: number;
  readonly dispose: () => void;
}

/** Phase 1: learns the cost Ĉ by the frozen model's loss. */
async function learn(context: Context, name: string, layer: Layer): Promise<Learned> {
  const { settings, source, target, train } = context;
  const map = tokenMap(source.tokenizer, target);
  const [u, v] = [map.targetIds.length, map.sourceIds.length];
  const cost = tensor(initialCost(context, map), { shape: [u, v], requiresGrad: true });
  const marginalOf = (vocabulary: Vocabulary, ids: Int32Array) =>
    settings.marginals === 'uniform'
      ? new Float32Array(ids.length).fill(1 / ids.length)
      : smoothedFrequencies(train[vocabulary], ids);
  const mu = tensor(marginalOf('target', map.targetIds), { shape: [u, 1] });
  const nu = tensor(marginalOf('source', map.sourceIds), { shape: [1, v] });
  const apply = () => layer(cost, mu, nu, settings);
  // An unconstrained plan has entries of both signs, and rows that sum to anything, zero included.
  const [rowNormalisation, product] =
    layer === plainLayer ? ['nominal' as const, matmul] : [settings.rowNormalisation, sparseMatmul];
  const ends = () => translateEnds(apply().plan, mu, nu, source.model, map, rowNormalisation, product);

  const amount = settings.planShare * settings.budget.amount;
  const batches = planBatches(
    train.target,
    settings.batchTokens,
    { ...settings.budget, amount },
    new Random(settings.seed).split('plan batches'),
  );
  const stage = await context.runStage(`${name}.plan`, {
    parameters: { cost },
    batches,
    loss: batch => batchLoss(source.model, batch, ends()),
    rate: settings.planRate,
    warmup: Math.ceil(settings.warmupShare * batches.length),
    // A gradient with respect to one of a million costs is small: ε must be smaller, and a cost does not decay.
    optimizer: parameters => new AdamW(parameters, { weightDecay: 0, epsilon: 1e-16, clip: Infinity }),
  });
  const spent = settings.budget.unit === 'tokens' ? stage.tokens : stage.bytes;
  return { map, mu, nu, layer: apply, ends, spent, dispose: () => [cost, mu, nu].forEach(t => t.dispose()) };
}

/** Noise, which breaks the tie between target tokens; with `pieces`, half the mass of a row starts on the source tokens of its text. */
function initialCost(
  { settings, source, target }: Context,
  { targetIds, sourceIds }: TokenMap,
): Float32Array<ArrayBuffer> {
  const random = new Random(settings.seed).split('cost');
  const cost = new Float32Array(targetIds.length * sourceIds.length).map(() => settings.noise * random.normal());
  if (settings.init === 'noise') return cost;
  const columns = new Map(Array.from(sourceIds, (id, j) => [id, j]));
  targetIds.forEach((id, i) => {
    const pieces = source.tokenizer.encodeBytes(target.tokenBytes(id));
    for (const piece of pieces) cost[i * sourceIds.length + columns.get(piece)!] -= 0.5 / pieces.length;
  });
  return cost;
}

/** The learned plan as it is stored. */
async function planFrom({ settings, source, target }: Context, { layer, mu, nu, map }: Learned): Promise<Plan> {
  const { plan, x, potentials } = noGrad(() => scope(layer));
  const [muValues, nuValues] = [(await mu.data()) as Float32Array, (await nu.data()) as Float32Array];
  const gap = potentials
    ? dualityGap(await x!.data(), await potentials.phi.data(), await potentials.gamma.data(), muValues, nuValues)
    : null;
  const [u, v] = [map.targetIds.length, map.sourceIds.length];
  const stored: Plan = {
    ...compress(await plan.data(), u, v),
    mu: muValues,
    nu: nuValues,
    targetIds: map.targetIds,
    sourceIds: map.sourceIds,
    specials: map.specials,
    target: target.hash,
    source: source.tokenizer.hash,
    settings: {
      variant: settings.variant,
      iterations: settings.iterations,
      alpha: settings.alpha,
      rowNormalisation: settings.rowNormalisation,
    },
    gap,
  };
  [plan, x, potentials?.phi, potentials?.gamma].forEach(t => t?.dispose());
  const empty = Array.from({ length: u }, (_, i) => i).find(i => stored.pointers[i] === stored.pointers[i + 1]);
  if (empty !== undefined)
    throw new Error(
      `s2t2: the plan has an empty row: target token ${target.token(map.targetIds[empty])} has no source token; raise alpha (now ${settings.alpha}) or the iterations (${settings.iterations})`,
    );
  return stored;
}

/** Half the frequencies of ordinary tokens in the sequences, half a uniform distribution. */
function smoothedFrequencies(sequences: readonly Sequence[], ids: Int32Array): Float32Array<ArrayBuffer> {
  const counts = new Map<number, number>();
  for (const s of sequences) for (const id of s.ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  const total = ids.reduce((sum, id) => sum + (counts.get(id) ?? 0), 0);
  return Float32Array.from(ids, id => (0.5 * (counts.get(id) ?? 0)) / total + 0.5 / ids.length);
}

/** The model with its ends rewritten by a stored plan, but for those that are given. */
export async function modelFromPlan(model: Transformer, plan: Plan, given: Partial<Ends> = {}): Promise<Transformer> {
  const { width } = model.config;
  const translated = async (end: 'embedding' | 'head') => {
    const values = applyPlan(plan, end, (await model[end].data()) as Float32Array, width);
    return tensor(values, { shape: [values.length / width, width], requiresGrad: true });
  };
  return withEnds(model, {
    embedding: given.embedding ?? (await translated('embedding')),
    head: given.head ?? (await translated('head')),
  });
}
