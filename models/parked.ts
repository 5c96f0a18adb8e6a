/**
 * Weights that wait outside the backend's memory (`engine/parking.ts`), in the 16 bits of a checkpoint where it has no
 * more: half the memory of float32, and the same values.
 */
import type { Parking, Tensor } from '../engine/index.ts';
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
  if (isHalf(dtype)) {
    const [narrow, widen] =
      dtype === 'BF16' ? [float32ToBfloat16, bfloat16ToFloat32] : [float32ToFloat16, float16ToFloat32];
    const halves = narrow(values);
    return parking.park(to => void widen(halves, to), shape);
  }
  return parking.park(to => to.set(values), shape);
}
