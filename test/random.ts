/** The random numbers of a test file. */
import { beforeEach } from 'vitest';
import { Random } from '../engine/index.ts';
import { seed } from './seed.ts';

/** Every test draws from a stream of its own: the same numbers, whichever tests ran before it. */
export function randomOfTests(name: string): Random {
  const random = new Random(seed).split(name);
  beforeEach(({ task }) => {
    Object.assign(random, new Random(seed).split(`${name} ${task.name}`));
  });
  return random;
}
