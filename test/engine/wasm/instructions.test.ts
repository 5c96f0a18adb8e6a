/**
 * Every instruction of the assembler does what its name says in the WebAssembly specification: against JavaScript's
 * numbers.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Expr, F64, Statement, V128 } from '../../../engine/wasm/assembler/code.ts';
import {
  bitselect,
  f32,
  f32x4,
  f64,
  f64x2,
  i32,
  i32x4,
  select,
  v128,
  zeroFill,
} from '../../../engine/wasm/assembler/instructions.ts';
import { ModuleBuilder } from '../../../engine/wasm/assembler/module.ts';
import { detectRelaxedSimd } from '../../../engine/wasm/features.ts';
import { special, wide } from '../../arbitraries/tensors.ts';

/** Runs statements over a memory that holds `data` from address 64; gives what lies from address 0. */
function run(data: DataView | null, ...statements: Statement[]): DataView<ArrayBuffer> {
  const module = new ModuleBuilder({
    memory: { shared: false, maximum: 1 },
    constants: { start: 1024, end: 2048 },
    list: () => false,
  });
  module.func('f', {}, f => {
    f.do(...statements);
  });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.bytes()), {
    env: { memory, pow: Math.pow },
  });
  const bytes = new Uint8Array(memory.buffer);
  if (data) bytes.set(new Uint8Array(data.buffer), 64);
  (exports.f as () => void)();
  return new DataView(bytes.slice(0, 64).buffer);
}

type Kind = 'int' | 'float' | 'double';
const width: Record<Kind, number> = { int: 4, float: 4, double: 8 };
const get = (view: DataView, kind: Kind, i: number): number =>
  kind === 'int'
    ? view.getInt32(4 * i, true)
    : kind === 'float'
      ? view.getFloat32(4 * i, true)
      : view.getFloat64(8 * i, true);
const set = (view: DataView, kind: Kind, i: number, value: number): void => {
  if (kind === 'int') view.setInt32(4 * i, value, true);
  else if (kind === 'float') view.setFloat32(4 * i, value, true);
  else view.setFloat64(8 * i, value, true);
};
const lanesOf = (kind: Kind): number => 16 / width[kind];

const integer = fc.oneof(fc.integer(), fc.integer({ min: -3, max: 40 }), fc.constantFrom(-(2 ** 31), 2 ** 31 - 1));
const float = fc.oneof(
  wide,
  special.map(Math.fround),
  fc.constantFrom(0.5, -0.5, 1.5, 2.5, 3e9, -3e9).map(Math.fround),
);
const of: Record<Kind, fc.Arbitrary<number>> = { int: integer, float, double: fc.oneof(float, fc.double()) };

const wrap = (x: number): number => x | 0;
const mask = (x: boolean): number => (x ? -1 : 0);
const even = (x: number): number => {
  // to the nearest integer, ties to even
  const below = Math.floor(x);
  const up = x - below > 0.5 || (x - below === 0.5 && below % 2 !== 0);
  const rounded = !Number.isFinite(x) ? x : up ? below + 1 : below;
  return rounded === 0 ? (Object.is(x, -0) || x < 0 ? -0 : 0) : rounded;
};
const saturate = (x: number): number =>
  Number.isNaN(x) ? 0 : Math.trunc(Math.min(2 ** 31 - 1, Math.max(-(2 ** 31), x)));

