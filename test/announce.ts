/** Runs once before all tests: says what they are seeded with. */
import { seed } from './seed.ts';

export default (): void => {
  console.log(`random inputs from seed ${seed}; FC_SEED=n chooses others`);
};
