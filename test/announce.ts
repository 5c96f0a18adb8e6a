/** Runs once before all tests: begins their log, and says what they are seeded with. */
import { beginLog } from './log.ts';
import { oraclePython } from './oracles/huggingface.ts';
import { seed } from './seed.ts';

export default (): void => {
  beginLog();
  console.log(`random inputs from seed ${seed}; FC_SEED=n chooses others`);
  if (oraclePython === undefined)
    console.log(
      "skipped: tests by Hugging Face's libraries (transformers, tokenizers, accelerate); ORACLE_PYTHON names a Python",
    );
};
