/**
 * Eigenvalues and eigenvectors of a symmetric matrix: Householder's reflections make it tridiagonal, and QL steps with
 * implicit shifts make that diagonal. Both algorithms are EISPACK's, O(d³): tred2 and tql2 (Martin, Reinsch & Wilkinson
 * 1968; Bowdler, Martin, Reinsch & Wilkinson 1968). The matrix of vectors is kept transposed, so that every inner loop
 * runs over numbers that are neighbours.
 */

/** Eigenvalues and eigenvectors of a symmetric matrix. */
export interface Eigen {
  /** λ (d), in no order. */
  readonly values: Float64Array;
  /** Vᵀ (d, d), row-major; row k belongs to λₖ, and A = V diag(λ) Vᵀ. */
  readonly vectors: Float64Array;
}

/** Of A (d, d), row-major and symmetric, in double precision. */
export function symmetricEigen(matrix: ArrayLike<number>, d: number): Eigen {
  const vectors = Float64Array.from(matrix);
  // The largest number becomes 1: what is then too small to be squared is negligible.
  const largest = vectors.reduce((most, x) => Math.max(most, Math.abs(x)), 0) || 1;
  for (let e = 0; e < vectors.length; e++) vectors[e] /= largest;
  const values = new Float64Array(d);
  const beside = new Float64Array(d);
  tridiagonalise(vectors, values, beside, d);
  diagonalise(vectors, values, beside, d);
  return { values: values.map(lambda => lambda * largest), vectors };
}

/**
 * A = Q T Qᵀ with T tridiagonal. Row j of `U`, A before, becomes column j of Q; `diagonal` and `beside` become T's
 * diagonal and what stands beside it, from 1 on.
 */
function tridiagonalise(U: Float64Array, diagonal: Float64Array, beside: Float64Array, d: number): void {
  const [v, e] = [diagonal, beside]; // at first the reflection's vector, and A v
  const last = d - 1;
  for (let j = 0; j < d; j++) v[j] = U[j * d + last];
  for (let i = last; i > 0; i--) {
    let scale = 0;
    for (let k = 0; k < i; k++) scale += Math.abs(v[k]);
    let h = 0; // |v|² / 2 of the reflection 1 − v vᵀ / h
    if (scale === 0) {
      e[i] = v[i - 1];
      for (let j = 0; j < i; j++) {
        v[j] = U[j * d + i - 1];
        U[j * d + i] = 0;
        U[i * d + j] = 0;
      }
    } else {
      for (let k = 0; k < i; k++) {
        v[k] /= scale;
        h += v[k] * v[k];
      }
      const f = v[i - 1];
      const g = f > 0 ? -Math.sqrt(h) : Math.sqrt(h);
      e[i] = scale * g;
      h -= f * g;
      v[i - 1] = f - g;
      reflect(U, v, e, h, d, i);
    }
    v[i] = h;
  }
  // Q is the product of the reflections.
  for (let i = 0; i < last; i++) {
    U[i * d + last] = U[i * d + i];
    U[i * d + i] = 1;
    const next = (i + 1) * d;
    const h = v[i + 1];
    if (h !== 0) {
      for (let k = 0; k <= i; k++) v[k] = U[next + k] / h;
      for (let j = 0; j <= i; j++) {
        let g = 0;
        for (let k = 0; k <= i; k++) g += U[next + k] * U[j * d + k];
        for (let k = 0; k <= i; k++) U[j * d + k] -= g * v[k];
      }
    }
    for (let k = 0; k <= i; k++) U[next + k] = 0;
  }
  for (let j = 0; j < d; j++) {
    v[j] = U[j * d + last];
    U[j * d + last] = 0;
  }
  U[last * d + last] = 1;
}

/** A ← (1 − v vᵀ / h) A (1 − v vᵀ / h) on the first i rows, of which `U` holds one triangle; v is kept in row i. */
function reflect(U: Float64Array, v: Float64Array, e: Float64Array, h: number, d: number, i: number): void {
  e.fill(0, 0, i);
  for (let j = 0; j < i; j++) {
    const f = v[j];
    U[i * d + j] = f;
    let g = e[j] + U[j * d + j] * f;
    for (let k = j + 1; k < i; k++) {
      g += U[j * d + k] * v[k];
      e[k] += U[j * d + k] * f;
    }
    e[j] = g;
  }
  let f = 0;
  for (let j = 0; j < i; j++) {
    e[j] /= h;
    f += e[j] * v[j];
  }
  for (let j = 0; j < i; j++) e[j] -= (f / (h + h)) * v[j];
  for (let j = 0; j < i; j++) {
    const [f, g] = [v[j], e[j]];
    for (let k = j; k < i; k++) U[j * d + k] -= f * e[k] + g * v[k];
    v[j] = U[j * d + i - 1];
    U[j * d + i] = 0;
  }
}

/** T = W diag(λ) Wᵀ of a tridiagonal T: `diagonal` becomes λ, and the rows of `U` those of (Q W)ᵀ. */
function diagonalise(U: Float64Array, diagonal: Float64Array, beside: Float64Array, d: number): void {
  const [lambda, e] = [diagonal, beside];
  e.copyWithin(0, 1);
  e[d - 1] = 0;
  const size = lambda.reduce((most, x, k) => Math.max(most, Math.abs(x) + Math.abs(e[k])), 0);
  const isLarge = (x: number): boolean => Math.abs(x) > Number.EPSILON * size; // NaN is not: it ends the steps
  let shift = 0;
  for (let l = 0; l < d; l++) {
    let m = l;
    while (isLarge(e[m])) m++; // e[d − 1] is 0
    while (m > l) {
      let g = lambda[l];
      let p = (lambda[l + 1] - g) / (2 * e[l]);
      const r = p < 0 ? -Math.hypot(p, 1) : Math.hypot(p, 1);
      lambda[l] = e[l] / (p + r);
      lambda[l + 1] = e[l] * (p + r);
      const below = lambda[l + 1];
      const h = g - lambda[l];
      for (let i = l + 2; i < d; i++) lambda[i] -= h;
      shift += h;

      p = lambda[m];
      const first = e[l + 1];
      let [c, c2, c3, s, s2] = [1, 1, 1, 0, 0];
      for (let i = m - 1; i >= l; i--) {
        [c3, c2, s2] = [c2, c, s];
        g = c * e[i];
        const q = c * p;
        const length = Math.hypot(p, e[i]);
        e[i + 1] = s * length;
        s = e[i] / length;
        c = p / length;
        p = c * lambda[i] - s * g;
        lambda[i + 1] = q + s * (c * g + s * lambda[i]);
        turn(U, i * d, d, c, s);
      }
      p = (-s * s2 * c3 * first * e[l]) / below;
      e[l] = s * p;
      lambda[l] = c * p;
      if (!isLarge(e[l])) break;
    }
    lambda[l] += shift;
    e[l] = 0;
  }
}

/** The row that begins at `at` and the next one, in the plane of the two by a rotation of cosine c and sine s. */
function turn(U: Float64Array, at: number, d: number, c: number, s: number): void {
  for (let k = at; k < at + d; k++) {
    const [x, y] = [U[k], U[k + d]];
    U[k + d] = s * x + c * y;
    U[k] = c * x - s * y;
  }
}
