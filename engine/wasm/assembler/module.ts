/**
 * A WebAssembly module built from TypeScript: functions with named parameters and structured control flow, a pool of
 * vector constants, one imported memory. Nothing is optimised here; that is left to the kernel's author and to V8.
 */
import { section, text, unsigned, vector } from './bytes.ts';
import {
  Code,
  expression,
  i32Operand,
  statement,
  type Constants,
  type Expr,
  type F64,
  type I32,
  type Local,
  type Statement,
  type ValueType,
} from './code.ts';
import { i32 } from './instructions.ts';

const typeCodes: Record<ValueType, number> = { i32: 0x7f, f32: 0x7d, f64: 0x7c, v128: 0x7b };

type Params = Record<string, ValueType>;
/** The parameters of a function as its variables. */
export type Locals<P extends Params> = { readonly [K in keyof P]: Local<P[K]> };

/** The body of a function: variables, assignment and control flow. */
export class Func {
  readonly code: Code;
  private readonly types: ValueType[];
  private readonly paramCount: number;

  constructor(code: Code, params: readonly ValueType[]) {
    this.code = code;
    this.types = [...params];
    this.paramCount = params.length;
  }

  /** A variable, zero until it is set. Inside a loop it keeps its value from one turn to the next. */
  local<T extends ValueType>(type: T): Local<T> {
    return this.variable(type, this.types.push(type) - 1);
  }

  /** @internal */
  variable<T extends ValueType>(type: T, index: number): Local<T> {
    return Object.assign(expression(type, `local.get ${index}`, [0x20, ...unsigned(index)]), { index });
  }

  /** A new variable with a value. */
  let<T extends ValueType>(value: Expr<T>): Local<T> {
    const variable = this.local(value.type);
    this.set(variable, value);
    return variable;
  }

  set<T extends ValueType>(variable: Local<T>, value: Expr<T>): void {
    value.emit(this.code);
    this.code.instruction(`local.set ${variable.index}`, [0x21, ...unsigned(variable.index)], [variable.type]);
  }

  do(...statements: Statement[]): void {
    for (const s of statements) s.emit(this.code);
  }

  call(callee: FuncRef, ...args: readonly (Expr | number)[]): void {
    this.do(
      statement(
        `call ${callee.name}`,
        [0x10, ...unsigned(callee.index)],
        args.map(a => (typeof a === 'number' ? i32Operand(a) : a)),
      ),
    );
  }

  if(condition: I32, then: () => void, otherwise?: () => void): void {
    condition.emit(this.code);
    this.code.nested('if', [0x04, 0x40], ['i32'], () => {
      then();
      if (!otherwise) return;
      this.code.instruction('else', [0x05]);
      otherwise();
    });
  }

  /** Runs the body, and again while the condition holds after it. */
  doWhile(body: () => void, condition: () => I32): void {
    this.code.nested('loop', [0x03, 0x40], [], () => {
      body();
      condition().emit(this.code);
      this.code.instruction('br_if 0', [0x0d, 0], ['i32']);
    });
  }

  while(condition: () => I32, body: () => void): void {
    this.if(condition(), () => this.doWhile(body, condition));
  }

  /** for (i = from; i < to; i += step), unsigned. `to` and `step` are evaluated every turn. */
  for(from: I32 | number, to: I32 | number, step: I32 | number, body: (i: Local<'i32'>) => void): void {
    const i = this.let(i32Operand(from));
    const inside = (): I32 => i32.lt_u(i, to);
    this.while(inside, () => {
      body(i);
      this.set(i, i32.add(i, step));
    });
  }

  /** Declarations of the variables beyond the parameters. */
  declarations(): number[] {
    return vector(this.types.slice(this.paramCount).map(t => [1, typeCodes[t]]));
  }
}

/** A function that others can call. */
export interface FuncRef {
  readonly index: number;
  readonly name: string;
}

