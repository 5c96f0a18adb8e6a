/**
 * What an adapted model has beside its weights: a card, the files of its source, a tokenizer that begins every text.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer as HuggingFace } from '@huggingface/tokenizers';
import { expect, test } from 'vitest';
import { tokenizerTexts } from '../../../models/checkpoint.ts';
import { carriedOver } from '../../../models/node/carried.ts';
import { withBeginToken } from '../../../models/roles.ts';
import { trainBPE } from '../../../models/tokenizer/index.ts';
import { modelCard, type Card } from '../../../s2t2/app/card.ts';
import { defaults } from '../../../s2t2/settings.ts';
import { temporaryDirectory } from '../../models/temporary.ts';

const directory = temporaryDirectory();
const tokenizer = trainBPE(['MKVLAAGMKVLAAG'], { vocabSize: 16, alphabet: 'seen' });

test("Hugging Face's tokenizers put the begin token before a text; nothing else changes", () => {
  const begins = withBeginToken(tokenizer);
  const texts = tokenizerTexts(begins);
  const there = new HuggingFace(
    JSON.parse(texts['tokenizer.json']) as object,
    JSON.parse(texts['tokenizer_config.json']) as object,
  );
  const ids = [...tokenizer.encode('MKVLA')];
  expect([...there.encode('MKVLA').ids]).toEqual([tokenizer.specialTokens.bos, ...ids]);
  expect([...begins.encode('MKVLA')]).toEqual(ids);
  expect(begins.hash).toBe(tokenizer.hash);
  expect(withBeginToken(begins)).toBe(begins);
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
  const { files, more, skipped } = await carriedOver(path);
  expect(Object.keys(files).sort()).toEqual(small);
  expect(Buffer.from(files.LICENSE as Uint8Array).toString()).toBe('LICENSE');
  expect([more, skipped]).toEqual([{ chat_template: '{{ x }}' }, ['picture.png']]);
  const gguf = new URL('../../oracles/gguf/llama.gguf', import.meta.url).pathname;
  expect(await carriedOver(gguf)).toEqual({ files: {}, more: {}, skipped: [] });
});

test('the card names base model, licence, data, method, figures and command, with the metadata of the hub', () => {
  const metrics = { bitsPerByte: 4.12345, standardError: 0.01, perplexity: 123.456 } as Card['rows'][number]['after'];
  const row = { name: 's2t2', before: { ...metrics, bitsPerByte: 5 }, after: metrics, tokensPerByte: 0.5 };
  const card: Card = {
    source: {
      path: '/home/me/models/OLMo-1B',
      name: 'allenai/OLMo-1B-hf',
      card: '---\nlanguage: en\nlicense: apache-2.0\ntags:\n- x\n---\n',
    },
    family: 'olmo',
    method: 's2t2',
    tokens: { target: 512, source: 50_280 },
    texts: { train: 100, test: 7 },
    data: '/home/me/proteins.fasta',
    settings: { ...defaults, alpha: 1, seed: 3 },
    rows: [{ ...row, name: 'order0', before: null }, row] as unknown as Card['rows'],
    command: "s2t2 adapt --data 'my proteins.fasta' --out DIR",
  };
  const text = modelCard(card);
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
    "a vocabulary of 512 tokens in place of the source model's 50280",
    '`proteins.fasta`, 100 texts to train on, 7 held out',
    'seed 3',
    "`s2t2 adapt --data 'my proteins.fasta' --out DIR`",
    '| order0 |  | 4.1235 ± 0.0100 | 123.5 | 0.500 |',
    '| s2t2 | 5.0000 | 4.1235 ± 0.0100 | 123.5 | 0.500 |',
  ])
    expect(text).toContain(part);
  expect(text).not.toContain('/home/me');
  const plain = modelCard({ ...card, source: { path: '/home/me/models/mine', name: './mine', card: undefined } });
  expect(plain).toContain('# mine, adapted by s2t2');
  expect(plain).toContain('its licence is not stated there');
  expect(/^(base_model|license):/m.test(plain)).toBe(false);
});
