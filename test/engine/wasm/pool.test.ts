/** Results must not depend on the number of threads, nor on whether a worker took part. */
import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import type { Backend } from '../../../engine/backend.ts';
import { nextTurn } from '../../../models/turn.ts';
import { createWasmBackend, type WasmStorage } from '../../../engine/wasm/index.ts';
import { indices, normals, on, wasm, type Values } from './support.ts';

const two = createWasmBackend({ threads: 2 });
const three = createWasmBackend({ threads: 3, memoryLimit: 256 * 2 ** 20 });

type Run = Parameters<typeof on<WasmStorage>>[2];

function expectSame(inputs: Values[], fn: Run): void {
  const one = on(wasm, inputs, fn);
  for (const backend of [two, three] as Backend<WasmStorage>[]) {
    for (let round = 0; round < 3; round++)
      expect(Buffer.compare(Buffer.from(on(backend, inputs, fn).buffer), Buffer.from(one.buffer))).toBe(0);
  }
}

describe('the same bits for any number of threads', () => {
  test('while workers start: they do not need the event loop to join', async () => {
    expect(two.describe()).toContain('2 threads');
    expectSame([{ values: normals([300, 400]), shape: [300, 400] }], (b, [x]) => b.unary('exp', x));
    await new Promise(resolve => setTimeout(resolve, 200)); // by now they run
  });

  test('matmul by rows, by columns, in batches', () => {
    for (const [m, k, n] of [
      [517, 300, 130],
      [96, 260, 1030],
      [300, 31, 300],
      [130, 200, 120],
      [3, 300, 2000],
    ]) {
      for (const tb of [false, true]) {
        const b = tb ? [n, k] : [k, n];
        expectSame(
          [
            { values: normals([m, k]), shape: [m, k] },
            { values: normals(b), shape: b },
          ],
          (backend, [x, y]) => backend.matmul(x, y, false, tb, [m, n]),
        );
      }
    }
    expectSame(
      [
        { values: normals([24, 50, 60]), shape: [24, 50, 60] },
        { values: normals([60, 70]), shape: [60, 70] },
      ],
      (backend, [x, y]) => backend.matmul(x, y, false, false, [24, 50, 70]),
    );
  });

  test('elementwise, reductions, layout', () => {
    const x = { values: normals([411, 333]), shape: [411, 333] };
    const row = { values: normals([333]), shape: [333] };
    expectSame([x, row], (b, [u, v]) => b.binary('mul', u, v, [411, 333]));
    expectSame([x], (b, [u]) => b.reduce('sum', u, 411, 333, 1));
    expectSame([x], (b, [u]) => b.reduce('sum', u, 1, 411, 333));
    expectSame([x], (b, [u]) => b.strided(u, [333, 411], [1, 333], 0));
    const index = { values: indices(411, 77), shape: [411] };
    expectSame([x, index], (b, [u, i]) => b.scatterAdd(u, i, 77));
  });

  test('fused kernels', () => {
    const q = { values: normals([2, 150, 4, 16]), shape: [2, 150, 4, 16] };
    const k = { values: normals([2, 160, 2, 16]), shape: [2, 160, 2, 16] };
    expectSame([q, k], (b, [x, y]) => b.kernels.attention.forward!([x, y, y], {} as never, x.shape)!);
    const x = { values: normals([200, 301]), shape: [200, 301] };
    for (const dim of [0, 1])
      expectSame([x], (b, [u]) => b.kernels.sparsemax.forward!([u], { dim } as never, u.shape)!);
    const sparse = { values: x.values.map(v => v - 1.2), shape: x.shape };
    const [wide, tall] = [
      { values: normals([301, 65]), shape: [301, 65] },
      { values: normals([200, 65]), shape: [200, 65] },
    ];
    expectSame([sparse, wide], (b, [u, v]) => b.kernels.sparseMatmul.forward!([u, v], {} as never, [200, 65])!);
    expectSame(
      [tall, wide, sparse],
      (b, [u, v, w]) => b.kernels.sampledMatmul.forward!([u, v, w], {} as never, [200, 301])!,
    );
    expectSame([x], (b, [u]) => b.kernels.layerNorm.forward!([u], { eps: 1e-5 } as never, u.shape)!);
  });
});

test('closing ends every thread, and a kernel that runs later gives the same bits', async () => {
  const workers: Worker[] = [];
  const note = (worker: Worker) => workers.push(worker);
  process.on('worker', note);
  const backend = createWasmBackend({ threads: 3, memoryLimit: 2 ** 24 });
  const input = { values: normals([300, 400]), shape: [300, 400] };
  const exp = () => on(backend, [input], (b, [x]) => b.unary('exp', x));
  const before = exp();
  await nextTurn(); // Node tells of workers later
  expect(workers).toHaveLength(2);
  const exits = Promise.all(workers.map(worker => once(worker, 'exit')));
  backend.close!();
  await exits;
  expect(exp()).toEqual(before);
  await nextTurn();
  process.off('worker', note);
  expect(workers).toHaveLength(2);
});

test('threads are whole and at least one; memory holds at least a page', () => {
  const described = (threads: number) =>
    /one thread|\d+ threads/.exec(createWasmBackend({ threads, memoryLimit: 2 ** 20 }).describe())![0];
  expect([1.9, 0, -3, 2.5].map(described)).toEqual(['one thread', 'one thread', 'one thread', '2 threads']);
  expect(() => createWasmBackend({ threads: 1, memoryLimit: 65_535 })).toThrow(
    'wasm: memoryLimit is 65535 bytes; it must be at least 65536',
  );
  expect(createWasmBackend({ threads: 1, memoryLimit: 65_536 }).memoryLimit).toBe(65_536);
});
