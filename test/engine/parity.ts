/**
 * Rows of the operation table on a backend against the reference in float64, as numbers: it runs in a page as well as
 * in Node, so it asserts nothing.
 */
import {
  apply,
  createReferenceBackend,
  grad,
  Random,
  scope,
  tensor,
  type Backend,
  type TableOp,
  type Tensor,
  type TypedArray,
} from '../../engine/index.ts';
import { distanceFromKink, hasGradient, type Sample, samplingOf } from '../../engine/ops/samples.ts';
import { trainingStep } from '../../bench/step.ts';
import { sizeOf } from '../../engine/shape.ts';

export const reference = createReferenceBackend();

/** Scales of the inputs: around the width of a vector, a cache line and a tile. */
export const sizes = [1, 3, 5, 17, 33];

/** The unit roundoff of float32. */
const unit = 2 ** -24;

export interface Parity {
  readonly op: string;
  /** The largest error of a value, and of a gradient, in roundoffs. */
  readonly values: number;
  readonly gradients: number;
  /** A hash of all results' bits. */
  readonly bits: number;
}

interface Results {
  readonly y: TypedArray;
  readonly gradients: readonly TypedArray[];
}

async function run(
  op: TableOp,
  backend: Backend,
  inputs: readonly Sample[],
  attributes: unknown,
  weights: Float32Array,
): Promise<Results> {
  const dtype = backend.floats.includes('float64') ? 'float64' : 'float32';
  const tensors = scope(() => {
    const xs = inputs.map((x, i) =>
      x.values instanceof Int32Array
        ? tensor(x.values, { shape: x.shape, backend })
        : tensor(x.values, { shape: x.shape, backend, dtype, requiresGrad: hasGradient(op, x, i) }),
    );
    const own =
      attributes !== null && typeof attributes === 'object' && 'dtype' in attributes
        ? { ...attributes, dtype }
        : attributes;
    const y = apply(op, xs, own);
    const differentiable = y.requiresGrad && (op.vjp !== undefined || !op.name.startsWith('adamw'));
    const wanted = xs.filter(x => x.requiresGrad);
    const outputGrad = tensor(Float32Array.from(weights), { shape: y.shape, backend, dtype });
    const gradients: Tensor[] = differentiable ? grad(y, wanted, { outputGrad }) : [];
    return [y, ...gradients];
  });
  const [y, ...gradients] = await Promise.all(tensors.map(t => t.data()));
  tensors.forEach(t => t.dispose());
  return { y, gradients };
}

const rounded = (x: Sample): Sample =>
  x.values instanceof Float64Array ? { ...x, values: Float64Array.from(Float32Array.from(x.values)) } : x;

/** The largest difference, in roundoffs of the largest element or of 1; infinite where one is NaN. */
function errorOf(actual: TypedArray, exact: TypedArray): number {
  if (actual.length !== exact.length) return Infinity;
  let [scale, worst] = [1, 0];
  for (const v of exact) scale = Math.max(scale, Math.abs(v));
  for (let i = 0; i < exact.length; i++) {
    const error = actual[i] === Math.fround(exact[i]) ? 0 : Math.abs(actual[i] - exact[i]) / (unit * scale);
    if (!(error <= worst)) worst = Number.isNaN(error) ? Infinity : error;
  }
  return worst;
}

export const hashStart = 0x811c9dc5;

/** FNV-1a over the bytes. */
export function hash(start: number, values: TypedArray): number {
  let h = start;
  for (const byte of new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    h = Math.imul(h ^ byte, 0x01000193);
  return h >>> 0;
}

/** A row at every size, on inputs that are the same wherever this runs. */
export async function parity(op: TableOp, backend: Backend, sizes: readonly number[]): Promise<Parity> {
  const random = new Random(17);
  let [values, gradients, bits] = [0, 0, hashStart];
  for (const size of sizes) {
    const sample = samplingOf(op).draw(random, size);
    if (distanceFromKink(op, sample.inputs, sample.attributes) < 1e-3) continue; // float32 may fall on the other side
    const inputs = sample.inputs.map(rounded);
    const weights = new Float32Array(
      sizeOf(
        op.shape(
          inputs.map(x => x.shape),
          sample.attributes,
        ),
      ),
    ).map(() => random.normal());
    const actual = await run(op, backend, inputs, sample.attributes, weights);
    const exact = await run(op, reference, inputs, sample.attributes, weights);
    if (actual.gradients.length !== exact.gradients.length)
      throw new Error(
        `parity: ${op.name} has ${actual.gradients.length} gradients, should have ${exact.gradients.length}`,
      );
    values = Math.max(values, errorOf(actual.y, exact.y));
    exact.gradients.forEach((g, i) => {
      gradients = Math.max(gradients, errorOf(actual.gradients[i], g));
    });
    bits = [actual.y, ...actual.gradients].reduce(hash, bits);
  }
  return { op: op.name, values, gradients, bits };
}

/** The loss of a small transformer before each of several updates by AdamW. */
export async function lossCurve(backend: Backend, steps: number): Promise<number[]> {
  const work = trainingStep(
    backend,
    {
      family: 'olmo',
      vocabSize: 50,
      width: 16,
      layers: 2,
      heads: 2,
      keyValueHeads: 2,
      feedForward: 40,
      context: 24,
      rotaryBase: 10000,
      normEps: 1e-5,
      tied: false,
    },
    { rows: 3, length: 24 },
  );
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) {
    const loss = work.run();
    losses.push(await loss.item());
    loss.dispose();
  }
  work.dispose();
  return losses;
}
