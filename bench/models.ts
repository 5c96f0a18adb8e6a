/**
 * Training steps of published models' shapes, with random weights: peak memory and tokens a second of finetuning all of
 * a model, its ends, or low-rank adapters, and of phase 1 with the model frozen.
 *
 *     npm run bench:models -- --model smollm2 [--modes all,ends,lora,plan] [--python /path/to/python]
 *
 * The source model waits outside the backend's memory in 16 bits, as the command line keeps it; the target vocabulary
 * has 512 tokens, a batch 512. Each mode runs in a separate process, so that memory is that of the mode. With a
 * Python that has torch and transformers, the same step follows there, on as many threads and with as many weights that
 * learn, but for phase 1, which nobody else has.
 */
import { fork, spawnSync } from 'node:child_process';
import { availableParallelism, cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import {
  createWasmBackend,
  memory,
  peakBytes,
  Random,
  setBackend,
  tensor,
  written,
  type Backend,
  type Tensor,
} from '../engine/index.ts';
import { AdamW } from '../models/adamw.ts';
import { makeBatch } from '../models/batches.ts';
import { generate } from '../models/generate.ts';
import { loraDefaults } from '../models/lora.ts';
import { enableRelaxedSimd } from '../models/node/relaxed.ts';
import { renderTable } from '../models/node/table.ts';
import { parkedWeight } from '../models/parked.ts';
import { batchLoss } from '../models/score.ts';
import { trainStep } from '../models/train.ts';
import { forwardFlops, type TransformerConfig } from '../models/transformer-config.ts';
import { assemble } from '../models/weights.ts';
import { fitMemory, fullest, parkingFor } from '../s2t2/app/memory.ts';
import { sparseLayer } from '../s2t2/learn.ts';
import { withEnds } from '../s2t2/methods.ts';
import { defaults, type Settings } from '../s2t2/settings.ts';
import { trained } from '../s2t2/trained.ts';
import { translateEnds } from '../s2t2/translate.ts';
import { measurePeak } from './peak.ts';

const rotary = { rotaryBase: 10000, normEps: 1e-5, tied: true, context: 2048 };
const models: Readonly<Record<string, TransformerConfig>> = {
  smollm2: {
    ...rotary,
    family: 'llama',
    vocabSize: 49152,
    width: 576,
    layers: 30,
    heads: 9,
    keyValueHeads: 3,
    feedForward: 1536,
  },
  gpt2: {
    ...rotary,
    family: 'gpt2',
    vocabSize: 50257,
    width: 768,
    layers: 12,
    heads: 12,
    keyValueHeads: 12,
    feedForward: 3072,
    context: 1024,
  },
  'olmo-1b': {
    ...rotary,
    family: 'olmo',
    vocabSize: 50304,
    width: 2048,
    layers: 16,
    heads: 16,
    keyValueHeads: 16,
    feedForward: 8192,
  },
};

const modes = ['all', 'ends', 'lora', 'plan'] as const;
type Mode = (typeof modes)[number];

const batchShape = [2, 256] as const;
const tokens = batchShape[0] * batchShape[1];
const targetTokens = 512;
/** Tokens of the generation that is timed. */
const generated = 32;

/** What a process measures of one mode. */
interface Measured {
  readonly backend: string;
  readonly recompute: boolean;
  /** Bytes: forecast of linear memory, most of tensors, most of the process. */
  readonly forecast: number;
  readonly tensors: number;
  readonly process: number;
  /** Weights that learn. */
  readonly trainable: number;
  /** Seconds of the first step and the median of the others. */
  readonly first: number;
  readonly step: number;
}

/** Weights of an untrained model: one normal sample for all matrices, so that none takes long to draw. */
function randomWeights() {
  const random = new Random(1);
  const noise = Float32Array.from({ length: 1 << 16 }, () => 0.02 * random.normal());
  const values = (name: string, shape: readonly number[]) => {
    const all = new Float32Array(shape.reduce((a, b) => a * b));
    if (/[nN]orm\.weight$/.test(name)) return all.fill(1);
    for (let at = 0; at < all.length; at += noise.length)
      all.set(noise.subarray(0, Math.min(noise.length, all.length - at)), at);
    return all;
  };
  return { random, noise, values };
}

/** Tokens a second of generation with a cache, after a prompt of 16 tokens. */
async function measureGeneration(config: TransformerConfig, threads: number): Promise<number> {
  setBackend(createWasmBackend({ threads, relaxedSimd: enableRelaxedSimd() }));
  const { values } = randomWeights();
  const model = { config, ...assemble(config, (name, shape) => tensor(values(name, shape), { shape })) };
  const prompt = Int32Array.from({ length: 16 }, (_, i) => i);
  let [made, start] = [0, 0];
  for await (const _ of generate(model, prompt, { maxTokens: generated + 1, temperature: 0, random: new Random(0) }))
    if (made++ === 0) start = performance.now();
  return (generated * 1000) / (performance.now() - start);
}

function measure(config: TransformerConfig, mode: Mode, steps: number, threads: number): Measured {
  const backend: Backend = createWasmBackend({ threads, relaxedSimd: enableRelaxedSimd() });
  setBackend(backend);
  // What follows phase 1 is no part of it; the ends alone fit beside any.
  const train = mode === 'plan' ? 'ends' : mode === 'all' ? undefined : mode;
  const v = config.vocabSize;
  const settings: Settings = { ...defaults, alpha: 1 / v, ...(train && { train }), maxBytes: batchShape[1] - 1 };
  const method = mode === 'plan' ? 's2t2' : 'fvt';
  const found = fitMemory({ config, settings, methods: [method], u: targetTokens, v }, backend.memoryLimit)!;
  const planned = found.stages.find(s => (mode === 'plan') === (s.stage === 'learning the plan'));

  const parking = parkingFor(config, backend.memoryLimit);
  const { random, noise, values } = randomWeights();
  const source = {
    config,
    ...assemble(config, (name, shape) => parkedWeight(parking, values(name, shape), shape, 'BF16')),
  };
  const batch = makeBatch(
    Array.from({ length: batchShape[0] }, () => ({
      ids: Int32Array.from({ length: batchShape[1] + 1 }, () => random.integer(targetTokens)),
      bytes: 0,
    })),
  );
  const before = memory().bytes;
  peakBytes();
  const { parameters, loss } = mode === 'plan' ? phaseOne() : finetuning();
  const optimizer = new AdamW(parameters, mode === 'plan' ? { clip: Infinity } : {});
  const seconds = Array.from({ length: steps + 1 }, () => {
    const start = performance.now();
    trainStep(loss, Object.values(parameters), optimizer, 1e-4).dispose();
    return (performance.now() - start) / 1000;
  });
  const [first, ...later] = seconds;
  return {
    backend: backend.describe(),
    recompute: found.recompute,
    forecast: (planned ?? fullest(found)).need.memory,
    tensors: peakBytes() - before,
    process: 1024 * process.resourceUsage().maxRSS,
    trainable: Object.values(parameters).reduce((n, p) => n + p.size, 0),
    first,
    step: later.toSorted((a, b) => a - b)[Math.floor(later.length / 2)],
  };

  function finetuning(): { parameters: Readonly<Record<string, Tensor>>; loss: () => Tensor } {
    const end = () =>
      written([targetTokens, config.width], to => to.set(noise.subarray(0, to.length % noise.length)), {
        requiresGrad: true,
      });
    const learner = trained(withEnds(source, { embedding: end(), head: end() }), settings);
    const { model } = learner;
    return { parameters: learner.parameters, loss: () => batchLoss(model, batch, model, found.recompute) };
  }

  function phaseOne(): { parameters: Readonly<Record<string, Tensor>>; loss: () => Tensor } {
    // Costs far apart make a sparse plan, as the prior coupling does.
    const draw = (to: Float32Array) => to.forEach((_, i) => (to[i] = 150 * noise[(i * 40503) % noise.length]));
    const cost = written([targetTokens, v], draw, { requiresGrad: true });
    const map = {
      sourceIds: Int32Array.from({ length: v }, (_, i) => i),
      targetIds: Int32Array.from({ length: targetTokens }, (_, i) => i),
      specials: new Int32Array(0),
      unseen: new Int32Array(),
      targetSize: targetTokens,
    };
    const uniform = (n: number) => tensor(new Float32Array(n).fill(1 / n));
    const [mu, nu] = [uniform(targetTokens), uniform(v)];
    const ends = () => translateEnds(sparseLayer.plan(cost, mu, nu, settings).plan, mu, nu, source, map, settings);
    return { parameters: { cost }, loss: () => batchLoss(source, batch, ends(), found.recompute) };
  }
}

/** Runs a mode, or generation, in a separate process. */
function measureApart<M extends Mode | 'generation'>(
  model: string,
  mode: M,
  steps: number,
  threads: number,
): Promise<M extends Mode ? Measured : number> {
  const child = fork(fileURLToPath(import.meta.url), [
    '--model',
    model,
    '--child',
    mode,
    '--steps',
    String(steps),
    '--threads',
    String(threads),
  ]);
  return new Promise((resolve, reject) => {
    child.once('message', message => resolve(message as M extends Mode ? Measured : number));
    child.once('exit', code => reject(new Error(`bench: ${model} ${mode} ended with code ${code}`)));
  });
}

/** What PyTorch's process measures of one mode. */
interface TorchMeasured extends Pick<Measured, 'process' | 'trainable' | 'first' | 'step'> {
  readonly version: string;
  /** GFLOP/s that a large product reaches there. */
  readonly peak: number;
  /** Tokens a second of generation with a cache; null where that was not asked for. */
  readonly generation: number | null;
}

/**
 * A training step in PyTorch, what a large product reaches there, and generation with a cache. Adapters are written out
 * (rank, scale and places are ours), so that no library beside transformers is needed; GPT-2 keeps queries, keys and
 * values in one matrix, which gets three.
 */
const torchCode = `
import sys, json, time, resource, torch
from transformers import LlamaConfig, LlamaForCausalLM, GPT2Config, GPT2LMHeadModel, OlmoConfig, OlmoForCausalLM
c, mode, lora, target, steps, threads, rows, length, generated = json.loads(sys.argv[1])
torch.set_num_threads(threads); torch.manual_seed(0)
def model(vocabulary, tied):
    shared = dict(vocab_size=vocabulary, tie_word_embeddings=tied)
    if c['family'] == 'gpt2':
        return GPT2LMHeadModel(GPT2Config(n_embd=c['width'], n_layer=c['layers'], n_head=c['heads'],
            resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, **shared))
    C, M = (LlamaConfig, LlamaForCausalLM) if c['family'] == 'llama' else (OlmoConfig, OlmoForCausalLM)
    return M(C(hidden_size=c['width'], num_hidden_layers=c['layers'], num_attention_heads=c['heads'],
        num_key_value_heads=c['keyValueHeads'], intermediate_size=c['feedForward'], **shared))
class Adapted(torch.nn.Module):
    def __init__(self, base, inputs, outputs, parts):
        super().__init__()
        self.base = base
        self.a = torch.nn.ParameterList(torch.randn(lora['rank'], inputs) * inputs ** -0.5 for _ in range(parts))
        self.b = torch.nn.ParameterList(torch.zeros(outputs // parts, lora['rank']) for _ in range(parts))
    def forward(self, x):
        more = [x @ a.T @ b.T for a, b in zip(self.a, self.b)]
        return self.base(x) + lora['alpha'] / lora['rank'] * (more[0] if len(more) == 1 else torch.cat(more, -1))
m = model(target, False)
if mode != 'all':
    m.requires_grad_(False)
    m.get_input_embeddings().requires_grad_(True); m.get_output_embeddings().requires_grad_(True)
if mode == 'lora':
    places = ('q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj', 'c_attn', 'c_proj', 'c_fc')
    for parent in list(m.modules()):
        for name, base in list(parent.named_children()):
            if name not in places: continue
            sizes = base.weight.shape if c['family'] == 'gpt2' else base.weight.shape[::-1]
            setattr(parent, name, Adapted(base, *sizes, 3 if name == 'c_attn' else 1))
learn = [p for p in m.parameters() if p.requires_grad]
o = torch.optim.AdamW(learn, lr=1e-4)
x = torch.randint(0, target, (rows, length))
times = []
for _ in range(steps + 1):
    t = time.time(); o.zero_grad(); m(input_ids=x, labels=x).loss.backward()
    torch.nn.utils.clip_grad_norm_(learn, 1.0); o.step(); times.append(time.time() - t)
found = {'version': torch.__version__, 'trainable': sum(p.numel() for p in learn), 'first': times[0],
    'step': sorted(times[1:])[len(times[1:]) // 2],
    'process': 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 'generation': None}
a = torch.randn(2048, 2048); best = 1e9
for _ in range(8):
    t = time.time(); a @ a; best = min(best, time.time() - t)
found['peak'] = 2 * 2048 ** 3 / best / 1e9
del m, o, learn
if generated:
    m = model(c['vocabSize'], c['tied']).eval()
    with torch.no_grad():
        out = m(input_ids=torch.arange(16)[None], use_cache=True)
        for i in range(generated + 1):
            if i == 1: t = time.time()
            out = m(input_ids=out.logits[:, -1:].argmax(-1), past_key_values=out.past_key_values, use_cache=True)
    found['generation'] = generated / (time.time() - t)
print(json.dumps(found))
`;

/** The step of a mode in PyTorch; a line of output and nothing where that fails. */
function measureTorch(python: string, mode: Mode, { model, steps, threads }: Flags): TorchMeasured | undefined {
  const tokensToMake = mode === 'all' ? generated : 0;
  const input = [models[model], mode, loraDefaults, targetTokens, steps, threads, ...batchShape, tokensToMake];
  const run = spawnSync(python, ['-c', torchCode, JSON.stringify(input)], { encoding: 'utf8', maxBuffer: 2 ** 26 });
  if (run.status === 0) return JSON.parse(run.stdout) as TorchMeasured;
  process.stdout.write(`MISSING PyTorch ${mode}: ${run.error?.message ?? run.stderr.trim().split('\n').at(-1)}\n`);
  return undefined;
}

interface Flags {
  readonly model: string;
  readonly modes: string;
  readonly steps: number;
  readonly threads: number;
  readonly python?: string;
  readonly child?: Mode | 'generation';
}

async function main(flags: Flags): Promise<void> {
  const config = models[flags.model];
  if (flags.child !== undefined) {
    process.send!(
      flags.child === 'generation'
        ? await measureGeneration(config, flags.threads)
        : measure(config, flags.child, flags.steps, flags.threads),
    );
    process.disconnect();
    return;
  }
  enableRelaxedSimd();
  const peak = await measurePeak(flags.threads);
  const best = peak.relaxed ?? peak.plain;
  const gibibytes = (bytes: number) => (bytes / 2 ** 30).toFixed(2);
  const forward = forwardFlops({ ...config, vocabSize: targetTokens, tied: false }, batchShape[1] / 2);
  const rows: string[][] = [];
  const wanted = modes.filter(
    mode => flags.modes.split(',').includes(mode) && !(mode === 'all' && flags.model === 'olmo-1b'),
  );
  const beside: string[] = [];
  let torchGeneration: number | undefined;
  for (const mode of wanted) {
    process.stderr.write(`${flags.model} ${mode}\n`);
    const m = await measureApart(flags.model, mode, flags.steps, flags.threads);
    // A backward pass costs two forward passes, one where weights are frozen; recomputing costs one more.
    const passes = mode === 'all' ? 3 : 2;
    const shareOf = (passes: number, step: number, peak: number) =>
      `${((100 * passes * tokens * forward) / step / 1e9 / peak).toFixed(0)}%`;
    rows.push([
      mode,
      gibibytes(m.forecast),
      gibibytes(m.tensors),
      gibibytes(m.process),
      m.recompute ? 'yes' : 'no',
      m.first.toFixed(1),
      m.step.toFixed(2),
      (tokens / m.step).toFixed(0),
      shareOf(passes + (m.recompute ? 1 : 0), m.step, best),
    ]);
    if (flags.python === undefined || mode === 'plan') continue;
    process.stderr.write(`${flags.model} ${mode}, PyTorch\n`);
    const torch = measureTorch(flags.python, mode, flags);
    if (torch === undefined) continue;
    if (torch.trainable !== m.trainable)
      throw new Error(`bench: ${mode} trains ${m.trainable} weights here and ${torch.trainable} in PyTorch`);
    torchGeneration ??= torch.generation ?? undefined;
    rows.push([
      `${mode}, PyTorch`,
      '',
      '',
      gibibytes(torch.process),
      'no',
      torch.first.toFixed(1),
      torch.step.toFixed(2),
      (tokens / torch.step).toFixed(0),
      shareOf(passes, torch.step, torch.peak),
    ]);
    beside.push(
      `${mode}: ours is ${(torch.step / m.step).toFixed(2)} times as fast as PyTorch ${torch.version}, whose matmul ` +
        `reaches ${torch.peak.toFixed(0)} GFLOP/s\n`,
    );
  }
  const header = [
    'trains',
    'forecast GiB',
    'tensors GiB',
    'process GiB',
    'recompute',
    'first s',
    'step s',
    'tokens/s',
    'of peak',
  ];
  process.stdout.write(
    [
      [cpus()[0].model.trim(), `${flags.threads} threads`, `Node ${process.versions.node}`, flags.model].join(', '),
      `${tokens} tokens a step, ${targetTokens} target tokens`,
      `peak ${peak.plain.toFixed(1)} GFLOP/s multiply and add`,
      ...(peak.relaxed ? [`     ${peak.relaxed.toFixed(1)} GFLOP/s fused`] : []),
      `\n${renderTable(header, rows)}\n`,
    ].join('\n'),
  );
  process.stdout.write(beside.join(''));
  if (!wanted.includes('all')) return;
  const generation = await measureApart(flags.model, 'generation', 0, flags.threads);
  const times =
    torchGeneration === undefined
      ? ''
      : `; PyTorch ${torchGeneration.toFixed(1)}, ours ${(generation / torchGeneration).toFixed(2)} times`;
  process.stdout.write(`generation with a cache: ${generation.toFixed(1)} tokens/s${times}\n`);
}

await new Command('bench:models')
  .description("Training steps of published models' shapes: peak memory, tokens a second, beside PyTorch.")
  .addOption(new Option('--model <name>', 'shapes').choices(Object.keys(models)).default('smollm2'))
  .option('--modes <names>', `of ${modes.join(', ')}`, modes.join(','))
  .option('--steps <n>', 'after the first', Number, 3)
  .option('--threads <n>', 'of either side', Number, availableParallelism())
  .option('--python <path>', 'a Python with torch and transformers')
  .addOption(new Option('--child <mode>').hideHelp())
  .action(main)
  .parseAsync();
