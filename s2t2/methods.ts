/**
 * The ways to start a model in a new domain, behind one interface: each gives a model for the target or the source
 * vocabulary, made from the pretrained one, and says what it has spent of the training budget. What follows
 * (evaluation, finetuning, evaluation) is the same for all (`cell.ts`).
 */
import { noGrad, Random, scope, tensor, type Tensor } from '../engine/index.ts';
import { initTransformer } from '../models/init.ts';
import { nextTurn } from '../models/turn.ts';
import { assemble, disposeModel, parameters, type Ends, type Transformer } from '../models/weights.ts';
import { changedHead, hasFrequencies, headChange } from './frequencies.ts';
import { denseLayer, learn, plainLayer, sparseLayer, type Layer } from './learn.ts';
import { nothing, plus, type Context, type Method, type Start } from './method.ts';
import type { Plan } from './plan.ts';
import { presets } from './settings.ts';
import { rowsOfPlan, rowVariance, spreadEnd } from './spread.ts';
import { applyPlan, isExtension, tokenMap, type TokenMap } from './translate.ts';

/** A weight that can be trained without touching the original: a tensor over the same, never written, values. */
const copyOf = (weight: Tensor): Tensor => weight.alias(undefined, null, true);

/** A model that learns from the values of another, which stays as it is. */
export function copyModel(model: Transformer): Transformer {
  const weights = parameters(model);
  return { config: model.config, ...assemble(model.config, name => copyOf(weights[name])) };
}

/** A copy of the model with other ends; untied, since the two differ. */
export function withEnds(model: Transformer, ends: Ends): Transformer {
  const config = { ...model.config, vocabSize: ends.embedding.shape[0], tied: false };
  const weights = parameters(model);
  const isEnd = (name: string): name is keyof Ends => name === 'embedding' || name === 'head';
  return { config, ...assemble(config, name => (isEnd(name) ? ends[name] : copyOf(weights[name]))) };
}

/** The pretrained model with the source's own tokenizer. */
const source: Method = {
  name: 'source',
  vocabulary: 'source',
  learnsPlan: false,
  before: true,
  start: async ({ source: { model } }) => ({ model: copyModel(model), spent: nothing }),
};

