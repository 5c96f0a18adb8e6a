/**
 * Large corpora: reading, cutting and encoding, and training a tokenizer, beside Hugging Face's library in the same
 * run.
 *
 *     npm run bench:corpus [-- MEGABYTES [PYTHON]]      64 by default; PYTHON is one with `tokenizers`
 *
 * The corpora are the bundled proteins and source code, repeated with every letter in 50 changed, so that no two
 * records are alike. Each stage runs in a separate process: its peak memory is its own, start of Node included.
 * Seconds of the processor stand beside those of the clock, for on a busy machine only they can be compared.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '../engine/index.ts';
import { gpt2Pattern, trainBPEAsync } from '../models/tokenizer/index.ts';
import { utf8 } from '../models/utf8.ts';
import { readTexts, streamCorpus } from '../s2t2/app/corpus.ts';
import { dataFolder } from '../s2t2/app/data/tools.ts';
import { cutAll, encodeTexts, fastaLetters } from '../s2t2/corpus/index.ts';

interface Result {
  readonly stage: string;
  readonly megabytes: number;
  readonly seconds: number;
  readonly processorSeconds: number;
  readonly peakMegabytes: number;
}

type Kind = 'fasta' | 'jsonl';

/** Ours: what `adapt` and `tokenize` do. */
const stages: Readonly<Record<string, (path: string, kind: Kind, clock: Clock) => Promise<number>>> = {
  async read(path) {
    let bytes = 0;
    await streamCorpus(path, {}, batch => {
      for (const { text } of batch) bytes += text.length;
    });
    return bytes;
  },
  async 'read, cut, encode'(path, kind, clock) {
    // A vocabulary of a hundredth of the texts: what is timed is its use.
    const { texts: all } = await readTexts(path);
    const tokenizer = await train(
      all.filter((_, i) => i % 100 === 0),
      kind,
    );
    clock.restart();
    const { texts } = await readTexts(path);
    await encodeTexts(cutAll(texts, 256), tokenizer, Infinity);
    return texts.reduce((n, text) => n + text.length, 0);
  },
  async train(path, kind, clock) {
    const { texts } = await readTexts(path);
    clock.restart();
    await train(texts, kind);
    return texts.reduce((n, text) => n + text.length, 0);
  },
};

const train = (texts: readonly string[], kind: Kind) =>
  trainBPEAsync([texts], {
    vocabSize: kind === 'fasta' ? 512 : 8192,
    alphabet: kind === 'fasta' ? utf8(fastaLetters) : 'bytes',
    pattern: kind === 'fasta' ? null : gpt2Pattern,
  });

/** The same in Python. */
const python = `
import sys, time, json, resource
from tokenizers import Tokenizer, models, trainers, pre_tokenizers
path, kind = sys.argv[1:]
if kind == 'fasta':
    texts = [''.join(r.split('\\n')[1:]) for r in open(path).read().split('>')[1:]]
else:
    texts = [json.loads(l)['text'] for l in open(path)]
size = sum(map(len, texts))
t = Tokenizer(models.BPE(unk_token='<unk>'))
if kind != 'fasta': t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
alphabet = [] if kind == 'fasta' else pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(vocab_size=512 if kind == 'fasta' else 8192, min_frequency=2, initial_alphabet=alphabet,
    special_tokens=['<s>', '</s>', '<pad>', '<unk>'], show_progress=False)
def timed(stage, work):
    wall, cpu = time.time(), time.process_time()
    work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(dict(stage=stage, megabytes=size / 1e6, seconds=time.time() - wall,
        processorSeconds=time.process_time() - cpu, peakMegabytes=peak / 1e3)))
timed('train', lambda: t.train_from_iterator(texts, trainer))
pieces = [text[i:i + 256] for text in texts for i in range(0, len(text), 256)]
def encode():
    for i in range(0, len(pieces), 10000): t.encode_batch_fast(pieces[i:i + 10000])
timed('cut, encode', encode)
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

async function makeCorpus(path: string, kind: Kind, megabytes: number): Promise<void> {
  const file = kind === 'fasta' ? 'proteins.train.fasta.gz' : 'code.train.jsonl.gz';
  const { texts } = await readTexts(dataFolder(file));
  const random = new Random(0);
  const letters = 'ACDEFGHIKLMNPQRSTVWY';
  const out = openSync(path, 'w');
  let written = 0;
  for (let i = 0; written < megabytes * 1e6; i++) {
    let text = texts[i % texts.length];
    for (let at = random.word() % 100; i >= texts.length && at < text.length; at += 1 + (random.word() % 100))
      text = `${text.slice(0, at)}${letters[random.word() % letters.length]}${text.slice(at + 1)}`;
    const lines = text.replace(/.{60}/g, '$&\n');
    written += writeSync(out, kind === 'fasta' ? `>p${i}\n${lines}\n` : `${JSON.stringify({ text })}\n`);
  }
  closeSync(out);
}

function print(who: string, kind: Kind, result: Result): void {
  const { stage, megabytes, seconds, processorSeconds, peakMegabytes } = result;
  const rate = (s: number) => `${(megabytes / s).toFixed(1)} MB/s`.padStart(11);
  process.stdout.write(
    `${kind.padEnd(6)}${stage.padEnd(19)}${who.padEnd(14)}${rate(seconds)} by the clock${rate(processorSeconds)} ` +
      `of processor time   peak ${Math.round(peakMegabytes)} MB\n`,
  );
}

const parse = (output: string): Result[] =>
  output
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Result);

if (process.argv[2] === '--stage') {
  const [stage, path, kind] = process.argv.slice(3);
  const clock = new Clock();
  const bytes = await stages[stage](path, kind as Kind, clock);
  const peakMegabytes = process.resourceUsage().maxRSS / 1e3;
  process.stdout.write(`${JSON.stringify({ stage, megabytes: bytes / 1e6, ...clock.read(), peakMegabytes })}\n`);
} else {
  const megabytes = Number(process.argv[2] ?? 64);
  const directory = mkdtempSync(join(tmpdir(), 's2t2-corpus-'));
  try {
    for (const kind of ['fasta', 'jsonl'] as const) {
      const path = join(directory, `corpus.${kind}`);
      await makeCorpus(path, kind, megabytes);
      for (const stage of Object.keys(stages)) {
        const { stdout, stderr } = spawnSync(process.execPath, [process.argv[1], '--stage', stage, path, kind], {
          encoding: 'utf8',
        });
        if (stdout === '') process.stdout.write(`MISSING ${stage}: ${stderr}\n`);
        else for (const result of parse(stdout)) print('s2t2', kind, result);
      }
      const other = spawnSync(process.argv[3] ?? 'python3', ['-c', python, path, kind], { encoding: 'utf8' });
      if (other.status !== 0)
        process.stdout.write(
          `MISSING Hugging Face's tokenizers in Python: ${other.stderr?.trim().split('\n').at(-1)}\n`,
        );
      else for (const result of parse(other.stdout)) print('Hugging Face', kind, result);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
}