describe('scalars', () => {
  const integers: Record<string, (a: number, b: number) => number> = {
    eq: (a, b) => Number(a === b),
    lt_s: (a, b) => Number(a < b),
    lt_u: (a, b) => Number(a >>> 0 < b >>> 0),
    le_u: (a, b) => Number(a >>> 0 <= b >>> 0),
    add: (a, b) => a + b,
    sub: (a, b) => a - b,
    mul: Math.imul,
    div_u: (a, b) => (b === 0 ? NaN : Math.floor((a >>> 0) / (b >>> 0))),
    rem_u: (a, b) => (b === 0 ? NaN : (a >>> 0) % (b >>> 0)),
    and: (a, b) => a & b,
    or: (a, b) => a | b,
    shl: (a, b) => a << b,
    shr_u: (a, b) => a >>> b,
    min_u: (a, b) => Math.min(a >>> 0, b >>> 0),
  };
  test.each(Object.entries(integers))('i32.%s', (name, oracle) => {
    fc.assert(
      fc.property(integer, integer, (a, b) => {
        fc.pre(!Number.isNaN(oracle(a, b))); // by 0 it traps
        expect(run(null, i32.store(0, i32[name as 'add'](a, b))).getInt32(0, true)).toBe(wrap(oracle(a, b)));
      }),
    );
  });

  const floats: Record<string, (a: number, b: number) => number> = {
    add: (a, b) => a + b,
    sub: (a, b) => a - b,
    mul: (a, b) => a * b,
    div: (a, b) => a / b,
  };
  test.each(Object.entries(floats))('f32.%s and f64.%s', (name, oracle) => {
    fc.assert(
      fc.property(float, float, (a, b) => {
        expect(run(null, f32.store(0, f32[name as 'add'](a, b))).getFloat32(0, true)).toBe(Math.fround(oracle(a, b)));
        expect(
          run(
            null,
            f32.store(0, f32.demote(f64[name as 'add'](f64.promote(f32.const(a)), f64.promote(f32.const(b))))),
          ).getFloat32(0, true),
        ).toBe(Math.fround(oracle(a, b)));
      }),
    );
  });

  test('the others', () => {
    const one = (value: Expr<'i32'>) => run(null, i32.store(0, value)).getInt32(0, true);
    const single = (value: Expr<'f32'>) => run(null, f32.store(0, value)).getFloat32(0, true);
    expect([
      one(i32.eqz(0)),
      one(i32.eqz(7)),
      one(i32.const(-5)),
      one(select(i32.const(3), i32.const(4), i32.const(1))),
      one(select(i32.const(3), i32.const(4), i32.const(0))),
    ]).toEqual([1, 0, -5, 3, 4]);
    expect([
      single(f32.neg(f32.const(2))),
      single(f32.demote(f64.sqrt(f64.promote(f32.const(2))))),
      single(f32.demote(f64.convert_i32_s(-7))),
    ]).toEqual([-2, Math.fround(Math.SQRT2), -7]);
  });

  test('memory: at an address and an offset, of 4, 8 and 16 bytes', () => {
    const data = new DataView(Int32Array.of(11, 22, 33, 44, 55, 66, 77, 88).buffer);
    const words = (...statements: Statement[]) =>
      Array.from(new Int32Array(run(data, ...statements).buffer).slice(0, 6));
    expect(words(i32.store(4, i32.load(64, 8), 8))).toEqual([0, 0, 0, 33, 0, 0]);
    expect(words(f32.store(0, f32.load(68), 4))).toEqual([0, 22, 0, 0, 0, 0]);
    expect(words(v128.store(0, v128.load(64, 4), 4))).toEqual([0, 22, 33, 44, 55, 0]);
    expect(words(v128.store(0, v128.load64_zero(68)))).toEqual([22, 33, 0, 0, 0, 0]);
    expect(words(v128.store(0, v128.load32_splat(72)))).toEqual([33, 33, 33, 33, 0, 0]);
    expect(words(v128.store32_lane(0, v128.load(64), 2, 8))).toEqual([0, 0, 33, 0, 0, 0]);
    expect(words(v128.store64_lane(0, v128.load(64), 1, 8))).toEqual([0, 0, 33, 44, 0, 0]);
    expect(words(v128.store(0, v128.load(64)), zeroFill(4, 8))).toEqual([11, 0, 0, 44, 0, 0]);
    expect(words(v128.store(0, v128.shuffle32(v128.load(64), v128.load(80), [3, 4, 0, 7])))).toEqual([
      44, 55, 11, 88, 0, 0,
    ]);
  });
});

interface Lanewise {
  readonly from: Kind;
  readonly to: Kind;
  readonly build: (a: V128, b: V128, c: V128) => V128;
  /** Of each lane of the result; a lane that the operands do not have is 0. */
  readonly oracle: (a: number, b: number, c: number) => number;
}
const lanes = (from: Kind, build: Lanewise['build'], oracle: Lanewise['oracle'], to = from): Lanewise => ({
  from,
  to,
  build,
  oracle,
});

