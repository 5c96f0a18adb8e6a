/**
 * From texts to what an experiment needs: the same byte spans for every tokenizer, a target tokenizer trained on the
 * training texts alone, token sequences in both vocabularies, and a name for all of it.
 */
import { getBackend } from '../../engine/index.ts';
import type { LanguageModel } from '../../models/checkpoint.ts';
import { UserError } from '../../models/errors.ts';
import { sumOver } from '../../models/sequences.ts';
import { sha256, sha256Large, sha256Of } from '../../models/sha256.ts';
import { extendBPE, isExtension, trainBPEAsync, type Tokenizer } from '../../models/tokenizer/index.ts';
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
  /** Texts by which the best state of finetuning is chosen; no tokenizer sees them. */
  readonly validation?: readonly string[];
  /** Sequences ("fasta") get a token for each of their letters, whether training shows it or not. */
  readonly format?: CorpusFormat;
}

/** The target tokenizer: one that is given, or how one is trained. */
export interface TargetOptions {
  /** The target tokenizer; one is trained on the training texts where none is given. */
  readonly target?: Tokenizer;
  /** Cuts texts into words that no token crosses, in the dialect of `tokenizer.json`. */
  readonly pattern?: string;
  /** Adds `vocabSize` tokens to the source's tokenizer in place of training one; texts of `keep` are cut as before. */
  readonly extend?: { readonly keep?: readonly string[] };
  /** Bytes of the training texts that the tokenizer is trained on, at most. */
  readonly tokenizerSample?: number;
  readonly signal?: AbortSignal;
}

/** Above this many bytes a tokenizer learns nothing from more. */
export const defaultTokenizerSample = 64e6;

/** An experiment but for where it is kept. */
export interface Prepared
  extends Pick<Experiment, 'source' | 'target' | 'sequences' | 'settings' | 'recompute' | 'fingerprint'> {
  /** What its need of memory and time depends on. */
  readonly shape: RunShape;
  /** What the run will need; null where the backend has no limit. */
  readonly forecast: Forecast | null;
  /** Pieces of at most `maxBytes` bytes. */
  readonly texts: Domain;
  /** What `fingerprint` is the hash of: settings, and hashes of model, target tokenizer and texts. */
  readonly identity: RunIdentity;
}

/** What a run depends on. */
export interface RunIdentity extends Identity {
  readonly settings: Settings;
}

/** A name for what a run depends on. */
export const fingerprintOf = (identity: RunIdentity): string => sha256(JSON.stringify(identity));

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
    /** How texts are encoded: in one thread unless the host has more. */
    readonly encode?: typeof encodeTexts;
    /** What an error of memory proposes; see `fitMemory`. */
    readonly remedies?: (shape: RunShape) => readonly Remedy[];
  } = {},
): Promise<Prepared> {
  const { signal, methods = ['source', 's2t2'], remedies, encode: encodeAll = encodeTexts } = options;
  const train = cutAll(domain.train, settings.maxBytes);
  const test = cutAll(domain.test, settings.maxBytes);
  if (settings.evalEvery !== undefined && domain.validation === undefined)
    throw new UserError('evalEvery needs validation texts, and the domain has none');
  const validation = domain.validation && cutAll(domain.validation, settings.maxBytes);
  const target =
    options.target ??
    (options.extend
      ? await extendTarget(source.tokenizer, train, settings.vocabSize, options, log)
      : await trainTarget(train, domain.format, settings.vocabSize, options, log));
  const tokenizers: Record<Vocabulary, Tokenizer> = { source: source.tokenizer, target };
  const encode = async (texts: readonly string[], split: string, vocabulary: Vocabulary) => {
    const encoded = await encodeAll(texts, tokenizers[vocabulary], longestSequence(source.model.config), signal);
    if (encoded.unknown) log(describeUnknown(encoded.unknown, `${split} texts`, vocabulary));
    return encoded.sequences;
  };
  const inBoth = async (texts: readonly string[], split: string) => ({
    source: await encode(texts, split, 'source'),
    target: await encode(texts, split, 'target'),
  });
  const sequences = {
    train: await inBoth(train, 'training'),
    test: await inBoth(test, 'held-out'),
    ...(validation && { validation: await inBoth(validation, 'validation') }),
  };
  const { u, kept } = targetSizes(source.tokenizer, target);
  if (kept > 0) {
    const perByte = (vocabulary: Vocabulary) => {
      const train = sequences.train[vocabulary];
      return (sumOver(train, s => s.ids.length - 2) / sumOver(train, s => s.bytes)).toFixed(3);
    };
    log(
      `the source's ${kept} tokens and ${u} more: ${perByte('target')} tokens per byte of training text, ` +
        `with the source's alone ${perByte('source')}`,
    );
  }
  const identity = {
    settings,
    model: await modelHash(source),
    target: target.hash,
    data: sha256([train, test, ...(validation ? [validation] : [])].map(sha256Of).join(' ')),
    backend: getBackend().arithmetic,
  };
  const fingerprint = fingerprintOf(identity);
  const v = source.tokenizer.ordinaryIds().length;
  const { config } = source.model;
  const testTokens = sumOver(sequences.test.source, s => s.ids.length);
  const shape = { config, settings, methods, u, v, kept, testTokens };
  const forecast = fitMemory(shape, getBackend().memoryLimit, remedies);
  const recompute = forecast?.recompute;
  const texts = { train, test, ...(validation && { validation }) };
  return { source, target, sequences, settings, recompute, shape, forecast, identity, fingerprint, texts };
}

/** Tokens of a target vocabulary that a plan translates, and those that it keeps of the source's. */
export function targetSizes(source: Tokenizer, target: Tokenizer): Pick<RunShape, 'u'> & { readonly kept: number } {
  const kept = isExtension(source, target) ? source.vocabSize : 0;
  return { u: kept > 0 ? target.vocabSize - kept : target.ordinaryIds().length, kept };
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

/** The source's tokenizer with tokens of the domain beside its own; `log` receives what they save. */
async function extendTarget(
  source: Tokenizer,
  texts: readonly string[],
  tokens: number,
  { extend, tokenizerSample = defaultTokenizerSample, signal }: TargetOptions,
  log: (line: string) => void,
): Promise<Tokenizer> {
  const sample = new TextSample(tokenizerSample);
  for (const text of texts) sample.add(text);
  const said = sample.describe();
  if (said) log(said);
  const target = await extendBPE(source, sample.texts, { tokens, keep: extend?.keep, signal });
  const added = target.vocabSize - source.vocabSize;
  if (added < tokens) log(`the text has pairs for ${added} more tokens only, not ${tokens}`);
  return target;
}

/** Trains a tokenizer of `vocabSize` tokens on a sample of the texts; `log` reports a smaller one. */
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
    parts.push(await sha256Large(new Uint8Array((await weight.data()).buffer)));
  return sha256(parts.join(' '));
}
