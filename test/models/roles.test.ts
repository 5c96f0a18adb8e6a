/** Who begins and ends a text: what the files of a model directory say, wherever they say it, and what comes of it. */
import { describe, expect, test } from 'vitest';
import { Random } from '../../engine/index.ts';
import { readTokenizer } from '../../models/checkpoint.ts';
import { UserError } from '../../models/errors.ts';
import { generate } from '../../models/generate.ts';
import { initTransformer } from '../../models/init.ts';
import { endTokens } from '../../models/roles.ts';
import { parseTokenizerJson, tokenizerToJson, trainBPE, type Tokenizer } from '../../models/tokenizer/index.ts';
import { score } from '../../models/score.ts';
import { toSequences } from '../../s2t2/app/prepare.ts';

const text = 'to be or not to be, that is the question: whether';
const trained = trainBPE([text], { vocabSize: 270, alphabet: 'bytes' });

/** A tokenizer.json with added tokens of one's own: name, whether it is special. */
function tokenizerWith(...tokens: [content: string, special: boolean][]): string {
  const json = JSON.parse(tokenizerToJson(trained)) as {
    added_tokens: object[];
    model: { vocab: Record<string, number> };
  };
  const ordinary = Object.keys(json.model.vocab).filter(name => !/^<.*>$/.test(name));
  json.model.vocab = Object.fromEntries(ordinary.map((name, id) => [name, id]));
  json.added_tokens = tokens.map(([content, special], i) => ({
    id: ordinary.length + i,
    content,
    special,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  }));
  return JSON.stringify(json);
}

const read = (tokenizer: string, files: Readonly<Record<string, object>> = {}): Promise<Tokenizer> =>
  readTokenizer({
    path: name => `model/${name}`,
    has: async name => name === 'tokenizer.json' || name in files,
    text: async name =>
      name === 'tokenizer.json' ? tokenizer : name in files ? JSON.stringify(files[name]) : undefined,
  });

const three = tokenizerWith(['<|begin|>', true], ['<|end|>', false], ['<|turn|>', true], ['<|fill|>', true]);
const [begin, end, turn, fill] = ['<|begin|>', '<|end|>', '<|turn|>', '<|fill|>'].map(
  name => parseTokenizerJson(three, '').parts.added.find(t => t.content === name)!.id,
);

describe('roles', () => {
  test.each<[string, Readonly<Record<string, object>>, object]>([
    [
      'tokenizer_config.json',
      { 'tokenizer_config.json': { bos_token: '<|begin|>', eos_token: { content: '<|end|>' } } },
      { bos: begin, eos: end },
    ],
    [
      'special_tokens_map.json',
      { 'special_tokens_map.json': { bos_token: '<|begin|>', eos_token: '<|turn|>', pad_token: '<|fill|>' } },
      { bos: begin, eos: turn, pad: fill },
    ],
    [
      'the first of these two',
      {
        'tokenizer_config.json': { eos_token: '<|end|>', bos_token: null },
        'special_tokens_map.json': { bos_token: '<|begin|>', eos_token: '<|turn|>' },
      },
      { bos: begin, eos: end },
    ],
    [
      'generation_config.json, a list',
      { 'generation_config.json': { bos_token_id: begin, eos_token_id: [turn, end] } },
      { bos: begin, eos: turn },
    ],
    [
      'config.json',
      { 'config.json': { bos_token_id: begin, eos_token_id: end, pad_token_id: fill } },
      { bos: begin, eos: end, pad: fill },
    ],
    [
      'names before ids',
      { 'tokenizer_config.json': { eos_token: '<|end|>' }, 'config.json': { bos_token_id: begin, eos_token_id: turn } },
      { bos: begin, eos: end },
    ],
    ['an end and no begin', { 'config.json': { eos_token_id: end } }, { bos: end, eos: end }],
    [
      "LLaMA's default ids, which are text here",
      { 'config.json': { bos_token_id: 1, eos_token_id: 2, pad_token_id: -1 } },
      {},
    ],
    [
      'padding that is not a token',
      { 'tokenizer_config.json': { eos_token: '<|end|>', pad_token: '[PAD]' } },
      { bos: end, eos: end },
    ],
  ])('%s', async (_, files, roles) => {
    const tokenizer = await read(three, files);
    expect(tokenizer.specialTokens).toEqual(expect.objectContaining(roles));
    expect(Object.values(tokenizer.specialTokens).filter(id => id !== undefined)).toHaveLength(
      Object.keys(roles).length,
    );
  });

  test.each<[object, RegExp]>([
    [
      { 'tokenizer_config.json': { eos_token: '</s>' } },
      /^model\/tokenizer_config\.json: eos_token is "<\/s>", which is not a token of this tokenizer$/,
    ],
    [
      { 'config.json': { eos_token_id: 'x' } },
      /^model\/config\.json: eos_token_id is "x"; it must be an id, or a list of ids$/,
    ],
    [
      { 'generation_config.json': { eos_token_id: [1.5] } },
      /^model\/generation_config\.json: eos_token_id is \[1\.5\]/,
    ],
    [{ 'special_tokens_map.json': [] }, /^model\/special_tokens_map\.json: is not a JSON object$/],
  ])('%j is an error', async (files, message) => {
    const failure: unknown = await read(three, files as Record<string, object>).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(UserError);
    expect((failure as Error).message).toMatch(message);
  });

  test('an end token without the special flag still counts: not found in a text, and decoded to nothing', async () => {
    const [flagged, not] = await Promise.all(
      [true, false].map(special =>
        read(tokenizerWith(['<|end|>', special]), { 'tokenizer_config.json': { eos_token: '<|end|>' } }),
      ),
    );
    expect(not.hash).toBe(flagged.hash);
    expect(not.encode('to be<|end|>')).toEqual(flagged.encode('to be<|end|>'));
    expect([...not.encode('<|end|>', { allowSpecial: true })]).toEqual([not.specialTokens.eos]);
    expect(not.ordinaryIds()).not.toContain(not.specialTokens.eos);
    expect(parseTokenizerJson(tokenizerToJson(not), '').hash).toBe(not.hash);
  });

  test.each([
    ['</s>', true],
    ['[SEP]', true],
    ['<|end of text|>', true],
    ['<s', false],
    ['s>', false],
    ['[SEP', false],
    ['SEP]', false],
    ['a<s>', false],
    ['[SEP]a', false],
    ['<a><b>', false],
    ['[a][b]', false],
    ['<>', false],
    ['[]', false],
  ])('an id in config.json for the vocabulary’s %s: an end token is %s', async (name, isEnd) => {
    const json = JSON.parse(three) as { model: { vocab: Record<string, number> } };
    json.model.vocab[name.replaceAll(' ', 'Ġ')] = fill + 1;
    const tokenizer = await read(JSON.stringify(json), { 'config.json': { eos_token_id: [0, fill + 1] } });
    expect(tokenizer.specialTokens.eos).toBe(isEnd ? fill + 1 : undefined);
  });

  test('an end token of the vocabulary that is not an added token', async () => {
    const json = JSON.parse(three) as { model: { vocab: Record<string, number> } };
    json.model.vocab['</s>'] = fill + 1;
    const tokenizer = await read(JSON.stringify(json), { 'tokenizer_config.json': { eos_token: '</s>' } });
    expect([tokenizer.specialTokens.eos, tokenizer.isSpecial(fill + 1)]).toEqual([fill + 1, true]);
    expect(tokenizer.decode([fill + 1])).toBe('');
  });
});

