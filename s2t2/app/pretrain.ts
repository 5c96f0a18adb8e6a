/**
 * Pretraining of a source model on English: tokenizer, model, held-out bits per byte, a few generated lines, and a
 * record of all that, in one Hugging Face directory. Resumable; the same seed gives the same model.
 */
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { getBackend, Random } from '../../engine/index.ts';
import { AdamW, type Optimizer } from '../../models/adamw.ts';
import { planBatches, tokensIn, windows } from '../../models/batches.ts';
import { loadModel, saveModel } from '../../models/node/checkpoint.ts';
import { fieldsOf, type LanguageModel } from '../../models/checkpoint.ts';
import { makeDirectory, readText, writeFileAtomic } from '../../models/node/files.ts';
import { sha256 } from '../../models/sha256.ts';
import { UserError } from '../../models/errors.ts';
import { continuationText, encodePrompt, generate } from '../../models/generate.ts';
import { Muon } from '../../models/muon.ts';
import { KneserNey } from '../../models/ngram.ts';
import { score } from '../../models/score.ts';
import { scoredTokens, sumOver } from '../../models/sequences.ts';
import { taughtLoss } from '../../models/teacher.ts';
import { gpt2Pattern, trainBPE, type Tokenizer } from '../../models/tokenizer/index.ts';
import { fileState } from '../../models/node/state.ts';
import { train } from '../../models/train.ts';
import { families, type FamilyName } from '../../models/families.ts';
import { initTransformer } from '../../models/init.ts';
import { checkConfig, forwardFlops, longestSequence, type TransformerConfig } from '../../models/transformer-config.ts';
import { parameters, type Transformer } from '../../models/weights.ts';
import type { Interruptible } from './adapt.ts';
import { claim } from './claim.ts';
import type { English } from './data/english.ts';
import { metrics } from '../evaluate.ts';
import { withError } from './tables.ts';
import { ofThisVersion } from './version.ts';
import { fitPretraining, fitsPretraining, type Members, type PretrainingRun } from './pretrain-memory.ts';
import { progressBar } from '../../models/node/progress.ts';

/** Names of the optimisers that `pretrain` knows. */
export const optimizers = ['muon', 'adamw'] as const;
type OptimizerName = (typeof optimizers)[number];

/** Whether a weight belongs to a layer, and not to an end or to the positions. */
const isHidden = (name: string): boolean => name.startsWith('layers.');

/** What `pretrain` trains, on what, and where it keeps it. */
export interface PretrainOptions {
  readonly out: string;
  readonly family: FamilyName;
  readonly seed: number;
  readonly tokens: number;
  /** The share of the training documents that is used: fewer, seen more often, lose little where steps are few. */
  readonly text: number;
  readonly vocabSize: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  /**
   * Tokens in a training window; the context of a model with learned positions, which knows none beyond those it was
   * trained on.
   */
  readonly window: number;
  /** Tokens in a batch. */
  readonly batchTokens: number;
  readonly rate: number;
  readonly optimizer: OptimizerName;
  /** Muon's: the learning rate of embedding and head, in units of `rate`. */
  readonly endsRate: number;
  /** The share λ of a 5-gram model in what is learned at the first step; it falls linearly to 0 at the last. */
  readonly teacher: number;
  /** The texts. */
  readonly english: English;
  /** Where the state of the run lies. */
  readonly work: string;
  /** Forgets the state of an earlier run in `work`. */
  readonly fresh?: boolean;
  readonly signal?: AbortSignal;
  /** Runs the part that saves its state when `signal` aborts. */
  readonly interruptible?: Interruptible;
  readonly log: (line: string) => void;
}

/** How the bundled source model was made. */
export const pretrainDefaults = {
  family: 'olmo' as FamilyName,
  seed: 0,
  tokens: 10_500_000,
  text: 0.5,
  vocabSize: 2048,
  width: 160,
  layers: 4,
  heads: 5,
  window: 512,
  batchTokens: 1536,
  rate: 0.01,
  optimizer: 'muon' as OptimizerName,
  endsRate: 4,
  teacher: 1,
};

type Shape = Pick<PretrainOptions, 'family' | 'width' | 'layers' | 'heads' | 'window'>;

/** What the memory that training takes depends on. */
type Sizes = Shape & Pick<PretrainOptions, 'vocabSize' | 'batchTokens' | 'optimizer' | 'endsRate' | 'teacher'>;

