/**
 * Special values, on both backends: NaN, infinities, signed zeros and subnormals are what IEEE 754 makes of them, and a
 * kernel treats them as the definition of its row does.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  apply,
  createReferenceBackend,
  createWasmBackend,
  scope,
  ops,
  tensor,
  type Backend,
  type TableOp,
} from '../../engine/index.ts';
import type { Sample } from '../../engine/ops/samples.ts';
import { drawInputs } from '../arbitraries/rows.ts';
import { special, wide } from '../arbitraries/tensors.ts';
import { randomOfTests } from '../random.ts';

const machines = [
  ['reference', createReferenceBackend()],
  ['wasm', createWasmBackend({ threads: 1 })],
] as const;
const [reference, wasm] = machines.map(([, backend]) => backend);
const random = randomOfTests('ieee');

/** What a row gives in float32, or the error it throws. */
function outcome(op: TableOp, backend: Backend, inputs: readonly Sample[], attributes: unknown): number[] | string {
  try {
    return scope(() =>
      Array.from(
        apply(
          op,
          inputs.map(x =>
            tensor(x.values instanceof Int32Array ? x.values : Float32Array.from(x.values), {
              shape: x.shape,
              backend,
            }),
          ),
          attributes,
        ).dataSync(),
      ),
    );
  } catch (error) {
    return (error as Error).message;
  }
}

/** What a value is when not a number like others. */
const kind = (x: number) => (Number.isNaN(x) ? 'NaN' : Math.abs(x) === Infinity ? x : 'finite');
const specials = [NaN, Infinity, -Infinity, 0, -0, 2 ** -149, -(2 ** -140), 1e-30];

/** Kernels that do not read what their definition multiplies by 0: there it says NaN of a NaN or an infinity. */
const unread: Readonly<Record<string, string>> = {
  attention: 'keys that a query does not see',
  sparseMatmul: 'rows of entries that are not stored',
  simplexGradient: 'entries outside the support',
};

describe('every row', () => {
  test.each(ops.map(op => [op.name, op] as const))(
    '%s: a special value among its inputs means the same to both backends',
    (name, op) => {
      for (let trial = 0; trial < 80; trial++) {
        const { inputs, attributes } = drawInputs(op, random, 1 + (trial % 6));
        const floats = inputs.filter(x => !(x.values instanceof Int32Array) && x.values.length > 0);
        for (let i = 0; i <= trial % 2 && floats.length > 0; i++) {
          const x = floats[random.integer(floats.length)];
          x.values[random.integer(x.values.length)] = specials[random.integer(specials.length)];
        }
        const [expected, actual] = [reference, wasm].map(backend => outcome(op, backend, inputs, attributes));
        const given = inputs.map(x => `[${Array.from(x.values, String)}]`).join(', ');
        const seen = `${name} of ${given}: reference ${expected}, wasm ${actual}`;
        if (typeof expected === 'string') expect(actual, seen).toBeTypeOf('string');
        else if (typeof actual === 'string') expect.fail(seen);
        else
          expected.forEach((e, i) => {
            if (!(name in unread && Number.isNaN(e))) expect(kind(actual[i]), `element ${i} of ${seen}`).toBe(kind(e));
          });
      }
    },
  );
});

const row = (name: string): TableOp => ops.find(op => op.name === name)!;
const same = (a: number, b: number) => Object.is(a + 0, b + 0); // the sign of a zero apart
const numbers = fc.oneof(wide, special);

/** Holds a row of one or two inputs against `oracle` on both backends, over lists as long as a vector and its edges. */
function holds(
  name: string,
  oracle: (a: number, b: number) => number,
  of: fc.Arbitrary<number> = numbers,
  close: (actual: number, expected: number) => boolean = same,
): void {
  const op = row(name);
  const {
    inputs: { length },
  } = drawInputs(op, random, 1);
  fc.assert(
    fc.property(fc.array(fc.tuple(of, of), { minLength: 1, maxLength: 9 }), pairs => {
      const inputs = Array.from(
        { length },
        (_, k): Sample => ({ shape: [pairs.length], values: Float64Array.from(pairs, p => Math.fround(p[k])) }),
      );
      for (const [machine, backend] of machines) {
        const actual = outcome(op, backend, inputs, {}) as number[];
        pairs.forEach(([a, b], i) => {
          const expected = Math.fround(oracle(Math.fround(a), Math.fround(b)));
          if (!close(actual[i], expected))
            expect.fail(`${machine}: ${name} of ${a} and ${b} is ${actual[i]}, not ${expected}`);
        });
      }
    }),
  );
}

describe('rounds once, over subnormals, huge numbers, infinities and NaN', () => {
  test.each<[string, (a: number, b: number) => number]>([
    ['add', (a, b) => a + b],
    ['sub', (a, b) => a - b],
    ['mul', (a, b) => a * b],
    ['div', (a, b) => a / b],
    ['sqrt', a => Math.sqrt(a)],
    ['maximum', (a, b) => Math.max(a, b)],
    ['eq', (a, b) => Number(a === b)],
    ['lt', (a, b) => Number(a < b)],
    ['relu', a => Math.max(a, 0)],
  ])('%s', (name, oracle) => {
    holds(name, oracle);
  });

  test('a zero keeps its sign where IEEE has one', () => {
    const signed = fc.constantFrom(0, -0, 1, -1, Infinity, -Infinity);
    for (const [name, oracle] of [
      ['mul', (a: number, b: number) => a * b],
      ['div', (a: number, b: number) => a / b],
      ['sqrt', (a: number) => Math.sqrt(a)],
    ] as const)
      holds(name, oracle, signed, Object.is);
  });
});

