/**
 * Lines along the middle of (outer, n, inner), where neighbours of a line are not neighbours in memory: 16 adjacent
 * lines, a cache line of floats, are walked together.
 */
import type { Local, V128 } from './assembler/code.ts';
import { i32 } from './assembler/instructions.ts';
import type { Func } from './assembler/module.ts';
import type { Share } from './kernel.ts';
import { eachVector } from './lines.ts';

/** Lines of a group: four vectors of them; at the end of a row one at a time, of which the last may be incomplete. */
const groupLines = 16;

/** Parameters of kernels that work on columns. */
export const columnParams = { n: 'i32', inner: 'i32', groups: 'i32' } as const;

/** The arguments for `columnParams`, and the items: `groups` for each outer index. */
export function columnGroups(outer: number, n: number, inner: number): { args: number[]; items: number } {
  const groups = Math.ceil(inner / groupLines);
  return { args: [n, inner, groups], items: outer * groups };
}

/** Columns that one item of work takes together. */
export interface ColumnGroup {
  /** The numbers of its vectors, 0 and up. */
  readonly vectors: readonly number[];
  /** Lines left in the row, and the mask of the lanes that hold them where those are fewer than four. */
  readonly width: Local<'i32'>;
  readonly tail: V128 | null;
  /** Byte offset of the first element of the first line in (outer, n, inner). */
  readonly first: Local<'i32'>;
  /** Byte offset of the first line in (outer, inner). */
  readonly line: Local<'i32'>;
  /** Calls `body` for each of the n steps along the lines, with the byte offset of the elements there. */
  eachStep(body: (offset: Local<'i32'>) => void): void;
}

/** Emits `body` for every group of the share: once for whole ones, and for what is left at the end of a row. */
export function eachColumnGroup(
  f: Func,
  p: { readonly [K in keyof typeof columnParams]: Local<'i32'> },
  { from, to }: Share,
  body: (group: ColumnGroup) => void,
): void {
  const stride = f.let(i32.shl(p.inner, 2));
  f.for(from, to, 1, item => {
    const o = f.let(i32.div_u(item, p.groups));
    const column = f.let(i32.mul(i32.rem_u(item, p.groups), groupLines));
    const width = f.let(i32.min_u(i32.sub(p.inner, column), groupLines));
    const first = f.let(i32.shl(i32.add(i32.mul(i32.mul(o, p.n), p.inner), column), 2));
    const line = f.let(i32.shl(i32.add(i32.mul(o, p.inner), column), 2));
    const eachStep = (step: (offset: Local<'i32'>) => void) => {
      const offset = f.let(first);
      f.for(0, p.n, 1, () => {
        step(offset);
        f.set(offset, i32.add(offset, stride));
      });
    };
    const group = (vectors: readonly number[], tail: V128 | null) =>
      body({ vectors, width, tail, first, line, eachStep });
    f.if(
      i32.eq(width, groupLines),
      () => group([0, 1, 2, 3], null),
      () => {
        eachVector(f, width, (_, tail) => {
          group([0], tail);
          f.set(first, i32.add(first, 16));
          f.set(line, i32.add(line, 16));
        });
      },
    );
  });
}