/** The architecture that the options ask for. */
const configFor = ({ family, width, layers, heads, window }: Shape, vocabSize: number): TransformerConfig => ({
  family,
  vocabSize,
  width,
  layers,
  heads,
  keyValueHeads: heads,
  // SwiGLU has three matrices where GELU has two.
  feedForward: families[family].activation === 'swiglu' ? Math.ceil(((8 / 3) * width) / 32) * 32 : 4 * width,
  context: families[family].positions === 'learned' ? window : 1024,
  rotaryBase: 10000,
  normEps: 1e-5,
  tied: true,
});

/**
 * Checks the options before anything is downloaded or trained.
 * @throws UserError where they make no model, or one whose training does not fit in the backend's memory.
 */
export function checkPretrain(options: Sizes): void {
  try {
    checkConfig(configFor(options, options.vocabSize));
  } catch (error) {
    throw new UserError(
      `${(error as Error).message.replace(/^transformer: /, '')}; change --width, --layers, --heads or --window`,
    );
  }
  const { memoryLimit } = getBackend();
  if (memoryLimit !== undefined) fitPretraining(runOf(options), memoryLimit, limit => remedies(options, limit));
}

/** A run as its forecast takes it. A tokenizer may find fewer tokens than were requested. */
const runOf = (options: Sizes): PretrainingRun => ({
  config: configFor(options, options.vocabSize),
  window: options.window,
  batchTokens: options.batchTokens,
  teacher: options.teacher > 0,
  optimizer: members => optimizerOf(options, members),
});

/** For each size the largest of its halves, quarters, … with which training fits. */
function remedies(options: Sizes, memoryLimit: number): string[] {
  const { width, layers, vocabSize, batchTokens, window } = options;
  const even = 2 * options.heads; // a head has an even width
  const changes: ((share: number) => [string, Partial<Sizes>])[] = [
    share => {
      const n = Math.floor((width * share) / even) * even;
      return [`--width ${n}`, { width: n }];
    },
    share => {
      const n = Math.floor(layers * share);
      return [`--layers ${n}`, { layers: n }];
    },
    share => {
      const n = Math.floor(vocabSize * share);
      return [`--vocab-size ${n}`, { vocabSize: n < leastVocabulary ? 0 : n }];
    },
    share => {
      const n = Math.floor(Math.max(batchTokens, window) * share);
      const shorter = Math.min(window, n, configFor(options, vocabSize).context);
      return [
        [batchTokens > n && `--batch-tokens ${n}`, window > shorter && `--window ${shorter}`].filter(Boolean).join(' '),
        { batchTokens: Math.min(batchTokens, n), window: n < leastWindow ? 0 : shorter },
      ];
    },
  ];
  return changes.flatMap(change => {
    for (let share = 1 / 2; ; share /= 2) {
      const [name, changed] = change(share);
      if (Object.values(changed).includes(0)) return [];
      if (fitsPretraining(runOf({ ...options, ...changed }), memoryLimit)) return [name];
    }
  });
}

/** The smallest vocabulary, of bytes and special tokens, and the shortest window. */
export const [leastVocabulary, leastWindow] = [259, 2];

const optimizerOf = ({ optimizer, endsRate }: Pick<Sizes, 'optimizer' | 'endsRate'>, members: Members): Optimizer =>
  optimizer === 'adamw'
    ? new AdamW(members)
    : new Muon(members, name => isHidden(name) && members[name].shape.length === 2, { othersRate: endsRate });

