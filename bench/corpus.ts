/**
 * Large corpora: reading, cutting and encoding, and training a tokenizer, beside Hugging Face's library and tiktoken in
 * the same run.
 *
 *     npm run bench:corpus [-- MEGABYTES [PYTHON [KIND…]]]      64 by default; PYTHON has `tokenizers` and `tiktoken`
 *
 * The corpora are drawn from the bundled data (corpora.ts). All of a corpus is read, cut and encoded; training takes at
 * most 64 MB of it, the other libraries 8 MB. Each stage runs in a separate process: its peak memory is its own, start
 * of Node included. Seconds of the processor stand beside those of the clock, for on a busy machine only they can be
 * compared.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sumOver } from '../models/sequences.ts';
import { gpt2Pattern, trainBPEAsync } from '../models/tokenizer/index.ts';
import { utf8, utf8Length } from '../models/utf8.ts';
import { chunksOf, readTexts, streamCorpus } from '../s2t2/app/corpus.ts';
import { encodeInTwo } from '../s2t2/app/encode.ts';
import { CorpusReader, cutAll, fastaLetters, TextSample } from '../s2t2/corpus/index.ts';
import { corpora, makeCorpus, type Kind } from './corpora.ts';

interface Result {
  readonly stage: string;
  readonly megabytes: number;
  readonly seconds: number;
  readonly processorSeconds: number;
  readonly peakMegabytes: number;
}

/** Bytes that a tokenizer is trained on, at most: what `tokenize` takes by default. */
const sampleBytes = 64e6;
/** Bytes that the other libraries take, which need minutes for more. */
const peerBytes = 8e6;
/** Bytes whose vocabulary is used to encode: what is timed there is its use. */
const vocabularyBytes = 2e6;

/** Ours: what `adapt` and `tokenize` do. Each gives the bytes of text that it was timed on. */
const stages: Readonly<Record<string, (path: string, kind: Kind, clock: Clock) => Promise<number>>> = {
  async 'read, cut, encode'(path, kind, clock) {
    const tokenizer = await train(await beginning(path, vocabularyBytes), kind);
    clock.restart();
    const { texts } = await readTexts(path);
    const { sequences } = await encodeInTwo(cutAll(texts, 256), tokenizer, Infinity);
    return sumOver(sequences, s => s.bytes);
  },
  async train(path, kind, clock) {
    const { texts } = await sampleOf(path, sampleBytes);
    clock.restart();
    await train(texts, kind);
    return texts.reduce((n, text) => n + utf8Length(text), 0);
  },
  /** A tokenizer for the whole file, from a sample of it. */
  async 'read, sample, train'(path, kind, clock) {
    clock.restart();
    const sample = await sampleOf(path, sampleBytes);
    await train(sample.texts, kind);
    return sample.total;
  },
};

async function sampleOf(path: string, bytes: number): Promise<TextSample> {
  const sample = new TextSample(bytes);
  await streamCorpus(path, {}, batch => {
    for (const { text } of batch) sample.add(text);
  });
  return sample;
}

async function beginning(path: string, bytes: number): Promise<string[]> {
  const texts: string[] = [];
  let left = bytes;
  for await (const batch of new CorpusReader(path).read(chunksOf(path))) {
    for (const { text } of batch) {
      texts.push(text);
      left -= utf8Length(text);
    }
    if (left <= 0) break;
  }
  return texts;
}

const vocabSizeOf = (kind: Kind) => (kind === 'fasta' ? 512 : 8192);

const train = (texts: readonly string[], kind: Kind) =>
  trainBPEAsync([texts], {
    vocabSize: vocabSizeOf(kind),
    alphabet: kind === 'fasta' ? utf8(fastaLetters) : 'bytes',
    pattern: kind === 'fasta' ? null : gpt2Pattern,
  });

