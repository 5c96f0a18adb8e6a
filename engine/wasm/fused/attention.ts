/**
 * The operation `attention`: causal, with grouped key/value heads, q (B, T, H, D), k and v (B, S, G, D) → (B, T, H, D).
 *
 * Work is cut into pairs (b, g) of a sequence and a key/value head, and within them into blocks of queries of every
 * head of the group. For a block, scores of all visible keys are one product, so the T × S matrix of a head never
 * exists as a whole, and what the mask hides is skipped in steps of a block. With P = softmax(Q Kᵀ/√D):
 *
 *     O = P V    dP = dO Vᵀ    dS = P (dP − Σ dO O)/√D    dQ = dS K    dK += dSᵀ Q    dV += Pᵀ dO
 *
 * The backward pass computes P again instead of keeping it.
 */
import type { Kernel, View } from '../../backend.ts';
import type { I32, Local } from '../assembler/code.ts';
import { f32, f32x4, i32, zeroFill } from '../assembler/instructions.ts';
import type { Func } from '../assembler/module.ts';
import { kernel, type Kernels, type Share } from '../kernel.ts';
import { eachVector, lineSum, loadAt, storeVector } from '../lines.ts';
import type { Machine, WasmStorage } from '../machine.ts';
import type { MatmulFunctions } from '../matmul/emit.ts';
import { workBytes as matmulWorkBytes } from '../matmul/plan.ts';
import type { SoftmaxFunctions } from './softmax.ts';

/** Queries of a block. */
const blockQueries = 64;

const dims = { T: 'i32', S: 'i32', H: 'i32', G: 'i32', D: 'i32', scale: 'f32' } as const;
type Dims = { readonly [K in Exclude<keyof typeof dims, 'scale'>]: Local<'i32'> } & { readonly scale: Local<'f32'> };

/** A block of queries of one head, as the emission sees it: pointers, lengths and strides in bytes. */
interface Block {
  /** Byte offset of the block in q, the output and their gradients. */
  readonly offset: I32;
  readonly rows: I32;
  /** Keys that the last query of the block sees. */
  readonly keys: I32;
  /** Keys that the first query sees. */
  readonly firstKeys: I32;
}