/** Vector constants in linear memory, each once, from `start` up to `end`. */
class ConstantPool implements Constants {
  readonly bytes: number[] = [];
  private readonly known = new Map<string, number>();
  private readonly start: number;
  private readonly end: number;

  constructor(start: number, end: number) {
    this.start = start;
    this.end = end;
  }

  address(text: string, bytes: () => readonly number[]): number {
    const known = this.known.get(text);
    if (known !== undefined) return known;
    const address = this.start + this.bytes.length;
    if (address + 16 > this.end) throw new Error(`the pool of constants is full at ${address}`);
    this.bytes.push(...bytes());
    this.known.set(text, address);
    return address;
  }
}

/** What a module imports. */
export interface ModuleOptions {
  /** A shared memory must say how far it may grow, in pages of 64 KiB. */
  readonly memory: { readonly shared: boolean; readonly maximum: number };
  readonly constants: { readonly start: number; readonly end: number };
  /** Names of functions whose listing is wanted. */
  readonly list?: (name: string) => boolean;
}

/** Collects functions and writes the bytes of a module. */
export class ModuleBuilder {
  readonly listings = new Map<string, string>();
  private readonly options: ModuleOptions;
  private readonly pool: ConstantPool;
  /** Type 0 is that of the one imported function, pow. */
  private readonly types: number[][] = [
    [0x60, ...vector([[typeCodes.f64], [typeCodes.f64]]), ...vector([[typeCodes.f64]])],
  ];
  private readonly bodies: number[][] = [];
  private readonly exports: number[][] = [];

  constructor(options: ModuleOptions) {
    this.options = options;
    this.pool = new ConstantPool(options.constants.start, options.constants.end);
  }

  /** Adds a function without result. Exported under its name. */
  func<P extends Params>(name: string, params: P, build: (f: Func, p: Locals<P>) => void): FuncRef {
    const types = Object.values(params);
    const listed = this.options.list?.(name) ?? false;
    const code = new Code(name, this.pool, listed);
    const f = new Func(code, types);
    build(
      f,
      Object.fromEntries(Object.keys(params).map((key, i) => [key, f.variable(types[i], i)])) as unknown as Locals<P>,
    );
    code.end();
    if (listed)
      this.listings.set(
        name,
        `func ${name} (${Object.entries(params)
          .map(([k, t], i) => `${i} ${k}: ${t}`)
          .join(', ')})\n${code.listing}`,
      );
    const index = 1 + this.bodies.length; // 0 is the import
    const body = [...f.declarations(), ...code.bytes];
    this.types.push([0x60, ...vector(types.map(t => [typeCodes[t]])), 0]);
    this.bodies.push([...unsigned(body.length), ...body]);
    this.exports.push([...text(name), 0, ...unsigned(index)]);
    return { index, name };
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const { shared, maximum } = this.options.memory;
    const limits = [shared ? 3 : 1, ...unsigned(1), ...unsigned(maximum)];
    return Uint8Array.from(
      [
        [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // \0asm, version 1
        section(1, vector(this.types)),
        section(
          2,
          vector([
            [...text('env'), ...text('pow'), 0, 0],
            [...text('env'), ...text('memory'), 2, ...limits],
          ]),
        ),
        section(3, vector(this.bodies.map((_, i) => unsigned(i + 1)))),
        section(7, vector(this.exports)),
        section(10, vector(this.bodies)),
        section(
          11,
          vector([
            [0, ...i32ConstEnd(this.options.constants.start), ...unsigned(this.pool.bytes.length), ...this.pool.bytes],
          ]),
        ),
      ].flat(),
    );
  }
}

/** The constant expression of a data segment's address. */
function i32ConstEnd(address: number): number[] {
  const code = new Code('data', { address: () => 0 }, false);
  i32Operand(address).emit(code);
  code.end('i32');
  return code.bytes;
}

/** a^b by the host's Math.pow. */
export const hostPow = (a: F64, b: F64): F64 => expression('f64', 'call pow', [0x10, 0], [a, b]);
