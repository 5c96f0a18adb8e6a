/**
 * `s2t2 translate` on a checkpoint with OLMo-7B's shapes, against `cp` of the same files: seconds, MB/s, processor
 * time, peak memory.
 *
 *     npm run bench:translate [-- LAYERS [ROUNDS]]      8 layers are 4 GB, all 32 are 14 GB, and the disk needs room
 * for them twice
 *
 * Both read files that are not in the system's cache and end with the bytes on the disk. They take turns; the medians
 * count. On a machine that does other work, compare the processor time.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '../engine/index.ts';
import { formatConfig } from '../models/config.ts';
import { writeSafetensors } from '../models/node/safetensors.ts';
import { type TensorData } from '../models/safetensors/write.ts';
import { Tokenizer, tokenizerToJson, trainBPE, type Merge } from '../models/tokenizer/index.ts';
import type { TransformerConfig } from '../models/transformer-config.ts';
import { storedTensors } from '../models/stored.ts';
import { readCorpus } from '../s2t2/app/corpus.ts';
import { dataFolder } from '../s2t2/app/data/tools.ts';
import { tokenMap } from '../s2t2/translate.ts';
import { compress } from '../s2t2/plan.ts';
import { savePlan } from '../s2t2/app/plan-file.ts';

const [layers = 8, rounds = 3] = process.argv.slice(2).map(Number);
const config: TransformerConfig = {
  family: 'olmo',
  vocabSize: 50304,
  width: 4096,
  layers,
  heads: 32,
  keyValueHeads: 32,
  feedForward: 11008,
  context: 2048,
  rotaryBase: 10000,
  normEps: 1e-5,
  tied: false,
};
const shardBytes = 2e9;
const sourceTokensOfOne = 55;

/** A vocabulary of OLMo's size, 50,280: special tokens, bytes, and the first pairs of bytes. */
function largeTokenizer(): Tokenizer {
  const special = ['<|endoftext|>', '<|padding|>'].map((content, id) => ({
    content,
    id,
    special: true,
    lstrip: false,
    rstrip: false,
    normalized: false,
  }));
  const tokens: (Uint8Array | undefined)[] = [
    undefined,
    undefined,
    ...Array.from({ length: 256 }, (_, b) => Uint8Array.of(b)),
  ];
  const merges: Merge[] = [];
  while (tokens.length < 50280) {
    const [a, b] = [Math.floor(merges.length / 256), merges.length % 256];
    merges.push({ left: a + 2, right: b + 2, merged: tokens.push(Uint8Array.of(a, b)) - 1 });
  }
  return new Tokenizer({ tokens, merges, added: special, splits: [] });
}

/** Shards of bfloat16 numbers between 2⁻⁷ and 2⁻⁶, the same block again and again. */
async function writeModel(path: string): Promise<number> {
  const block = new Uint16Array(2 ** 20).map((_, i) => 0x3c00 + ((i * 40503) & 0x7f));
  const bytes = new Uint8Array(block.buffer);
  const shards: Record<string, TensorData>[] = [{}];
  let [filled, total] = [0, 0];
  for (const { name, shape } of storedTensors(config)) {
    const size = 2 * shape.reduce((a, b) => a * b, 1);
    if (filled > 0 && filled + size > shardBytes) {
      shards.push({});
      filled = 0;
    }
    shards.at(-1)![name] = {
      dtype: 'BF16',
      shape,
      data: function* () {
        for (let at = 0; at < size; at += bytes.length) yield bytes.subarray(0, Math.min(bytes.length, size - at));
      },
    };
    filled += size;
    total += size;
  }
  const weightMap: Record<string, string> = {};
  for (const [i, tensors] of shards.entries()) {
    const file = `model-${String(i + 1).padStart(5, '0')}-of-${String(shards.length).padStart(5, '0')}.safetensors`;
    await writeSafetensors(join(path, file), tensors, { format: 'pt' });
    for (const name of Object.keys(tensors)) weightMap[name] = file;
  }
  await writeFile(
    join(path, 'model.safetensors.index.json'),
    JSON.stringify({ metadata: { total_size: total }, weight_map: weightMap }),
  );
  const tokenizer = largeTokenizer();
  await writeFile(join(path, 'config.json'), JSON.stringify(formatConfig(config, tokenizer, 'BF16')));
  await writeFile(join(path, 'tokenizer.json'), tokenizerToJson(tokenizer));
  return total;
}