describe('a model whose end tokens are a list', async () => {
  const vocabSize = fill + 1;
  const texts: Record<string, string> = {
    'config.json': JSON.stringify({ eos_token_id: begin }),
    'generation_config.json': JSON.stringify({ eos_token_id: [turn, end] }),
    'tokenizer_config.json': JSON.stringify({ bos_token: '<|begin|>', eos_token: '<|end|>' }),
    'tokenizer.json': three,
  };
  const files = {
    path: (name: string) => name,
    has: async (name: string) => name in texts,
    text: async (name: string) => texts[name],
  };

  test('generation_config.json counts before config.json, beside the tokenizer’s own', async () => {
    const tokenizer = await readTokenizer(files);
    const numbered = ['generation_config.json', 'config.json'].map(name => ({
      path: name,
      fields: JSON.parse(texts[name]) as Record<string, unknown>,
    }));
    expect(endTokens(tokenizer, numbered)).toEqual([end, turn]);
    expect(endTokens(tokenizer, numbered.slice(1))).toEqual([end, begin]);
    expect(endTokens(tokenizer, [])).toEqual([end]);
  });

  const tokenizer = await readTokenizer(files);
  const model = initTransformer(
    {
      family: 'llama',
      vocabSize,
      width: 8,
      layers: 1,
      heads: 2,
      keyValueHeads: 2,
      feedForward: 8,
      context: 1024,
      rotaryBase: 10000,
      normEps: 1e-6,
      tied: true,
    },
    new Random(1),
  );

  test('generation ends at each of them, and nowhere else', async () => {
    const draws = 600;
    const draw = async (stop: readonly number[]) => {
      const ids: number[] = [];
      const random = new Random(5);
      for await (const id of generate(model, Int32Array.of(begin), { maxTokens: draws, stop, random })) ids.push(id);
      return ids;
    };
    const free = await draw([]);
    expect(free).toHaveLength(draws);
    // Weights this small make all tokens about equally likely: (1 − 2/275)^600 is 1 %, and the seed is fixed.
    const first = Math.min(...[end, turn].map(id => free.indexOf(id)).filter(at => at >= 0));
    expect(first).toBeLessThan(draws);
    expect(await draw([end, turn])).toEqual(free.slice(0, first));
  });

  test('a text is scored with its own begin and end', async () => {
    const [sequence] = toSequences([text], tokenizer, 256);
    expect([sequence.ids[0], sequence.ids.at(-1)]).toEqual([begin, end]);
    const [{ nats, tokens }] = await score(model, [sequence]);
    expect(tokens).toBe(sequence.ids.length - 2);
    expect(nats).toBeGreaterThan(0);
  });
});
