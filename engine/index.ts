/** The engine: tensors, operations, gradients, backends. It knows nothing of language models. */
import { createBackend } from './backends.ts';
import { setDefaultBackend } from './tensor.ts';

export type * from './backend.ts';
export * from './attributes.ts';
export * from './autograd.ts';
export * from './backends.ts';
export * from './checkpoint.ts';
export { apply, defineOp, isRecording, noGrad, ops, withGradient, type Op, type TableOp } from './op.ts';
export * from './ops/elementwise.ts';
export * from './ops/layout.ts';
export * from './ops/linear.ts';
export * from './ops/nn.ts';
export * from './ops/reduce.ts';
export * from './ops/selection.ts';
export * from './ops/simplex.ts';
export * from './parking.ts';
export * from './random.ts';
export * from './reference.ts';
export * from './rehearsal.ts';
export { createWasmBackend, OutOfMemory, type WasmOptions } from './wasm/index.ts';
export {
  arange,
  full,
  getBackend,
  memory,
  ones,
  peakBytes,
  scope,
  setBackend,
  Tensor,
  tensor,
  written,
  zeros,
  type Node,
  type Rules,
  type TensorOptions,
} from './tensor.ts';

setDefaultBackend(() => createBackend('auto'));
