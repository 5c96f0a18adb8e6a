/** The random numbers of the tests. */
import { Random } from '../engine/random.ts';
import { seed } from './seed.ts';

const streams: { readonly random: Random; readonly name: string }[] = [];

/** Every test draws from a stream of its own: the same numbers, whichever tests ran before it. */
export function randomOfTests(name: string): Random {
  const random = new Random(seed).split(name);
  streams.push({ random, name });
  return random;
}

/** Before a test: sets every stream to where it begins for this test. */
export function beginStreams(test: string): void {
  for (const { random, name } of streams) Object.assign(random, new Random(seed).split(`${name} ${test}`));
}
