/**
 * Backends of this browser, each checked before it is used: a layer of a small network with its gradients, the sparse
 * Sinkhorn layer among it, must come out as the reference computes it.
 */
import { createBackend, createWasmBackend, grad, Random, scope, tensor, type Backend } from '../../../engine/index.ts';
import { UserError } from '../../../models/errors.ts';
import { sparseSinkhorn } from '../../sinkhorn.ts';
import type { BackendChoice, BackendReport } from '../protocol.ts';

/** Bytes: pages share their memory with others, and phones do not reserve more than this. */
export const pageMemory = 2 ** 30;
/** For a model that does not fit into that: all that WebAssembly can address, less a page. */
export const mostMemory = 2 ** 32 - 2 ** 16;

/** A backend that has passed its check. */
export interface Verified {
  readonly backend: Backend;
  readonly report: BackendReport;
}

function openWasm({ plain, threads }: BackendChoice, memoryLimit: number): Backend {
  try {
    return createWasmBackend({
      memoryLimit,
      ...(plain ? { relaxedSimd: false } : {}),
      ...(threads > 0 ? { threads } : {}),
    });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UserError(`this browser gives a page less than ${(memoryLimit / 2 ** 30).toFixed(1)} GiB of memory`);
  }
}

async function open(choice: BackendChoice, memoryLimit: number): Promise<Backend> {
  const { name } = choice;
  if (name === 'wasm') return openWasm(choice, memoryLimit);
  if (name === 'webgpu' && !('gpu' in navigator)) throw new UserError('this browser has no WebGPU');
  try {
    const { openGpuBackend } = await import('../../../engine/gpu/open.ts');
    return await openGpuBackend(name);
  } catch (error) {
    // The message lists what Node would need; a page has the browser's word for it.
    const { cause } = error as Error;
    throw new UserError(`${name}: ${cause instanceof Error ? cause.message.split('\n')[0] : 'does not work here'}`);
  }
}

const [rows, columns, width, targets] = [12, 20, 16, 8];

/** Loss, probabilities, and gradients of a plan's cost and of a weight, by `backend`. */
async function sampleOf(backend: Backend): Promise<number[]> {
  const random = new Random(1).split('verify');
  const place = (shape: readonly number[], scale: number, requiresGrad = false) =>
    tensor(
      new Float32Array(shape.reduce((a, b) => a * b, 1)).map(() => scale * random.normal()),
      { shape, requiresGrad, backend },
    );
  const constant = (shape: readonly number[], value: number) =>
    tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value), { shape, backend });
  const cost = place([rows, columns], 1, true);
  const [embedding, weight] = [place([columns, width], 1), place([width, targets], 0.3, true)];
  const [mu, nu] = [constant([rows], 1 / rows), constant([columns], 1 / columns)];
  const labels = tensor(
    Int32Array.from({ length: rows }, (_, i) => i % targets),
    { backend },
  );
  const results = scope(() => {
    const { plan } = sparseSinkhorn(cost.mul(-1 / rows), mu, nu, { variant: 'dual', iterations: 3 });
    const hidden = plan.sparseMatmul(embedding).mul(rows).gelu(); // (rows, width)
    const logits = hidden.matmul(weight); // (rows, targets)
    const loss = logits.crossEntropy(labels).mean();
    return [loss.detach(), logits.softmax().detach(), ...grad(loss, [cost, weight])];
  });
  const values: number[] = [];
  for (const t of results) values.push(...(await t.data()));
  [...results, cost, embedding, weight, mu, nu, labels].forEach(t => t.dispose());
  return values;
}

/**
 * Entries are sums of about a hundred terms of order one, several deep: float32 in any order stays within a few hundred
 * units of roundoff, and so do the exponentials of graphics cards. A wrong kernel is off by orders of magnitude.
 */
const bound = 2 ** -14;

/** Opens a backend, or says why it is not offered. */
export async function openVerified(choice: BackendChoice, memoryLimit = pageMemory): Promise<Verified> {
  const backend = await open(choice, memoryLimit);
  const expected = await sampleOf(createBackend('reference'));
  const actual = await sampleOf(backend);
  const error = Math.max(...actual.map((x, i) => Math.abs(x - expected[i]) / (1 + Math.abs(expected[i])))) / bound;
  if (!(error <= 1) || actual.length !== expected.length) {
    backend.close?.();
    throw new UserError(`${choice.name}: fails its check (off by ${error.toPrecision(2)} times the bound); not used`);
  }
  return { backend, report: { choice, description: backend.describe(), error } };
}