/** Adds the kernels of attention to the module. */
export function emitAttention(kernels: Kernels, { matmul }: MatmulFunctions, { softmaxLine }: SoftmaxFunctions): void {
  const strides = (f: Func, p: Dims) => ({
    query: f.let(i32.shl(i32.mul(p.H, p.D), 2)), // from one query to the next
    key: f.let(i32.shl(i32.mul(p.G, p.D), 2)),
    head: f.let(i32.shl(p.D, 2)),
    score: f.let(i32.shl(p.S, 2)),
  });
  type Strides = ReturnType<typeof strides>;

  /** For each (b, g) of the share: the byte offset of its keys in k and v. `body` is given a walk over its blocks. */
  const eachGroup = (
    f: Func,
    p: Dims,
    s: Strides,
    { from, to }: Share,
    body: (keyOffset: Local<'i32'>, eachBlock: (visit: (block: Block) => void) => void) => void,
  ) => {
    const perGroup = f.let(i32.div_u(p.H, p.G));
    f.for(from, to, 1, item => {
      const b = f.let(i32.div_u(item, p.G));
      const g = f.let(i32.rem_u(item, p.G));
      const keyOffset = f.let(i32.add(i32.mul(i32.mul(b, p.S), s.key), i32.mul(g, s.head)));
      body(keyOffset, visit => {
        const firstHead = f.let(i32.mul(g, perGroup));
        f.for(firstHead, i32.add(firstHead, perGroup), 1, head => {
          f.for(0, p.T, blockQueries, t => {
            const rows = f.let(i32.min_u(i32.sub(p.T, t), blockQueries));
            const before = f.let(i32.add(t, i32.sub(p.S, p.T)));
            visit({
              offset: f.let(i32.add(i32.mul(i32.add(i32.mul(b, p.T), t), s.query), i32.mul(head, s.head))),
              rows,
              keys: f.let(i32.add(before, rows)),
              firstKeys: f.let(i32.add(before, 1)),
            });
          });
        });
      });
    });
  };

  /** Rows of `rows` times S scores: P of a block, zero where hidden. */
  const probabilities = (f: Func, p: Dims, s: Strides, q: I32, k: I32, block: Block, scores: I32, work: I32) => {
    f.call(
      matmul,
      q,
      k,
      scores,
      s.query,
      s.key,
      s.score,
      i32.const(0),
      i32.const(1),
      block.rows,
      block.keys,
      p.D,
      i32.const(0),
      work,
    );
    const line = f.let(scores);
    const visible = f.let(block.firstKeys);
    f.for(0, block.rows, 1, () => {
      f.call(softmaxLine, line, line, visible, p.scale);
      const [hidden, count] = [f.let(i32.add(line, i32.shl(visible, 2))), f.let(i32.sub(block.keys, visible))];
      eachVector(f, count, (at, tail) => storeVector(f, i32.add(hidden, at), f32x4.const(0), count, tail));
      f.set(line, i32.add(line, s.score));
      f.set(visible, i32.add(visible, 1));
    });
  };

  /** dP → dS = P (dP − Σ dO O)/√D, in place. */
  const scoresGradient = (
    f: Func,
    p: Dims,
    s: Strides,
    buffers: { g: I32; out: I32; P: I32; dS: I32 },
    { rows, keys }: Block,
  ) => {
    const [g, out, P, dS] = [buffers.g, buffers.out, buffers.P, buffers.dS].map(base => f.let(base));
    const scale = f.let(f32x4.splat(p.scale));
    f.for(0, rows, 1, () => {
      const dot = f.let(f32x4.splat(f32.demote(lineSum(f, p.D, at => f32x4.mul(loadAt(g, at), loadAt(out, at))))));
      eachVector(f, keys, (at, tail) => {
        const gradient = f32x4.mul(loadAt(P, at), f32x4.mul(f32x4.sub(loadAt(dS, at), dot), scale));
        storeVector(f, i32.add(dS, at), gradient, keys, tail);
      });
      for (const pointer of [g, out]) f.set(pointer, i32.add(pointer, s.query));
      for (const pointer of [P, dS]) f.set(pointer, i32.add(pointer, s.score));
    });
  };

  kernel(kernels, 'attention', { q: 'i32', k: 'i32', v: 'i32', out: 'i32', ...dims }, (f, p, share) => {
    const s = strides(f, p);
    const scores = f.let(i32.add(share.work, matmulWorkBytes));
    eachGroup(f, p, s, share, (keyOffset, eachBlock) => {
      const [k, v] = [p.k, p.v].map(base => f.let(i32.add(base, keyOffset)));
      eachBlock(block => {
        probabilities(f, p, s, i32.add(p.q, block.offset), k, block, scores, share.work);
        f.call(
          matmul,
          scores,
          v,
          i32.add(p.out, block.offset),
          s.score,
          s.key,
          s.query,
          i32.const(0),
          i32.const(0),
          block.rows,
          p.D,
          block.keys,
          i32.const(0),
          share.work,
        );
      });
    });
  });

  kernel(
    kernels,
    'attentionVjp',
    { g: 'i32', q: 'i32', k: 'i32', v: 'i32', out: 'i32', dq: 'i32', dk: 'i32', dv: 'i32', ...dims },
    (f, p, share) => {
      const s = strides(f, p);
      const P = f.let(i32.add(share.work, matmulWorkBytes));
      const dS = f.let(i32.add(P, i32.mul(s.score, blockQueries)));
      const [zero, one] = [i32.const(0), i32.const(1)];
      eachGroup(f, p, s, share, (keyOffset, eachBlock) => {
        const [k, v, dk, dv] = [p.k, p.v, p.dk, p.dv].map(base => f.let(i32.add(base, keyOffset)));
        const line = f.let(zero);
        f.for(0, p.S, 1, () => {
          for (const base of [dk, dv]) f.do(zeroFill(i32.add(base, line), s.head));
          f.set(line, i32.add(line, s.key));
        });
        eachBlock(block => {
          const [q, g, out, dq] = [p.q, p.g, p.out, p.dq].map(base => f.let(i32.add(base, block.offset)));
          probabilities(f, p, s, q, k, block, P, share.work);
          // dV += Pᵀ dO
          f.call(matmul, P, g, dv, s.score, s.query, s.key, one, zero, block.keys, p.D, block.rows, one, share.work);
          // dP = dO Vᵀ
          f.call(matmul, g, v, dS, s.query, s.key, s.score, zero, one, block.rows, block.keys, p.D, zero, share.work);
          scoresGradient(f, p, s, { g, out, P, dS }, block);
          // dQ = dS K
          f.call(matmul, dS, k, dq, s.score, s.key, s.query, zero, zero, block.rows, p.D, block.keys, zero, share.work);
          // dK += dSᵀ Q
          f.call(matmul, dS, q, dk, s.score, s.query, s.key, one, zero, block.keys, p.D, block.rows, one, share.work);
        });
      });
    },
  );
}

/** The kernel of `attention`. */
export function attention(machine: Machine): Record<string, Kernel<WasmStorage>> {
  const run = (name: string, buffers: readonly WasmStorage[], q: View, k: View, scoreBuffers: number) => {
    const [B, T, H, D] = q.shape;
    const [, S, G] = k.shape;
    const work = matmulWorkBytes + scoreBuffers * blockQueries * S * 4;
    machine.run(
      name,
      [...buffers.map(x => x.pointer), T, S, H, G, D, 1 / Math.sqrt(D)],
      { items: B * G, grain: Math.max(1, Math.ceil((1 << 17) / (T * S * D * (H / G)))) },
      work,
    );
  };
  return {
    attention: {
      forward: ([q, k, v]) => {
        const out = machine.allocate('float32', q.storage.size);
        run('attention', [q.storage, k.storage, v.storage, out], q, k, 1);
        return out;
      },
      vjp: (g, [q, k, v], out) => {
        const gradients = [q, k, v].map(x => machine.allocate('float32', x.storage.size));
        run('attentionVjp', [g.storage, q.storage, k.storage, v.storage, out.storage, ...gradients], q, k, 2);
        return gradients;
      },
    },
  };
}
