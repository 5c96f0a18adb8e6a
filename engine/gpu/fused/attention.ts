/**
 * The operation `attention`: causal, with grouped key/value heads, q (B, T, H, D), k and v (B, S, G, D) → (B, T, H, D).
 * Heads are read in place, so nothing is permuted; P (B, H, T, S) is stored as a whole, and the backward pass
 * recomputes it:
 *
 *     P = softmax(Q Kᵀ/√D)    O = P V    dS = P (dO Vᵀ − Σ dO O)/√D    dQ = dS K    dK = Σ dSᵀ Q    dV = Σ Pᵀ dO
 *
 * with sums over the H/G query heads of a group. Query t sees keys up to t + S − T. Kernels repeat the index arithmetic
 * for the reason given in `../reduce.ts`.
 */
import type { Kernel, Shape } from '../../backend.ts';
import type { Thread, Values } from '../gpujs.ts';
import { divide, placeOf, remainder } from '../indexing.ts';
import { real, type GpuStorage, type Machine } from '../machine.ts';
import { productSum, reduceLines } from '../reduce.ts';
import { softmaxLines } from './lines.ts';

/** Q Kᵀ scaled, for key x, query y and z = b H + h; far below all others where it is hidden. */
function scores(
  this: Thread,
  q: Values,
  k: Values,
  T: number,
  S: number,
  H: number,
  G: number,
  D: number,
  scale: number,
): number {
  if (this.thread.x > this.thread.y + S - T) return -1e30;
  const b = divide(this.thread.z, H);
  const h = this.thread.z - b * H;
  const query = (b * T + this.thread.y) * H + h;
  const key = (b * S + this.thread.x) * G + divide(h * G, H);
  let sum = 0;
  for (let d = 0; d < D; d++) {
    sum += q[placeOf(query, D, d)] * k[placeOf(key, D, d)];
  }
  return sum * scale;
}

/** dS for key x, query y and z = b H + h; `products` is Σ dO O of each (b, t, h). */
function scoresVjp(
  this: Thread,
  g: Values,
  v: Values,
  P: Values,
  products: Values,
  T: number,
  S: number,
  H: number,
  G: number,
  D: number,
  scale: number,
): number {
  if (this.thread.x > this.thread.y + S - T) return 0;
  const b = divide(this.thread.z, H);
  const h = this.thread.z - b * H;
  const query = (b * T + this.thread.y) * H + h;
  const key = (b * S + this.thread.x) * G + divide(h * G, H);
  let sum = 0;
  for (let d = 0; d < D; d++) {
    sum += g[placeOf(query, D, d)] * v[placeOf(key, D, d)];
  }
  return P[placeOf(this.thread.z * T + this.thread.y, S, this.thread.x)] * (sum - products[query]) * scale;
}

/** Σ_s W[b, h, t, s] v[b, s, g, d], for x = h D + d, query y and sequence z. */
function overKeys(this: Thread, W: Values, v: Values, T: number, S: number, H: number, G: number, D: number): number {
  const h = divide(this.thread.x, D);
  const d = remainder(this.thread.x, D);
  const query = (this.thread.z * H + h) * T + this.thread.y;
  const group = divide(h * G, H);
  const visible = this.thread.y + S - T + 1;
  let sum = 0;
  for (let s = 0; s < visible; s++) {
    sum += W[placeOf(query, S, s)] * v[placeOf((this.thread.z * S + s) * G + group, D, d)];
  }
  return sum;
}

/** Σ_h Σ_t W[b, h, t, s] q[b, t, h, d] over the query heads of a group, for x = g D + d, key y and sequence z. */
function overQueries(
  this: Thread,
  W: Values,
  q: Values,
  T: number,
  S: number,
  H: number,
  G: number,
  D: number,
): number {
  const group = divide(this.thread.x, D);
  const d = remainder(this.thread.x, D);
  const heads = divide(H, G);
  const firstHead = group * heads;
  const firstQuery = Math.max(0, this.thread.y - S + T);
  let sum = 0;
  for (let h = firstHead; h < firstHead + heads; h += 1) {
    for (let t = firstQuery; t < T; t += 1) {
      sum +=
        W[placeOf((this.thread.z * H + h) * T + t, S, this.thread.y)] *
        q[placeOf((this.thread.z * T + t) * H + h, D, d)];
    }
  }
  return sum;
}

/** The kernel of `attention`. */
export function attention(machine: Machine): Record<string, Kernel<GpuStorage>> {
  const dimsOf = ([B, T, H, D]: Shape, [, S, G]: Shape) => ({
    B,
    T,
    S,
    H,
    G,
    D,
    dims: [T, S, H, G, D],
    scale: real(1 / Math.sqrt(D)),
  });
  const probabilities = (
    q: GpuStorage,
    k: GpuStorage,
    { B, T, S, H, dims, scale }: ReturnType<typeof dimsOf>,
  ): GpuStorage => {
    const x = machine.run(scores, [S, T, B * H], [q, k, ...dims, scale]);
    const P = softmaxLines(machine, x, { outer: B * H * T, n: S, inner: 1 });
    machine.free(x);
    return P;
  };
  return {
    attention: {
      forward: ([q, k, v]) => {
        if (q.storage.size === 0) return null;
        const shape = dimsOf(q.shape, k.shape);
        const P = probabilities(q.storage, k.storage, shape);
        const y = machine.run(overKeys, [shape.H * shape.D, shape.T, shape.B], [P, v.storage, ...shape.dims]);
        machine.free(P);
        return y;
      },
      vjp: ({ storage: g }, [q, k, v], { storage: y }) => {
        if (q.storage.size === 0) return null;
        const shape = dimsOf(q.shape, k.shape);
        const { B, T, S, H, G, D, dims, scale } = shape;
        const P = probabilities(q.storage, k.storage, shape);
        const products = reduceLines(machine, productSum, [g, y], { outer: B * T * H, n: D, inner: 1 });
        const dS = machine.run(scoresVjp, [S, T, B * H], [g, v.storage, P, products, ...dims, scale]);
        const gradients = [
          machine.run(overKeys, [H * D, T, B], [dS, k.storage, ...dims]),
          machine.run(overQueries, [G * D, S, B], [dS, q.storage, ...dims]),
          machine.run(overQueries, [G * D, S, B], [P, g, ...dims]),
        ];
        [P, products, dS].forEach(x => machine.free(x));
        return gradients;
      },
    },
  };
}
