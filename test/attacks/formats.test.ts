/**
 * Every file format under attack. Whatever bytes a file has, reading it ends soon, with the whole of what it says or
 * with one `UserError` of one line; never with another error, half an object or a process out of memory.
 */
import { execFile } from 'node:child_process';
import { cp, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { noGrad, Random, scope, tensor } from '../../engine/index.ts';
import { loadModel, saveModel } from '../../models/node/checkpoint.ts';
import { parseConfig } from '../../models/config.ts';
import { type LanguageModel } from '../../models/checkpoint.ts';
import { parseJson } from '../../models/json.ts';
import { readText } from '../../models/node/files.ts';
import { UserError } from '../../models/errors.ts';
import { openCheckpoint, writeSafetensors } from '../../models/node/safetensors.ts';
import { parseTokenizerJson, tokenizerToJson, type Tokenizer } from '../../models/tokenizer/index.ts';
import { initTransformer } from '../../models/init.ts';
import { forward } from '../../models/transformer.ts';
import type { TransformerConfig } from '../../models/transformer-config.ts';
import { readCorpus, type Corpus } from '../../s2t2/app/corpus.ts';
import { damagedBytes, damagedJson } from '../arbitraries/hostile.ts';
import { thorough } from '../thorough.ts';
import { refusal, temporaryDirectory } from '../models/temporary.ts';
import { characterFile, english300, proteins24 } from '../models/tokenizer/samples.ts';
import { cpuTime } from '../cpu.ts';

/** Inputs of each kind; more where few of them can be read. */
const runs = thorough ? 2000 : 40;

const directory = temporaryDirectory();
const at = (...names: string[]) => join(directory, ...names);

/** Reads something hostile: what comes back is checked by `whole`, an error must be for people. Gives which it was. */
async function attack<T>(read: () => T | Promise<T>, whole: (value: T) => unknown): Promise<'read' | 'rejected'> {
  let value: T;
  try {
    value = await read();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    expect(error.message).not.toMatch(/[\n\r]/);
    expect(error.message.length).toBeLessThan(1000);
    return 'rejected';
  }
  await whole(value);
  return 'read';
}

/** Attacks with every input of an arbitrary; both outcomes must occur, or the arbitrary attacks nothing. */
async function attackAll<I>(
  inputs: fc.Arbitrary<I>,
  outcomeOf: (input: I) => Promise<'read' | 'rejected'>,
  numRuns = runs,
): Promise<void> {
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(inputs, async input => {
      seen.add(await outcomeOf(input));
    }),
    { numRuns },
  );
  expect([...seen].sort()).toEqual(['read', 'rejected']);
}

describe('tokenizer.json', () => {
  const files = {
    'byte-level': tokenizerToJson(english300),
    'with holes in its alphabet': tokenizerToJson(proteins24),
    'byte fallback': characterFile(),
  };
  /** A tokenizer that was read can be written and read again, and encodes what it can decode. */
  const whole = (t: Tokenizer) => {
    expect(parseTokenizerJson(tokenizerToJson(t), 'again').hash).toBe(t.hash);
    for (const text of ['MKVLAAG', 'the cat, 42 ☕\n']) {
      try {
        t.decode(t.encode(text, { allowSpecial: true }));
      } catch (error) {
        expect(error).toBeInstanceOf(UserError); // a byte that the vocabulary lacks
      }
    }
  };

  test.each(Object.entries(files))('%s: any place holds any value', async (_, json) => {
    await attackAll(damagedJson(JSON.parse(json)), damaged =>
      attack(() => parseTokenizerJson(JSON.stringify(damaged) ?? '', 'tokenizer.json'), whole),
    );
  });

  test.each(Object.entries(files))('%s: bytes changed, cut and put in', async (_, json) => {
    await attackAll(
      damagedBytes(Buffer.from(json)),
      bytes =>
        attack(async () => {
          await writeFile(at('tokenizer.json'), bytes);
          return parseTokenizerJson(await readText(at('tokenizer.json')), at('tokenizer.json'));
        }, whole),
      4 * runs,
    );
  });

  test('cut at every offset it is rejected', () => {
    const json = tokenizerToJson(proteins24).trimEnd();
    for (let length = json.length - 1; length >= 0; length--)
      expect(() => parseTokenizerJson(json.slice(0, length), 'tokenizer.json')).toThrow(UserError);
  });

  test('patterns too large for any machine are rejected when read, not when used', () => {
    const file = JSON.parse(files['byte-level']) as { pre_tokenizer: unknown };
    const withPattern = (Regex: string) => () =>
      parseTokenizerJson(
        JSON.stringify({
          ...file,
          pre_tokenizer: {
            type: 'Sequence',
            pretokenizers: [
              { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false },
              file.pre_tokenizer,
            ],
          },
        }),
        'tokenizer.json',
      );
    for (const pattern of [
      '(?:(?:(?:a{1000}){1000}){1000}){1000}',
      '(?:'.repeat(1000) + ')'.repeat(1000),
      `${'(?:a|'.repeat(600)}b${')'.repeat(600)}`,
      'a{1000}'.repeat(500),
    ]) {
      expect(['read', 'rejected']).toContain(outcome(() => whole(withPattern(pattern)())));
    }
    expect(withPattern('(?:(?:(?:(?:a{1000}){1000}){1000}){1000}')).toThrow(UserError);
  });
});

