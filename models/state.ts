/**
 * The state of a training between runs: parameters and the optimiser's moments, the history of the steps done, and a
 * checksum of each, so that a bit that flipped on the disk is an error and never a slightly different model. What holds
 * states is a `StateStore`.
 */
import { tensor, type Tensor } from '../engine/index.ts';
import type { Optimizer } from './adamw.ts';
import { UserError } from './errors.ts';
import { parseJson } from './json.ts';
import type { TensorSource } from './safetensors/source.ts';
import type { TensorData } from './safetensors/write.ts';

/** Where a training state is kept between runs; `fileState` of `node/state.ts` is one safetensors file. */
export interface StateStore {
  /** Named in errors. */
  readonly name: string;
  /** What its states depend on, kept with them: an error about another run's state names what differs. */
  readonly settings?: Readonly<Record<string, number>>;
  /** Kept with states. A resumed state of another version may end in other figures than either version gives. */
  readonly version?: string;
  /** Learns which version a resumed state is of, where it is another one than `version`. */
  readonly onOtherVersion?: (version: string) => void;
  /** The state kept last; null where there is none. */
  read(): Promise<TensorSource | null>;
  /** Keeps a state in place of the one before, whole or not at all. */
  write(tensors: Readonly<Record<string, TensorData>>, metadata: Readonly<Record<string, string>>): Promise<void>;
}

/** A kept state is another run's. */
export class AnotherRun extends UserError {
  /** The message without its advice, for those who have a better one. */
  readonly what: string;

  constructor(what: string) {
    super(`${what}; delete it to train this part again`);
    this.what = what;
  }
}

/** How far a training run has come. */
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
  /** What validation has found so far, in the order of steps; missing where there is none. */
  readonly validations?: readonly ValidationPoint[];
}

/** A figure on validation data, and what training had spent by then. */
export interface ValidationPoint extends Pick<Progress, 'step' | 'tokens' | 'bytes' | 'seconds'> {
  /** The lower the better. */
  readonly value: number;
}

/** What a run keeps of every step done, by name. */
export type History = Readonly<Record<string, number[]>>;

/** A run that has ended needs its parameters and no moments. */
const membersOf = (optimizer: Optimizer, { step, steps }: Pick<Progress, 'step' | 'steps'>): [string, Tensor][] =>
  Object.entries(optimizer.state)
    .filter(([group]) => group === 'parameter' || step < steps)
    .flatMap(([group, members]) =>
      Object.entries(members).map(([name, t]): [string, Tensor] => [`${group}/${name}`, t]),
    );

/** Bytes of a state in the middle of a run, history apart. */
export const stateBytes = (optimizer: Optimizer): number =>
  membersOf(optimizer, { step: 0, steps: 1 }).reduce((bytes, [, t]) => bytes + 4 * t.size, 0);

/** Tensors are read from the backend one at a time, while they are written. */
export async function saveState(
  store: StateStore,
  fingerprint: string,
  optimizer: Optimizer,
  history: History,
  progress: Progress,
): Promise<void> {
  const tensors: Record<string, TensorData> = {};
  const text = JSON.stringify(progress);
  const sums: number[] = [...checksum(new TextEncoder().encode(text))];
  const add = (name: string, shape: readonly number[], read: () => Promise<Float32Array>) => {
    const data = async function* () {
      const values = await read();
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      sums.push(...checksum(bytes));
      yield bytes;
    };
    tensors[name] = { dtype: 'F32', shape, data };
  };
  for (const [name, values] of Object.entries(history))
    add(name, [values.length], async () => Float32Array.from(values));
  for (const [name, t] of membersOf(optimizer, progress))
    add(name, t.shape, async () => (await t.data()) as Float32Array);
  // Written last, when the sums are known.
  const count = 1 + Object.keys(tensors).length;
  tensors[sumsName] = { dtype: 'I32', shape: [count, 2], data: () => [new Uint8Array(Int32Array.from(sums).buffer)] };
  const settings = store.settings && { settings: JSON.stringify(store.settings) };
  const version = store.version === undefined ? undefined : { version: store.version };
  await store.write(tensors, { fingerprint, progress: text, ...settings, ...version });
}

const sumsName = 'checksums';

