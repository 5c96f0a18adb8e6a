/**
 * From texts to what an experiment needs: the same byte spans for every tokenizer, a target tokenizer trained on the
 * training texts alone, token sequences in both vocabularies, and a name for all of it.
 */
import { getBackend } from '../../engine/index.ts';
import type { Sequence } from '../../models/batches.ts';
import type { LanguageModel } from '../../models/checkpoint.ts';
import { sha256 } from '../../models/sha256.ts';
import { UserError } from '../../models/errors.ts';
import { trainBPE, UnknownByte, type Tokenizer } from '../../models/tokenizer/index.ts';
import { longestSequence } from '../../models/transformer-config.ts';
import { parameters } from '../../models/weights.ts';
import type { Identity } from './claim.ts';
import type { Experiment } from './experiment.ts';
import { checkMemory, estimateBytes } from './memory.ts';
import type { Vocabulary } from '../method.ts';
import type { Settings } from '../settings.ts';

/** Texts of the target domain. */
export interface Domain {
  readonly train: readonly string[];
  readonly test: readonly string[];
}

/** An experiment but for where it is kept. */
export interface Prepared extends Pick<Experiment, 'source' | 'target' | 'sequences' | 'settings' | 'fingerprint'> {
  /** Pieces of at most `maxBytes` bytes. */
  readonly texts: Domain;
  /** What `fingerprint` is the hash of: settings, and hashes of model, target tokenizer and texts. */
  readonly identity: Identity;
}

/** `target` is trained on the texts where none is given. */
export async function prepare(
  source: LanguageModel,
  domain: Domain,
  settings: Settings,
  log: (line: string) => void,
  given?: Tokenizer,
): Promise<Prepared> {
  const train = cutAll(domain.train, settings.maxBytes);
  const test = cutAll(domain.test, settings.maxBytes);
  const target =
    given ?? trainBPE(train, { vocabSize: settings.vocabSize, alphabet: alphabetFor(train, settings.vocabSize) });
  if (target.vocabSize < settings.vocabSize)
    log(`the text has pairs for ${target.vocabSize} tokens only, not ${settings.vocabSize}`);
  const tokenizers: Record<Vocabulary, Tokenizer> = { source: source.tokenizer, target };
  const encode = (texts: readonly string[], vocabulary: Vocabulary) =>
    toSequences(texts, tokenizers[vocabulary], longestSequence(source.model.config));
  const sequences = {
    train: { source: encode(train, 'source'), target: encode(train, 'target') },
    test: { source: encode(test, 'source'), target: encode(test, 'target') },
  };
  const identity = {
    settings,
    model: await modelHash(source),
    target: target.hash,
    data: sha256(JSON.stringify([train, test])),
    backend: getBackend().arithmetic,
  };
  const fingerprint = sha256(JSON.stringify(identity));
  checkMemory(
    estimateBytes(source.model.config, settings, target.ordinaryIds().length, source.tokenizer.ordinaryIds().length),
    getBackend().memoryLimit,
  );
  return { source, target, sequences, settings, identity, fingerprint, texts: { train, test } };
}

/** Text beyond ASCII will hold characters, and so bytes, that it has not held yet; sequences of letters will not. A small vocabulary has no place for all. */
export const alphabetFor = (texts: readonly string[], vocabSize: number): 'bytes' | 'seen' =>
  vocabSize >= 2 * 256 && texts.some(text => Buffer.byteLength(text) !== text.length) ? 'bytes' : 'seen';

/** Documents in pieces of at most `maxBytes`, cut between characters: the same spans for every tokenizer. */
export function cutAll(texts: readonly string[], maxBytes: number): string[] {
  return texts.flatMap(text => {
    if (Buffer.byteLength(text) <= maxBytes) return text.length > 0 ? [text] : [];
    const pieces: string[] = [];
    let [piece, bytes] = ['', 0];
    for (const character of text) {
      const size = Buffer.byteLength(character);
      if (bytes + size > maxBytes) {
        pieces.push(piece);
        [piece, bytes] = ['', 0];
      }
      piece += character;
      bytes += size;
    }
    return piece.length > 0 ? [...pieces, piece] : pieces;
  });
}

/** Each text from its begin to its end token. */
export function toSequences(texts: readonly string[], tokenizer: Tokenizer, context: number): Sequence[] {
  const { bos, eos } = tokenizer.specialTokens;
  if (bos === undefined || eos === undefined)
    throw new UserError('the tokenizer has neither a begin nor an end token; add one to its tokenizer.json');
  return texts.map(text => {
    const bytes = Buffer.byteLength(text);
    const name = () =>
      `the text ${JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text)} of ${bytes} bytes`;
    const ids = encodeNamed(text, tokenizer, name);
    if (ids.length + 1 > context)
      throw new UserError(
        `${name()} has ${ids.length} tokens, more than the model's context of ${context}; lower --max-bytes`,
      );
    return { ids: Int32Array.from([bos, ...ids, eos]), bytes };
  });
}

/** A vocabulary trained on other texts may lack a byte of this one: the error says in which text. */
function encodeNamed(text: string, tokenizer: Tokenizer, name: () => string): Int32Array {
  try {
    return tokenizer.encode(text);
  } catch (error) {
    if (error instanceof UnknownByte)
      throw new UserError(
        `${name()} has ${error.shown}, which the vocabulary lacks; leave the text out, or train on texts like it`,
      );
    throw error;
  }
}

/** A name for a model: its configuration, vocabulary and weights. */
async function modelHash({ model, tokenizer }: LanguageModel): Promise<string> {
  const parts = [JSON.stringify(model.config), tokenizer.hash];
  for (const weight of Object.values(parameters(model))) parts.push(sha256(Buffer.from((await weight.data()).buffer)));
  return sha256(parts.join(' '));
}
