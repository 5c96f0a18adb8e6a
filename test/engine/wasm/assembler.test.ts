/** The assembler: encodings, type checks as code is emitted, listings. */
import { describe, expect, test } from 'vitest';
import { float32, signed, unsigned } from '../../../engine/wasm/assembler/bytes.ts';
import { expression, type I32 } from '../../../engine/wasm/assembler/code.ts';
import { f32, f32x4, i32, v128 } from '../../../engine/wasm/assembler/instructions.ts';
import { ModuleBuilder, type Func } from '../../../engine/wasm/assembler/module.ts';
import { listing } from '../../../engine/wasm/index.ts';

const builder = (list = false) =>
  new ModuleBuilder({ memory: { shared: false, maximum: 1 }, constants: { start: 1024, end: 2048 }, list: () => list });

/** Runs a function of one integer whose body stores at address 0; returns the memory. */
function run(build: (f: Func, x: I32) => void, x = 0): DataView {
  const module = builder();
  module.func('f', { x: 'i32' }, (f, p) => build(f, p.x));
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.bytes()), {
    env: { memory, pow: Math.pow },
  });
  (exports.f as (x: number) => void)(x);
  return new DataView(memory.buffer);
}

describe('encodings', () => {
  test('LEB128, by the examples of the DWARF standard', () => {
    expect(unsigned(624485)).toEqual([0xe5, 0x8e, 0x26]);
    expect(unsigned(2 ** 32 - 1)).toEqual([0xff, 0xff, 0xff, 0xff, 0x0f]);
    expect(signed(-123456)).toEqual([0xc0, 0xbb, 0x78]);
    expect(signed(64)).toEqual([0xc0, 0x00]);
    expect(signed(-64)).toEqual([0x40]);
  });
  test('floats', () => expect(float32(1)).toEqual([0, 0, 0x80, 0x3f]));
});

describe('a module', () => {
  test('of more functions than a byte counts', () => {
    const module = builder();
    for (let i = 0; i < 300; i++)
      module.func(`f${i}`, { x: `${i % 2 ? 'i' : 'f'}32` as 'i32' }, f => f.do(i32.store(0, i)));
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.bytes()), {
      env: { memory, pow: Math.pow },
    });
    for (const i of [0, 127, 128, 299]) {
      (exports[`f${i}`] as (x: number) => void)(0);
      expect(new Int32Array(memory.buffer)[0]).toBe(i);
    }
  });

  test('holds as many constants as there is room for, each once', () => {
    const module = builder();
    const store = (n: number) => module.func(`f${n}`, {}, f => f.do(v128.store(0, f32x4.const(n))));
    for (let n = 0; n < 64; n++) store(n); // 16 bytes each, in 1024
    store(63);
    expect(() => store(64)).toThrow('the pool of constants is full at 2048');
  });
});

describe('functions', () => {
  test('arithmetic and constants, −0 apart from 0', () => {
    const view = run(f => {
      f.do(f32.store(0, f32.add(1.5, 2)), i32.store(4, i32.sub(3, 5)));
      f.do(v128.store(16, f32x4.add(f32x4.const(-0), f32x4.const(-0))), v128.store(32, f32x4.const(0)));
    });
    expect(view.getFloat32(0, true)).toBe(3.5);
    expect(view.getInt32(4, true)).toBe(-2);
    expect(Object.is(view.getFloat32(16, true), -0)).toBe(true);
    expect(Object.is(view.getFloat32(32, true), 0)).toBe(true);
  });

  test('loops and branches', () => {
    const evens = (n: number) =>
      run((f, x) => {
        const total = f.let(i32.const(0));
        f.for(0, x, 1, i =>
          f.if(
            i32.and(i, 1),
            () => f.set(total, i32.add(total, 100)),
            () => f.set(total, i32.add(total, i)),
          ),
        );
        f.do(i32.store(0, total));
      }, n).getInt32(0, true);
    expect(evens(0)).toBe(0);
    expect(evens(5)).toBe(206);
  });

  test('a wrong operand is an error where it is emitted', () => {
    const emit = (build: (f: Func) => void) => () => builder().func('bad', {}, build);
    const wrong = expression('i32', 'nothing', []) as I32;
    expect(emit(f => f.do({ emit: code => code.instruction('i32.add', [0x6a], ['i32', 'i32'], 'i32') }))).toThrow(
      'bad: i32.add takes i32 i32, but operand 1 is missing',
    );
    expect(emit(f => wrong.emit(f.code))).toThrow('bad: 1 values are left on the stack');
    expect(
      emit(f =>
        f.do({
          emit: code => {
            f32.const(1).emit(code);
            code.instruction('i32.eqz', [0x45], ['i32'], 'i32');
          },
        }),
      ),
    ).toThrow('bad: i32.eqz takes i32, but operand 0 is f32');
  });
});

describe('listing', () => {
  test('shows a kernel as indented instructions', () => {
    const text = listing('exp');
    expect(text).toMatch(/^func exp \(0 x: i32, 1 y: i32, 2 from: i32, 3 to: i32, 4 work: i32\)/);
    expect(text).toContain('    loop\n');
    expect(text).toContain('v128.load ;; f32x4 12582912');
    expect(listing('matmulBlock')).toMatch(/v128\.load offset=\d+\n/);
    expect(listing('matmulBlock')).not.toContain('offset=0');
    expect(listing('matmulBlock', { relaxedSimd: true })).toContain('f32x4.relaxed_madd');
    expect(() => listing('nothing')).toThrow("no kernel named 'nothing'");
  });
});