/** Loads a saved state into parameters, optimiser and history; null where there is none yet. */
export async function restoreState(
  store: StateStore,
  fingerprint: string,
  optimizer: Optimizer,
  history: History,
  steps: number,
): Promise<Progress | null> {
  const file = await store.read();
  if (file === null) return null;
  if (file.metadata.get('fingerprint') !== fingerprint)
    throw new AnotherRun(
      `${store.name}: belongs to a run with other settings${whatDiffers(store, file.metadata.get('settings'))}`,
    );
  const text = file.metadata.get('progress') ?? '';
  const progress = parseProgress(text, store.name, steps);
  if (!file.tensors.has(sumsName)) throw damaged(store.name, 'it has no checksums');
  const sums = await file.read(sumsName);
  let next = 0;
  const check = (what: string, bytes: Uint8Array) => {
    const [a, b] = checksum(bytes);
    if (sums[next++] !== a || sums[next++] !== b) throw damaged(store.name, `the checksum of ${what} does not fit`);
  };
  check('its progress', new TextEncoder().encode(text));
  const floats = async (name: string, shape: readonly number[]) => {
    if (file.tensors.get(name)?.shape.join() !== shape.join())
      throw damaged(store.name, `"${name}" does not have the shape [${shape.join(', ')}]`);
    const values = await file.readFloats(name);
    check(`"${name}"`, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    return values;
  };
  for (const [name, values] of Object.entries(history))
    for (const value of await floats(name, [progress.step])) values.push(value);
  for (const [name, t] of membersOf(optimizer, progress))
    t.assign(tensor(await floats(name, t.shape), { shape: t.shape, dtype: t.dtype, backend: t.backend }));
  optimizer.steps = progress.step;
  const version = file.metadata.get('version') ?? 'that recorded none';
  if (store.version !== undefined && version !== store.version) store.onOtherVersion?.(version);
  return progress;
}

/** `: rate was 0.1, is 0.2`, where a state says what it depends on; a sum of what can differ, where it does not. */
function whatDiffers({ name, settings = {} }: StateStore, kept: string | undefined): string {
  const before = (kept === undefined ? {} : parseJson(kept, `${name}: its settings`)) as Readonly<
    Record<string, unknown>
  >;
  const changes = Object.entries(settings).flatMap(([key, now]) => {
    const was = before?.[key];
    return typeof was === 'number' && was !== now ? [`${key} was ${was}, is ${now}`] : [];
  });
  return changes.length > 0 ? `: ${changes.join(', ')}` : ', learning rates, data or backend';
}

function parseProgress(text: string, state: string, steps: number): Progress {
  const progress = parseJson(text, `${state}: its progress`) as Progress | null;
  const { step, loss, tokens, bytes, seconds } = progress ?? ({} as Partial<Progress>);
  if (progress?.steps !== steps || !Number.isInteger(step) || step! < 1 || step! > steps)
    throw damaged(state, `step ${step} of ${progress?.steps} is none of ${steps}`);
  const points = progress.validations ?? [];
  const numbers = [loss, tokens, bytes, seconds, ...(Array.isArray(points) ? points : [{}]).flatMap(numbersOf)];
  if (!numbers.every(Number.isFinite)) throw damaged(state, 'its progress lacks numbers');
  return progress;
}

const numbersOf = (point: Partial<ValidationPoint> | null): unknown[] =>
  (['step', 'tokens', 'bytes', 'seconds', 'value'] as const).map(key => point?.[key]);

const damaged = (state: string, what: string): UserError =>
  new UserError(`${state}: is damaged: ${what}; delete it to train this part again`);

/**
 * Fletcher's checksum (1982) over 32-bit words modulo 2³², two int32: the sum of the words, which every flipped bit
 * changes, and the sum of these sums, which two neighbours in another order change. It runs at the speed of memory.
 */
export function checksum(bytes: Uint8Array): [number, number] {
  const whole = bytes.length >> 2;
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  const words = new Int32Array(aligned.buffer, aligned.byteOffset, whole);
  let [a, b] = [bytes.length, 0];
  for (let i = 0; i < whole; i++) {
    a = (a + words[i]) | 0;
    b = (b + a) | 0;
  }
  for (const byte of bytes.subarray(4 * whole)) {
    a = (a + byte) | 0;
    b = (b + a) | 0;
  }
  return [a, b];
}

/**
 * Seconds between the end of one save and the beginning of the next: no fewer than requested, and so many that saving
 * takes at most `saveShare` of the time. 0 asks for a save after every step, whatever it costs.
 */
export const saveInterval = (everySeconds: number, secondsOfOne: number): number =>
  everySeconds === 0 ? 0 : Math.max(everySeconds, secondsOfOne / saveShare);

const saveShare = 0.03;

/** Bytes a second that a save is expected to reach before one has been timed: a slow disk. */
export const expectedSaveRate = 200e6;
