/**
 * Phase 1: a plan is learned by the frozen model's loss on target text. What is learned is a cost Ĉ (u, v) of order
 * one; a layer makes a plan of it, and the plan makes both ends of the model.
 */
import { matmul, noGrad, Random, scope, sparseMatmul, tensor, type Tensor } from '../engine/index.ts';
import { AdamW } from '../models/adamw.ts';
import { makeBatch, planBatches } from '../models/batches.ts';
import { UserError } from '../models/errors.ts';
import { batchLoss } from '../models/score.ts';
import { Interrupted, type Training } from '../models/train.ts';
import type { Ends } from '../models/weights.ts';
import { hasFrequencies, headChange } from './frequencies.ts';
import { nothing, plus, type Amount, type Context } from './method.ts';
import { compress, dualityGap, emptyLine, unseenIds, type Plan } from './plan.ts';
import { priorCoupling, type Coupling } from './prior.ts';
import type { Settings } from './settings.ts';
import { denseSinkhorn, sparseSinkhorn, type SinkhornResult } from './sinkhorn.ts';
import { tokenMap, tokensShown, translateEnds, type TokenMap } from './translate.ts';

/** What makes a plan P (u, v) of the cost Ĉ (u, v), given marginals (u, 1) and (1, v). */
export interface Layer {
  readonly plan: (cost: Tensor, mu: Tensor, nu: Tensor, settings: Settings) => SinkhornResult;
  /** Ĉ of a cell for which the layer starts from the prior coupling's entry; 0 where the layer has no prior. */
  readonly costOf: (entry: number, size: number, settings: Settings) => number;
  /** Entries may have either sign: rows may sum to anything, 0 included, and a product with P is dense. */
  readonly signed?: boolean;
}

/** X = −Ĉ/(α̂ u v): the sparse plan. */
export const sparseLayer: Layer = {
  plan: (cost, mu, nu, settings) => sparseSinkhorn(cost.mul(-1 / (settings.alpha * cost.size)), mu, nu, settings),
  costOf: (entry, size, { alpha }) => -alpha * size * entry,
};

/** The paper's dense plan: X = −Ĉ. */
export const denseLayer: Layer = {
  plan: (cost, mu, nu, { iterations }) => denseSinkhorn(cost.neg(), mu, nu, iterations),
  costOf: () => 0,
};

/** The paper's unconstrained plan, at the scale of a plan: P = (1 − Ĉ)/(u v). */
export const plainLayer: Layer = {
  plan: cost => ({ plan: cost.neg().add(1).div(cost.size) }),
  costOf: () => 0,
  signed: true,
};

/** A learned cost and what it gives, as tensors that live until `dispose`. */
export interface Learned {
  readonly ends: () => Ends;
  /** The plan as it is stored; all later use reads this and not the cost. */
  readonly plan: () => Promise<Plan>;
  /** Of the budget: text that was learned from, or read. */
  readonly spent: Amount;
  readonly dispose: () => void;
}

/** Phase 1 (arXiv 2411.00593): learns the cost by the loss of the frozen model, on the plan's share of the budget. */
export async function learn(context: Context, name: string, layer: Layer): Promise<Learned> {
  const { settings, source, target, train, recompute } = context;
  const map = tokenMap(source.tokenizer, target, tokensShown(train.target, target.vocabSize));
  const [u, v] = [map.targetIds.length, map.sourceIds.length];
  const unseen = unseenIds(map).length;
  if (unseen > 0)
    context.log(
      `${name}: the training text never shows ${unseen} of ${u + unseen} target tokens; they are not in the plan, ` +
        'and their rows are means of their source tokens',
    );
  const prior = priorCoupling(source.tokenizer, target, map, settings.smoothing);
  const cost = tensor(initialCost(prior, layer, settings), { shape: [u, v], requiresGrad: true });
  const mu = tensor(prior.mu);
  const nu = tensor(prior.nu);
  const make = () => layer.plan(cost, mu, nu, settings);
  const [division, product] = layer.signed
    ? [{ ...settings, rowNormalisation: 'nominal' as const }, matmul]
    : [settings, sparseMatmul];
  const translated = () => translateEnds(make().plan, mu, nu, source.model, map, division, product);
  let bias: Bias | null = null;
  const ends = () => {
    const { embedding, head } = translated();
    return { embedding, head: bias ? head.mul(bias.scale).add(bias.shift) : head };
  };
  const stored = () => storePlan(context, map, prior, make, true);
  const dispose = () => [cost, mu, nu, bias?.scale, bias?.shift].forEach(t => t?.dispose());

  const batches = planBatches(
    train.target,
    settings.batchTokens,
    { ...settings.budget, amount: settings.planShare * settings.budget.amount },
    new Random(settings.seed).split('plan batches'),
  );
  const loss = (batch: Parameters<typeof batchLoss>[1]) => batchLoss(source.model, batch, ends(), recompute);
  const [first] = batches;
  try {
    if (!layer.signed) await stored(); // throws where it has an empty line
    if (hasFrequencies(context)) bias = await biasOf(context, translated);
    if (first) await checkStart(context, name, () => loss(makeBatch(first)));
    const training = {
      parameters: { cost },
      batches,
      loss,
      rate: settings.planRate,
      warmup: Math.ceil(settings.warmupShare * batches.length),
      // A gradient with respect to one of a million costs is small: ε must be smaller, and a cost does not decay.
      optimizer: (parameters: Training['parameters']) =>
        new AdamW(parameters, { weightDecay: 0, epsilon: 1e-16, clip: Infinity }),
    };
    const learner = layer.signed ? {} : { plan: () => storePlan(context, map, prior, make, false) };
    const stage = await context.runStage(`${name}.plan`, training, learner);
    return { ends, plan: stored, spent: plus(stage, bias?.spent ?? nothing), dispose };
  } catch (error) {
    // A plan that lost a row makes the loss NaN; report the row if that is the cause.
    const cause: unknown =
      layer.signed || error instanceof Interrupted
        ? error
        : await stored().then(
            () => error,
            e => e,
          );
    dispose();
    throw cause;
  }
}

