/**
 * The operations `softmax`, `logSoftmax` and `crossEntropy` over contiguous lines. Lines are shifted by their maximum,
 * and sums of exponentials run in double precision, by fours.
 */
import type { Kernel, View } from '../../backend.ts';
import { sizeOf } from '../../shape.ts';
import type { F32, F64, V128 } from '../assembler/code.ts';
import { f32, f32x4, f64, i32 } from '../assembler/instructions.ts';
import type { Func, FuncRef } from '../assembler/module.ts';
import { eachItem, kernel, type Kernels } from '../kernel.ts';
import { checkedIndex } from '../layout.ts';
import { eachVector, lineSumByFours, lineTop, loadAt as at, storeVector } from '../lines.ts';
import type { Machine, WasmStorage } from '../machine.ts';
import * as math from '../math.ts';

const { sub, mul } = f32x4;

/** ln of a positive double. */
const logOf = (f: Func, x: F64): F32 => f32x4.extract_lane(math.log(f, f.let(f32x4.splat(f32.demote(x)))), 0);

/** Functions of the module that other kernels call. */
export interface SoftmaxFunctions {
  /** (x, y, n, scale: f32): y = softmax(scale · x), scale > 0. y may be x. */
  readonly softmaxLine: FuncRef;
}

/** Adds the kernels of the softmax family to the module. */
export function emitSoftmax(kernels: Kernels): SoftmaxFunctions {
  const softmaxLine = kernels.module.func(
    'softmaxLine',
    { x: 'i32', y: 'i32', n: 'i32', scale: 'f32' },
    (f, { x, y, n, scale }) => {
      const top = lineTop(f, x, n);
      const scales = f.let(f32x4.splat(scale));
      const sum = lineSumByFours(f, n, (offset, tail) => {
        const e = f.let(math.expOfNegative(f, f.let(mul(sub(at(x, offset), top), scales))));
        storeVector(f, i32.add(y, offset), e, n, tail);
        return e;
      });
      const share = f.let(f32x4.splat(f32.demote(f64.div(1, sum))));
      eachVector(f, n, (offset, tail) => storeVector(f, i32.add(y, offset), mul(at(y, offset), share), n, tail));
    },
  );

  const twoBuffers = { x: 'i32', y: 'i32', n: 'i32' } as const;
  kernel(kernels, 'softmax', twoBuffers, (f, p, share) => {
    const bytes = f.let(i32.shl(p.n, 2));
    eachItem(
      f,
      share,
      [
        { base: p.x, stride: bytes },
        { base: p.y, stride: bytes },
      ],
      ([x, y]) => f.call(softmaxLine, x, y, p.n, f32.const(1)),
    );
  });

  kernel(kernels, 'logSoftmax', twoBuffers, (f, p, share) => {
    const bytes = f.let(i32.shl(p.n, 2));
    eachItem(
      f,
      share,
      [
        { base: p.x, stride: bytes },
        { base: p.y, stride: bytes },
      ],
      ([x, y]) => {
        const top = lineTop(f, x, p.n);
        const logSum = f.let(
          f32x4.splat(
            logOf(
              f,
              lineSumByFours(f, p.n, offset => math.expOfNegative(f, f.let(sub(at(x, offset), top)))),
            ),
          ),
        );
        eachVector(f, p.n, (offset, tail) =>
          storeVector(f, i32.add(y, offset), sub(sub(at(x, offset), top), logSum), p.n, tail),
        );
      },
    );
  });

  // dx = y (g − Σ g y) and dx = g − e^y Σ g.
  const backward = (
    name: string,
    weight: (f: Func, g: V128, y: V128) => V128,
    result: (f: Func, g: V128, y: V128, sum: V128) => V128,
  ) =>
    kernel(kernels, name, { g: 'i32', y: 'i32', dx: 'i32', n: 'i32' }, (f, p, share) => {
      const bytes = f.let(i32.shl(p.n, 2));
      eachItem(
        f,
        share,
        [p.g, p.y, p.dx].map(base => ({ base, stride: bytes })),
        ([g, y, dx]) => {
          const sum = f.let(
            f32x4.splat(f32.demote(lineSumByFours(f, p.n, offset => weight(f, at(g, offset), at(y, offset))))),
          );
          eachVector(f, p.n, (offset, tail) =>
            storeVector(f, i32.add(dx, offset), result(f, at(g, offset), at(y, offset), sum), p.n, tail),
          );
        },
      );
    });
  backward(
    'softmaxVjp',
    (_, g, y) => mul(g, y),
    (_, g, y, sum) => mul(y, sub(g, sum)),
  );
  backward(
    'logSoftmaxVjp',
    (_, g) => g,
    (f, g, y, sum) => sub(g, mul(math.expOfNegative(f, f.let(y)), sum)),
  );

  // loss = ln Σ e^(x − top) − (x_t − top).
  kernel(kernels, 'crossEntropy', { x: 'i32', targets: 'i32', y: 'i32', n: 'i32' }, (f, p, share) => {
    eachItem(
      f,
      share,
      [
        { base: p.x, stride: f.let(i32.shl(p.n, 2)) },
        { base: p.targets, stride: 4 },
        { base: p.y, stride: 4 },
      ],
      ([x, target, y]) => {
        f.if(
          i32.lt_s(i32.load(target), 0),
          () => f.do(f32.store(y, 0)),
          () => {
            const top = lineTop(f, x, p.n);
            const logSum = logOf(
              f,
              lineSumByFours(f, p.n, offset => math.expOfNegative(f, f.let(sub(at(x, offset), top)))),
            );
            const hit = f32.load(i32.add(x, i32.shl(i32.load(target), 2)));
            f.do(f32.store(y, f32.sub(logSum, f32.sub(hit, f32x4.extract_lane(top, 0)))));
          },
        );
      },
    );
  });

  // dx = g (softmax(x) − 1_t): e^(x − top) is stored first, then scaled where it lies.
  kernel(kernels, 'crossEntropyVjp', { g: 'i32', x: 'i32', targets: 'i32', dx: 'i32', n: 'i32' }, (f, p, share) => {
    const bytes = f.let(i32.shl(p.n, 2));
    const lines = [
      { base: p.g, stride: 4 },
      { base: p.x, stride: bytes },
      { base: p.targets, stride: 4 },
      { base: p.dx, stride: bytes },
    ];
    eachItem(f, share, lines, ([g, x, target, dx]) => {
      f.if(
        i32.lt_s(i32.load(target), 0),
        () => eachVector(f, p.n, (offset, tail) => storeVector(f, i32.add(dx, offset), f32x4.const(0), p.n, tail)),
        () => {
          const top = lineTop(f, x, p.n);
          const sum = lineSumByFours(f, p.n, (offset, tail) => {
            const e = f.let(math.expOfNegative(f, f.let(sub(at(x, offset), top))));
            storeVector(f, i32.add(dx, offset), e, p.n, tail);
            return e;
          });
          const hit = f.let(i32.add(dx, i32.shl(i32.load(target), 2)));
          const share = f.let(f32.demote(f64.div(1, sum)));
          const probability = f.let(f32.mul(f32.load(hit), share));
          const scale = f.let(f32x4.splat(f32.mul(f32.load(g), share)));
          eachVector(f, p.n, (offset, tail) =>
            storeVector(f, i32.add(dx, offset), mul(at(dx, offset), scale), p.n, tail),
          );
          f.do(f32.store(hit, f32.mul(f32.load(g), f32.sub(probability, 1))));
        },
      );
    });
  });
  return { softmaxLine };
}

