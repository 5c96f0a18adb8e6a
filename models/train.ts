/**
 * The training loop: one for pretraining, for learning a plan and for finetuning. It changes a record of parameters
 * by the gradients of a loss over planned batches, and can be stopped and killed: its whole state is a set of tensors,
 * kept in a store every so often, and a resumed run goes through the same numbers as one never stopped.
 */
import { grad, scope, type Tensor, tensor } from '../engine/index.ts';
import { AdamW, linearSchedule, type Optimizer } from './adamw.ts';
import { makeBatch, type Batch, type Batches } from './batches.ts';
import { parseJson } from './json.ts';
import { UserError } from './errors.ts';
import type { TensorSource } from './safetensors/source.ts';
import type { TensorData } from './safetensors/write.ts';
import { nextTurn } from './turn.ts';

export interface Training {
  readonly parameters: Readonly<Record<string, Tensor>>;
  readonly batches: Batches;
  /** The mean loss of a batch in nats per scored token, a scalar; `done` is the share of the steps behind it. */
  readonly loss: (batch: Batch, done: number) => Tensor;
  /** The peak learning rate. */
  readonly rate: number;
  /** Steps of linear warm-up; the rate falls to zero at the end. */
  readonly warmup: number;
  /** AdamW with its defaults, if missing. */
  readonly optimizer?: (parameters: Readonly<Record<string, Tensor>>) => Optimizer;
}

export interface Progress {
  /** Steps done, of all steps. */
  readonly step: number;
  readonly steps: number;
  /** Of the last batch, nats per token. */
  readonly loss: number;
  /** Scored so far, without padding. */
  readonly tokens: number;
  readonly bytes: number;
  /** Spent in steps, over all parts of a resumed run. */
  readonly seconds: number;
}

/** Where a training state is kept between runs; `fileState` of `node/state.ts` is one safetensors file. */
export interface StateStore {
  /** Named in errors. */
  readonly name: string;
  /** The state kept last; null where there is none. */
  read(): Promise<TensorSource | null>;
  /** Keeps a state in place of the one before, whole or not at all. */
  write(tensors: Readonly<Record<string, TensorData>>, metadata: Readonly<Record<string, string>>): Promise<void>;
}

export interface TrainingOptions {
  /** Where the state is kept; missing: nowhere. */
  readonly state?: StateStore;
  /** Names what the run depends on (configuration, data, backend): a state of another run is refused. */
  readonly fingerprint?: string;
  readonly saveEverySeconds?: number;
  /** Stops the run after the current step; the state is saved and `Interrupted` thrown. */
  readonly signal?: AbortSignal;
  readonly onStep?: (progress: Progress) => void;
}

export interface TrainingResult extends Progress {
  /** The loss of every batch. */
  readonly losses: Float32Array;
  /** `seconds` after every batch. */
  readonly times: Float32Array;
}

/** A run was stopped on request, with everything saved. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

export async function train(training: Training, options: TrainingOptions = {}): Promise<TrainingResult> {
  const { parameters, batches, rate, warmup } = training;
  const optimizer = training.optimizer?.(parameters) ?? new AdamW(parameters);
  const list = Object.values(parameters);
  const history: History = { losses: [], times: [] };
  let progress: Progress = { step: 0, steps: batches.length, loss: Number.NaN, tokens: 0, bytes: 0, seconds: 0 };
  try {
    progress = (await restore(options, optimizer, history, batches.length)) ?? progress;
    let saved = performance.now();
    while (progress.step < batches.length) {
      const { step } = progress;
      const start = performance.now();
      const batch = makeBatch(batches.at(step)!);
      const loss = trainStep(
        () => training.loss(batch, step / batches.length),
        list,
        optimizer,
        rate * linearSchedule(step, batches.length, warmup),
      );
      const value = await loss.item();
      loss.dispose();
      if (!Number.isFinite(value))
        throw new Error(
          `train: the loss is ${value} at step ${step}; lower the learning rate (${rate}) or lengthen the warm-up (${warmup} steps)`,
        );
      progress = {
        step: step + 1,
        steps: batches.length,
        loss: value,
        tokens: progress.tokens + batch.tokens,
        bytes: progress.bytes + batch.bytes,
        seconds: progress.seconds + (performance.now() - start) / 1000,
      };
      history.losses.push(value);
      history.times.push(progress.seconds);
      options.onStep?.(progress);
      await nextTurn(); // signals arrive here
      const stop = options.signal?.aborted === true && progress.step < batches.length;
      if (
        stop ||
        progress.step === batches.length ||
        performance.now() - saved > 1000 * (options.saveEverySeconds ?? 20)
      ) {
        await save(options, optimizer, history, progress);
        saved = performance.now();
      }
      if (stop) throw new Interrupted(`stopped after step ${progress.step} of ${progress.steps}`);
    }
    return { ...progress, losses: Float32Array.from(history.losses), times: Float32Array.from(history.times) };
  } finally {
    optimizer.dispose();
  }
}

/**
 * One step: the loss, its gradients and the update; gives the loss before it, which the caller frees. Activations are
 * gone before the update begins, and gradients before it ends.
 */
