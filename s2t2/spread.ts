/**
 * The rows that finetuning starts from. A translated row is a mean of source rows, so a matrix of them has a large
 * common part, a few directions far above the source's variance and most others below it: tokens are too alike, and
 * the first steps of finetuning go into telling them apart. A trained matrix looks like a sample, not like its mean. So
 * take the translated rows as what is known of the sample and draw the rest:
 *
 *     kᵢ  = (rowᵢ − m) V diag(√(min(λ, σ²) / λ)) Vᵀ                    what is kept
 *     vᵢ  = max(0, d σ² − |kᵢ|²)                                       what row i lacks of a source row's square
 *     rowᵢ ← kᵢ + √(vᵢ / v̄) zᵢ V diag(√(σ² − min(λ, σ²))) Vᵀ           z normal, v̄ the mean of vᵢ
 *
 * with m and V diag(λ) Vᵀ the mean and the covariance of the translated rows (d columns) and σ² the source rows'
 * variance about their mean, averaged over dimensions. A plan that was mixed with ε of the uniform coupling has 1 − ε
 * of what the text says in each row, and ε of the mean of all source rows, which m takes away: rows are divided by
 * 1 − ε first. Rows of the result have mean 0, covariance σ² I and, unless what is kept has more, the square d σ², all
 * on average over the noise: distinct, on the source's scale, and the less noisy the more their text says. Where the
 * translation says nothing (λ = 0) they are the `random` baseline. Ours.
 */
import { Random } from '../engine/index.ts';
import { symmetricEigen } from './eigen.ts';
import { madeIds, textShare, unseenIds, type Plan } from './plan.ts';

/** Rows of one end: which of a matrix with `width` columns. */
export interface Rows {
  readonly values: ArrayLike<number>;
  readonly ids: ArrayLike<number>;
  /** What they are divided by; 1, if missing. */
  readonly share?: number;
}

/** The mean of rows, and the rows less the mean (n, d). */
function centre({ values, ids, share = 1 }: Rows, width: number): { mean: Float64Array; centred: Float64Array } {
  const centred = new Float64Array(ids.length * width);
  const mean = new Float64Array(width);
  for (let i = 0; i < ids.length; i++)
    for (let c = 0; c < width; c++) {
      centred[i * width + c] = values[ids[i] * width + c] / share;
      mean[c] += centred[i * width + c] / ids.length;
    }
  for (let e = 0; e < centred.length; e++) centred[e] -= mean[e % width];
  return { mean, centred };
}

/** σ²: the variance of rows about their mean, averaged over dimensions; of rows given one by one. */
export interface RowVariance {
  add(row: ArrayLike<number>): void;
  result(): number;
  /** The mean (d) itself. */
  mean(): Float64Array;
}

/** In one pass: mean of squares less square of the mean, in double precision. */
export function rowVariance(width: number): RowVariance {
  const sums = new Float64Array(width);
  let [squares, n] = [0, 0];
  return {
    add(row) {
      for (let c = 0; c < width; c++) {
        sums[c] += row[c];
        squares += row[c] * row[c];
      }
      n++;
    },
    result: () => (squares - sums.reduce((total, x) => total + x * x, 0) / n) / (n * width),
    mean: () => sums.map(x => x / n),
  };
}

/**
 * The rows that a plan has made at one end (V, width). Those of tokens that are never shown are all text: they get the
 * uniform part that the plan's own have, of the source rows' mean (d), so that all are divided by the same share.
 */
export function rowsOfPlan(
  plan: Plan,
  end: Float32Array,
  mean: Float64Array,
): Rows & { readonly values: Float32Array<ArrayBuffer> } {
  const width = mean.length;
  const share = textShare(plan);
  const values = Float32Array.from(end);
  for (const id of unseenIds(plan))
    for (let c = 0; c < width; c++) values[id * width + c] += (1 - share) * (mean[c] - values[id * width + c]);
  return { values, ids: madeIds(plan), share };
}

