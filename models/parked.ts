/**
 * Weights that wait outside the backend's memory (`engine/parking.ts`), in the 16 bits of a checkpoint where it has no
 * more: half the memory of float32, and the same values.
 */
import type { Parking, Tensor, Waiting } from '../engine/index.ts';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './float16.ts';
import type { Floats } from './safetensors/codec.ts';
import type { SafetensorsDType } from './safetensors/header.ts';

const isHalf = (dtype: SafetensorsDType): dtype is 'BF16' | 'F16' => dtype === 'BF16' || dtype === 'F16';

/** Bytes that so many values of a tensor of `dtype` take while they wait. */
export const parkedSize = (values: number, dtype: SafetensorsDType): number => (isHalf(dtype) ? 2 : 4) * values;

/** A frozen weight; `values` came from a tensor of `dtype`, so narrowing them again loses nothing. */
export function parkedWeight(
  parking: Parking,
  values: Floats,
  shape: readonly number[],
  dtype: SafetensorsDType,
): Tensor {
  return parking.park(isHalf(dtype) ? asHalves(values, dtype) : to => to.set(values), shape);
}

/** A function of its own: closures that are made in one function keep alive what any of them refers to, as `values`. */
function asHalves(values: Floats, dtype: 'BF16' | 'F16'): Waiting {
  const [narrow, widen] =
    dtype === 'BF16' ? [float32ToBfloat16, bfloat16ToFloat32] : [float32ToFloat16, float16ToFloat32];
  const halves = narrow(values);
  return to => void widen(halves, to);
}
