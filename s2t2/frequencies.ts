/**
 * A head that knows how often each token comes. A translated head says which target tokens are alike, and nothing of
 * how often they come: finetuning would learn that first, and a frozen model never. A transformer's head has no bias to
 * hold log frequencies, but its hidden states share a large common part, and a row that moves along it moves the
 * token's logit by nearly the same amount everywhere. So, with h̄ and H the mean and the second moment of the final
 * hidden states over a sample of target text,
 *
 *     w = (H + λI)⁻¹ h̄ / h̄ᵀ(H + λI)⁻¹ h̄          of all w with w·h̄ = 1 the one that minimises E (w·h − 1)² + λ|w|²
 *     lᵢ ← lᵢ + (log pᵢ − lᵢ·h̄) w                  so that the mean logit of token i over the sample is log pᵢ
 *
 * Ours; for a head with a bias it is the usual start of that bias.
 */
import { noGrad, Random, scope, tensor } from '../engine/index.ts';
import { batchTensors, makeBatch, planBatches } from '../models/batches.ts';
import { scoredTokens, sumOver, type Sequence, type Sequences } from '../models/sequences.ts';
import { forward } from '../models/transformer.ts';
import type { Transformer } from '../models/weights.ts';
import { nothing, plus, type Amount, type Context } from './method.ts';
import type { Settings } from './settings.ts';
import { isExtension, tokenMap } from './translate.ts';

/** Whether a start gives the head log frequencies: where tokens are kept, their logits stay as they are. */
export const hasFrequencies = ({
  source,
  target,
  settings,
}: Pick<Context, 'source' | 'target' | 'settings'>): boolean =>
  settings.headBias === 'frequencies' && !isExtension(source.tokenizer, target);

/** What a head is given of frequencies. */
export interface HeadBias {
  /** log p of each token (V). */
  readonly logs: Float64Array;
  /** h̄ (C). */
  readonly mean: Float64Array;
  /** w (C). */
  readonly direction: Float64Array;
}

/** Target tokens whose hidden states are read: several hundred give a mean. */
const sampleTokens = 256;
/** They are at most this part of the budget, but for a last sequence. */
const sampleShare = 0.05;
/** λ in units of the mean eigenvalue of H. */
const ridge = 0.01;

/** Target text whose hidden states are read, and what that takes of the budget. */
export interface FrequencySample {
  readonly sequences: readonly Sequence[];
  readonly spent: Amount;
}

/** A sample of the training text. */
export function frequencySample(train: Sequences, { budget, batchTokens, seed }: SampleSettings): FrequencySample {
  const share = { ...budget, amount: sampleShare * budget.amount };
  const random = new Random(seed).split('frequencies');
  const sequences: Sequence[] = [];
  let spent = nothing;
  for (const group of planBatches(train, batchTokens, share, random))
    for (const sequence of group) {
      if (spent.tokens >= sampleTokens || spent[budget.unit] >= share.amount) return { sequences, spent };
      sequences.push(sequence);
      spent = plus(spent, { tokens: scoredTokens(sequence), bytes: sequence.bytes });
    }
  return { sequences, spent };
}

/** What decides a sample. */
type SampleSettings = Pick<Settings, 'budget' | 'batchTokens' | 'seed'>;

/** The bias of a model's head: frequencies from all training text, hidden states from the sample. */
export async function headBias(model: Transformer, train: Sequences, sample: readonly Sequence[]): Promise<HeadBias> {
  const moments = await hiddenMoments(model, sample);
  const logs = logFrequencies(train, model.config.vocabSize);
  return { logs, mean: moments.mean, direction: constantDirection(moments) };
}

/** log p of each token among those that are scored, half an occurrence added to each (Krichevsky & Trofimov 1981). */
export function logFrequencies(sequences: Sequences, vocabSize: number): Float64Array {
  const counts = new Float64Array(vocabSize).fill(0.5);
  for (const { ids, context = 0 } of sequences) for (let t = 1 + context; t < ids.length; t++) counts[ids[t]]++;
  const total = sumOver(sequences, scoredTokens) + vocabSize / 2;
  return counts.map(count => Math.log(count / total));
}

/** Mean (C) and second moment (C, C) of final hidden states. */
export interface Moments {
  readonly mean: Float64Array;
  readonly second: Float64Array;
}

