/**
 * The operation `rotary`: the pair (i, i + D/2) of the row at position p of x (B, T, H, D) turns by p · base^(−2i/D) or
 * as told.
 */
import type { Kernel } from '../../backend.ts';
import { rotaryInvFreq, type RotaryAttributes } from '../../attributes.ts';
import type { Thread, Values } from '../gpujs.ts';
import { divide, placeOf, remainder } from '../indexing.ts';
import type { GpuStorage, Machine } from '../machine.ts';

/** `turns` holds cosine and sine of every position and pair, (T, D/2, 2), made in double precision. */
function rotary(this: Thread, x: Values, turns: Values, T: number, H: number, half: number): number {
  const row = divide(this.thread.x, 2 * half); // (b, t, h)
  const column = remainder(this.thread.x, 2 * half);
  const pair = column < half ? column : column - half;
  const turn = 2 * placeOf(remainder(divide(row, H), T), half, pair);
  const first = x[placeOf(row, 2 * half, pair)];
  const second = x[placeOf(row, 2 * half, pair + half)];
  if (column < half) return first * turns[turn] - second * turns[turn + 1];
  return second * turns[turn] + first * turns[turn + 1];
}

/** The kernel of `rotary`. */
export function rotation(machine: Machine): Record<string, Kernel<GpuStorage>> {
  const turn = (
    x: GpuStorage,
    [, T, H, D]: readonly number[],
    { base, invFreq, offset, inverse }: RotaryAttributes,
  ): GpuStorage => {
    const half = D / 2;
    const turns = machine.constant(`rotary ${T} ${half} ${invFreq ?? base} ${offset} ${inverse}`, () => {
      const radians = rotaryInvFreq(D, { base, invFreq });
      return Float32Array.from({ length: T * D }, (_, i) => {
        const angle = (offset + Math.floor(i / D)) * radians[Math.floor((i % D) / 2)];
        return i % 2 === 0 ? Math.cos(angle) : Math.sin(inverse ? -angle : angle);
      });
    });
    const y = machine.run(rotary, [x.size], [x, turns, T, H, half]);
    machine.free(turns);
    return y;
  };
  return {
    rotary: {
      forward: ([x], attributes: RotaryAttributes) => turn(x.storage, x.shape, attributes),
      vjp: (g, _, __, attributes: RotaryAttributes) => [
        turn(g.storage, g.shape, { ...attributes, inverse: !attributes.inverse }),
      ],
    },
  };
}
