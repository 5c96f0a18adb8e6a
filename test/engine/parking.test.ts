/** Parked tensors: the same values, a bound on what they take in the backend, and nothing left behind. */
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import {
  add,
  createReferenceBackend,
  createWasmBackend,
  getBackend,
  grad,
  matmul,
  memory,
  mul,
  Parking,
  scope,
  setBackend,
  sum,
  tensor,
  type Tensor,
} from '../../engine/index.ts';

const before = getBackend();
afterAll(() => setBackend(before));
const backends = [
  ['reference', createReferenceBackend()],
  ['wasm', createWasmBackend({ threads: 1 })],
] as const;

const n = 16;
const bytes = 4 * n * n;
const numbers = (seed: number) => Float32Array.from({ length: n * n }, (_, i) => Math.sin(i + 7 * seed) / 4);
const place = (seed: number) => tensor(numbers(seed), { shape: [n, n], requiresGrad: true });
const list = (t: Tensor) => Array.from(t.dataSync());

describe.each(backends)('on %s', (_, backend) => {
  test('a parked tensor has a gradient only where that is asked for', () => {
    setBackend(backend);
    const parking = new Parking(2 * bytes);
    const [frozen, learned] = [{}, { requiresGrad: true }].map(options =>
      parking.park(to => to.set(numbers(0)), [n, n], options),
    );
    expect([frozen.requiresGrad, learned.requiresGrad]).toEqual([false, true]);
    [frozen, learned].forEach(t => t.dispose());
  });

  test('any order of uses gives the same bits within any limit, and memory stays flat', () => {
    setBackend(backend);
    const start = memory();
    fc.assert(
      fc.property(
        fc.array(fc.nat(11), { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 0, max: 13 }),
        (uses, limit) => {
          const parking = new Parking(limit * bytes);
          const parked = Array.from({ length: 12 }, (_, i) => parking.park(to => to.set(numbers(i)), [n, n]));
          const plain = Array.from({ length: 12 }, (_, i) => place(i));
          const run = (weights: readonly Tensor[]) =>
            scope(() => {
              const x = place(99);
              const y = uses.reduce((y, i) => add(matmul(y, weights[i]), y), x);
              return [y, ...grad(sum(mul(y, y)), [x])].map(list);
            });
          expect(run(parked)).toEqual(run(plain));
          const most = Math.max(limit, 4) * bytes;
          const resident = memory().bytes - start.bytes - 12 * bytes;
          expect(resident).toBeLessThanOrEqual(Math.min(most, new Set(uses).size * bytes));
          for (const t of [...parked, ...plain]) t.dispose();
          expect(memory()).toEqual(start);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('the most recently read stay: a second use within the limit fetches nothing', () => {
    setBackend(backend);
    const fetched: number[] = [];
    const parking = new Parking(10 * bytes);
    const parked = Array.from({ length: 14 }, (_, i) =>
      parking.park(
        to => {
          fetched.push(i);
          to.set(numbers(i));
        },
        [n, n],
      ),
    );
    const read = (...which: number[]) => which.forEach(i => scope(() => void add(parked[i], 1)));
    read(0, 1, 2, 3, 4, 5, 6, 7, 8, 9);
    read(9, 0, 5);
    expect(fetched).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    read(10, 1); // the one read longest ago, 1, made room for 10
    expect(fetched.slice(10)).toEqual([10, 1]);
    parked.forEach(t => t.dispose());
  });

  test('reading values does not fetch them; a parameter gets its own values and the parked ones leave', () => {
    setBackend(backend);
    const start = memory();
    const frozen = new Parking().park(to => to.set(numbers(3)), [n, n]);
    expect(list(frozen)).toEqual(Array.from(numbers(3)));
    expect(memory().bytes).toBe(start.bytes);
    const learned = frozen.alias(undefined, null, true);
    scope(() => void add(learned, 1));
    expect(memory().bytes).toBe(start.bytes + bytes);
    learned.assign(place(4));
    expect(memory().bytes).toBe(start.bytes + bytes); // the new values only
    expect([list(learned), list(frozen)]).toEqual([Array.from(numbers(4)), Array.from(numbers(3))]);
    [learned, frozen].forEach(t => t.dispose());
    expect(memory()).toEqual(start);
  });

  test('values that cannot be fetched are an error, and leave nothing', () => {
    setBackend(backend);
    const start = memory();
    const broken = new Parking().park(() => {
      throw new Error('the file is gone');
    }, [n, n]);
    for (let i = 0; i < 2; i++) expect(() => scope(() => void add(broken, 1))).toThrow('the file is gone');
    broken.dispose();
    expect(memory()).toEqual(start);
  });
});

test('weights of ten times the memory of the backend compute in it', () => {
  const backend = createWasmBackend({ threads: 1, memoryLimit: 8 * 2 ** 20 });
  const wide = 512; // 1 MiB a matrix
  const parking = new Parking(2 * 2 ** 20);
  const parked = Array.from({ length: 80 }, (_, i) =>
    parking.park(
      to => {
        to.fill(0);
        for (let r = 0; r < wide; r++) to[r * wide + ((r + i) % wide)] = 1;
      },
      [wide, wide],
      { backend },
    ),
  );
  const shifted = scope(() => {
    const x = tensor(
      Float32Array.from({ length: wide }, (_, i) => i),
      { shape: [1, wide], backend },
    );
    return Array.from(parked.reduce((y, w) => scope(() => matmul(y, w)), x).dataSync());
  });
  // Matrix i moves every column by i.
  const move = (79 * 80) / 2;
  expect(shifted).toEqual(Array.from({ length: wide }, (_, i) => (((i - move) % wide) + wide) % wide));
  parked.forEach(t => t.dispose());
});
