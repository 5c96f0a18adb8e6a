/**
 * GGUF files under attack: whatever a file says, it is read completely or rejected with one line, soon, and within
 * the memory that the file's own size allows.
 */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { noGrad, scope, tensor } from '../../engine/index.ts';
import { readModel, type LanguageModel } from '../../models/checkpoint.ts';
import { UserError } from '../../models/errors.ts';
import { ggufFiles } from '../../models/gguf/index.ts';
import { forward } from '../../models/transformer.ts';
import { ggufBytes, types, typeNumber, type Entry, type TensorRecord } from '../arbitraries/gguf.ts';
import { damagedBytes } from '../arbitraries/hostile.ts';

const read = (bytes: Uint8Array): Promise<LanguageModel> =>
  ggufFiles('m.gguf', bytes.length, async (begin, end) => new Uint8Array(bytes.slice(begin, end))).then(readModel);

/** Reads a file; what was read computes something. Returns the line with which it was rejected. */
async function attack(bytes: Uint8Array): Promise<string | undefined> {
  let model: LanguageModel;
  try {
    model = await read(bytes);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    expect(error.message).toMatch(/^m\.gguf[^\n\r]{1,1000}$/);
    return error.message;
  }
  const { logits } = scope(() => noGrad(() => forward(model.model, tensor(Int32Array.of(0), { shape: [1, 1] }))));
  expect(logits.shape).toEqual([1, 1, model.model.config.vocabSize]);
  model.tokenizer.decode(model.tokenizer.encode('the cat', { allowSpecial: true }));
  return undefined;
}

const oracle = (name: string) => new Uint8Array(readFileSync(new URL(`../oracles/gguf/${name}.gguf`, import.meta.url)));

test.each(['llama', 'gpt2', 'quantised'])('%s: bytes of the header changed, cut and put in', async name => {
  const bytes = oracle(name);
  // Tensors take the rest, and any bytes there are a tensor.
  const header = 14_000;
  const seen = new Set<boolean>();
  await fc.assert(
    fc.asyncProperty(damagedBytes(bytes.subarray(0, header)), async damaged => {
      seen.add((await attack(Buffer.concat([damaged, bytes.subarray(header)]))) === undefined);
    }),
    { numRuns: 100 },
  );
  expect(seen).toContain(false);
});

test('a million arbitrary bytes', async () => {
  const word = fc.oneof(
    fc.nat(255).map(byte => Uint8Array.of(byte)),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(n => new Uint8Array(BigUint64Array.of(n).buffer)),
    fc.nat(40).map(n => new Uint8Array(BigUint64Array.of(BigInt(n)).buffer)),
    fc.nat(14).map(n => new Uint8Array(Uint32Array.of(n).buffer)),
    fc.constantFrom('a', 'general.alignment', 'llama', 'general.architecture').map(t => {
      const text = Buffer.from(t);
      return new Uint8Array(Buffer.concat([new Uint8Array(BigUint64Array.of(BigInt(text.length)).buffer), text]));
    }),
  );
  const start = Buffer.from([0x47, 0x47, 0x55, 0x46, 3, 0, 0, 0]);
  let bytes = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(word, { minLength: 200, maxLength: 400, size: 'max' }),
      fc.nat(3),
      fc.nat(9),
      async (words, tensors, entries) => {
        const counts = new Uint8Array(BigUint64Array.of(BigInt(tensors), BigInt(entries)).buffer);
        const file = Buffer.concat([start, counts, ...words]);
        bytes += file.length;
        expect(await attack(file)).toBeDefined();
      },
    ),
    { numRuns: 600 },
  );
  expect(bytes).toBeGreaterThan(1e6);
});