describe('a function at ±∞, at zero and at NaN', () => {
  test.each<[string, readonly (readonly [number, number])[]]>([
    [
      'exp',
      [
        [-Infinity, 0],
        [0, 1],
        [-0, 1],
        [Infinity, Infinity],
        [-200, 0],
        [100, Infinity],
        [2 ** -149, 1],
      ],
    ],
    [
      'log',
      [
        [0, -Infinity],
        [-0, -Infinity],
        [1, 0],
        [Infinity, Infinity],
        [-1, NaN],
        [-Infinity, NaN],
      ],
    ],
    [
      'tanh',
      [
        [-Infinity, -1],
        [0, 0],
        [Infinity, 1],
        [30, 1],
        [-30, -1],
        [2 ** -149, 2 ** -149],
      ],
    ],
    [
      'erf',
      [
        [-Infinity, -1],
        [0, 0],
        [Infinity, 1],
        [30, 1],
        [-30, -1],
      ],
    ],
    [
      'sin',
      [
        [0, 0],
        [Infinity, NaN],
        [-Infinity, NaN],
        [2 ** -149, 2 ** -149],
      ],
    ],
    [
      'cos',
      [
        [0, 1],
        [Infinity, NaN],
        [-Infinity, NaN],
      ],
    ],
    [
      'sigmoid',
      [
        [-Infinity, 0],
        [0, 0.5],
        [Infinity, 1],
        [200, 1],
        [-200, 0],
      ],
    ],
  ])('%s', (name, points) => {
    const at = [...points, [NaN, NaN] as const];
    for (const [machine, backend] of machines) {
      const actual = outcome(
        row(name),
        backend,
        [{ shape: [at.length], values: Float64Array.from(at, ([x]) => x) }],
        {},
      ) as number[];
      at.forEach(([x, y], i) => {
        if (!same(actual[i], y)) expect.fail(`${machine}: ${name}(${x}) is ${actual[i]}, not ${y}`);
      });
    }
  });

  test('powers: of 0, of 1, to 0, infinite, of a negative number', () => {
    const pairs = [
      [0, 0],
      [NaN, 0],
      [0, 2],
      [0, -1],
      [2, Infinity],
      [2, -Infinity],
      [0.5, Infinity],
      [Infinity, 2],
      [Infinity, -1],
      [-1, 0.5],
      [1, 5],
      [NaN, 1],
    ] as const;
    for (const [machine, backend] of machines) {
      const [a, b] = [0, 1].map(
        (k): Sample => ({ shape: [pairs.length], values: Float64Array.from(pairs, p => p[k]) }),
      );
      const actual = outcome(row('pow'), backend, [a, b], {}) as number[];
      pairs.forEach(([x, y], i) => {
        if (!same(actual[i], x ** y)) expect.fail(`${machine}: ${x} ** ${y} is ${actual[i]}, not ${x ** y}`);
      });
    }
  });

  test('powers of two, to four units', () => {
    for (const [machine, backend] of machines) {
      const exponents = Array.from({ length: 121 }, (_, i) => i - 60);
      const actual = outcome(
        row('pow'),
        backend,
        [
          { shape: [1], values: Float64Array.of(2) },
          { shape: [121], values: Float64Array.from(exponents) },
        ],
        {},
      ) as number[];
      exponents.forEach((e, i) =>
        expect(Math.abs(actual[i] - 2 ** e), `${machine}: 2^${e}`).toBeLessThanOrEqual(2 ** -22 * 2 ** e),
      );
    }
  });
});

describe('a line', () => {
  const along = (name: string, line: readonly number[]) =>
    machines.map(([, backend]) =>
      outcome(row(name), backend, [{ shape: [1, line.length], values: Float64Array.from(line) }], { dim: 1 }),
    );
  test.each<[string, readonly number[], readonly number[]]>([
    ['amax', [1, NaN, 3], [NaN]],
    ['amax', [-Infinity, -Infinity], [-Infinity]],
    ['amax', [], [-Infinity]],
    ['sum', [Infinity, 1, -Infinity], [NaN]],
    ['sum', [2 ** -149, 2 ** -149, 0], [2 ** -148]],
    ['sum', [], [0]],
    ['softmax', [0, -Infinity], [1, 0]],
    ['logsumexp', [0, -Infinity], [0]],
    ['logsumexp', [-Infinity, -Infinity], [-Infinity]],
    ['logsumexp', [1, Infinity], [Infinity]],
    ['logsumexp', [Infinity, Infinity, -Infinity], [Infinity]],
    ['logsumexp', [Infinity, NaN], [NaN]],
    ['logsumexp', [-Infinity, NaN], [NaN]],
    ['logSoftmax', [0, -Infinity], [0, -Infinity]],
    ['softmax', [1, Infinity], [NaN, NaN]],
    ['logSoftmax', [1, Infinity], [NaN, NaN]],
    ['logSoftmax', [-Infinity, -Infinity], [NaN, NaN]],
  ])('%s of %j', (name, line, expected) => {
    for (const actual of along(name, line)) expect((actual as number[]).map(x => x + 0)).toEqual(expected);
  });
});

test('where takes a branch as it is, whatever the other one holds', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(numbers, numbers, fc.constantFrom(0, -0, 1, -2, NaN)), { minLength: 1, maxLength: 9 }),
      triples => {
        const of = (k: number): Sample => ({
          shape: [triples.length],
          values: Float64Array.from(triples, t => Math.fround(t[k])),
        });
        for (const [, backend] of machines) {
          const actual = outcome(row('where'), backend, [of(2), of(0), of(1)], {}) as number[];
          triples.forEach(([a, b, c], i) => expect(same(actual[i], Math.fround(c !== 0 ? a : b))).toBe(true));
        }
      },
    ),
  );
});