/** The same in Python: Hugging Face's trainer and encoder, and tiktoken's encoder with that vocabulary. */
const python = `
import sys, time, json, resource
from tokenizers import Tokenizer, models, trainers, pre_tokenizers
path, kind, most, vocab_size, pattern = sys.argv[1:]
with open(path, encoding='utf8') as f: data = f.read(int(float(most)))
data = data[:data.rindex('\\n')]
if kind == 'fasta': texts = [''.join(r.split('\\n')[1:]) for r in data.split('>')[1:]]
elif kind == 'greek': texts = [json.loads(l)['text'] for l in data.split('\\n')]
else: texts = [t for t in data.split('\\n\\n') if t]
size = sum(len(t.encode()) for t in texts)
t = Tokenizer(models.BPE(unk_token='<unk>'))
if kind != 'fasta': t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
alphabet = [] if kind == 'fasta' else pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(vocab_size=int(vocab_size), min_frequency=2, initial_alphabet=alphabet,
    special_tokens=['<s>', '</s>', '<pad>', '<unk>'], show_progress=False)
def timed(who, stage, work):
    wall, cpu = time.time(), time.process_time()
    work()
    print(json.dumps(dict(who=who, stage=stage, megabytes=size / 1e6, seconds=time.time() - wall,
        processorSeconds=time.process_time() - cpu,
        peakMegabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)), flush=True)
timed('Hugging Face', 'train', lambda: t.train_from_iterator(texts, trainer))
pieces = [text[i:i + 256] for text in texts for i in range(0, len(text), 256)]
def encode():
    for i in range(0, len(pieces), 10000): t.encode_batch_fast(pieces[i:i + 10000])
timed('Hugging Face', 'encode', encode)
try:
    import tiktoken
    printable = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    others = [b for b in range(256) if b not in printable]
    byte_of = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}
    tokens = sorted((i, bytes(byte_of[c] for c in s)) for s, i in t.get_vocab().items() if i > 3)
    missing = [bytes([b]) for b in range(256) if bytes([b]) not in {s for _, s in tokens}]
    ranks = {s: i for i, s in enumerate([s for _, s in tokens] + missing)}
    e = tiktoken.Encoding('bench', pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    def encode():
        for i in range(0, len(pieces), 10000): e.encode_ordinary_batch(pieces[i:i + 10000], num_threads=2)
    timed('tiktoken', 'encode', encode)
except ImportError as error: print('MISSING tiktoken:', error)
`;

class Clock {
  private wall = performance.now();
  private cpu = process.cpuUsage();

  restart(): void {
    [this.wall, this.cpu] = [performance.now(), process.cpuUsage()];
  }

  read(): { seconds: number; processorSeconds: number } {
    const { user, system } = process.cpuUsage(this.cpu);
    return { seconds: (performance.now() - this.wall) / 1000, processorSeconds: (user + system) / 1e6 };
  }
}

function print(who: string, kind: Kind, result: Result): void {
  const { stage, megabytes, seconds, processorSeconds, peakMegabytes } = result;
  const rate = (s: number) => `${(megabytes / s).toFixed(1)} MB/s`.padStart(11);
  process.stdout.write(
    `${kind.padEnd(6)}${stage.padEnd(19)}${who.padEnd(13)}${megabytes.toFixed(0).padStart(5)} MB` +
      `${rate(seconds)} by the clock${rate(processorSeconds)} of processor time   peak ` +
      `${(peakMegabytes / 1e3).toFixed(2)} GB\n`,
  );
}

/** Runs a stage in a separate process and prints what it measured, line by line. */
function measure(who: string, kind: Kind, command: string, args: readonly string[]): void {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 2 ** 26 });
  for (const line of (stdout ?? '').split('\n').filter(Boolean)) {
    if (line.startsWith('MISSING')) process.stdout.write(`${line}\n`);
    else {
      const result = JSON.parse(line) as Result & { readonly who?: string };
      print(result.who ?? who, kind, result);
    }
  }
  if (status !== 0)
    process.stdout.write(`MISSING ${who} ${kind}: ${(stderr ?? 'no such command').trim().split('\n').at(-1)}\n`);
}

if (process.argv[2] === '--stage') {
  const [stage, path, kind] = process.argv.slice(3);
  const clock = new Clock();
  const bytes = await stages[stage](path, kind as Kind, clock);
  const peakMegabytes = process.resourceUsage().maxRSS / 1e3;
  process.stdout.write(`${JSON.stringify({ stage, megabytes: bytes / 1e6, ...clock.read(), peakMegabytes })}\n`);
} else {
  const [megabytes = '64', interpreter = 'python3', ...named] = process.argv.slice(2);
  const directory = mkdtempSync(join(tmpdir(), 's2t2-corpus-'));
  try {
    for (const kind of (named.length > 0 ? named : Object.keys(corpora)) as Kind[]) {
      const path = join(directory, `corpus.${corpora[kind].extension}`);
      await makeCorpus(path, kind, Number(megabytes));
      for (const stage of Object.keys(stages))
        measure('s2t2', kind, process.execPath, [process.argv[1], '--stage', stage, path, kind]);
      const pattern = kind === 'fasta' ? '[^\\n]+' : gpt2Pattern.source;
      const most = Math.min(peerBytes, 1e6 * Number(megabytes));
      measure('Python', kind, interpreter, ['-c', python, path, kind, `${most}`, `${vocabSizeOf(kind)}`, pattern]);
      rmSync(path);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
}