/** Trains the model and writes its directory; a stopped run resumes from its state in `work`. */
export async function pretrain(options: PretrainOptions): Promise<Record<string, unknown>> {
  checkPretrain(options);
  const { english, seed, log, signal } = options;
  await makeDirectory(dirname(options.out)); // or learn now that it cannot be made
  const state = join(options.work, 'pretrain.safetensors');
  if (options.fresh) for (const file of [state, join(options.work, 'run.json')]) await rm(file, { force: true });
  const documents = shareOf(english.train, options.text);
  if (documents.length === 0)
    throw new UserError(`a share of ${options.text} of ${english.train.length} documents leaves none; raise --text`);
  log(
    `training a tokenizer of ${options.vocabSize} on ` +
      `${(documents.reduce((n, t) => n + t.length, 0) / 1e6).toFixed(1)} MB of English`,
  );
  const tokenizer = trainBPE(documents, { vocabSize: options.vocabSize, pattern: gpt2Pattern, alphabet: 'bytes' });
  const [trainStream, testStream] = [documents, english.test].map(texts => joinDocuments(texts, tokenizer));
  mustFill(options.window, trainStream, testStream);
  mustKnow(options.window, configFor(options, tokenizer.vocabSize));
  const trainSet = windows(trainStream, options.window, id => tokenizer.tokenBytes(id).length);

  log('counting 5-grams');
  const ngram = new KneserNey([trainStream], { order: 5, vocabSize: tokenizer.vocabSize });

  const config = configFor(options, tokenizer.vocabSize);
  const model = initTransformer(config, new Random(seed).split('weights'));
  const weights = parameters(model);
  const count = Object.values(weights).reduce((n, w) => n + w.size, 0);
  const batches = planBatches(
    trainSet,
    options.batchTokens,
    { unit: 'tokens', amount: options.tokens },
    new Random(seed).split('batches'),
  );
  log(`${count.toLocaleString('en')} parameters, ${batches.length} steps, ${getBackend().describe()}`);

  const bar = progressBar('pretraining', tokensIn(batches), 'tokens');
  const { tokens, text, vocabSize, window, batchTokens, rate, optimizer, endsRate, teacher } = options;
  const identity = {
    config,
    seed,
    tokens,
    text,
    vocabSize,
    window,
    batchTokens,
    rate,
    optimizer,
    endsRate,
    teacher,
    tokenizer: tokenizer.hash,
    backend: getBackend().arithmetic,
  };
  await claim(join(options.work, 'run.json'), identity, 'start again with --fresh, or give another --work');
  const { interruptible = work => work() } = options;
  const result = await interruptible(() =>
    train(
      {
        parameters: weights,
        batches,
        loss: (batch, done) => taughtLoss(model, batch, ngram, teacher * (1 - done)),
        rate,
        warmup: Math.ceil(0.02 * batches.length),
        optimizer: members => optimizerOf(options, members),
      },
      {
        state: { ...fileState(state), ...ofThisVersion(options.work, log) },
        fingerprint: sha256(JSON.stringify(identity)),
        signal,
        onStep: p => bar.update(p.tokens, `loss ${p.loss.toFixed(3)}`),
      },
    ),
  ).finally(() => bar.stop());

  const judged = await judge(
    { model, tokenizer },
    ngram,
    { train: trainStream, test: testStream },
    options.window,
    signal,
  );
  const samples = [];
  for (const prompt of ['The people of the United States', 'The whale', 'a person who'])
    samples.push(prompt + (await continuation(model, tokenizer, prompt, new Random(seed).split(prompt))));
  const record = {
    data: english.sources,
    split: {
      train: documents.length,
      validation: english.validation.length,
      test: english.test.length,
      unit: 'documents',
    },
    command:
      `npm run pretrain -- --family ${options.family} --seed ${seed} --tokens ${tokens} --text ${text} ` +
      `--vocab-size ${vocabSize} --width ${options.width} --layers ${options.layers} --heads ` +
      `${options.heads} --window ${window} --batch-tokens ${batchTokens} --rate ${rate} --optimizer ` +
      `${optimizer} --ends-rate ${endsRate} --teacher ${teacher}`,
    seed,
    parameters: count,
    steps: result.steps,
    tokens: result.tokens,
    seconds: Math.round(result.seconds),
    gflopPerSecond: Math.round((3 * forwardFlops(config, window / 2) * result.tokens) / result.seconds / 1e8) / 10,
    backend: getBackend().describe(),
    loss: meanOfLast(result.losses, 50),
    ...judged,
    samples,
  };
  await saveModel(options.out, { model, tokenizer }, 'F16', {
    remedy: `lower --rate (now ${rate})`,
    files: { 'record.json': `${JSON.stringify(record, null, 2)}\n` },
  });
  log(`${verdict(judged)}; written to ${options.out}`);
  return record;
}

/** What `judgePretrained` scores. */
export interface JudgeOptions {
  /** The model directory, whose `record.json` gets the figures. */
  readonly model: string;
  /** The share of the training documents that the 5-grams are counted in. */
  readonly text: number;
  readonly window: number;
  readonly english: English;
  readonly signal?: AbortSignal;
  readonly log: (line: string) => void;
}

/** Scores a model that was pretrained before, and a 5-gram model of the same share of the text, again. */
export async function judgePretrained({
  model: directory,
  text,
  window,
  english,
  signal,
  log,
}: JudgeOptions): Promise<Record<string, unknown>> {
  const { model, tokenizer } = await loadModel(directory);
  const file = join(directory, 'record.json');
  const record = fieldsOf(await readText(file), file);
  const [train, test] = [shareOf(english.train, text), english.test].map(texts => joinDocuments(texts, tokenizer));
  mustFill(window, train, test);
  mustKnow(window, model.config, `${directory}: `);
  log('counting 5-grams');
  const ngram = new KneserNey([train], { order: 5, vocabSize: tokenizer.vocabSize });
  const judged = await judge({ model, tokenizer }, ngram, { train, test }, window, signal);
  const rewritten = { ...record, ...judged };
  await writeFileAtomic(file, `${JSON.stringify(rewritten, null, 2)}\n`);
  log(`${verdict(judged)}; written to ${file}`);
  return rewritten;
}

