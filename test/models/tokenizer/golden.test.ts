/**
 * OpenAI's vocabularies, as gpt-tokenizer ships them, against its golden encodings. A rank file lists tokens by id and
 * no merges: those of a token are found by encoding it with the tokens before it, down to the two that make it.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { gpt2Pattern, parseTokenizerJson } from '../../../models/tokenizer/index.ts';
import { writeBytes } from '../../../models/tokenizer/bytes.ts';
import { llama3Pattern } from './samples.ts';

const data = new URL('../../../node_modules/gpt-tokenizer/data/', import.meta.url);

/** The two tokens, of lower rank, that a token is merged from. */
function halves(token: string, ranks: ReadonlyMap<string, number>): string[] {
  const below = ranks.get(token)!;
  let parts = [...token];
  while (parts.length > 2) {
    const pairs = parts.slice(1).map((part, i) => ranks.get(parts[i] + part) ?? Infinity);
    const at = pairs.indexOf(pairs.reduce((a, b) => Math.min(a, b)));
    if (pairs[at] >= below) throw new Error(`${token} is made of no two tokens`);
    parts = [...parts.slice(0, at), parts[at] + parts[at + 1], ...parts.slice(at + 2)];
  }
  return parts;
}

function rankFileAsJson(name: string, pattern: string): string {
  const lines = readFileSync(new URL(`${name}.tiktoken`, data), 'utf8')
    .trim()
    .split('\n')
    .map(line => line.split(' '));
  const ranks = new Map(lines.map(([token, rank]) => [writeBytes(Buffer.from(token, 'base64')), Number(rank)]));
  return JSON.stringify({
    added_tokens: [],
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false },
        { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
      ],
    },
    decoder: { type: 'ByteLevel' },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(ranks),
      merges: [...ranks.keys()].filter(t => t.length > 1).map(t => halves(t, ranks)),
    },
  });
}

const plans = [
  ...readFileSync(new URL('TestPlans.txt', data), 'utf8').matchAll(
    /EncodingName: (\S+)\nSample: ([^]*?)\nEncoded: (\[[^\]]*\])/g,
  ),
];

test.each([
  ['r50k_base', 'GPT-2', gpt2Pattern.source, 64],
  ['cl100k_base', 'GPT-4, whose words LLaMA 3 took over', llama3Pattern, 64],
])('%s (%s)', (name, _, pattern, count) => {
  const tokenizer = parseTokenizerJson(rankFileAsJson(name, pattern), name);
  const own = plans.filter(plan => plan[1] === name);
  expect(own).toHaveLength(count);
  for (const [, , sample, encoded] of own) {
    const ids = JSON.parse(encoded) as number[];
    expect([...tokenizer.encode(sample)], sample).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(sample);
  }
});