const vectors: Record<string, Lanewise> = {
  'v128.not': lanes('int', v128.not, a => ~a),
  'v128.and': lanes('int', v128.and, (a, b) => a & b),
  'v128.andnot': lanes('int', v128.andnot, (a, b) => a & ~b),
  'v128.or': lanes('int', v128.or, (a, b) => a | b),
  'v128.xor': lanes('int', v128.xor, (a, b) => a ^ b),
  bitselect: lanes('int', bitselect, (a, b, c) => (a & c) | (b & ~c)),
  'i32x4.eq': lanes('int', i32x4.eq, (a, b) => mask(a === b)),
  'i32x4.lt_s': lanes('int', i32x4.lt_s, (a, b) => mask(a < b)),
  'i32x4.gt_s': lanes('int', i32x4.gt_s, (a, b) => mask(a > b)),
  'i32x4.and': lanes('int', i32x4.and, (a, b) => a & b),
  'i32x4.add': lanes('int', i32x4.add, (a, b) => a + b),
  'i32x4.sub': lanes('int', i32x4.sub, (a, b) => a - b),
  'i32x4.shl': lanes(
    'int',
    a => i32x4.shl(a, 5),
    a => a << 5,
  ),
  'i32x4.shr_s': lanes(
    'int',
    a => i32x4.shr_s(a, 5),
    a => a >> 5,
  ),
  'i32x4.shr_u': lanes(
    'int',
    a => i32x4.shr_u(a, 5),
    a => a >>> 5,
  ),
  'i32x4.trunc_sat_f32x4_s': lanes('float', i32x4.trunc_sat_f32x4_s, saturate, 'int'),
  'i32x4.trunc_sat_f64x2_s_zero': lanes('double', i32x4.trunc_sat_f64x2_s_zero, saturate, 'int'),
  'f32x4.eq': lanes('float', f32x4.eq, (a, b) => mask(a === b), 'int'),
  'f32x4.ne': lanes('float', f32x4.ne, (a, b) => mask(a !== b), 'int'),
  'f32x4.lt': lanes('float', f32x4.lt, (a, b) => mask(a < b), 'int'),
  'f32x4.gt': lanes('float', f32x4.gt, (a, b) => mask(a > b), 'int'),
  'f32x4.ge': lanes('float', f32x4.ge, (a, b) => mask(a >= b), 'int'),
  'f32x4.nearest': lanes('float', f32x4.nearest, even),
  'f32x4.abs': lanes('float', f32x4.abs, Math.abs),
  'f32x4.neg': lanes('float', f32x4.neg, a => -a),
  'f32x4.sqrt': lanes('float', f32x4.sqrt, Math.sqrt),
  'f32x4.add': lanes('float', f32x4.add, (a, b) => a + b),
  'f32x4.sub': lanes('float', f32x4.sub, (a, b) => a - b),
  'f32x4.mul': lanes('float', f32x4.mul, (a, b) => a * b),
  'f32x4.div': lanes('float', f32x4.div, (a, b) => a / b),
  'f32x4.min': lanes('float', f32x4.min, (a, b) => Math.min(a, b)),
  'f32x4.max': lanes('float', f32x4.max, (a, b) => Math.max(a, b)),
  'f32x4.pmin': lanes('float', f32x4.pmin, (a, b) => (b < a ? b : a)),
  'f32x4.pmax': lanes('float', f32x4.pmax, (a, b) => (a < b ? b : a)),
  'f32x4.convert_i32x4_s': lanes('int', f32x4.convert_i32x4_s, a => a, 'float'),
  'f32x4.demote_f64x2_zero': lanes('double', f32x4.demote_f64x2_zero, a => a, 'float'),
  'f64x2.nearest': lanes('double', f64x2.nearest, even),
  'f64x2.add': lanes('double', f64x2.add, (a, b) => a + b),
  'f64x2.sub': lanes('double', f64x2.sub, (a, b) => a - b),
  'f64x2.mul': lanes('double', f64x2.mul, (a, b) => a * b),
  'f64x2.div': lanes('double', f64x2.div, (a, b) => a / b),
  'f64x2.promote_low_f32x4': lanes('float', f64x2.promote_low_f32x4, a => a, 'double'),
};

