/**
 * What an adapted model has beside its weights: a card, the files of its source, a tokenizer that begins every text.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer as HuggingFace } from '@huggingface/tokenizers';
import { describe, expect, test } from 'vitest';
import { Random } from '../../../engine/index.ts';
import { modelTexts, tokenizerTexts } from '../../../models/checkpoint.ts';
import { initTransformer } from '../../../models/init.ts';
import { carriedOver } from '../../../models/node/carried.ts';
import { withTemplate } from '../../../models/roles.ts';
import { extendBPE, Tokenizer, trainBPE } from '../../../models/tokenizer/index.ts';
import { adaptedCard, type AdaptedCard as Card } from '../../../s2t2/app/card.ts';
import { defaults } from '../../../s2t2/settings.ts';
import { temporaryDirectory } from '../../models/temporary.ts';

const directory = temporaryDirectory();
const tokenizer = trainBPE(['MKVLAAGMKVLAAG'], { vocabSize: 16, alphabet: 'seen' });

test("Hugging Face's tokenizers put the begin token before a text; nothing else changes", () => {
  const begins = withTemplate(tokenizer, tokenizer);
  const texts = tokenizerTexts(begins);
  const there = new HuggingFace(
    JSON.parse(texts['tokenizer.json']) as object,
    JSON.parse(texts['tokenizer_config.json']) as object,
  );
  const ids = [...tokenizer.encode('MKVLA')];
  expect([...there.encode('MKVLA').ids]).toEqual([tokenizer.specialTokens.bos, ...ids]);
  expect([...begins.encode('MKVLA')]).toEqual(ids);
  expect(begins.hash).toBe(tokenizer.hash);
  expect(withTemplate(begins, begins)).toBe(begins);
  expect(JSON.parse(texts['special_tokens_map.json'])).toEqual({
    bos_token: '<s>',
    eos_token: '</s>',
    pad_token: '<pad>',
    unk_token: '<unk>',
  });
});

test('licence, chat template and other files come along; weights, vocabularies and what is large do not', async () => {
  const path = join(directory, 'source');
  await mkdir(join(path, 'folder'), { recursive: true });
  const small = ['LICENSE', 'USE_POLICY.md', 'chat_template.jinja'];
  const others = [
    'config.json',
    'model.safetensors',
    'pytorch_model.bin',
    'tokenizer.model',
    'vocab.json',
    'merges.txt',
    'README.md',
    '.gitattributes',
    'special_tokens_map.json',
    'x.gguf',
  ];
  for (const name of [...small, ...others]) await writeFile(join(path, name), name);
  await writeFile(join(path, 'picture.png'), new Uint8Array(2 ** 20 + 1));
  await writeFile(join(path, 'tokenizer_config.json'), '{"chat_template": "{{ x }}", "model_max_length": 8}');
  const change = { source: tokenizer, target: tokenizer, keeps: false };
  const { files, more, skipped, notices } = await carriedOver(path, change);
  expect(Object.keys(files).sort()).toEqual(small);
  expect(Buffer.from(files.LICENSE as Uint8Array).toString()).toBe('LICENSE');
  expect([more, skipped]).toEqual([{ chat_template: '{{ x }}' }, ['picture.png']]);
  const gguf = new URL('../../oracles/gguf/llama.gguf', import.meta.url).pathname;
  expect(await carriedOver(gguf, change)).toMatchObject({ files: {}, more: {}, skipped: [], notices: [] });
  expect(notices).toEqual(['not carried over, larger than 1 MB: picture.png']);
});

describe('options of generation and of the tokenizer', () => {
  const source = trainBPE(['<|im_start|> the model'], { vocabSize: 270, alphabet: 'bytes' });
  const names = ['<|im_start|>', '<|im_end|>', '<|unused|>', '  '];
  const added = names.map((content, i) => ({ ...source.parts.added[0], content, id: source.vocabSize + i }));
  const chat = new Tokenizer({
    ...source.parts,
    tokens: [...source.parts.tokens, ...added.map(() => undefined)],
    added: [...source.parts.added, ...added],
  });
  const template = "{{ '<|im_start|>' + bos_token }}  <s>";
  const options = { model_max_length: 8, padding_side: 'left', add_bos_token: true, chat_template: template };
  const named = { tokenizer_class: 'LlamaTokenizer', added_tokens_decoder: {}, bos_token: 'x', pad_token: '<pad>' };
  const sampling = { temperature: 0.6, top_p: 0.9, repetition_penalty: 1.1, max_new_tokens: 7 };
  const tokens = { bos_token_id: 7, eos_token_id: [7, 8], pad_token_id: 9, suppress_tokens: [3] };

  const tiny = initTransformer(
    {
      family: 'llama',
      vocabSize: 280,
      width: 8,
      layers: 1,
      heads: 1,
      keyValueHeads: 1,
      feedForward: 8,
      context: 8,
      rotaryBase: 1e4,
      normEps: 1e-5,
      tied: true,
    },
    new Random(1),
  );
  async function written(keeps: boolean, target: Tokenizer) {
    const path = join(directory, `options-${keeps}`);
    await mkdir(path, { recursive: true });
    await writeFile(join(path, 'tokenizer_config.json'), JSON.stringify({ ...named, ...options }));
    await writeFile(join(path, 'generation_config.json'), JSON.stringify({ ...sampling, ...tokens }));
    await writeFile(join(path, 'chat_template.jinja'), '{{ "<|im_end|>" }}');
    const carried = await carriedOver(path, { source: chat, target, keeps });
    const endTokens = keeps ? [1, 8] : undefined;
    const texts = modelTexts({ model: tiny, tokenizer: target, endTokens }, 'F32', carried);
    const read = (name: string) => JSON.parse(texts[name]) as object;
    return { carried, generation: read('generation_config.json'), tokenizer: read('tokenizer_config.json') };
  }
  const roles = { bos_token: '<s>', eos_token: '</s>', pad_token: '<pad>', unk_token: '<unk>' };
  const own = { tokenizer_class: 'PreTrainedTokenizerFast', clean_up_tokenization_spaces: false, ...roles };

  test('a new vocabulary keeps how tokens are drawn, with its own ids, and loses tokens of the template', async () => {
    const { carried, generation, tokenizer: config } = await written(false, tokenizer);
    const [bos_token_id, eos_token_id, pad_token_id] = [0, 1, 2];
    expect(generation).toEqual({ ...sampling, bos_token_id, eos_token_id, pad_token_id });
    expect(config).toEqual({ ...own, chat_template: template });
    expect(carried.lost).toEqual(['<|im_start|>', '<|im_end|>']);
    expect(carried.notices).toEqual([
      'the chat template uses tokens that the new vocabulary does not have, ordinary text now: ' +
        '<|im_start|>, <|im_end|>',
    ]);
  });

  test('a vocabulary that is kept keeps all options but those of the class', async () => {
    const { carried, generation, tokenizer: config } = await written(true, chat);
    const ends = { bos_token_id: 0, eos_token_id: [1, 8], pad_token_id: 2 };
    expect(generation).toEqual({ ...sampling, suppress_tokens: [3], ...ends });
    expect(config).toEqual({ ...own, ...options, unk_token: null }); // bytes have no unknown
    expect([carried.lost, carried.notices]).toEqual([[], []]);
  });
});

test('the card names base model, licence, data, method, figures and command, with the metadata of the hub', () => {
  const metrics = { bitsPerByte: 4.12345, standardError: 0.01, perplexity: 123.456 } as Card['rows'][number]['after'];
  const row = { name: 's2t2', before: { ...metrics, bitsPerByte: 5 }, after: metrics, tokensPerByte: 0.5 };
  const tokenizers = { source: trainBPE(['the model'], { vocabSize: 300, alphabet: 'bytes' }), target: tokenizer };
  const card: Card = {
    source: {
      path: '/home/me/models/OLMo-1B',
      name: 'allenai/OLMo-1B-hf',
      family: 'olmo',
      card: '---\nlanguage: en\nlicense: apache-2.0\ntags:\n- x\n---\n',
    },
    tokenizers,
    method: 's2t2',
    texts: { train: 100, test: 7 },
    data: '/home/me/proteins.fasta',
    settings: { ...defaults, alpha: 1, seed: 3 },
    rows: [{ ...row, name: 'order0', before: null }, row] as unknown as Card['rows'],
    command: "s2t2 adapt --data 'my proteins.fasta' --out DIR",
  };
  const text = adaptedCard(card);
  const [, head] = /^---\n([^]*?)\n---\n/.exec(text)!;
  expect(head.split('\n')).toEqual([
    'library_name: transformers',
    'pipeline_tag: text-generation',
    'base_model: allenai/OLMo-1B-hf',
    'license: apache-2.0',
    'tags:',
    '- s2t2',
    '- token-translation',
    '- olmo',
  ]);
  for (const part of [
    `a vocabulary of ${tokenizer.vocabSize} tokens in place of the source model's ${tokenizers.source.vocabSize}`,
    '`proteins.fasta`, 100 texts to train on, 7 held out',
    'seed 3',
    "`s2t2 adapt --data 'my proteins.fasta' --out DIR`",
    '| order0 |  | 4.1235 ± 0.0100 | 123.5 | 0.500 |',
    '| s2t2 | 5.0000 | 4.1235 ± 0.0100 | 123.5 | 0.500 |',
  ])
    expect(text).toContain(part);
  expect(text).not.toContain('/home/me');
  const mine = { path: '/home/me/models/mine', name: './mine', card: undefined, family: 'olmo' };
  const plain = adaptedCard({ ...card, source: mine });
  expect(plain).toContain('# mine, adapted by s2t2');
  expect(plain).toContain('its licence is not stated there');
  expect(/^(base_model|license):/m.test(plain)).toBe(false);
  const lost = "The chat template is the source's, and this vocabulary reads as ordinary text: `<|a|>`, `<|b|>`\n";
  expect(adaptedCard({ ...card, lost: ['<|a|>', '<|b|>'] })).toContain(`\n${lost}`);
  expect(text).not.toContain('chat template');
});

test('the card says of a model that was continued, chosen by validation and extended that it was', async () => {
  const metrics = { bitsPerByte: 4, standardError: 0.01, perplexity: 9 };
  const selection = [4.5, 4.25, 4.375].map(bitsPerByte => ({ tokens: 1, bytes: 1, seconds: 1, bitsPerByte }));
  const source = trainBPE(['the model'], { vocabSize: 260, alphabet: 'bytes' });
  const row = { name: 'fvt', before: null, after: metrics, tokensPerByte: 1, selection };
  const text = adaptedCard({
    source: { path: 'x', name: undefined, card: undefined, family: 'gpt2' },
    tokenizers: { source, target: await extendBPE(source, ['MKVLMKVL', 'MKVLMKVL'], { tokens: 2 }) },
    method: 'fvt',
    texts: { train: 1, test: 1 },
    data: undefined,
    settings: { ...defaults, alpha: 1, budget: { unit: 'bytes', amount: 9000 }, continuedFrom: [1000, 3000] },
    rows: [row] as unknown as Card['rows'],
  });
  expect(text).toContain('| budget | 9,000 bytes of training, continued from 1,000 bytes and 3,000 bytes, seed 0 |');
  expect(text).toContain('| chosen | the best of 3 by validation texts, 4.2500 bits per byte |');
  expect(text).toContain(`with the source model's vocabulary of ${source.vocabSize} tokens and 2 more, by`);
});

test('the end token is added where the template of the source adds it, and begins a text nowhere else', () => {
  const template = (single: object[]) => ({ type: 'TemplateProcessing', single, pair: [], special_tokens: {} });
  const end = { SpecialToken: { id: '</s>', type_id: 0 } };
  const text = { Sequence: { id: 'A', type_id: 0 } };
  const added = (postProcessor: unknown) => {
    const written = withTemplate(tokenizer, new Tokenizer({ ...tokenizer.parts, postProcessor }));
    const files = tokenizerTexts(written);
    const json = (name: string) => JSON.parse(files[name]) as object;
    const { ids } = new HuggingFace(json('tokenizer.json'), json('tokenizer_config.json')).encode('MKV');
    const { bos, eos } = tokenizer.specialTokens;
    return [ids[0] === bos, ids.at(-1) === eos, ids.length - tokenizer.encode('MKV').length];
  };
  const both = [true, true, 2];
  const beginOnly = [true, false, 1];
  expect(added(template([text, end]))).toEqual(both);
  expect(added({ type: 'Sequence', processors: [{ type: 'ByteLevel' }, template([end, text, end])] })).toEqual(both);
  expect(added({ type: 'RobertaProcessing', sep: ['</s>', 1], cls: ['<s>', 0] })).toEqual(both);
  for (const none of [undefined, null, 7, {}, { type: 'ByteLevel' }, template([end, text]), { type: 'Sequence' }])
    expect(added(none), JSON.stringify(none)).toEqual(beginOnly);
  for (const broken of [
    { type: 'TemplateProcessing', single: 'x' },
    { type: 'Sequence', processors: [null] },
  ])
    expect(added(broken)).toEqual(beginOnly);
});