interface Judged {
  readonly heldOut: {
    readonly bitsPerByte: number;
    readonly standardError: number;
    readonly perplexity: number;
    readonly tokens: number;
    readonly bytes: number;
    readonly window: number;
    readonly overlap: number;
  };
  readonly kneserNey5: { readonly bitsPerByte: number; readonly perplexity: number; readonly trainingTokens: number };
}

/**
 * Bits per byte of the held-out stream, by a model and by an n-gram model: the same tokens, in windows that overlap by
 * half, so that neither is judged on tokens whose context a cut has taken away.
 */
async function judge(
  { model, tokenizer }: LanguageModel,
  ngram: KneserNey,
  streams: { readonly train: Int32Array; readonly test: Int32Array },
  window: number,
  signal?: AbortSignal,
): Promise<Judged> {
  const overlap = Math.floor(window / 2);
  const cut = windows(streams.test, window, id => tokenizer.tokenBytes(id).length, overlap);
  const { bitsPerByte, standardError, perplexity } = metrics(await score(model, cut, { endToken: false, signal }));
  const counted = metrics(
    cut.map(({ ids, bytes, context }) => {
      const nats = ngram.nats(ids).subarray(context);
      return { nats: nats.reduce((a, b) => a + b, 0), endNats: 0, tokens: nats.length, bytes };
    }),
  );
  const [tokens, bytes] = [sumOver(cut, scoredTokens), sumOver(cut, s => s.bytes)];
  return {
    heldOut: { bitsPerByte, standardError, perplexity, tokens, bytes, window, overlap },
    kneserNey5: {
      bitsPerByte: counted.bitsPerByte,
      perplexity: counted.perplexity,
      trainingTokens: streams.train.length,
    },
  };
}

function verdict({ heldOut: { bitsPerByte, standardError, perplexity }, kneserNey5 }: Judged): string {
  const below = 100 * (1 - bitsPerByte / kneserNey5.bitsPerByte);
  return (
    `held-out bits per byte ${withError(bitsPerByte, standardError, 3)}, perplexity ` +
    `${perplexity.toFixed(1)}; an interpolated Kneser–Ney 5-gram: ${kneserNey5.bitsPerByte.toFixed(3)}, so ` +
    `${Math.abs(below).toFixed(1)}% ${below > 0 ? 'below' : 'above'} it`
  );
}

function mustKnow(window: number, config: TransformerConfig, where = ''): void {
  const longest = longestSequence(config);
  if (window > longest)
    throw new UserError(
      `${where}a window of ${window} is longer than the model's context of ${longest}; lower --window`,
    );
}

function mustFill(window: number, train: Int32Array, test: Int32Array): void {
  if (Math.min(train.length, test.length) <= window)
    throw new UserError(
      `${train.length} tokens of training and ${test.length} of held-out text do not fill a window of ` +
        `${window}; lower --window or raise --text`,
    );
}

/** A share of documents, evenly from every source. */
const shareOf = (documents: readonly string[], share: number): string[] =>
  documents.filter((_, i) => Math.floor((i + 1) * share) > i * share);

/** All documents as one stream, each between its begin and end token. */
function joinDocuments(documents: readonly string[], tokenizer: Tokenizer): Int32Array {
  const { bos, eos } = tokenizer.specialTokens;
  const parts = documents.map(text => tokenizer.encode(text));
  const stream = new Int32Array(parts.reduce((n, ids) => n + ids.length + 2, 0));
  let at = 0;
  for (const ids of parts) {
    stream[at] = bos!;
    stream.set(ids, at + 1);
    stream[at + 1 + ids.length] = eos!;
    at += ids.length + 2;
  }
  return stream;
}

const meanOfLast = (losses: Float32Array, n: number): number =>
  losses.slice(-n).reduce((sum, l) => sum + l, 0) / Math.min(n, losses.length);

async function continuation(model: Transformer, tokenizer: Tokenizer, prompt: string, random: Random): Promise<string> {
  const start = encodePrompt(tokenizer, prompt);
  const ids: number[] = [];
  for await (const id of generate(model, start, {
    maxTokens: 60,
    temperature: 0.8,
    topP: 0.95,
    stop: tokenizer.specialTokens.eos,
    random,
  }))
    ids.push(id);
  return continuationText(tokenizer, start, ids);
}
