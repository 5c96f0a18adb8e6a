/** The clock of the page: rows of the operation table and a training step, verified, then timed. */
import { apply, createReferenceBackend, noGrad, scope, ops, tensor, mul, type Backend } from '../../../engine/index.ts';
import type { TransformerConfig } from '../../../models/transformer-config.ts';
import { stepBatch, stepConfig, trainingStep } from '../../step.ts';
import { compute, place, verifyValues, workload } from '../../workload.ts';
import type { BackendName, Candidate } from './backends.ts';

/** A time, or why there is none. */
export interface Result {
  readonly op: string;
  readonly size: number;
  /** The inputs, for people. */
  readonly inputs: string;
  readonly backend: BackendName;
  readonly seconds?: number;
  readonly rate?: { readonly unit: 'GFLOP/s' | 'GB/s' | 'tokens/s'; readonly value: number };
  readonly note?: string;
}

/** Rows and their scales; what is bound by arithmetic is rated in GFLOP/s, the rest in GB/s. */
const cases: readonly { readonly op: string; readonly sizes: readonly number[]; readonly unit: 'GFLOP/s' | 'GB/s' }[] =
  [
    { op: 'matmul', sizes: [128, 256, 512, 1024], unit: 'GFLOP/s' },
    { op: 'attention', sizes: [128, 256], unit: 'GFLOP/s' },
    { op: 'add', sizes: [256, 1024], unit: 'GB/s' },
    { op: 'sum', sizes: [256, 1024], unit: 'GB/s' },
    { op: 'softmax', sizes: [256, 1024], unit: 'GB/s' },
    { op: 'layerNorm', sizes: [256, 1024], unit: 'GB/s' },
    { op: 'gelu', sizes: [256, 1024], unit: 'GB/s' },
  ];
/** A small training step, and the one of `npm run bench`. */
const steps: readonly {
  readonly config: TransformerConfig;
  readonly batch: { readonly rows: number; readonly length: number };
}[] = [
  {
    config: {
      family: 'olmo',
      vocabSize: 256,
      width: 64,
      layers: 2,
      heads: 4,
      keyValueHeads: 4,
      feedForward: 160,
      context: 64,
      rotaryBase: 10000,
      normEps: 1e-5,
      tied: false,
    },
    batch: { rows: 2, length: 64 },
  },
  { config: stepConfig, batch: stepBatch },
];

/** Seconds of a call beyond which the next scale is left out, and seconds of calls between two looks at the clock. */
const patience = 0.5;
const tooLong = 'the scale before took too long';
const roundSeconds = 0.05;
/**
 * Operations up to which the plain loops say what is right; beyond, they would take seconds, and the first backend's
 * values do.
 */
const judgedByReference = 3e8;
const rounds = 5;

/**
 * Median seconds of a call. A device queues what it is asked for, so a round ends when a value that is computed after
 * it has arrived; that wait is part of the round, which has calls enough to make it small.
 */
export async function secondsOf(backend: Backend, call: () => void): Promise<number> {
  const tick = tensor([1], { backend });
  const round = async (calls: number) => {
    const start = performance.now();
    for (let i = 0; i < calls; i++) call();
    const last = noGrad(() => mul(tick, 2));
    await last.data();
    last.dispose();
    return (performance.now() - start) / 1000;
  };
  try {
    await round(1); // compiles
    let calls = 1;
    let seconds = await round(calls);
    while (seconds < roundSeconds) {
      calls = Math.min(Math.ceil((1.2 * roundSeconds * calls) / Math.max(seconds, 1e-6)), 10 * calls);
      seconds = await round(calls);
    }
    const all = [seconds / calls];
    while (all.length < rounds && seconds < patience) all.push((await round(calls)) / calls);
    return all.sort((a, b) => a - b)[all.length >> 1];
  } finally {
    tick.dispose();
  }
}

export interface MeasureOptions {
  /** Of the operations' names. */
  readonly filter: RegExp;
  readonly onStart: (what: string) => void;
  readonly onResult: (result: Result) => void;
}

/** Measures case by case, on every backend before the next case. */
export async function measure(
  candidates: readonly Candidate[],
  { filter, ...listener }: MeasureOptions,
): Promise<void> {
  const reference = createReferenceBackend();
  const there = candidates.flatMap(({ name, backend }) => (backend ? [{ name, backend }] : []));
  for (const { op: opName, sizes, unit } of cases.filter(c => filter.test(c.op))) {
    const op = ops.find(row => row.name === opName)!;
    const stopped = new Map<BackendName, string>();
    for (const size of sizes) {
      const work = workload(op, size);
      const { inputs, attributes, flops, bytes } = work;
      const judge = flops <= judgedByReference ? reference : there[0].backend;
      const expected = await compute(op, judge, work);
      for (const { name, backend } of there) {
        await attempt(
          { op: opName, size, inputs: inputs.map(x => x.shape.join('×')).join(', '), backend: name },
          listener,
          stopped,
          async () => {
            if (backend !== judge) verifyValues(op, backend, await compute(op, backend, work), expected);
            const placed = place(inputs, backend);
            const seconds = await secondsOf(backend, () =>
              noGrad(() =>
                scope(() => {
                  apply(op, placed, attributes);
                }),
              ),
            );
            placed.forEach(t => t.dispose());
            if (seconds > patience) stopped.set(name, tooLong);
            return { seconds, rate: { unit, value: (unit === 'GFLOP/s' ? flops : bytes) / seconds / 1e9 } };
          },
        );
      }
    }
  }
  if (!filter.test('training step')) return;
  const stopped = new Map<BackendName, string>();
  for (const { config, batch } of steps) {
    const { width, layers, vocabSize } = config;
    const inputs = `${batch.rows}×${batch.length} tokens; width ${width}, ${layers} layers, vocabulary ${vocabSize}`;
    let expectedLoss: number | undefined;
    for (const { name, backend } of there) {
      await attempt(
        { op: 'training step', size: batch.rows * batch.length, inputs, backend: name },
        listener,
        stopped,
        async () => {
          const work = trainingStep(backend, config, batch);
          const first = work.run();
          const loss = await first.item();
          first.dispose();
          expectedLoss ??= loss;
          if (!(Math.abs(loss - expectedLoss) <= 1e-5 * expectedLoss))
            throw new Error(`the first loss is ${loss} where ${there[0].name} has ${expectedLoss}`);
          const seconds = await secondsOf(backend, () => work.run().dispose());
          work.dispose();
          if (seconds > patience) stopped.set(name, tooLong);
          return { seconds, rate: { unit: 'tokens/s', value: work.tokens / seconds } };
        },
      );
    }
  }
}

/** Runs one measurement unless an earlier one of its operation stopped its backend; what it throws is its result. */
async function attempt(
  what: Pick<Result, 'op' | 'size' | 'inputs' | 'backend'>,
  { onStart, onResult }: Omit<MeasureOptions, 'filter'>,
  stopped: Map<BackendName, string>,
  run: () => Promise<Pick<Result, 'seconds' | 'rate'>>,
): Promise<void> {
  onStart(`${what.op} ${what.size} on ${what.backend}`);
  await new Promise(resolve => setTimeout(resolve)); // lets the page be drawn
  const known = stopped.get(what.backend);
  if (known !== undefined) return onResult({ ...what, note: known });
  try {
    onResult({ ...what, ...(await run()) });
  } catch (error) {
    const note = error instanceof Error ? error.message : String(error);
    stopped.set(what.backend, note);
    onResult({ ...what, note });
  }
}
