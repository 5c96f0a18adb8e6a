/** Eigenvalues and eigenvectors of a symmetric matrix, by Jacobi's rotations: short, accurate, and O(d³) a sweep. */

/** Eigenvalues and eigenvectors of a symmetric matrix. */
export interface Eigen {
  /** λ (d), in no order. */
  readonly values: Float64Array;
  /** V (d, d), row-major; column k belongs to λₖ, and A = V diag(λ) Vᵀ. */
  readonly vectors: Float64Array;
}

/** Of A (d, d), row-major and symmetric, in double precision (Golub & Van Loan, section 8.5). */
export function symmetricEigen(matrix: ArrayLike<number>, d: number): Eigen {
  const A = Float64Array.from(matrix);
  const V = Float64Array.from({ length: d * d }, (_, e) => (e % (d + 1) === 0 ? 1 : 0));
  const size = norm(A);
  for (let sweep = 0; sweep < 40; sweep++) {
    let outside = 0;
    for (let p = 0; p < d; p++) for (let q = p + 1; q < d; q++) outside += A[p * d + q] ** 2;
    if (Math.sqrt(outside) <= 1e-14 * size) break;
    for (let p = 0; p < d; p++) for (let q = p + 1; q < d; q++) rotate(A, V, d, p, q);
  }
  return { values: Float64Array.from({ length: d }, (_, k) => A[k * (d + 1)]), vectors: V };
}

const norm = (A: Float64Array): number => Math.sqrt(A.reduce((sum, x) => sum + x * x, 0));

/** A ← JᵀAJ and V ← VJ with the rotation J in the plane of p and q that makes A[p, q] zero. */
function rotate(A: Float64Array, V: Float64Array, d: number, p: number, q: number): void {
  const apq = A[p * d + q];
  if (apq === 0) return;
  const theta = (A[q * d + q] - A[p * d + p]) / (2 * apq);
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  const turn = (M: Float64Array, a: number, b: number) => {
    const [x, y] = [M[a], M[b]];
    M[a] = c * x - s * y;
    M[b] = s * x + c * y;
  };
  for (let k = 0; k < d; k++) turn(A, k * d + p, k * d + q);
  for (let k = 0; k < d; k++) turn(A, p * d + k, q * d + k);
  for (let k = 0; k < d; k++) turn(V, k * d + p, k * d + q);
}