/** What of rows is kept, (n, d), and the square root of the covariance that is drawn, (d, d): kept + z · drawn. */
export function isotropicParts(
  rows: Rows,
  width: number,
  variance: number,
): { readonly kept: Float64Array; readonly drawn: Float64Array } {
  const { centred } = centre(rows, width);
  const { values, vectors } = spectrum(centred, rows.ids.length, width);
  /** V diag(f(λ)) Vᵀ: f(0) I but for the directions of the spectrum. */
  const ofSpectrum = (f: (lambda: number) => number): Float64Array => {
    const out = new Float64Array(width * width);
    for (let a = 0; a < width; a++) out[a * (width + 1)] = f(0);
    values.forEach((lambda, k) => {
      const weight = f(lambda) - f(0);
      if (weight === 0) return;
      const vector = vectors.subarray(k * width, (k + 1) * width);
      for (let a = 0; a < width; a++)
        for (let b = 0; b < width; b++) out[a * width + b] += weight * vector[a] * vector[b];
    });
    return out;
  };
  const kept = product(
    centred,
    ofSpectrum(lambda => (lambda > variance ? Math.sqrt(variance / lambda) : 1)),
    width,
  );
  return { kept, drawn: ofSpectrum(lambda => Math.sqrt(variance - Math.min(lambda, variance))) };
}

/**
 * Eigenvalues (k) and eigenvectors, rows of (k, d), of the covariance XᵀX/n of centred rows X (n, d). Where there are
 * fewer rows than dimensions they come from XXᵀ/n, whose eigenvectors u give v = Xᵀu/√(nλ); those left out have λ = 0.
 */
function spectrum(X: Float64Array, n: number, d: number): { values: Float64Array; vectors: Float64Array } {
  const few = n < d;
  const [k, inner] = few ? [n, d] : [d, n];
  const at = few ? (i: number, e: number) => X[i * d + e] : (i: number, e: number) => X[e * d + i];
  const gram = new Float64Array(k * k);
  for (let e = 0; e < inner; e++)
    for (let a = 0; a < k; a++) {
      const x = at(a, e) / n;
      for (let b = 0; b < k; b++) gram[a * k + b] += x * at(b, e);
    }
  const eigen = symmetricEigen(gram, k);
  const values = eigen.values.map(lambda => Math.max(0, lambda));
  const vectors = new Float64Array(k * d);
  const negligible = 1e-13 * Math.max(...values);
  for (let j = 0; j < k; j++)
    for (let i = 0; i < k; i++) {
      const u = eigen.vectors[j * k + i];
      if (!few) vectors[j * d + i] = u;
      else if (values[j] > negligible) {
        const scale = u / Math.sqrt(n * values[j]);
        for (let c = 0; c < d; c++) vectors[j * d + c] += scale * X[i * d + c];
      }
    }
  return { values, vectors };
}

/** Rows (n, d) times a matrix (d, d). */
function product(rows: Float64Array, matrix: Float64Array, d: number): Float64Array {
  const out = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i += d)
    for (let a = 0; a < d; a++) for (let b = 0; b < d; b++) out[i + b] += rows[i + a] * matrix[a * d + b];
  return out;
}

/** √(vᵢ / v̄) of each of the rows that are kept (n, d): how much noise it takes. */
export function noiseShares(kept: Float64Array, width: number, variance: number): Float64Array {
  const lacking = new Float64Array(kept.length / width).fill(width * variance);
  kept.forEach((x, e) => (lacking[Math.floor(e / width)] -= x * x));
  const rest = lacking.map(v => Math.max(0, v));
  const mean = rest.reduce((sum, v) => sum + v / rest.length, 0);
  return rest.map(v => (mean > 0 ? Math.sqrt(v / mean) : 0));
}

/**
 * An end (V, width) whose rows `ids` are spread to a variance and then scaled; other rows, special tokens, are copied.
 */
export function spreadRows(
  rows: Rows & { readonly values: Float32Array },
  width: number,
  { variance, scale, random }: { readonly variance: number; readonly scale: number; readonly random: Random },
): Float32Array<ArrayBuffer> {
  const { kept, drawn } = isotropicParts(rows, width, variance);
  const noise = product(
    kept.map(() => random.normal()),
    drawn,
    width,
  );
  const shares = noiseShares(kept, width, variance);
  const out = Float32Array.from(rows.values);
  shares.forEach((share, i) => {
    for (let c = 0; c < width; c++)
      out[rows.ids[i] * width + c] = scale * (kept[i * width + c] + share * noise[i * width + c]);
  });
  return out;
}

/** What fixes how both ends of a model are spread. */
export interface SpreadSettings {
  readonly seed: number;
  /** Scale of the head's rows, in units of the source's. */
  readonly headScale: number;
}

/** An end (V, width) with its rows spread; `variance` is that of the source's rows at this end. */
export const spreadEnd = (
  end: 'embedding' | 'head',
  rows: Rows & { readonly values: Float32Array },
  width: number,
  variance: number,
  { seed, headScale }: SpreadSettings,
): Float32Array<ArrayBuffer> =>
  spreadRows(rows, width, {
    variance,
    scale: end === 'head' ? headScale : 1,
    random: new Random(seed).split(`spread ${end}`),
  });
