/**
 * Model directories against Hugging Face's own libraries. `test/oracles/huggingface.py make` wrote those under
 * `test/oracles/huggingface` with transformers and tokenizers, and what PyTorch computes on them. With
 * `ORACLE_PYTHON`, a Python that has these libraries, it also works the other way: they read what is written here.
 */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Random } from '../../../engine/index.ts';
import { loadModel, saveModel } from '../../../models/node/checkpoint.ts';
import { type LanguageModel } from '../../../models/checkpoint.ts';
import { generate } from '../../../models/generate.ts';
import { readSafetensors } from '../../../models/node/safetensors.ts';
import { distance, familyDirectories, huggingFace, logitsOf } from '../../oracles/families.ts';
import { oraclePython, readThere } from '../../oracles/huggingface.ts';
import { temporaryDirectory } from '../temporary.ts';

const directory = temporaryDirectory();

/** What float32 loses against double precision in a few layers of width 16: some hundred roundings of 2⁻²⁴. */
const rounding = 256 * 2 ** -24;

async function greedy({ model }: LanguageModel, prompt: Int32Array<ArrayBuffer>): Promise<number[]> {
  const ids: number[] = [];
  for await (const id of generate(model, prompt, { maxTokens: 8, temperature: 0, random: new Random(0) })) ids.push(id);
  return ids;
}

describe.each(familyDirectories)('%s, as transformers saves it', name => {
  const path = join(huggingFace, name);
  const opened = Promise.all([loadModel(path), readSafetensors(join(path, 'oracle.safetensors'))]);

  test('PyTorch computes the same logits and generates the same tokens', async () => {
    const [own, oracle] = await opened;
    const ids = (await oracle.read('ids')) as Int32Array<ArrayBuffer>;
    expect(distance(logitsOf(own, ids), await oracle.readFloats('logits'))).toBeLessThan(rounding);
    expect(await greedy(own, ids)).toEqual([...(await oracle.read('greedy'))]);
  });

  test('a text has the same tokens', async () => {
    const [{ tokenizer }, oracle] = await opened;
    const text = oracle.metadata.get('text')!;
    const ids = tokenizer.encode(text);
    // LLaMA's post-processor puts the begin token in front; here that is the caller's.
    const beginsThere = name === 'llama' || name === 'mistral';
    expect([...(beginsThere ? [tokenizer.specialTokens.bos!] : []), ...ids]).toEqual([
      ...(await oracle.read('encoded')),
    ]);
    expect(tokenizer.decode(ids)).toBe(text);
  });

  test.skipIf(oraclePython === undefined).each(['F32', 'F16', 'BF16'] as const)(
    'written here in %s it loads there',
    async dtype => {
      const [{ model, tokenizer }, oracle] = await opened;
      const written = join(directory, `${name}-${dtype}`);
      await saveModel(written, { model, tokenizer }, dtype);
      const ids = (await oracle.read('ids')) as Int32Array<ArrayBuffer>;
      const there = readThere(written, ids);
      expect([there.dtype, there.tied]).toEqual([
        { F32: 'torch.float32', F16: 'torch.float16', BF16: 'torch.bfloat16' }[dtype],
        model.config.tied,
      ]);
      const again = await loadModel(written);
      expect(distance(logitsOf(again, ids), there.logits)).toBeLessThan(rounding);
      expect(await greedy(again, ids)).toEqual(there.greedy);
      expect(there.again).toEqual([...tokenizer.encode(there.text, { allowSpecial: true })]);
      const { bos, eos, pad, unk } = tokenizer.specialTokens;
      expect(there.special).toEqual({ bos: bos ?? null, eos: eos ?? null, pad: pad ?? null, unk: unk ?? null });
    },
  );
});
