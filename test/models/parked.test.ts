/** Weights that wait as the 16 bits of a checkpoint, and nothing beside them. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { Parking } from '../../engine/index.ts';
import { parkedSize, parkedWeight } from '../../models/parked.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

test.each([
  ['BF16', 2],
  ['F16', 2],
  ['F32', 4],
] as const)('a weight of %s waits in %i bytes a value, and comes back as it was', async (dtype, bytes) => {
  const values = () => Float32Array.of(1, -2, 0.5, 0);
  const park = () => {
    const given = values();
    return { weight: parkedWeight(new Parking(), given, [4], dtype), given: new WeakRef(given) };
  };
  const { weight, given } = park();
  await new Promise(resolve => setTimeout(resolve)); // until then a WeakRef keeps what it was made of
  collect();
  expect(given.deref() === undefined).toBe(bytes === 2);
  expect(parkedSize(4, dtype)).toBe(4 * bytes);
  expect(await weight.data()).toEqual(values());
  weight.dispose();
});
