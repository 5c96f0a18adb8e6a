/** The allocator: reuse, joining, the limit; and that training-like loops stay flat. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { apply, grad, memory, mul, Random, scope, sum, ops, tensor } from '../../../engine/index.ts';
import { hasGradient, samplingOf } from '../../../engine/ops/samples.ts';
import { Allocator, classOf, OutOfMemory } from '../../../engine/wasm/allocator.ts';
import { detectRelaxedSimd } from '../../../engine/wasm/features.ts';
import { createWasmBackend, type WasmStorage } from '../../../engine/wasm/index.ts';

describe('Allocator', () => {
  test('a class wastes at most a fifth beyond the alignment', () => {
    for (let bytes = 1; bytes < 1e7; bytes = Math.ceil(bytes * 1.07)) {
      expect(classOf(bytes)).toBeGreaterThanOrEqual(bytes);
      expect(classOf(bytes)).toBeLessThanOrEqual(Math.max(64, 1.25 * bytes + 64));
      expect(classOf(classOf(bytes))).toBe(classOf(bytes));
      expect(classOf(bytes) % 64).toBe(0);
    }
    // Four to an octave: from 1024 on every class is a quarter of a power of two above the last.
    expect(new Set(Array.from({ length: 3072 }, (_, i) => classOf(1025 + i)))).toEqual(
      new Set([1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096]),
    );
  });

  test('blocks never overlap, even when memory is short; a size reported to fit does fit, and is the largest', () => {
    const slack = 32; // beyond the bytes, for whole vectors
    const steps = fc.array(fc.record({ bytes: fc.integer({ min: 0, max: 5000 }), drop: fc.nat() }), {
      minLength: 1,
      maxLength: 200,
      size: 'max',
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2000 }),
        fc.integer({ min: 8_000, max: 60_000 }),
        steps,
        (first, limit, asked) => {
          let grown = 0;
          const allocator = new Allocator(first, limit, bytes => {
            grown = Math.max(grown, bytes);
            return true;
          });
          const live: { start: number; end: number; size: number }[] = [];
          const allocate = (bytes: number): number => {
            const start = allocator.allocate(bytes);
            const end = start + bytes + slack;
            expect(start % 64 === 0 && start >= first && end <= Math.min(limit, grown)).toBe(true);
            expect(live.filter(other => start < other.end && other.start < end)).toEqual([]);
            live.push({ start, end, size: classOf(bytes + slack) });
            return start;
          };
          for (const { bytes, drop } of asked) {
            try {
              allocate(bytes);
            } catch (error) {
              expect(error).toBeInstanceOf(OutOfMemory);
              const fits = Number(/would fit is (\d+)/.exec((error as Error).message)![1]);
              expect(fits).toBeLessThan(bytes);
              if (fits > 0) {
                allocator.free(allocate(fits));
                live.pop();
              }
            }
            expect(allocator.used).toBe(live.reduce((total, block) => total + block.size, 0));
            if (drop % 3 === 0 && live.length > 0) allocator.free(live.splice(drop % live.length, 1)[0].start);
          }
          for (const { start } of live) allocator.free(start);
          expect(allocator.used).toBe(0);
          // All pieces join again: the largest class below what there is.
          const room = limit - Math.ceil(first / 64) * 64;
          let largest = room - slack;
          while (classOf(largest + slack) > room) largest--;
          expect(() => allocator.allocate(largest)).not.toThrow();
        },
      ),
      { numRuns: 50 },
    );
  });

  test('compacted, what is in use decides what fits: blocks move to the front in order, none over another', () => {
    const steps = fc.array(fc.record({ bytes: fc.integer({ min: 0, max: 5000 }), drop: fc.nat() }), {
      minLength: 1,
      maxLength: 200,
      size: 'max',
    });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2000 }), steps, (first, asked) => {
        const limit = 60_000;
        const allocator = new Allocator(first, limit, () => true);
        const live: number[] = [];
        for (const { bytes, drop } of asked) {
          if (allocator.fitsCompacted(bytes))
            try {
              live.push(allocator.allocate(bytes));
            } catch {
              // fragmented
            }
          if (drop % 2 === 0 && live.length > 0) allocator.free(live.splice(drop % live.length, 1)[0]);
        }
        const used = allocator.used;
        const places = new Map(live.map(start => [start, start]));
        let front = 0;
        for (const { from, to, bytes } of allocator.compact()) {
          expect(to).toBeLessThan(from);
          expect(to).toBeGreaterThanOrEqual(front); // nothing that is still to move lies there
          front = to + bytes;
          places.set(from, to);
        }
        expect(allocator.used).toBe(used);
        const start = Math.ceil(first / 64) * 64;
        let bytes = limit - start - used;
        while (bytes >= 0 && !allocator.fitsCompacted(bytes)) bytes--;
        if (bytes >= 0) expect(allocator.allocate(bytes)).toBe(start + used);
        for (const place of places.values()) allocator.free(place);
        expect(allocator.compact()).toHaveLength(bytes >= 0 && used > 0 ? 1 : 0);
      }),
      { numRuns: 100 },
    );
  });

  test('thrifty, it is out of memory where gaps would take more than an eighth of what was in use', () => {
    const mebi = 2 ** 20;
    const steps = fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 64 * mebi }), drop: fc.nat() }), {
      minLength: 50,
      maxLength: 200,
      size: 'max',
    });
    fc.assert(
      fc.property(steps, asked => {
        const allocator = new Allocator(0, 2 ** 40, () => true);
        let live: number[] = [];
        let mostUsed = 0;
        for (const { bytes, drop } of asked) {
          allocator.thrifty = true;
          try {
            live.push(allocator.allocate(bytes));
          } catch (error) {
            expect(error).toBeInstanceOf(OutOfMemory);
            const moves = new Map(allocator.compact().map(({ from, to }) => [from, to]));
            live = live.map(start => moves.get(start) ?? start);
            live.push(allocator.allocate(bytes)); // fits, thrifty or not
          }
          mostUsed = Math.max(mostUsed, allocator.used);
          expect(allocator.most).toBeLessThanOrEqual(Math.max(256 * mebi, (9 / 8) * mostUsed));
          while (live.length > 12) allocator.free(live.splice(drop % live.length, 1)[0]);
        }
      }),
      { numRuns: 50 },
    );
    // Every other block freed, and none of the gaps is large enough.
    const spread = (thrifty: boolean) => {
      const allocator = new Allocator(0, 2 ** 40, () => true);
      const blocks = Array.from({ length: 40 }, () => allocator.allocate(10 * mebi));
      blocks.forEach((block, i) => i % 2 === 0 && allocator.free(block));
      allocator.thrifty = thrifty;
      for (let i = 0; i < 10; i++) allocator.allocate(20 * mebi);
    };
    expect(() => spread(false)).not.toThrow();
    expect(() => spread(true)).toThrow(OutOfMemory);
  });

  test('memory that does not grow is an error', () => {
    const allocator = new Allocator(0, 1 << 20, bytes => bytes <= 4096);
    const block = allocator.allocate(3000);
    expect(() => allocator.allocate(3000)).toThrow(OutOfMemory);
    allocator.free(block);
    expect(allocator.allocate(3000)).toBe(block);
  });

  test('the error says how much was requested and how much would fit', () => {
    const allocator = new Allocator(0, 1 << 20, () => true);
    const first = allocator.allocate(500_000);
    const message = (() => {
      try {
        allocator.allocate(800_000);
      } catch (error) {
        return (error as Error).message;
      }
      return '';
    })();
    expect(message).toMatch(/^out of memory: 800000 bytes requested/);
    const fits = Number(/would fit is (\d+)/.exec(message)![1]);
    expect(() => allocator.allocate(fits)).not.toThrow();
    allocator.free(first);
  });

  test('a block is freed once', () => {
    const allocator = new Allocator(0, 1 << 20, () => true);
    const block = allocator.allocate(10);
    allocator.free(block);
    expect(() => allocator.free(block)).toThrow(/was it freed before/);
  });
});

describe('the backend', () => {
  test('rejects relaxed SIMD where it is not supported, and says why', () => {
    if (detectRelaxedSimd())
      expect(createWasmBackend({ relaxedSimd: true, threads: 1 }).arithmetic).toBe('wasm, relaxed SIMD');
    else
      expect(() => createWasmBackend({ relaxedSimd: true, threads: 1 })).toThrow(
        /^wasm: relaxedSimd is not supported here; it needs Node 22/,
      );
  });

  test('describes itself with the memory that 32 bits address', () => {
    const backend = createWasmBackend({ threads: 1 });
    expect(backend.memoryLimit).toBe(2 ** 32 - 2 ** 16);
    expect(backend.describe()).toContain('at most 4096 MiB');
  });

  test('reports that its memory is used up, and keeps working', () => {
    const backend = createWasmBackend({ memoryLimit: 8 * 2 ** 20, threads: 1 });
    expect(() => backend.upload(new Float32Array(3 * 2 ** 20))).toThrow(/out of memory: 12582912 bytes requested/);
    const x = backend.upload(new Float32Array(2 ** 18));
    backend.free(x);
  });

  test.each([1, 2])('fragmented, it moves its tensors together: values stay, %i threads', async threads => {
    const backend = createWasmBackend({ memoryLimit: 8 * 2 ** 20, threads });
    const make = (i: number, size: number) =>
      tensor(
        Float32Array.from({ length: size }, (_, j) => i + j / size),
        { backend, shape: [size] },
      );
    const [n, size] = [24, 2 ** 16];
    const all = Array.from({ length: n }, (_, i) => make(i, size));
    const kept = all.filter((_, i) => i % 2 > 0);
    all.filter((_, i) => i % 2 === 0).forEach(t => t.dispose());
    // 3 MiB are in use and no 2 MiB lie together.
    const one = tensor(Float32Array.of(2), { backend, shape: [1] });
    const large = scope(() => mul(one, make(100, 2 ** 19)));
    const values = await large.data();
    expect([values[0], values[2 ** 18]]).toEqual([200, 201]);
    for (const [k, t] of kept.entries()) {
      const i = 2 * k + 1;
      expect(await t.data()).toEqual(Float32Array.from({ length: size }, (_, j) => i + j / size));
      expect(scope(() => mul(one, t).dataSync()[0])).toBe(2 * i);
    }
    backend.close?.();
  });

  test('a row that runs out of memory, forward or backward, leaks nothing', () => {
    const backend = createWasmBackend({ memoryLimit: 2 * 2 ** 20, threads: 1 });
    const inUse = (): string => {
      try {
        backend.upload(new Float32Array(2 ** 19));
      } catch (error) {
        return /(\d+) of \d+ in use/.exec((error as Error).message)![1];
      }
      return 'nothing failed';
    };
    const random = new Random(3);
    const cases = ops.map(op => ({ op, ...samplingOf(op).draw(random, 24) }));
    const run = ({ op, inputs, attributes }: (typeof cases)[number]): void =>
      scope(() => {
        const xs = inputs.map((x, i) =>
          x.values instanceof Int32Array
            ? tensor(x.values, { shape: x.shape, backend })
            : tensor(Float32Array.from(x.values), {
                shape: x.shape,
                backend,
                requiresGrad: hasGradient(op, x, i),
              }),
        );
        const y = apply(op, xs, attributes);
        if (y.requiresGrad && !op.name.startsWith('adamw'))
          grad(
            y,
            xs.filter(x => x.requiresGrad),
            { outputGrad: y.detach() },
          );
      });
    for (const c of cases) run(c); // workspaces and tables that are kept are made
    const fill: WasmStorage[] = [];
    const fillUp = (size: number): void => {
      try {
        for (;;) fill.push(backend.upload(new Float32Array(size)));
      } catch (error) {
        expect(error).toBeInstanceOf(OutOfMemory);
      }
    };
    for (const c of cases) {
      let failures = 0;
      [256, 1].forEach(fillUp);
      for (let free = 0, done = false; !done; free++) {
        const before = inUse();
        try {
          run(c);
          done = true;
        } catch (error) {
          expect(error).toBeInstanceOf(OutOfMemory);
          failures++;
        }
        expect(inUse(), c.op.name).toBe(before);
        for (const x of fill.splice(-1 - Math.floor(free / 8))) backend.free(x);
      }
      expect(failures, c.op.name).toBeGreaterThan(0);
    }
    for (const x of fill) backend.free(x);
  });

  test('stays flat over ten thousand steps', () => {
    const backend = createWasmBackend({ memoryLimit: 4 * 2 ** 20, threads: 1 });
    const w = tensor(new Float32Array(4096).fill(0.5), { backend, requiresGrad: true });
    const before = memory();
    for (let step = 0; step < 10_000; step++)
      scope(() => {
        grad(sum(mul(w, w)), [w]);
      });
    expect(memory()).toEqual(before);
    w.dispose();
  });
});