export function trainStep(
  loss: () => Tensor,
  parameters: readonly Tensor[],
  optimizer: Optimizer,
  rate: number,
): Tensor {
  return scope(() => {
    const { value, gradients } = scope(() => {
      const mean = loss();
      return { value: mean.detach(), gradients: grad(mean, parameters, { freeGraph: true }) };
    });
    optimizer.update(gradients, rate);
    return value;
  });
}

/** What a run keeps of every step done. */
type History = Readonly<Record<'losses' | 'times', number[]>>;

async function save(
  { state, fingerprint = '' }: TrainingOptions,
  optimizer: Optimizer,
  history: History,
  progress: Progress,
): Promise<void> {
  if (state === undefined) return;
  const tensors: Record<string, TensorData> = {};
  for (const [name, values] of Object.entries(history))
    tensors[name] = { dtype: 'F32', shape: [values.length], data: Float32Array.from(values) };
  for (const [group, members] of Object.entries(optimizer.state)) {
    for (const [name, t] of Object.entries(members))
      tensors[`${group}/${name}`] = { dtype: 'F32', shape: t.shape, data: (await t.data()) as Float32Array };
  }
  await state.write(tensors, { fingerprint, progress: JSON.stringify(progress) });
}

/** Loads a saved state into parameters and optimiser; null where there is none yet. */
async function restore(
  { state, fingerprint = '' }: TrainingOptions,
  optimizer: Optimizer,
  history: History,
  steps: number,
): Promise<Progress | null> {
  if (state === undefined) return null;
  const file = await state.read();
  if (file === null) return null;
  if (file.metadata.get('fingerprint') !== fingerprint)
    throw new UserError(
      `${state.name}: belongs to a run with other settings, data or backend; start again with --fresh, or give another --out`,
    );
  const progress = parseProgress(file.metadata.get('progress') ?? '', state.name, steps);
  const floats = async (name: string, shape: readonly number[]) => {
    if (file.tensors.get(name)?.shape.join() !== shape.join())
      throw damaged(state.name, `"${name}" has not the shape [${shape.join(', ')}]`);
    return file.readFloats(name);
  };
  for (const [group, members] of Object.entries(optimizer.state)) {
    for (const [name, t] of Object.entries(members)) {
      t.assign(
        tensor(await floats(`${group}/${name}`, t.shape), { shape: t.shape, dtype: t.dtype, backend: t.backend }),
      );
    }
  }
  for (const [name, values] of Object.entries(history))
    for (const value of await floats(name, [progress.step])) values.push(value);
  optimizer.steps = progress.step;
  return progress;
}

function parseProgress(text: string, state: string, steps: number): Progress {
  const progress = parseJson(text, `${state}: its progress`) as Progress | null;
  const { step, loss, tokens, bytes, seconds } = progress ?? ({} as Partial<Progress>);
  if (progress?.steps !== steps || !Number.isInteger(step) || step! < 1 || step! > steps)
    throw damaged(state, `step ${step} of ${progress?.steps} is none of ${steps}`);
  if (![loss, tokens, bytes, seconds].every(Number.isFinite)) throw damaged(state, 'its progress lacks numbers');
  return progress;
}

const damaged = (state: string, what: string): UserError =>
  new UserError(`${state}: is damaged: ${what}; delete it to train this part again`);