/** Elements of a share worth a thread; an exponential takes several times as long as an addition. */
const grain = 1 << 13;

/** The kernels of the softmax family. */
export function softmaxes(machine: Machine): Record<string, Kernel<WasmStorage>> {
  const isLast = (x: View, dim: number): boolean => dim === x.shape.length - 1;
  const run = (name: string, inputs: readonly WasmStorage[], { shape }: View, size: number): WasmStorage => {
    const n = shape.at(-1)!;
    const y = machine.allocate('float32', size);
    machine.run(name, [...inputs.map(x => x.pointer), y.pointer, n], {
      items: sizeOf(shape.slice(0, -1)),
      grain: Math.ceil(grain / Math.max(n, 1)),
    });
    return y;
  };
  const alongLast = (name: string): Kernel<WasmStorage> => ({
    forward: ([x], { dim }: { dim: number }) => (isLast(x, dim) ? run(name, [x.storage], x, x.storage.size) : null),
    vjp: (g, _, y, { dim }: { dim: number }) =>
      isLast(y, dim) ? [run(`${name}Vjp`, [g.storage, y.storage], y, y.storage.size)] : null,
  });
  return {
    softmax: alongLast('softmax'),
    logSoftmax: alongLast('logSoftmax'),
    crossEntropy: {
      forward: ([x, targets]) => {
        checkedIndex(machine, 'crossEntropy', targets.storage, x.shape[1], -Infinity);
        return run('crossEntropy', [x.storage, targets.storage], x, targets.storage.size);
      },
      vjp: (g, [x, targets]) => [
        run('crossEntropyVjp', [g.storage, x.storage, targets.storage], x, x.storage.size),
        null,
      ],
    },
  };
}