/** Of a model's final hidden states, where a next token is scored: its logits when the head is the identity. */
export async function hiddenMoments(model: Transformer, sample: readonly Sequence[]): Promise<Moments> {
  const { width: C } = model.config;
  const identity = Float32Array.from({ length: C * C }, (_, e) => (e % (C + 1) === 0 ? 1 : 0));
  const batch = makeBatch(sample);
  const logits = noGrad(() =>
    scope(() => {
      const head = tensor(identity, { shape: [C, C] });
      return forward(model, batchTensors(batch).ids, { embedding: model.embedding, head }).logits;
    }),
  ); // (B, T, C)
  const states = (await logits.data()) as Float32Array;
  logits.dispose();
  const mean = new Float64Array(C);
  const second = new Float64Array(C * C);
  for (let t = 0; t < batch.targets.length; t++) {
    if (batch.targets[t] < 0) continue;
    const h = states.subarray(t * C, (t + 1) * C);
    for (let a = 0; a < C; a++) {
      const x = h[a] / batch.tokens;
      mean[a] += x;
      for (let b = 0; b < C; b++) second[a * C + b] += x * h[b];
    }
  }
  return { mean, second };
}

/** w (C): where hidden states agree; 0 where their mean is. */
export function constantDirection({ mean, second }: Moments): Float64Array {
  const C = mean.length;
  let trace = 0;
  for (let a = 0; a < C; a++) trace += second[a * (C + 1)];
  const matrix = second.map((x, e) => (e % (C + 1) === 0 ? x + (ridge * trace) / C : x));
  const w = solve(matrix, mean);
  const scale = dot(w, mean);
  return scale > 0 ? w.map(x => x / scale) : w.fill(0);
}

/** What a start makes of a head's rows lᵢ: scaleᵢ lᵢ + moveᵢ w, whose mean logits are log frequencies. */
export interface HeadChange {
  /** (V). */
  readonly scale: Float32Array<ArrayBuffer>;
  /** (V). */
  readonly move: Float64Array;
  /** w (C). */
  readonly direction: Float64Array;
  /** Text that was read. */
  readonly spent: Amount;
}

/**
 * The change that a model's head takes, from a sample of its hidden states. Ordinary rows are scaled by `scale`; the
 * special ones, which are copies of the source's, by `headScale`, since their logits would drown all others.
 */
export async function headChange(
  { source, target, settings, train }: Pick<Context, 'source' | 'target' | 'settings' | 'train'>,
  model: Transformer,
  scale: number,
): Promise<HeadChange> {
  const { sequences, spent } = frequencySample(train.target, settings);
  const bias = await headBias(model, train.target, sequences);
  const scales = new Float32Array(target.vocabSize).fill(settings.headScale);
  for (const id of tokenMap(source.tokenizer, target).targetIds) scales[id] = scale;
  const scaled = scaleRows((await model.head.data()) as Float32Array, scales);
  return { scale: scales, move: frequencyShift(scaled, bias), direction: bias.direction, spent };
}

/** A head (V, C) after its change. */
export function changedHead(head: Float32Array, { scale, move, direction }: HeadChange): Float32Array<ArrayBuffer> {
  const C = direction.length;
  return scaleRows(head, scale).map((x, e) => x + move[Math.floor(e / C)] * direction[e % C]);
}

function scaleRows(rows: Float32Array, scale: Float32Array): Float32Array<ArrayBuffer> {
  const C = rows.length / scale.length;
  return Float32Array.from(rows, (x, e) => x * scale[Math.floor(e / C)]);
}

/** What takes the mean logit of each row of a head (V, C) to the token's log frequency, (V): log pᵢ − lᵢ·h̄. */
export function frequencyShift(head: Float32Array, { logs, mean }: HeadBias): Float64Array {
  const C = mean.length;
  return logs.map((log, i) => log - dot(mean, head.subarray(i * C, (i + 1) * C)));
}

/** The solution x (d) of A x = b, with A (d, d) symmetric and positive definite, by Cholesky's factors. */
function solve(A: Float64Array, b: Float64Array): Float64Array {
  const d = b.length;
  const L = A.slice();
  for (let i = 0; i < d; i++)
    for (let j = 0; j <= i; j++) {
      let sum = L[i * d + j];
      for (let k = 0; k < j; k++) sum -= L[i * d + k] * L[j * d + k];
      L[i * d + j] = i === j ? Math.sqrt(sum) : sum / L[j * d + j];
    }
  const x = b.slice();
  for (let i = 0; i < d; i++) {
    for (let k = 0; k < i; k++) x[i] -= L[i * d + k] * x[k];
    x[i] /= L[i * d + i];
  }
  for (let i = d - 1; i >= 0; i--) {
    for (let k = i + 1; k < d; k++) x[i] -= L[k * d + i] * x[k];
    x[i] /= L[i * d + i];
  }
  return x;
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