/**
 * What a head L' becomes while the plan is learned, scale · L' + shift, so that it begins with the log frequencies of
 * tokens as mean logits (`frequencies.ts`): scale (V, 1), shift (V, C).
 */
interface Bias {
  readonly scale: Tensor;
  readonly shift: Tensor;
  readonly spent: Amount;
}

async function biasOf(context: Context, translated: () => Ends): Promise<Bias> {
  const { source, target, settings } = context;
  const { embedding, head } = noGrad(() => scope(translated));
  const config = { ...source.model.config, vocabSize: target.vocabSize };
  const model = { ...source.model, config, embedding, head };
  const { scale, move, direction, spent } = await headChange(context, model, settings.headScale);
  [embedding, head].forEach(t => t.dispose());
  const [V, C] = [scale.length, direction.length];
  return {
    scale: tensor(scale, { shape: [V, 1] }),
    shift: tensor(
      Float32Array.from({ length: V * C }, (_, e) => move[Math.floor(e / C)] * direction[e % C]),
      { shape: [V, C] },
    ),
    spent,
  };
}

/** The prior coupling as a cost, and noise, which breaks ties between target tokens. */
function initialCost({ values, mu, nu }: Coupling, layer: Layer, settings: Settings): Float32Array<ArrayBuffer> {
  const random = new Random(settings.seed).split('cost');
  const size = mu.length * nu.length;
  return values.map(entry => layer.costOf(entry, size, settings) + settings.noise * random.normal());
}

/** Says before phase 1 where a plan starts worse than a uniform guess. */
async function checkStart({ target, log }: Context, name: string, loss: () => Tensor): Promise<void> {
  const first = noGrad(() => scope(loss));
  const nats = await first.item();
  first.dispose();
  const uniform = Math.log(target.vocabSize);
  if (nats - uniform > 0.005)
    log(
      `${name}: before phase 1 the frozen model's loss is ${nats.toFixed(2)} nats per token, worse than a ` +
        `uniform guess (${uniform.toFixed(2)})`,
    );
}

/** Reads a plan off its layer, with its duality gap if it is to be certified; an empty row or column is an error. */
async function storePlan(
  { settings, source, target }: Context,
  { targetIds, sourceIds, specials, unseen }: TokenMap,
  { mu, nu }: Coupling,
  make: () => SinkhornResult,
  certify: boolean,
): Promise<Plan> {
  const { plan, x, potentials } = computed(make, settings);
  const gap =
    certify && potentials
      ? dualityGap(await x!.data(), await potentials.phi.data(), await potentials.gamma.data(), mu, nu)
      : null;
  const { variant, iterations, alpha, rowNormalisation, headNormalisation } = settings;
  const stored: Plan = {
    ...compress(await plan.data(), targetIds.length, sourceIds.length),
    mu,
    nu,
    targetIds,
    sourceIds,
    specials,
    unseen,
    target: target.hash,
    source: source.tokenizer.hash,
    settings: { variant, iterations, alpha, rowNormalisation, headNormalisation },
    gap,
  };
  [plan, x, potentials?.phi, potentials?.gamma].forEach(t => t?.dispose());
  const empty = emptyLine(stored);
  if (empty)
    throw new UserError(
      `the plan gives ${empty.side} token ` +
        `${(empty.side === 'target' ? target : source.tokenizer).token(empty.id)} no finite mass; raise ` +
        `--alpha (now ${alpha}) or --iterations (now ${iterations})`,
    );
  return stored;
}

/** A plan without a graph; an X that overflows is a mistake of the settings. */
function computed(make: () => SinkhornResult, { alpha, planRate }: Settings): SinkhornResult {
  try {
    return noGrad(() => scope(make));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UserError(
      `the plan cannot be computed, since the cost over alpha is not finite; raise --alpha (now ${alpha}) ` +
        `or lower --plan-rate (now ${planRate})`,
    );
  }
}
