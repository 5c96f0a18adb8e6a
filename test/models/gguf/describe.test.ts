/** What the metadata of a GGUF file may say: changed in one place, the model is the other one or is rejected. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { describeModel } from '../../../models/gguf/describe.ts';
import { parseGguf, type GgufHeader, type MetadataValue } from '../../../models/gguf/header.ts';

const read = (name: string): GgufHeader => {
  const bytes = readFileSync(new URL(`../../oracles/gguf/${name}.gguf`, import.meta.url));
  return parseGguf(bytes, bytes.length, `${name}.gguf`)!;
};
const llama = read('llama');

/** The header with other metadata, and without some tensors. */
const changed = (entries: Readonly<Record<string, MetadataValue>>, without: readonly string[] = []): GgufHeader => ({
  metadata: new Map([...llama.metadata, ...Object.entries(entries)]),
  tensors: new Map([...llama.tensors].filter(([name]) => !without.includes(name))),
});
const configOf = (header: GgufHeader) => describeModel(header, 'a.gguf').config;

test("a Buffer of Node's is read as any array of bytes", () => {
  const bytes = readFileSync(new URL('../../oracles/gguf/llama.gguf', import.meta.url));
  expect(parseGguf(Uint8Array.from(bytes), bytes.length, 'a.gguf')).toEqual(llama);
  expect(llama.metadata.get('llama.block_count')).toBe(2);
});

test.each<[string, Record<string, MetadataValue>, object]>([
  ['none where nothing is said', {}, { rope_scaling: undefined }],
  ['linear by its factor', { 'llama.rope.scaling.factor': 4 }, { rope_scaling: { rope_type: 'linear', factor: 4 } }],
  ['by its older name', { 'llama.rope.scale_linear': 4 }, { rope_scaling: { rope_type: 'linear', factor: 4 } }],
  ['none by a factor of 1', { 'llama.rope.scaling.factor': 1 }, { rope_scaling: undefined }],
  ['none by a factor of 0', { 'llama.rope.scaling.factor': 0 }, { rope_scaling: undefined }],
  [
    'none by its name, whatever the factor',
    { 'llama.rope.scaling.type': 'none', 'llama.rope.scaling.factor': 4 },
    { rope_scaling: undefined },
  ],
  [
    'a type that the reader of the configuration may reject',
    { 'llama.rope.scaling.type': 'yarn', 'llama.rope.scaling.factor': 4 },
    { rope_scaling: { rope_type: 'yarn', factor: 4 } },
  ],
])('scaling of positions: %s', (_, entries, expected) => {
  const config = configOf(changed(entries));
  expect({ rope_scaling: config.rope_scaling }).toEqual(expected);
});

test.each<[string, GgufHeader, RegExp]>([
  ['no embedding', changed({}, ['token_embd.weight']), /has no tensor "token_embd.weight"; is it a whole model/],
  ['another number of rows', changed({ 'llama.vocab_size': 1 }), /llama\.vocab_size.*only \d+ is supported/],
  ['experts', changed({ 'llama.expert_count': 8 }), /llama\.expert_count.*only 0 is supported/],
  ['another length of values', changed({ 'llama.attention.value_length': 1 }), /value_length.*only \d+ is supported/],
  ['no heads', changed({ 'llama.attention.head_count': 0 }), /head_count.*it must be 1 or more/],
  ['a key that is not known', changed({ 'llama.attn_logit_softcapping': 4 }), /softcapping.*not supported/],
  ['an unknown architecture', changed({ 'general.architecture': 'mamba' }), /mamba.*supported are llama, /],
])('%s: rejected', (_, header, message) => {
  expect(() => describeModel(header, 'a.gguf')).toThrow(message);
});

test('rows of queries, keys and values in one are divided among the heads, or rejected', () => {
  const { metadata, tensors } = read('gpt_neox');
  const withHeads = (heads: number) =>
    describeModel({ metadata: new Map([...metadata, ['gptneox.attention.head_count', heads]]), tensors }, 'a.gguf');
  const rows = tensors.get('blk.0.attn_qkv.weight')!.shape[0];
  for (const heads of [1, 2, 3, 4, 5, 8, 16, 32]) {
    if (rows % (3 * heads) === 0) expect(withHeads(heads).config.num_attention_heads).toBe(heads);
    else expect(() => withHeads(heads)).toThrow(`not divided evenly among ${heads} heads`);
  }
});

test('a model without an output has tied ends', () => {
  expect(configOf(llama).tie_word_embeddings).toBe(!llama.tensors.has('output.weight'));
  expect(configOf(changed({}, ['output.weight'])).tie_word_embeddings).toBe(true);
});

test('as much of a head turns as the file says, whatever share of its width that is', () => {
  const { metadata, tensors } = read('gpt_neox');
  for (let D = 2; D <= 256; D += 2)
    for (let R = 2; R <= D; R += 2) {
      const changes: [string, number][] = [
        ['gptneox.embedding_length', D],
        ['gptneox.attention.head_count', 1],
        ['gptneox.rope.dimension_count', R],
      ];
      const { config } = describeModel({ metadata: new Map([...metadata, ...changes]), tensors }, 'a.gguf');
      expect(Math.floor(D * (config.rotary_pct as number))).toBe(R);
    }
});