describe('vectors, lane by lane', () => {
  test.each(Object.entries(vectors))('%s', (_, { from, to, build, oracle }) => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(of[from], of[from], of[from]), { minLength: lanesOf(from), maxLength: lanesOf(from) }),
        operands => {
          const data = new DataView(new ArrayBuffer(48));
          operands.forEach(triple =>
            triple.forEach((x, k) => set(data, from, k * lanesOf(from) + operands.indexOf(triple), x)),
          );
          const view = run(data, v128.store(0, build(v128.load(64), v128.load(80), v128.load(96))));
          for (let i = 0; i < lanesOf(to); i++) {
            const given = operands[i]
              ? ([0, 1, 2].map(k => get(data, from, k * lanesOf(from) + i)) as [number, number, number])
              : null;
            const expected = given ? oracle(...given) : 0;
            expect(get(view, to, i)).toBe(
              to === 'int' ? wrap(expected) : to === 'float' ? Math.fround(expected) : expected,
            );
          }
        },
      ),
    );
  });

  test('one value in every lane, one lane of several, a bit a lane', () => {
    const four = (value: V128) => Array.from(new Float32Array(run(null, v128.store(0, value)).buffer).slice(0, 4));
    const ints = (value: V128) => Array.from(new Int32Array(run(null, v128.store(0, value)).buffer).slice(0, 4));
    expect([four(f32x4.const(1.5)), four(f32x4.splat(2.5))]).toEqual([
      [1.5, 1.5, 1.5, 1.5],
      [2.5, 2.5, 2.5, 2.5],
    ]);
    expect([ints(i32x4.const(-3)), ints(i32x4.splat(9))]).toEqual([
      [-3, -3, -3, -3],
      [9, 9, 9, 9],
    ]);
    const data = new DataView(Int32Array.of(1, -2, 3, -4).buffer);
    const one = (value: Expr<'i32'>) => run(data, i32.store(0, value)).getInt32(0, true);
    expect([0, 1, 2, 3].map(lane => one(i32x4.extract_lane(v128.load(64), lane)))).toEqual([1, -2, 3, -4]);
    expect([
      one(i32x4.bitmask(v128.load(64))),
      one(v128.any_true(v128.load(64))),
      one(v128.any_true(v128.load(80))),
    ]).toEqual([0b1010, 1, 0]);
    const floats = new DataView(Float32Array.of(1.5, 2.5, 3.5, 4.5).buffer);
    expect(
      [0, 1, 2, 3].map(lane => run(floats, f32.store(0, f32x4.extract_lane(v128.load(64), lane))).getFloat32(0, true)),
    ).toEqual([1.5, 2.5, 3.5, 4.5]);
    const double = (value: F64) => run(null, f32.store(0, f32.demote(value))).getFloat32(0, true);
    const pair = f64x2.add(f64x2.const(2), f64x2.promote_low_f32x4(v128.load(1500)));
    expect([double(f64x2.extract_lane(pair, 0)), double(f64x2.extract_lane(pair, 1))]).toEqual([2, 2]);
  });

  test('constants of −0 and 0 are two', () => {
    const lane = (value: V128, zero: V128) => run(null, v128.store(0, value), v128.store(16, zero));
    const [single, double] = [lane(f32x4.const(-0), f32x4.const(0)), lane(f64x2.const(-0), f64x2.const(0))];
    expect([
      single.getFloat32(0, true),
      single.getFloat32(16, true),
      double.getFloat64(0, true),
      double.getFloat64(16, true),
    ]).toEqual([-0, 0, -0, 0]);
  });

  test.runIf(detectRelaxedSimd())('f32x4.relaxed_madd is a b + c, rounded once or twice', () => {
    const data = new DataView(Float32Array.of(2, 3, 4, 5, 10, 10, 10, 10, 1, 1, 1, 1).buffer);
    const view = run(data, v128.store(0, f32x4.relaxed_madd(v128.load(64), v128.load(80), v128.load(96))));
    expect([0, 1, 2, 3].map(i => view.getFloat32(4 * i, true))).toEqual([21, 31, 41, 51]);
  });
});

test('none is left out', () => {
  const elsewhere = [
    'const',
    'splat',
    'extract_lane',
    'load',
    'store',
    'bitmask',
    'any_true',
    'load64_zero',
    'load32_splat',
    'store32_lane',
    'store64_lane',
    'shuffle32',
    'relaxed_madd',
  ];
  for (const [type, instructions] of Object.entries({ v128, i32x4, f32x4, f64x2 })) {
    for (const name of Object.keys(instructions))
      if (!elsewhere.includes(name)) expect(vectors, `${type}.${name}`).toHaveProperty([`${type}.${name}`]);
  }
});
