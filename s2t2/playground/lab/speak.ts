/** An adapted model at work: it generates, and says how surprised it is by each token. */
import { noGrad, Random, scope, tensor } from '../../../engine/index.ts';
import { UserError } from '../../../models/errors.ts';
import { generate, rowsOfTokens } from '../../../models/generate.ts';
import type { LanguageModel } from '../../../models/checkpoint.ts';
import { forward } from '../../../models/transformer.ts';
import type { Transformer } from '../../../models/weights.ts';
import { utf8Length } from '../../../models/utf8.ts';
import type { GenerateRequest, ScoredText } from '../protocol.ts';
import { encode, showTokens } from './tokens.ts';
import { longestSequence } from '../../../models/transformer-config.ts';

/** −log₂ p of every id after the first, in its full context. */
async function surprise(model: Transformer, ids: readonly number[]): Promise<Float32Array> {
  const T = ids.length - 1;
  const losses = noGrad(() =>
    scope(() => {
      const inputs = tensor(Int32Array.from(ids.slice(0, -1)), { shape: [1, T] });
      const { logits } = forward(model, inputs); // (1, T, V)
      return logits.reshape([T, -1]).crossEntropy(tensor(Int32Array.from(ids.slice(1)))); // (T)
    }),
  );
  const nats = await losses.data();
  losses.dispose();
  return Float32Array.from(nats, n => n / Math.LN2);
}

function beginToken({ tokenizer }: LanguageModel): number {
  const { bos } = tokenizer.specialTokens;
  if (bos === undefined) throw new UserError('the tokenizer has no begin token');
  return bos;
}

/** A text's tokens with their surprise. */
export async function scoreText(speaker: LanguageModel, text: string, method: string): Promise<ScoredText> {
  const ids = encode(text, speaker.tokenizer);
  if (ids.length === 0) throw new UserError('type a text to score');
  const { context } = speaker.model.config;
  if (ids.length > context - 1)
    throw new UserError(`the text has ${ids.length} tokens, more than the model's context of ${context}`);
  const bits = await surprise(speaker.model, [beginToken(speaker), ...ids]);
  return {
    method,
    tokens: showTokens(text, speaker.tokenizer, ids, bits),
    bitsPerByte: bits.reduce((a, b) => a + b, 0) / utf8Length(text),
  };
}

/** Continues a prompt, and scores what came out. */
export async function speak(
  speaker: LanguageModel,
  { method, prompt, maxTokens, temperature, seed }: GenerateRequest,
): Promise<ScoredText> {
  const { model, tokenizer } = speaker;
  const ids = [beginToken(speaker), ...encode(prompt, tokenizer)];
  const longest = longestSequence(model.config);
  const room = Math.min(maxTokens, longest - ids.length);
  if (room < 1) throw new UserError(`the prompt fills the model's context of ${longest} tokens`);
  const random = new Random(seed).split('generate');
  for await (const id of generate(model, Int32Array.from(ids), {
    maxTokens: room,
    temperature,
    stop: tokenizer.specialTokens.eos,
    random,
    ids: rowsOfTokens(tokenizer, model.config.vocabSize),
  }))
    ids.push(id);
  if (ids.length === 1) return { method, tokens: [], bitsPerByte: Number.NaN };
  const bits = await surprise(model, ids);
  const text = new TextDecoder().decode(tokenizer.decodeBytes(ids.slice(1)));
  const bytes = ids.slice(1).reduce((n, id) => n + tokenizer.tokenBytes(id).length, 0);
  return {
    method,
    tokens: showTokens(text, tokenizer, ids.slice(1), bits),
    bitsPerByte: bits.reduce((a, b) => a + b, 0) / bytes,
  };
}