describe('a small model', () => {
  const [C, F, V] = [4, 8, 262];
  const alphabet = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
  const tokens = ['<unk>', '<s>', '</s>', ...alphabet, '▁', 't', '▁t'];
  const entries: readonly Entry[] = [
    ['general.architecture', types.string, 'llama'],
    ['llama.context_length', types.u32, 16],
    ['llama.embedding_length', types.u32, C],
    ['llama.block_count', types.u32, 1],
    ['llama.feed_forward_length', types.u32, F],
    ['llama.attention.head_count', types.u32, 2],
    ['llama.attention.head_count_kv', types.u32, 1],
    ['llama.attention.layer_norm_rms_epsilon', types.f32, 1e-5],
    ['llama.rope.dimension_count', types.u32, 2],
    ['tokenizer.ggml.model', types.string, 'llama'],
    ['tokenizer.ggml.tokens', types.array, [types.string, tokens]],
    ['tokenizer.ggml.scores', types.array, [types.f32, tokens.map((_, i) => -i)]],
    [
      'tokenizer.ggml.token_type',
      types.array,
      [types.i32, tokens.map((t, i) => (i === 0 ? 2 : i < 3 ? 3 : t.startsWith('<0x') ? 6 : 1))],
    ],
    ['tokenizer.ggml.bos_token_id', types.u32, 1],
    ['tokenizer.ggml.eos_token_id', types.u32, 2],
  ];
  const weight = (name: string, ...shape: number[]): TensorRecord => ({
    name: `${name}.weight`,
    shape,
    type: typeNumber('F32'),
    bytes: new Uint8Array(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.1).buffer),
  });
  const tensors = [
    weight('token_embd', V, C),
    weight('blk.0.attn_norm', C),
    weight('blk.0.attn_q', C, C),
    weight('blk.0.attn_k', C / 2, C),
    weight('blk.0.attn_v', C / 2, C),
    weight('blk.0.attn_output', C, C),
    weight('blk.0.ffn_norm', C),
    weight('blk.0.ffn_gate', F, C),
    weight('blk.0.ffn_up', F, C),
    weight('blk.0.ffn_down', C, F),
    weight('output_norm', C),
  ];
  const without = (key: string) => entries.filter(([name]) => name !== key);
  const having = (...more: Entry[]) =>
    ggufBytes({
      entries: [
        ...more.reduce<readonly Entry[]>((rest, [key]) => rest.filter(([name]) => name !== key), entries),
        ...more,
      ],
      tensors,
    });

  test('is read unchanged', async () => {
    expect(await attack(ggufBytes({ entries, tensors }))).toBeUndefined();
  });

  const hostile = fc.oneof(
    fc.constantFrom<readonly [number, unknown]>(
      [types.u32, 0],
      [types.u32, 1],
      [types.u32, 2 ** 32 - 1],
      [types.u64, 2n ** 64n - 1n],
      [types.i32, -1],
      [types.f32, NaN],
      [types.f32, Infinity],
      [types.f32, 0.5],
      [types.bool, true],
      [types.string, ''],
      [types.string, '__proto__'],
      [types.array, [types.string, []]],
      [types.array, [types.string, ['__proto__', 'constructor', '']]],
      [types.array, [types.f32, [NaN]]],
      [types.array, [types.u64, [1n]]],
    ),
    fc.nat(300).map(n => [types.u32, n] as const),
    fc.string({ unit: 'binary' }).map(text => [types.string, text] as const),
  );

  test('any metadata key has any value, or is missing', async () => {
    const seen = new Set<boolean>();
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...entries.map(([key]) => key)), fc.option(hostile), async (key, value) => {
        const bytes = value === null ? ggufBytes({ entries: without(key), tensors }) : having([key, ...value]);
        seen.add((await attack(bytes)) === undefined);
      }),
      { numRuns: 300 },
    );
    expect([...seen].sort()).toEqual([false, true]);
  });

  test.each<[string, Uint8Array, RegExp]>([
    [
      'another architecture',
      having(['general.architecture', types.string, 'gemma3']),
      /metadata "general\.architecture" is "gemma3"; supported are llama, qwen2, .*gptneox/,
    ],
    ['experts', having(['llama.expert_count', types.u32, 8]), /"llama\.expert_count" is 8; only 0 is supported/],
    [
      'an unknown key',
      having(['llama.attn_logit_softcapping', types.f32, 50]),
      /"llama\.attn_logit_softcapping" is 50; this key is not supported/,
    ],
    [
      'positions scaled in a way that is not computed',
      having(['llama.rope.scaling.type', types.string, 'yarn'], ['llama.rope.scaling.factor', types.f32, 4]),
      /\(config\.json\): rope_scaling is \{"rope_type":"yarn","factor":4\}/,
    ],
    [
      'another width of positions',
      having(['llama.rope.dimension_count', types.u32, 4]),
      /"llama\.rope\.dimension_count" is 4; only 2 is supported/,
    ],
    [
      'a vocabulary of another size',
      having(['llama.vocab_size', types.u32, 261]),
      /"llama\.vocab_size" is 261; only 262/,
    ],
    [
      'another kind of tokenizer',
      having(['tokenizer.ggml.model', types.string, 't5']),
      /"tokenizer\.ggml\.model" is "t5"; supported are "gpt2" and "llama"/,
    ],
    [
      'an unknown way of cutting words',
      having(['tokenizer.ggml.model', types.string, 'gpt2'], ['tokenizer.ggml.pre', types.string, 'mystery-bpe']),
      /"tokenizer\.ggml\.pre" is "mystery-bpe"; known are gpt-2,/,
    ],
    [
      'no way of cutting words',
      having(['tokenizer.ggml.model', types.string, 'gpt2']),
      /"tokenizer\.ggml\.pre" is missing; how text is cut into words is not known/,
    ],
    [
      'no scores',
      ggufBytes({ entries: without('tokenizer.ggml.scores'), tensors }),
      /"tokenizer\.ggml\.scores" is missing/,
    ],
    [
      'a token twice',
      having(['tokenizer.ggml.tokens', types.array, [types.string, tokens.with(4, '<s>')]]),
      /"<s>" is both token 1 and 4/,
    ],
    [
      'an end token beyond the vocabulary',
      having(['tokenizer.ggml.eos_token_id', types.u32, 262]),
      /eos_token_id" is 262; it must be one of 262 tokens/,
    ],
    [
      'heads without rows',
      having(['llama.attention.head_count', types.u32, 3]),
      /rows, which are not divided evenly|only 1.3+\d* is supported/,
    ],
    [
      'a tensor too many',
      ggufBytes({ entries, tensors: [...tensors, weight('blk.0.attn_q_norm', C)] }),
      /has a tensor "blk\.0\.attn_q_norm\.weight"/,
    ],
    [
      'a layer too many',
      ggufBytes({ entries, tensors: [...tensors, weight('blk.1.attn_norm', C)] }),
      /has a tensor "model\.layers\.1\.input_layernorm\.weight", and the model of config\.json does not use it/,
    ],
    ['a tensor too few', ggufBytes({ entries, tensors: tensors.slice(0, -1) }), /has no tensor "model\.norm\.weight"/],
    [
      'a bias that is not computed',
      ggufBytes({ entries, tensors: [...tensors, { ...weight('b', C), name: 'blk.0.attn_norm.bias' }] }),
      /has a tensor "model\.layers\.0\.input_layernorm\.bias", and the model of config\.json does not use it/,
    ],
    [
      'factors of positions that no model has',
      ggufBytes({ entries, tensors: [...tensors, weight('rope_freqs', 1)] }),
      /rope_freqs\.weight is not the scaling of LLaMA 3\.1/,
    ],
  ])('%s', async (_, bytes, message) => {
    expect(await attack(bytes)).toMatch(message);
  });
});
