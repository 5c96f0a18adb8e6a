/**
 * Generation with a cache from a GGUF file, greedily, beside llama.cpp on as many threads:
 *
 *     npm install --prefix runs/llama --ignore-scripts node-llama-cpp@3.22.1      (llama.cpp, built for this platform)
 *     npm run s2t2 -- export MODEL --out model.gguf
 *     npm run bench:generation -- --model model.gguf --llama-cpp runs/llama
 *
 * Both sides read the same weights, begin with the same tokens and take turns, a process each. llama.cpp keeps 16-bit
 * weights as they are, ours are float32; it multiplies in its own vectors, which are two to four times as wide. Where
 * the tokens differ, the first difference is shown: with random weights or near-equal logits rounding decides.
 */
import { fork } from 'node:child_process';
import { availableParallelism, cpus } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Command, Option } from 'commander';
import { createWasmBackend, Random, setBackend } from '../engine/index.ts';
import { encodePrompt, generate } from '../models/generate.ts';
import { loadModel, loadTokenizer } from '../models/node/index.ts';
import { enableRelaxedSimd } from '../models/node/relaxed.ts';
import { renderTable } from '../models/node/table.ts';

interface Flags {
  readonly model: string;
  readonly prompt: string;
  readonly tokens: number;
  readonly rounds: number;
  readonly threads: number;
  readonly llamaCpp?: string;
  readonly child?: Side;
}

type Side = 'ours' | 'llama.cpp';

/** What a process measures. */
interface Generated {
  readonly prompt: readonly number[];
  readonly tokens: readonly number[];
  /** Seconds from one token to the next, the first of them apart: that one reads the prompt. */
  readonly seconds: number;
}

/** The few functions of node-llama-cpp that are used. */
interface NodeLlama {
  getLlama(options: object): Promise<{
    loadModel(options: object): Promise<{
      tokenize(text: string, special: boolean): readonly number[];
      readonly tokens: { readonly bos: number | null };
      createContext(options: object): Promise<{
        getSequence(): { evaluate(tokens: readonly number[], options: object): AsyncIterable<number> };
      }>;
    }>;
  }>;
}

/** Takes `count` tokens and one before them, which is not timed. */
async function take(prompt: ArrayLike<number>, tokens: AsyncIterable<number>, count: number): Promise<Generated> {
  const made: number[] = [];
  let start = 0;
  for await (const token of tokens) {
    if (made.length === 0) start = performance.now();
    made.push(token);
    if (made.length > count) break;
  }
  return { prompt: Array.from(prompt), tokens: made, seconds: (performance.now() - start) / 1000 / (made.length - 1) };
}

async function ours({ model: path, prompt: text, tokens, threads }: Flags): Promise<Generated> {
  setBackend(createWasmBackend({ threads, relaxedSimd: enableRelaxedSimd() }));
  const tokenizer = await loadTokenizer(path);
  const { model } = await loadModel(path);
  const prompt = encodePrompt(tokenizer, text);
  return take(
    prompt,
    generate(model, prompt, { maxTokens: tokens + 1, temperature: 0, random: new Random(0) }),
    tokens,
  );
}

async function llamaCpp({
  model: modelPath,
  prompt: text,
  tokens,
  threads,
  llamaCpp: folder,
}: Flags): Promise<Generated> {
  const entry = join(resolve(folder!), 'node_modules', 'node-llama-cpp', 'dist', 'index.js');
  const { getLlama } = (await import(pathToFileURL(entry).href)) as NodeLlama;
  const llama = await getLlama({ gpu: false, build: 'never', maxThreads: threads, progressLogs: false });
  const model = await llama.loadModel({ modelPath });
  const { bos } = model.tokens;
  const ids = model.tokenize(text, true);
  const prompt = bos === null || ids[0] === bos ? ids : [bos, ...ids];
  const context = await model.createContext({ contextSize: prompt.length + tokens + 2, threads });
  return take(prompt, context.getSequence().evaluate(prompt, { temperature: 0, yieldEogToken: true }), tokens);
}

const sides: Readonly<Record<Side, (flags: Flags) => Promise<Generated>>> = { ours, 'llama.cpp': llamaCpp };

/** Runs a side in a separate process. */
function apart(side: Side): Promise<Generated> {
  const child = fork(fileURLToPath(import.meta.url), [...process.argv.slice(2), '--child', side]);
  return new Promise((resolve, reject) => {
    child.once('message', message => resolve(message as Generated));
    child.once('exit', code => reject(new Error(`bench: generation by ${side} ended with code ${code}`)));
  });
}

async function main(flags: Flags): Promise<void> {
  if (flags.child !== undefined) {
    process.send!(await sides[flags.child](flags), () => process.exit());
    return;
  }
  const names: Side[] = flags.llamaCpp === undefined ? ['ours'] : ['ours', 'llama.cpp'];
  const runs = new Map<Side, Generated[]>(names.map(name => [name, []]));
  for (let round = 0; round < flags.rounds; round++)
    for (const [name, done] of runs) {
      process.stderr.write(`round ${round + 1}, ${name}\n`);
      done.push(await apart(name));
    }
  const secondsOf = (name: Side): number => {
    const sorted = runs
      .get(name)!
      .map(run => run.seconds)
      .toSorted((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)];
  };
  const rows = names.map(name => [
    name,
    (1 / secondsOf(name)).toFixed(1),
    (secondsOf(name) / secondsOf('ours')).toFixed(2),
  ]);
  const machine = [cpus()[0].model.trim(), `${flags.threads} threads`, `Node ${process.versions.node}`, flags.model];
  process.stdout.write(`${machine.join(', ')}\n` + `${renderTable(['side', 'tokens/s', 'time, ours is 1'], rows)}\n`);
  if (flags.llamaCpp === undefined) return;
  const [mine, theirs] = names.map(name => runs.get(name)![0]);
  const same = (what: 'prompt' | 'tokens') => {
    const [a, b] = [mine[what], theirs[what]];
    const at = a.findIndex((id, i) => id !== b[i]);
    if (at < 0 && a.length === b.length) return `${what}: the same ${a.length} ids\n`;
    const from = at < 0 ? Math.min(a.length, b.length) : at;
    return `${what}: ids differ from ${from} of ${a.length} on: ${a[from]}, llama.cpp ${b[from]}\n`;
  };
  process.stdout.write(same('prompt') + same('tokens'));
}

await new Command('bench:generation')
  .description('Greedy generation from a GGUF file, beside llama.cpp.')
  .requiredOption('--model <file>', 'GGUF file')
  .option('--prompt <text>', 'text to go on from', 'The capital of France is')
  .option('--tokens <n>', 'tokens that are timed', Number, 64)
  .option('--rounds <n>', 'runs of each side', Number, 3)
  .option('--threads <n>', 'of either side', Number, availableParallelism())
  .option('--llama-cpp <dir>', 'folder in which node-llama-cpp is installed')
  .addOption(new Option('--child <side>').hideHelp())
  .action(main)
  .parseAsync();
