/** How values are shown: read back they are the values, in PyTorch's notation, and what is cut is the middle. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatValues } from '../../engine/print.ts';
import { sizeOf, stridesOf } from '../../engine/shape.ts';

/** The nested lists that a text shows; numbers stay text, and "..." stands for what is left out. */
const parse = (text: string): unknown => JSON.parse(text.replace(/^tensor\(/, '').replace(/[^[\],\s]+/g, '"$&"'));
const numbersIn = (nested: unknown): string[] => [nested].flat(Infinity).map(String);
const valueOf = (text: string): number => Number(text.replace('nan', 'NaN').replace('inf', 'Infinity'));

const shapes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 });
/** Whole numbers or any, of one size or of many, with what is not finite among them. */
const tensors = shapes.chain(shape =>
  fc.record({
    shape: fc.constant(shape),
    values: fc
      .constantFrom(
        fc.integer({ min: -1000, max: 1000 }),
        fc.integer({ min: -(2 ** 30), max: 2 ** 30 }),
        fc.double({ min: -10, max: 10, noNaN: true }),
        fc.double({ min: 1, max: 10, noNaN: true }),
        fc.double({ min: -1e12, max: 1e12, noNaN: true }),
        fc.constantFrom(Number.NaN, Infinity, -Infinity, 0, 0.25),
      )
      .chain(value => fc.array(value, { minLength: sizeOf(shape), maxLength: sizeOf(shape) }))
      .map(list => Float32Array.from(list)),
  }),
);

test('values are read back with four decimals, or with five digits where four decimals would hide some', () => {
  fc.assert(
    fc.property(tensors, ({ shape, values }) => {
      const sizes = Array.from(values, Math.abs).filter(x => Number.isFinite(x) && x !== 0);
      const [least, largest] = [Math.min(...sizes), Math.max(...sizes)];
      const whole = sizes.every(Number.isInteger);
      // PyTorch's rule (torch/_tensor_str.py).
      const scientific = largest > 1e8 || (!whole && (largest / least > 1000 || least < 1e-4));
      const shown = numbersIn(parse(formatValues(values, shape)));
      expect(shown.length).toBe(values.length);
      shown.forEach((text, i) => {
        const x = values[i];
        if (!Number.isFinite(x)) return expect(valueOf(text)).toBe(x);
        if (scientific && sizes.length > 0) {
          expect(text).toMatch(/^-?\d\.\d{4}e[+-]\d+$/);
          expect(Math.abs(valueOf(text) - x)).toBeLessThanOrEqual(
            0.500001e-4 * 10 ** Math.floor(Math.log10(Math.abs(x) || 1)),
          );
        } else if (whole) expect([text.at(-1), valueOf(text)]).toEqual(['.', x + 0]);
        else {
          expect(text).toMatch(/^-?\d+\.\d{4}$/);
          expect(Math.abs(valueOf(text) - x)).toBeLessThanOrEqual(0.500001e-4);
        }
      });
    }),
  );
});

test.each([
  [[1, 1000.5], '1.0000, 1000.5000', '1.0000e+0, 1.0005e+3'],
  [[0.5, 500], '0.5000, 500.0000', null],
  [[1e-4], null, '1.0000e-4'],
  [[2 ** -13], '0.0001', null],
  [[1e8, 1], '100000000., 1.', null],
  [[2 ** 27, 1], null, '1.3422e+8, 1.0000e+0'],
])('%j: at the limits of the notations', (values, fixed, scientific) => {
  const shown = numbersIn(parse(formatValues(Float32Array.from(values), [values.length]))).join(', ');
  expect(shown).toBe(scientific ?? fixed);
});

test('the nesting is the shape, and numbers of all rows stand below each other', () => {
  fc.assert(
    fc.property(tensors, ({ shape, values }) => {
      const text = formatValues(values, shape);
      let nested = parse(text);
      const lengths: number[] = [];
      for (; Array.isArray(nested); nested = nested[0]) lengths.push(nested.length);
      expect(lengths).toEqual(shape);
      const rows = text.match(/\[[^[\]]*\]/g)!;
      expect(new Set(rows.map(row => row.length)).size).toBe(1);
      const lines = text.split('\n').filter(line => line !== '');
      expect(new Set(lines.map(line => line.search(/\[[^[]/))).size).toBe(1);
      expect(lines.length).toBe(rows.length);
      // Blocks of k dims are k − 1 lines apart.
      expect(text.split('\n').length - lines.length).toBe(
        lines.slice(1).reduce((sum, line) => sum + Math.max(0, line.trimStart().match(/^\[+/)![0].length - 2 + 1), 0),
      );
    }),
  );
});

test.each([[[1000]], [[1001]], [[10, 100]], [[6, 167]], [[7, 143]], [[11, 7, 13]], [[2, 6, 84]], [[334, 1, 3]]])(
  '%j: of more than 1,000 values the first and the last three of a dim with more than six',
  shape => {
    const size = sizeOf(shape);
    const strides = stridesOf(shape);
    const at = (dim: number, e: number) => Math.floor(e / strides[dim]) % shape[dim];
    const isShown = (e: number) =>
      size <= 1000 || shape.every((n, dim) => n <= 6 || at(dim, e) < 3 || at(dim, e) >= n - 3);
    const shown = numbersIn(
      parse(
        formatValues(
          Float32Array.from({ length: size }, (_, e) => e),
          shape,
        ),
      ),
    );
    expect(shown.filter(text => text !== '...').map(Number)).toEqual(
      Array.from({ length: size }, (_, e) => e).filter(isShown),
    );
    expect(shown.includes('...')).toBe(size > 1000);
  },
);
