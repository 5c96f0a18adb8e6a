/** The engine: tensors, operations, gradients, backends. It knows nothing of language models. */
import { createReferenceBackend } from './reference.ts';
import { setBackend } from './tensor.ts';

export type * from './backend.ts';
export * from './autograd.ts';
export { apply, noGrad, row, table, type Node, type Op, type Sample } from './op.ts';
export * from './ops/elementwise.ts';
export * from './ops/layout.ts';
export * from './ops/linear.ts';
export * from './ops/nn.ts';
export * from './ops/reduce.ts';
export * from './ops/simplex.ts';
export * from './random.ts';
export * from './reference.ts';
export { arange, full, getBackend, memory, ones, scope, setBackend, Tensor, tensor, zeros, type TensorOptions } from './tensor.ts';

setBackend(createReferenceBackend());