/** Each target token takes the rows of the source token at its place: the head of the matrices, cut off. */
const truncated: Method = {
  name: 'truncated',
  vocabulary: 'target',
  learnsPlan: false,
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

/**
 * Rows drawn at random, each end at the root mean square of the source's: what the text of a token teaches nothing
 * about.
 */
const random: Method = {
  name: 'random',
  vocabulary: 'target',
  learnsPlan: false,
  before: true,
  start: async context => ({
    model: withEnds(context.source.model, {
      embedding: await randomEnd(context, 'embedding'),
      head: await randomEnd(context, 'head'),
    }),
    spent: nothing,
  }),
};

async function randomEnd({ source, target, settings }: Context, end: 'embedding' | 'head'): Promise<Tensor> {
  const { width } = source.model.config;
  const values = (await source.model[end].data()) as Float32Array;
  const scale = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
  const own = new Random(settings.seed).split(`random ${end}`);
  const drawn = new Float32Array(target.vocabSize * width).map(() => scale * own.normal());
  if (isExtension(source.tokenizer, target)) drawn.set(values.subarray(0, source.tokenizer.vocabSize * width));
  return tensor(drawn, { shape: [target.vocabSize, width], requiresGrad: true });
}

/** Fast vocabulary transfer (Gee et al. 2022): each target token is the mean of the source tokens of its text. */
const fvt: Method = {
  name: 'fvt',
  vocabulary: 'target',
  learnsPlan: false,
  before: true,
  start: async context =>
    withRows(context, ({ targetIds }) => i => [
      ...context.source.tokenizer.encodeBytes(context.target.tokenBytes(targetIds[i])),
    ]),
};

/**
 * The same rows, spread to the source's scale (`spread.ts`), with a head that knows frequencies (`frequencies.ts`): the
 * start that ends lowest where a model like the bundled one is finetuned. It learns nothing.
 */
const fvtSpread: Method = {
  name: 'fvt-spread',
  vocabulary: 'target',
  learnsPlan: false,
  before: true,
  start: async context => {
    const { model } = await fvt.start(context);
    const spread = await spreadModel(context, model);
    disposeModel(model);
    return biased(context, spread);
  },
};

/** The architecture with fresh weights: what the training text alone teaches. */
const scratch: Method = {
  name: 'scratch',
  vocabulary: 'target',
  learnsPlan: false,
  before: false,
  start: async ({ source, target, settings }) => ({
    model: initTransformer(
      { ...source.model.config, vocabSize: target.vocabSize, tied: false },
      new Random(settings.seed).split('scratch'),
    ),
    spent: nothing,
  }),
};

/**
 * Sparse Sinkhorn token translation: the plan is learned first, with the model frozen (phase 1). Finetuning starts from
 * rows drawn about the translated ones (`spread.ts`).
 */
const translation = (name: string): Method => ({
  name,
  vocabulary: 'target',
  learnsPlan: true,
  before: true,
  start: async context => {
    const learned = await learn(context, name, sparseLayer);
    const plan = await learned.plan().finally(learned.dispose);
    const start = await translatedStart(context, plan);
    return { ...start, spent: plus(learned.spent, start.spent) };
  },
});

/** A baseline with another layer in the place of the sparse one, learned in the same way. */
const withLayer = (name: string, layer: Layer): Method => ({
  name,
  vocabulary: 'target',
  learnsPlan: true,
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

/** A method in the paper's form, whatever the settings say of its form. */
const inPaperForm = (method: Method): Method => ({
  ...method,
  start: context => method.start({ ...context, settings: { ...context.settings, ...presets.paper } }),
});

/** All methods by name, in the order of a table. */
export const methods: Readonly<Record<string, Method>> = {
  source,
  truncated,
  random,
  fvt,
  'fvt-spread': fvtSpread,
  plain: inPaperForm(withLayer('plain', plainLayer)),
  dense: inPaperForm(withLayer('dense', denseLayer)),
  paper: inPaperForm(translation('paper')),
  s2t2: translation('s2t2'),
  scratch,
};

/** A model whose ordinary target tokens are means of source rows; the special ones are copied. */
async function withRows(
  { source, target }: Context,
  choose: (map: TokenMap) => (i: number) => number[],
): Promise<Start> {
  const map = tokenMap(source.tokenizer, target);
  const rowsOf = choose(map);
  const { width } = source.model.config;
  const average = (from: Float32Array): Tensor => {
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
  const from = (await embedding.data()) as Float32Array;
  const ends = {
    embedding: average(from),
    head: average(head === embedding ? from : ((await head.data()) as Float32Array)),
  };
  return { model: withEnds(source.model, ends), spent: nothing };
}

/** The model with its ends rewritten by a stored plan. */
export async function modelFromPlan(model: Transformer, plan: Plan): Promise<Transformer> {
  const { width } = model.config;
  const translated = async (end: 'embedding' | 'head') => {
    const values = applyPlan(plan, end, (await model[end].data()) as Float32Array, width);
    return tensor(values, { shape: [values.length / width, width], requiresGrad: true });
  };
  return withEnds(model, { embedding: await translated('embedding'), head: await translated('head') });
}

/** What a start is made of without training. */
type StartContext = Pick<Context, 'source' | 'target' | 'settings' | 'train'>;

/**
 * What a plan makes of the source model, and what finetuning starts from, where the settings ask for rows that are
 * drawn about the translated ones.
 */
export async function translatedStart(context: StartContext, plan: Plan): Promise<Start> {
  const { source, settings } = context;
  const translated = await modelFromPlan(source.model, plan);
  const spread = settings.spread === 'none' ? null : await spreadModel(context, translated, plan);
  const { model, spent } = await biased(context, translated, settings.headScale);
  if (!spread) return { model, plan, spent };
  const finetuned = await biased(context, spread);
  return { model, finetuned: finetuned.model, plan, spent: finetuned.spent };
}

/**
 * The model with the head's rows scaled and with the log frequencies of tokens as mean logits (`headChange`); the model
 * itself where the settings do not ask for that. `model` is gone then.
 */
async function biased(context: StartContext, model: Transformer, scale = 1): Promise<Omit<Start, 'finetuned'>> {
  if (!hasFrequencies(context)) return { model, spent: nothing };
  const change = await headChange(context, model, scale);
  const rows = changedHead((await model.head.data()) as Float32Array, change);
  const head = tensor(rows, { shape: model.head.shape, requiresGrad: true });
  const result = withEnds(model, { embedding: copyOf(model.embedding), head });
  disposeModel(model);
  return { model: result, spent: change.spent };
}

/**
 * The model with the rows of both ends drawn about those of `translated`, at the source's scale (`spread.ts`). Without
 * a plan all of a translated row is what the text of its token says.
 */
async function spreadModel(
  { source, target, settings }: Omit<StartContext, 'train'>,
  translated: Transformer,
  plan?: Plan,
): Promise<Transformer> {
  const { targetIds, sourceIds } = tokenMap(source.tokenizer, target);
  const { width } = source.model.config;
  const spread = async (end: keyof Ends): Promise<Tensor> => {
    await nextTurn(); // an end of a wide model takes seconds
    const from = (await source.model[end].data()) as Float32Array;
    const variance = rowVariance(width);
    for (const id of sourceIds) variance.add(from.subarray(id * width, (id + 1) * width));
    const made = (await translated[end].data()) as Float32Array;
    const rows = plan ? rowsOfPlan(plan, made, variance.mean()) : { values: made, ids: targetIds };
    const values = spreadEnd(end, rows, width, variance.result(), settings);
    return tensor(values, { shape: [target.vocabSize, width], requiresGrad: true });
  };
  return withEnds(source.model, { embedding: await spread('embedding'), head: await spread('head') });
}
