/**
 * The seed of everything random in the tests: fast-check's inputs (`setup.ts`) and the values that tests draw
 * themselves. The same on every run, unless the environment variable FC_SEED chooses another.
 */
export const seed = Number(process.env.FC_SEED ?? 1962);
if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 31)
  throw new Error(`FC_SEED=${process.env.FC_SEED} is not a seed: give a whole number below 2^31`);
