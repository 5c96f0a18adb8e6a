/** Operations on vectors that the parts of the matrix product share. */
import type { V128 } from '../assembler/code.ts';
import { f32x4, v128 } from '../assembler/instructions.ts';
import type { Func } from '../assembler/module.ts';
import type { Features } from '../kernel.ts';

/** Products of two vectors added to a third: fused on machines that can, where relaxed SIMD is there. */
export const multiplyAdd =
  ({ relaxedSimd }: Features) =>
  (a: V128, b: V128, c: V128): V128 =>
    relaxedSimd ? f32x4.relaxed_madd(a, b, c) : f32x4.add(c, f32x4.mul(a, b));

/** Four vectors of four, transposed. */
export function transpose4(f: Func, [a, b, c, d]: readonly V128[]): V128[] {
  const [ab0, ab1] = [f.let(v128.shuffle32(a, b, [0, 4, 1, 5])), f.let(v128.shuffle32(a, b, [2, 6, 3, 7]))];
  const [cd0, cd1] = [f.let(v128.shuffle32(c, d, [0, 4, 1, 5])), f.let(v128.shuffle32(c, d, [2, 6, 3, 7]))];
  return [
    v128.shuffle32(ab0, cd0, [0, 1, 4, 5]),
    v128.shuffle32(ab0, cd0, [2, 3, 6, 7]),
    v128.shuffle32(ab1, cd1, [0, 1, 4, 5]),
    v128.shuffle32(ab1, cd1, [2, 3, 6, 7]),
  ];
}
