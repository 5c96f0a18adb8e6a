/**
 * A GGUF file here and in llama.cpp: tokens of a domain's texts, the likeliest next token at every position, greedy
 * text from a prompt, and how fast that is.
 *
 *     npm install --prefix runs/llama --ignore-scripts node-llama-cpp@3.22.1      (llama.cpp, built for this platform)
 *     npm run s2t2 -- export MODEL --out model.gguf
 *     npm run bench:llama -- --model model.gguf --domain proteins --llama-cpp runs/llama
 *
 * Both sides read the same file. llama.cpp multiplies 16-bit weights as they are and keeps keys and values in float16;
 * here all is float32. In generation both begin with the same tokens and take turns, a process each.
 */
import { fork } from 'node:child_process';
import { availableParallelism, cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { createWasmBackend, noGrad, Random, scope, setBackend, tensor } from '../engine/index.ts';
import { encodePrompt, generate } from '../models/generate.ts';
import { loadModel, loadTokenizer } from '../models/node/index.ts';
import { enableRelaxedSimd } from '../models/node/relaxed.ts';
import { renderTable } from '../models/node/table.ts';
import { forward } from '../models/transformer.ts';
import { loadDomain } from '../s2t2/app/data/domains.ts';
import { likeliest, openLlama } from './peers-llama.ts';

interface Flags {
  readonly model: string;
  readonly domain?: string;
  readonly texts: number;
  readonly prompt: string;
  readonly tokens: number;
  readonly rounds: number;
  readonly threads: number;
  readonly llamaCpp: string;
  readonly child?: Side | 'agreement';
}

type Side = 'ours' | 'llama.cpp';

/** What a process measures. */
interface Generated {
  readonly prompt: readonly number[];
  readonly tokens: readonly number[];
  /** Seconds from one token to the next, the first of them apart: that one reads the prompt. */
  readonly seconds: number;
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
  const model = await openLlama(folder, modelPath, threads);
  const { bos } = model.tokens;
  const ids = model.tokenize(text, true);
  const prompt = bos === null || ids[0] === bos ? ids : [bos, ...ids];
  const context = await model.createContext({ contextSize: prompt.length + tokens + 2, threads });
  return take(prompt, context.getSequence().evaluate(prompt, { temperature: 0, yieldEogToken: true }), tokens);
}

/** How far the two sides agree. */
interface Agreement {
  /** Texts, and how many of them have the same tokens. */
  readonly texts: number;
  readonly sameTexts: number;
  /** Positions of texts, and at how many of them the likeliest next token is the same. */
  readonly positions: number;
  readonly same: number;
  /** Most by which two probabilities of a token differ. */
  readonly worst: number;
}

/** Positions of a text that are compared. */
const longest = 240;

async function agree({ model: path, domain, texts: count, threads, llamaCpp: folder }: Flags): Promise<Agreement> {
  setBackend(createWasmBackend({ threads, relaxedSimd: enableRelaxedSimd() }));
  const there = await openLlama(folder, path, threads);
  const { model, tokenizer } = await loadModel(path);
  const { vocabSize: V } = model.config;
  const sequence = (await there.createContext({ contextSize: longest + 16, threads })).getSequence();
  const { test: texts } = await loadDomain(domain!);
  let [sameTexts, positions, same, worst] = [0, 0, 0, 0];
  for (const [i, text] of texts.entries()) {
    const ids = tokenizer.encode(text);
    const theirs = there.tokenize(text, false);
    if (ids.length === theirs.length && ids.every((id, at) => id === theirs[at])) sameTexts++;
    if (i >= count) continue;
    const input = [tokenizer.specialTokens.bos!, ...ids].slice(0, longest);
    const logits = noGrad(() =>
      scope(() => forward(model, tensor(Int32Array.from(input), { shape: [1, input.length] })).logits.dataSync()),
    ) as Float32Array; // (1, T, V)
    for (const [t, { token, probabilities }] of (await likeliest(sequence, input)).entries()) {
      const line = logits.subarray(t * V, (t + 1) * V);
      const most = line.reduce((a, b) => Math.max(a, b));
      const sum = line.reduce((total, logit) => total + Math.exp(logit - most), 0);
      positions++;
      if (line[token] === most) same++;
      for (const [id, p] of probabilities) worst = Math.max(worst, Math.abs(p - Math.exp(line[id] - most) / sum));
    }
  }
  return { texts: texts.length, sameTexts, positions, same, worst };
}

const children = { ours, 'llama.cpp': llamaCpp, agreement: agree };

/** Runs a side, or the comparison, in a separate process. */
function apart<C extends keyof typeof children>(child: C): ReturnType<(typeof children)[C]> {
  const started = fork(fileURLToPath(import.meta.url), [...process.argv.slice(2), '--child', child]);
  return new Promise((resolve, reject) => {
    started.once('message', message => resolve(message as Generated & Agreement));
    started.once('exit', code => reject(new Error(`bench: ${child} ended with code ${code}`)));
  }) as ReturnType<(typeof children)[C]>;
}

async function main(flags: Flags): Promise<void> {
  if (flags.child !== undefined) {
    process.send!(await children[flags.child](flags), () => process.exit());
    return;
  }
  const machine = [cpus()[0].model.trim(), `${flags.threads} threads`, `Node ${process.versions.node}`, flags.model];
  process.stdout.write(`${machine.join(', ')}\n`);
  if (flags.domain !== undefined) {
    const { texts, sameTexts, positions, same, worst } = await apart('agreement');
    process.stdout.write(
      `${flags.domain}: the same tokens in ${sameTexts} of ${texts} texts, the same likeliest next token at ` +
        `${same} of ${positions} positions, probabilities differ by ${worst.toExponential(1)} at most\n`,
    );
  }
  const runs: Record<Side, Generated[]> = { ours: [], 'llama.cpp': [] };
  for (let round = 1; round <= flags.rounds; round++)
    for (const side of ['ours', 'llama.cpp'] as const) {
      process.stderr.write(`round ${round}, ${side}\n`);
      runs[side].push(await apart(side));
    }
  if (flags.rounds === 0) return;
  const [mine, theirs] = [runs.ours[0], runs['llama.cpp'][0]];
  const compare = (what: 'prompt' | 'tokens') => {
    const [a, b] = [mine[what], theirs[what]];
    const at = a.findIndex((id, i) => id !== b[i]);
    return at < 0 && a.length === b.length
      ? `${what}: the same ${a.length} ids\n`
      : `${what}: ids differ from place ${at < 0 ? a.length : at} of ${a.length} on\n`;
  };
  const secondsOf = (side: Side): number => {
    const sorted = runs[side].map(run => run.seconds).toSorted((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)];
  };
  const rows = (['ours', 'llama.cpp'] as const).map(side => [
    side,
    (1 / secondsOf(side)).toFixed(1),
    (secondsOf(side) / secondsOf('ours')).toFixed(2),
  ]);
  process.stdout.write(
    `${compare('prompt')}${compare('tokens')}${renderTable(['side', 'tokens/s', 'time, ours is 1'], rows)}\n`,
  );
}

await new Command('bench:llama')
  .description('A GGUF file here and in llama.cpp: tokens, likeliest next tokens, greedy text and its speed.')
  .requiredOption('--model <file>', 'GGUF file')
  .requiredOption('--llama-cpp <dir>', 'folder in which node-llama-cpp is installed')
  .option('--domain <name>', 'bundled domain whose test texts are compared')
  .option('--texts <n>', 'of them, those whose next tokens are compared', Number, 12)
  .option('--prompt <text>', 'text to go on from', 'The capital of France is')
  .option('--tokens <n>', 'tokens that are timed', Number, 64)
  .option('--rounds <n>', 'runs of each side', Number, 3)
  .option('--threads <n>', 'of either side', Number, availableParallelism())
  .addOption(new Option('--child <what>').hideHelp())
  .action(main)
  .parseAsync();