/** A plan for 512 protein tokens, each made of a few dozen source tokens anywhere in the vocabulary. */
async function writePlan(path: string, source: Tokenizer): Promise<Tokenizer> {
  const texts = (await readCorpus(dataFolder('proteins.validation.fasta.gz'))).documents.map(d => d.text);
  const target = trainBPE(texts, { vocabSize: 512, alphabet: 'seen' });
  const map = tokenMap(source, target);
  const [u, v] = [map.targetIds.length, map.sourceIds.length];
  const random = new Random(1);
  const dense = new Float32Array(u * v);
  for (let i = 0; i < u; i++)
    for (let k = 0; k < sourceTokensOfOne; k++) dense[i * v + random.integer(v)] = 1 / (u * sourceTokensOfOne);
  await savePlan(join(path, 'plan.safetensors'), {
    ...compress(dense, u, v),
    mu: new Float32Array(u).fill(1 / u),
    nu: new Float32Array(v).fill(1 / v),
    ...map,
    target: target.hash,
    source: source.hash,
    settings: { variant: 'dual', iterations: 3, alpha: 1 / v, rowNormalisation: 'actual', headNormalisation: 'rows' },
    gap: null,
  });
  await writeFile(join(path, 'tokenizer.json'), tokenizerToJson(target));
  return target;
}

/** Takes files out of the system's cache. */
async function forget(path: string): Promise<void> {
  for (const name of await readdir(path))
    spawnSync('dd', [`if=${join(path, name)}`, 'iflag=nocache', 'count=0'], { stdio: 'ignore' });
}

/** The processor time of a process in seconds, of its children that have ended too, as Linux counts it. */
function processorTime(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // the name before may have spaces
  return [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i]), 0) / 100;
}

interface Run {
  readonly seconds: number;
  readonly processor: number;
  /** The most memory that it held, in MB. */
  readonly peak: number;
}

/** Runs a command; what Linux counts is looked at every 20 ms. */
function run(command: string, args: readonly string[]): Promise<Run> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let [peak, processor, errors] = [0, 0, ''];
    child.stderr.on('data', (d: Buffer) => {
      errors += d.toString();
    });
    const watch = setInterval(() => {
      readFile(`/proc/${child.pid}/status`, 'utf8').then(
        text => {
          peak = Math.max(peak, Number(/VmHWM:\s+(\d+)/.exec(text)?.[1] ?? 0) / 1024);
        },
        () => {},
      );
      readFile(`/proc/${child.pid}/stat`, 'utf8').then(
        text => {
          processor = Math.max(processor, processorTime(text));
        },
        () => {},
      );
    }, 20);
    child.on('close', code => {
      clearInterval(watch);
      if (code === 0) resolve({ seconds: (performance.now() - started) / 1000, processor, peak });
      else reject(new Error(`${command}: ${errors}`));
    });
  });
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

const work = await mkdtemp(join(tmpdir(), 's2t2-translate-'));
try {
  const [model, out] = [join(work, 'model'), join(work, 'out')];
  spawnSync('mkdir', [model]);
  const megabytes = (await writeModel(model)) / 1e6;
  await writePlan(work, largeTokenizer());
  console.log(
    `${layers} layers, ${Math.round(megabytes)} MB in ` +
      `${(await readdir(model)).filter(n => n.endsWith('.safetensors')).length} files`,
  );
  const cli = new URL('../s2t2/app/cli.js', import.meta.url).pathname;
  const commands = {
    translate: [
      process.execPath,
      cli,
      'translate',
      '--model',
      model,
      '--plan',
      join(work, 'plan.safetensors'),
      '--target',
      join(work, 'tokenizer.json'),
      '--out',
      out,
    ],
    cp: ['sh', '-c', 'cp -r "$0" "$1" && sync -f "$1"/*', model, out],
  };
  const runs: Record<string, Run[]> = { translate: [], cp: [] };
  for (let round = 0; round < rounds; round++) {
    for (const [name, [command, ...args]] of Object.entries(commands)) {
      await forget(model);
      const result = await run(command, args);
      runs[name].push(result);
      await rm(out, { recursive: true });
    }
  }
  for (const [name, all] of Object.entries(runs)) {
    const [seconds, processor] = [all.map(r => r.seconds), all.map(r => r.processor)];
    console.log(
      `${name.padEnd(9)}  ${median(seconds).toFixed(1)} s  ${(megabytes / median(seconds)).toFixed(0)} MB/s  ` +
        `(${seconds.map(s => s.toFixed(1)).join(', ')} s)  processor ${median(processor).toFixed(1)} s  ` +
        `(${processor.map(s => s.toFixed(1)).join(', ')} s)`,
    );
  }
  console.log(`peak memory of translate: ${Math.max(...runs.translate.map(r => r.peak)).toFixed(0)} MB`);
} finally {
  await rm(work, { recursive: true, force: true });
}