function outcome(act: () => void): string {
  try {
    act();
    return 'read';
  } catch (error) {
    return error instanceof UserError ? 'rejected' : String(error);
  }
}

describe('model directories', () => {
  const config: TransformerConfig = {
    family: 'llama',
    vocabSize: 304,
    width: 8,
    layers: 1,
    heads: 2,
    keyValueHeads: 1,
    feedForward: 8,
    context: 16,
    rotaryBase: 10000,
    normEps: 1e-6,
    tied: false,
  };
  const families = ['olmo', 'llama', 'gpt2'] as const;
  beforeAll(async () => {
    for (const family of families)
      await saveModel(
        at(family),
        {
          model: initTransformer({ ...config, family, keyValueHeads: family === 'gpt2' ? 2 : 1 }, new Random(1)),
          tokenizer: english300,
        },
        'F32',
      );
  });
  /** A model that was read predicts something for every token. */
  const whole = ({ model }: LanguageModel) =>
    scope(() =>
      noGrad(() => {
        expect(forward(model, tensor(Int32Array.of(0), { shape: [1, 1] })).logits.shape).toEqual([
          1,
          1,
          model.config.vocabSize,
        ]);
      }),
    );

  test.each([...families.map(family => [family, 'config.json'] as const), ['llama', 'tokenizer_config.json'] as const])(
    '%s: %s, any place holds any value',
    async (family, file) => {
      const json = JSON.parse(await readFile(at(family, file), 'utf8')) as object;
      const damagedModel = at(`${family}-damaged-${file.length}`);
      await cp(at(family), damagedModel, { recursive: true });
      await attackAll(damagedJson(json), damaged =>
        attack(async () => {
          await writeFile(join(damagedModel, file), JSON.stringify(damaged) ?? '');
          return loadModel(damagedModel);
        }, whole),
      );
    },
  );

  test('counts that the file cannot hold are rejected at once', () => {
    const llama = {
      model_type: 'llama',
      vocab_size: 10,
      hidden_size: 8,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      intermediate_size: 8,
    };
    const started = cpuTime();
    for (const key of [
      'num_hidden_layers',
      'hidden_size',
      'num_attention_heads',
      'intermediate_size',
      'vocab_size',
      'max_position_embeddings',
    ]) {
      for (const value of [2 ** 31, 2 ** 53 - 1, 1e300, -1, 0.5, '1'])
        expect(['read', 'rejected']).toContain(outcome(() => parseConfig({ ...llama, [key]: value }, 'config.json')));
    }
    expect(() => parseConfig({ ...llama, num_hidden_layers: 2 ** 31 }, 'config.json')).toThrow(UserError);
    expect(cpuTime() - started).toBeLessThan(1000);
  });

  test('an index of shards: any value in any place', async () => {
    const tensors = {
      a: { dtype: 'F32' as const, shape: [2], data: Float32Array.of(1, 2) },
      b: { dtype: 'F32' as const, shape: [1], data: Float32Array.of(3) },
    };
    const shards = at('shards');
    await cp(at('olmo', 'config.json'), join(shards, 'config.json'));
    await writeSafetensors(join(shards, '1.safetensors'), { a: tensors.a });
    await writeSafetensors(join(shards, '2.safetensors'), { b: tensors.b });
    const index = { metadata: { total_size: 12 }, weight_map: { a: '1.safetensors', b: '2.safetensors' } };
    await attackAll(damagedJson(index), damaged =>
      attack(
        async () => {
          await writeFile(join(shards, 'model.safetensors.index.json'), JSON.stringify(damaged) ?? '');
          return openCheckpoint(shards);
        },
        async source => {
          for (const name of source.tensors.keys())
            expect(await source.read(name)).toEqual(tensors[name as 'a' | 'b'].data);
        },
      ),
    );
  });

  test('weights cut at any length are rejected before any is read', async () => {
    await cp(at('olmo'), at('cut'), { recursive: true });
    const { length } = await readFile(at('cut', 'model.safetensors'));
    for (let size = length - 1; size >= 0; size -= Math.max(1, Math.floor(size / 7))) {
      await truncate(at('cut', 'model.safetensors'), size);
      expect(await refusal(loadModel(at('cut')))).toContain(
        `${at('cut', 'model.safetensors')}: not a valid safetensors file: `,
      );
    }
  });
});

describe('JSON', () => {
  test('deep, wide, long or cut: rejected before it costs time or memory', () => {
    const started = cpuTime();
    for (const text of [
      '['.repeat(1e7),
      '{"a":'.repeat(1e6),
      `[${'0,'.repeat(2 ** 23 + 1)}0]`,
      `[${'[],'.repeat(2 ** 23 + 1)}[]]`,
      `"${'x'.repeat(1e7)}`,
      '"\\'.repeat(1e6),
      '1'.repeat(1e7) + 'x',
    ]) {
      expect(() => parseJson(text, 'a.json')).toThrow(/^a\.json: (JSON|not valid JSON)[^\n]{0,200}$/);
    }
    expect(cpuTime() - started).toBeLessThan(10_000);
  });
});

