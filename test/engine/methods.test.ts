/** Methods of Tensor: both spellings are one function; `backward` adds up what `grad` gives; how a tensor is shown. */
import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as engine from '../../engine/index.ts';
import {
  add,
  arange,
  createReferenceBackend,
  createWasmBackend,
  gelu,
  grad,
  matmul,
  memory,
  ops,
  scope,
  setBackend,
  sum,
  Tensor,
  tensor,
  zeros,
} from '../../engine/index.ts';
import { addMethods } from '../../engine/methods.ts';
import { randomOfTests } from '../random.ts';

setBackend(createReferenceBackend());
const random = randomOfTests('methods');
const draw = (shape: number[], requiresGrad = false) =>
  tensor(
    Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal()),
    {
      shape,
      requiresGrad,
    },
  );
const list = (x: Tensor) => Array.from(x.dataSync());

describe('methods', () => {
  test('every operation of the table has one, but for those that take a list or update an optimiser', () => {
    const without = ops.map(op => op.name).filter(name => !(name in Tensor.prototype));
    expect(without).toEqual(['concat', 'adamwMean', 'adamwVariance', 'adamwStep']);
  });

  test('every method that is exported as a function is that function', () => {
    const both = Object.keys(engine).filter(name => name in Tensor.prototype);
    expect(both.length).toBeGreaterThan(60);
    const x = draw([2, 3]);
    const pairs = [
      [x.exp(), engine.exp(x)],
      [x.softmax(0), engine.softmax(x, 0)],
      [x.sum(1, { keepdim: true }), engine.sum(x, 1, { keepdim: true })],
      [x.std(), engine.std(x)],
    ];
    for (const [method, fn] of pairs) expect(list(method)).toEqual(list(fn));
  });

  test('formulas read from left to right', () => {
    const [x, w, b] = [draw([2, 3]), draw([3, 4]), draw([4])];
    expect(list(x.matmul(w).add(b).gelu())).toEqual(list(gelu(add(matmul(x, w), b))));
    expect(list(x.where(x.gt(0), 0))).toEqual(list(x.relu()));
  });

  test('a method name can be used once', () => {
    expect(() => addMethods({ exp: x => x })).toThrow('Tensor has a method exp already');
  });
});

describe('backward', () => {
  test('adds the gradients of every leaf up, call after call, until zeroGrad', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), calls => {
        const before = memory();
        const [x, w, constant] = [draw([2, 3], true), draw([3, 2], true), draw([2])];
        const loss = () => x.matmul(w).add(constant).tanh().sum();
        const expected = scope(() => grad(loss(), [x, w]).map(list));
        for (let i = 0; i < calls; i++) scope(() => loss().backward());
        for (const [i, leaf] of [x, w].entries()) {
          const total = list(leaf.grad!);
          expected[i].forEach((g, j) => expect(total[j]).toBeCloseTo(calls * g, 12));
        }
        expect(constant.grad).toBe(null);
        x.zeroGrad();
        expect(x.grad).toBe(null);
        [x, w, constant].forEach(t => t.dispose()); // w's gradient goes with it
        expect(memory()).toEqual(before);
      }),
    );
  });

  test('a first call gives what grad gives, bit for bit, and outlives its scope', () => {
    const x = draw([4], true);
    const [g] = scope(() => grad(x.square().sum(), [x]).map(list));
    scope(() => x.square().sum().backward());
    expect(list(x.grad!)).toEqual(g);
  });

  test('reports an output without anything to differentiate with respect to', () => {
    expect(() => sum(draw([2])).backward()).toThrow('backward: no tensor with requiresGrad leads to the output');
  });

  test('a loss whose scope has freed the graph says so', () => {
    const x = draw([2], true);
    const loss = scope(() => x.square().sum());
    expect(() => loss.backward()).toThrow('grad: the graph behind the output ([]) was freed');
  });
});

describe('console.log', () => {
  test.each([
    [
      [
        [1, 2.5],
        [-3, 4],
      ],
      'tensor([[ 1.0000,  2.5000],\n        [-3.0000,  4.0000]], shape=[2, 2], float32, reference)',
    ],
    [[1, 2, 30], 'tensor([ 1.,  2., 30.], shape=[3], float32, reference)'],
    [3.25, 'tensor(3.2500, shape=[], float32, reference)'],
    [[], 'tensor([], shape=[0], float32, reference)'],
    [[1e-6, 1], 'tensor([1.0000e-6, 1.0000e+0], shape=[2], float32, reference)'],
    [[NaN, Infinity, 0.5], 'tensor([   nan,    inf, 0.5000], shape=[3], float32, reference)'],
    [
      [
        [[1], [2]],
        [[3], [4]],
      ],
      'tensor([[[1.],\n         [2.]],\n\n        [[3.],\n         [4.]]], shape=[2, 2, 1], float32, reference)',
    ],
  ])('%j', (values, text) => {
    expect(String(tensor(values))).toBe(text);
    expect(inspect(tensor(values))).toBe(text);
  });

  test('indices are whole numbers; a tensor with requiresGrad says so', () => {
    expect(String(tensor(Int32Array.of(1, -20)))).toBe('tensor([  1, -20], shape=[2], int32, reference)');
    expect(String(tensor([1], { requiresGrad: true }))).toBe(
      'tensor([1.], shape=[1], float32, reference, requiresGrad)',
    );
  });

  test('more than a thousand values are cut to the first and last three of each dim', () => {
    const text = String(arange(4000).reshape([40, 100]));
    expect(text.split('\n').length).toBe(7);
    expect(text.split('\n')[0]).toBe('tensor([[   0.,    1.,    2., ...,   97.,   98.,   99.],');
    expect(text.split('\n')[3]).toBe('        ...,');
  });

  test('values that cannot be read synchronously are left out, and those of a freed tensor', () => {
    const wasm = createWasmBackend({ threads: 1 });
    const device: engine.Backend = { ...wasm, name: 'device', readSync: undefined };
    expect(String(tensor([1, 2], { backend: device }))).toBe('tensor(shape=[2], float32, device)');
    const x = zeros([2]);
    x.dispose();
    expect(String(x)).toBe('tensor(freed, shape=[2], float32, reference)');
  });
});
