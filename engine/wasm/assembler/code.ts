/**
 * Code of one WebAssembly function while it is emitted, and the two things a kernel is written in: expressions, which
 * leave a value, and statements, which do not.
 *
 * Expressions are plain trees, so a kernel reads like arithmetic; an expression emitted twice is computed twice, and
 * `Func.let` names a value that is wanted more often. The types of operands are checked twice: by TypeScript where the
 * kernel is written, and here against the operand stack, as an engine would validate it.
 */
import { float32, float64, signed, unsigned } from './bytes.ts';

/** Types on the stack. */
export type ValueType = 'i32' | 'f32' | 'f64' | 'v128';

/** Code that leaves one value of type T on the stack. */
export interface Expr<T extends ValueType = ValueType> {
  readonly type: T;
  emit(code: Code): void;
}
/** A 32-bit integer. */
export type I32 = Expr<'i32'>;
/** A single-precision float. */
export type F32 = Expr<'f32'>;
/** A double-precision float. */
export type F64 = Expr<'f64'>;
/** A vector of 128 bits. */
export type V128 = Expr<'v128'>;

/** A variable of a function. As an expression it is its value. */
export interface Local<T extends ValueType = ValueType> extends Expr<T> {
  readonly index: number;
}

/** Code that leaves the stack as it was. */
export interface Statement {
  emit(code: Code): void;
}

/** Gives vector constants an address, by a text that tells them apart; see `ConstantPool` in `module.ts`. */
export interface Constants {
  address(text: string, bytes: () => readonly number[]): number;
}

/** Instructions in order of emission: their bytes, the types on the operand stack, and a listing for people. */
export class Code {
  readonly bytes: number[] = [];
  readonly constants: Constants;
  private readonly stack: ValueType[] = [];
  private readonly lines: string[] | null;
  private readonly name: string;
  private depth = 0;

  constructor(name: string, constants: Constants, listing: boolean) {
    this.name = name;
    this.constants = constants;
    this.lines = listing ? [] : null;
  }

  /** One instruction: takes `pops` off the stack, last one on top, and leaves `push`. */
  instruction(text: string, bytes: readonly number[], pops: readonly ValueType[] = [], push?: ValueType): void {
    for (let i = pops.length - 1; i >= 0; i--) {
      const top = this.stack.pop();
      if (top !== pops[i])
        throw new Error(`${this.name}: ${text} takes ${pops.join(' ')}, but operand ${i} is ${top ?? 'missing'}`);
    }
    if (push) this.stack.push(push);
    for (const b of bytes) this.bytes.push(b);
    this.lines?.push('  '.repeat(this.depth + 1) + text);
  }

  /** A structured instruction around `body`, which leaves the stack as it found it. */
  nested(text: string, bytes: readonly number[], pops: readonly ValueType[], body: () => void): void {
    this.instruction(text, bytes, pops);
    this.depth++;
    const before = this.stack.length;
    body();
    this.expectHeight(before);
    this.depth--;
    this.instruction('end', [0x0b]);
  }

  /** Closes the function: nothing may be left on the stack but `result`. */
  end(result?: ValueType): void {
    if (result && this.stack.pop() !== result) throw new Error(`${this.name}: should leave ${result}`);
    this.expectHeight(0);
    this.instruction('end', [0x0b]);
  }

  get listing(): string {
    return this.lines?.join('\n') ?? '';
  }

  private expectHeight(n: number): void {
    if (this.stack.length !== n) throw new Error(`${this.name}: ${this.stack.length - n} values are left on the stack`);
  }
}

/** The expression of an instruction over operands. */
export function expression<T extends ValueType>(
  type: T,
  text: string,
  bytes: readonly number[],
  operands: readonly Expr[] = [],
): Expr<T> {
  const pops = operands.map(o => o.type);
  return {
    type,
    emit(code) {
      for (const o of operands) o.emit(code);
      code.instruction(text, bytes, pops, type);
    },
  };
}

/** The statement of an instruction over operands. */
export function statement(text: string, bytes: readonly number[], operands: readonly Expr[]): Statement {
  const pops = operands.map(o => o.type);
  return {
    emit(code) {
      for (const o of operands) o.emit(code);
      code.instruction(text, bytes, pops);
    },
  };
}

// Numbers stand for constants wherever an operand is expected.
/** A number as an expression of type i32. */
export const i32Operand = (x: I32 | number): I32 =>
  typeof x === 'number' ? expression('i32', `i32.const ${x}`, [0x41, ...signed(x | 0)]) : x;
/** A number as an expression of type f32. */
export const f32Operand = (x: F32 | number): F32 =>
  typeof x === 'number' ? expression('f32', `f32.const ${x}`, [0x43, ...float32(x)]) : x;
/** A number as an expression of type f64. */
export const f64Operand = (x: F64 | number): F64 =>
  typeof x === 'number' ? expression('f64', `f64.const ${x}`, [0x44, ...float64(x)]) : x;

/**
 * A vector constant, as a load from the pool of constants in linear memory: V8 builds a `v128.const` from immediates
 * at every use, which costs several instructions.
 */
function vectorConstant(text: string, bytes: () => readonly number[]): V128 {
  return {
    type: 'v128',
    emit(code) {
      i32Operand(code.constants.address(text, bytes)).emit(code);
      code.instruction(`v128.load ;; ${text}`, [0xfd, ...unsigned(0), 4, 0], ['i32'], 'v128');
    },
  };
}

/** A number as a text that tells −0 from 0. */
const exactly = (x: number): string => (Object.is(x, -0) ? '-0' : String(x));
const repeat = (bytes: readonly number[]): number[] => Array.from({ length: 16 }, (_, i) => bytes[i % bytes.length]);
const int32 = (x: number): number[] => [x & 255, (x >> 8) & 255, (x >> 16) & 255, (x >> 24) & 255];

/** A number as four equal floats. */
export const f32x4Operand = (x: V128 | number): V128 =>
  typeof x === 'number' ? vectorConstant(`f32x4 ${exactly(x)}`, () => repeat(float32(x))) : x;
/** A number as two equal doubles. */
export const f64x2Operand = (x: V128 | number): V128 =>
  typeof x === 'number' ? vectorConstant(`f64x2 ${exactly(x)}`, () => repeat(float64(x))) : x;
/** A number as four equal integers. */
export const i32x4Operand = (x: V128 | number): V128 =>
  typeof x === 'number' ? vectorConstant(`i32x4 ${x}`, () => repeat(int32(x))) : x;
/** Four different integers. */
export const i32x4Constant = (lanes: readonly [number, number, number, number]): V128 =>
  vectorConstant(`i32x4 ${lanes.join(' ')}`, () => lanes.flatMap(int32));