describe('corpora', () => {
  const contents: Record<string, Buffer> = {
    'a.fasta': Buffer.from('>one a protein\nMKVL\nAAG*\n; comment\n>two\r\nmk-vl\r\n\r\n>three\nACDEF\n'),
    'a.jsonl': Buffer.from('{"text": "MKVL", "id": 1}\n\n{"id": "b", "text": "caf\\u00e9 ☕"}\n'),
    'a.txt': Buffer.from('A paragraph\nof two lines.\n\nÉtude ☕\n \nlast'),
  };
  const packed = Object.fromEntries(Object.entries(contents).map(([name, bytes]) => [`${name}.gz`, gzipSync(bytes)]));
  const whole = ({ documents }: Corpus) => {
    expect(documents.length).toBeGreaterThan(0);
    for (const { name, text, line } of documents) {
      expect([name.length > 0, text.length > 0, line > 0, /\p{Surrogate}/u.test(text)]).toEqual([
        true,
        true,
        true,
        false,
      ]);
    }
  };

  test.each(Object.entries(contents))('%s: bytes changed, cut and put in', async (name, bytes) => {
    await attackAll(
      damagedBytes(bytes),
      damaged =>
        attack(async () => {
          await writeFile(at(name), damaged);
          return readCorpus(at(name));
        }, whole),
      3 * runs,
    );
  });

  test.each(Object.entries(packed))('%s: bytes changed, cut and put in', async (name, bytes) => {
    await attackAll(
      damagedBytes(bytes),
      damaged =>
        attack(async () => {
          await writeFile(at(name), damaged);
          return readCorpus(at(name));
        }, whole),
      3 * runs,
    );
  });

  test('a plain file cut at every offset gives the documents before the cut', async () => {
    for (const [name, bytes] of Object.entries(contents)) {
      for (let length = bytes.length - 1; length >= 0; length--) {
        await writeFile(at(name), bytes.subarray(0, length));
        await attack(() => readCorpus(at(name)), whole);
      }
    }
  });
});

/**
 * Bombs: small files that unpack or parse to far more than they are. The command runs with a heap of 64 MiB: what holds
 * on to too much dies, and takes exit code and message with it.
 */
describe('bombs, in a heap of 64 MiB', () => {
  const members = (count: number, text: string, mebibytes = 1) => {
    const member = gzipSync(Buffer.alloc(mebibytes * 2 ** 20, text));
    return Buffer.concat(Array.from({ length: count }, () => member));
  };
  const cli = new URL('../../dist/s2t2/app/cli.js', import.meta.url).pathname;
  const advice = /does not fit into Node's memory; raise it with/;
  const ratio = /unpacks to more than 200 times its \d+ bytes/;
  const bombs: [name: string, make: () => Buffer, message: RegExp][] = [
    ['a paragraph of six million lines.txt', () => Buffer.alloc(3 * 2 ** 24, 'AAAAAAA\n'), advice],
    [
      'a record of six million lines.fasta',
      () => Buffer.concat([Buffer.from('>a\n'), Buffer.alloc(3 * 2 ** 24, 'AAAAAAA\n')]),
      advice,
    ],
    ['three million records.fasta', () => Buffer.alloc(2 ** 24, '>a\nA\n'), advice],
    ['a packed line.txt.gz', () => members(64, 'A'), ratio],
    ['packed blank lines.txt.gz', () => members(64, '\n'), /:4194305: more than 4194304 blank lines in a row/],
    ['packed sequences.fasta.gz', () => Buffer.concat([gzipSync('>a\n'), members(64, `${'A'.repeat(63)}\n`)]), advice],
    ['packed JSON.jsonl.gz', () => Buffer.concat([gzipSync('{"text":"'), members(64, 'A')]), ratio],
    [
      'objects in a line.jsonl',
      () => Buffer.from(`{"text":"a","x":[${'{},'.repeat(2 ** 21)}{}]}`),
      /:1: JSON of 2097155 values, more than the \d+ read at once/,
    ],
  ];
  const few = ['a record of six million lines.fasta', 'a packed line.txt.gz', 'packed blank lines.txt.gz'];
  test.each(bombs.filter(([name]) => thorough || few.includes(name)))('%s', async (name, make, message) => {
    await writeFile(at(name), make());
    const args = ['--max-old-space-size=64', cli, 'tokenize', '--data', at(name), '--out', at('t.json')];
    const { code, stdout, stderr } = await promisify(execFile)(process.execPath, args).then(
      ended => ({ code: 0, ...ended }),
      (error: { code: number; stdout: string; stderr: string }) => error,
    );
    expect(stderr).toMatch(message);
    expect([code, stdout, stderr.trim().split('\n').length]).toEqual([2, '', 1]);
  });
});
