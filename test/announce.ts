/** Runs once before all tests: says what they are seeded with. */
import { oraclePython } from './oracles/huggingface.ts';
import { seed } from './seed.ts';

export default (): void => {
  console.log(`random inputs from seed ${seed}; FC_SEED=n chooses others`);
  if (oraclePython === undefined)
    console.log(
      "skipped: tests by Hugging Face's libraries (transformers, tokenizers, accelerate); ORACLE_PYTHON names a Python",
    );
};
