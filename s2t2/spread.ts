/**
 * The rows that finetuning starts from. A translated row is a mean of source rows, so a matrix of them has a large
 * common
 * part, a few directions far above the source's variance and most others below it: tokens are too alike, and the first
 * steps of finetuning go into telling them apart. A trained matrix looks like a sample, not like its mean. So take the
 * translated rows as what is known of the sample and draw the rest:
 *
 *     row ← (row − m) V diag(√(min(λ, σ²) / λ)) Vᵀ  +  z V diag(√(σ² − min(λ, σ²))) Vᵀ,   z normal
 *
 * with m and V diag(λ) Vᵀ the mean and the covariance of the translated rows and σ² the source rows' variance about
 * their
 * mean, averaged over dimensions. A plan that was mixed with ε of the uniform coupling has 1 − ε of what the text says
 * in
 * each row, and ε of the mean of all source rows, which m takes away: rows are divided by 1 − ε first. Rows of the
 * result have mean 0 and covariance σ² I: distinct, and on the source's scale.
 * Where the translation says nothing (λ = 0) they are the `random` baseline. Ours.
 */
import type { Random } from '../engine/index.ts';
import { symmetricEigen } from './eigen.ts';

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

/** σ²: the variance of rows about their mean, averaged over dimensions. */
export function rowVariance(rows: Rows, width: number): number {
  const { centred } = centre(rows, width);
  return centred.reduce((sum, x) => sum + x * x, 0) / centred.length;
}

/** What of rows is kept, (n, d), and the square root of the covariance that is drawn, (d, d): kept + z · drawn. */
export function isotropicParts(
  rows: Rows,
  width: number,
  variance: number,
): { readonly kept: Float64Array; readonly drawn: Float64Array } {
  const { centred } = centre(rows, width);
  const n = rows.ids.length;
  const covariance = new Float64Array(width * width);
  for (let i = 0; i < n; i++)
    for (let a = 0; a < width; a++)
      for (let b = 0; b < width; b++)
        covariance[a * width + b] += (centred[i * width + a] * centred[i * width + b]) / n;
  const { values, vectors } = symmetricEigen(covariance, width);
  const ofSpectrum = (f: (lambda: number) => number): Float64Array => {
    const scales = values.map(lambda => f(Math.max(0, lambda)));
    const out = new Float64Array(width * width);
    for (let a = 0; a < width; a++)
      for (let k = 0; k < width; k++) {
        const left = vectors[a * width + k] * scales[k];
        for (let b = 0; b < width; b++) out[a * width + b] += left * vectors[b * width + k];
      }
    return out;
  };
  const kept = product(
    centred,
    ofSpectrum(lambda => (lambda > variance ? Math.sqrt(variance / lambda) : 1)),
    width,
  );
  return { kept, drawn: ofSpectrum(lambda => Math.sqrt(variance - Math.min(lambda, variance))) };
}

/** Rows (n, d) times a matrix (d, d). */
function product(rows: Float64Array, matrix: Float64Array, d: number): Float64Array {
  const out = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i += d)
    for (let a = 0; a < d; a++) for (let b = 0; b < d; b++) out[i + b] += rows[i + a] * matrix[a * d + b];
  return out;
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
  const out = Float32Array.from(rows.values);
  for (let i = 0; i < rows.ids.length; i++)
    for (let c = 0; c < width; c++) out[rows.ids[i] * width + c] = scale * (kept[i * width + c] + noise[i * width + c]);
  return out;
}
