/**
 * From texts to what an experiment needs: the same byte spans for every tokenizer, a target tokenizer trained on the
 * training texts alone, token sequences in both vocabularies, and a name for all of it.
 */
import { getBackend } from '../../engine/index.ts';
import type { LanguageModel } from '../../models/checkpoint.ts';
import { sha256, sha256Of } from '../../models/sha256.ts';
import { trainBPEAsync, type Tokenizer } from '../../models/tokenizer/index.ts';
import { longestSequence } from '../../models/transformer-config.ts';
import { utf8 } from '../../models/utf8.ts';
import { parameters } from '../../models/weights.ts';
import type { CorpusFormat } from '../corpus/format.ts';
import { fastaLetters } from '../corpus/fasta.ts';
import { cutAll, encodeTexts, TextSample, type Unknown } from '../corpus/sequences.ts';
import type { Vocabulary } from '../method.ts';
import type { Settings } from '../settings.ts';
import type { Identity } from './claim.ts';
import type { Experiment } from './experiment.ts';
import { fitMemory, type Forecast, type Remedy, type RunShape } from './memory.ts';

export { cutAll, toSequences } from '../corpus/sequences.ts';

/** Texts of the target domain. */
export interface Domain {
  readonly train: readonly string[];
  readonly test: readonly string[];
  /** Sequences ("fasta") get a token for each of their letters, whether training shows it or not. */
  readonly format?: CorpusFormat;
}

/** The target tokenizer: one that is given, or how one is trained. */
export interface TargetOptions {
  /** The target tokenizer; one is trained on the training texts where none is given. */
  readonly target?: Tokenizer;
  /** Cuts texts into words that no token crosses, in the dialect of `tokenizer.json`. */
  readonly pattern?: string;
  /** Bytes of the training texts that the tokenizer is trained on, at most. */
  readonly tokenizerSample?: number;
  readonly signal?: AbortSignal;
}

/** Above this many bytes a tokenizer learns nothing from more. */
export const defaultTokenizerSample = 64e6;

/** An experiment but for where it is kept. */
export interface Prepared
  extends Pick<Experiment, 'source' | 'target' | 'sequences' | 'settings' | 'recompute' | 'fingerprint'> {
  /** What the run will need; null where the backend has no limit of its own. */
  readonly forecast: Forecast | null;
  /** Pieces of at most `maxBytes` bytes. */
  readonly texts: Domain;
  /** What `fingerprint` is the hash of: settings, and hashes of model, target tokenizer and texts. */
  readonly identity: Identity;
}

/**
 * Cuts and encodes the texts for both tokenizers, trains the target tokenizer if none is given, and forecasts
 * memory for the rows of `methods`.
 */
export async function prepare(
  source: LanguageModel,
  domain: Domain,
  settings: Settings,
  log: (line: string) => void,
  options: TargetOptions & {
    readonly methods?: readonly string[];
    /** What an error of memory proposes; see `fitMemory`. */
    readonly remedies?: (shape: RunShape) => readonly Remedy[];
  } = {},
): Promise<Prepared> {
  const { signal, methods = ['source', 's2t2'], remedies } = options;
  const train = cutAll(domain.train, settings.maxBytes);
  const test = cutAll(domain.test, settings.maxBytes);
  const target = options.target ?? (await trainTarget(train, domain.format, settings.vocabSize, options, log));
  const tokenizers: Record<Vocabulary, Tokenizer> = { source: source.tokenizer, target };
  const encode = async (split: 'training' | 'held-out', vocabulary: Vocabulary) => {
    const texts = split === 'training' ? train : test;
    const encoded = await encodeTexts(texts, tokenizers[vocabulary], longestSequence(source.model.config), signal);
    if (encoded.unknown) log(describeUnknown(encoded.unknown, `${split} texts`, vocabulary));
    return encoded.sequences;
  };
  const sequences = {
    train: { source: await encode('training', 'source'), target: await encode('training', 'target') },
    test: { source: await encode('held-out', 'source'), target: await encode('held-out', 'target') },
  };
  const identity = {
    settings,
    model: await modelHash(source),
    target: target.hash,
    data: sha256(`${sha256Of(train)} ${sha256Of(test)}`),
    backend: getBackend().arithmetic,
  };
  const fingerprint = sha256(JSON.stringify(identity));
  const [u, v] = [target.ordinaryIds().length, source.tokenizer.ordinaryIds().length];
  const { config } = source.model;
  const testTokens = sequences.test.source.reduce((n, s) => n + s.ids.length, 0);
  const forecast = fitMemory({ config, settings, methods, u, v, testTokens }, getBackend().memoryLimit, remedies);
  const recompute = forecast?.recompute;
  return { source, target, sequences, settings, recompute, forecast, identity, fingerprint, texts: { train, test } };
}

/** The target tokenizer of a domain: the same for every command. */
export async function trainTarget(
  texts: readonly string[],
  format: CorpusFormat | undefined,
  vocabSize: number,
  { pattern, tokenizerSample = defaultTokenizerSample, signal }: TargetOptions,
  log: (line: string) => void,
): Promise<Tokenizer> {
  const sample = new TextSample(tokenizerSample);
  for (const text of texts) sample.add(text);
  return trainOnSample(sample, format, vocabSize, { pattern, signal }, log);
}

/** Trains a tokenizer of `vocabSize` tokens on a sample of the texts; `log` is told of a smaller one. */
export async function trainOnSample(
  sample: TextSample,
  format: CorpusFormat | undefined,
  vocabSize: number,
  { pattern, signal }: TargetOptions,
  log: (line: string) => void,
): Promise<Tokenizer> {
  const said = sample.describe();
  if (said) log(said);
  const target = await trainBPEAsync([sample.texts], {
    vocabSize,
    pattern,
    alphabet: format === 'fasta' ? utf8(fastaLetters) : undefined,
    signal,
  });
  if (target.vocabSize < vocabSize) log(`the text has pairs for ${target.vocabSize} tokens only, not ${vocabSize}`);
  return target;
}

/** What a vocabulary did not know, in one line. */
export const describeUnknown = ({ tokens, texts, first }: Unknown, what: string, vocabulary: string): string =>
  `${what}: ${tokens.toLocaleString('en')} bytes in ${texts.toLocaleString('en')} of them are unknown to ` +
  `the ${vocabulary} vocabulary (the first in ${JSON.stringify(first)}); each counts as one unknown token`;

/** A name for a model: its configuration, vocabulary and weights. */
async function modelHash({ model, tokenizer }: LanguageModel): Promise<string> {
  const parts = [JSON.stringify(model.config), tokenizer.hash];
  for (const weight of Object.values(parameters(model)))
    parts.push(sha256(new Uint8Array((await weight.data()).buffer)));
  return sha256(parts.join(' '));
}
