/** Runs one of ONNX's node tests on the engine. */
import { createReferenceBackend, tensor, type Backend, type DType, type Tensor } from '../../../engine/index.ts';
import { operators, type Case } from './operators.ts';

const reference = createReferenceBackend();

/** The outputs, or null where the engine has no such operation. */
export function evaluate(
  { operator, opset, attributes, inputs }: Case,
  backend: Backend = reference,
  dtype: Exclude<DType, 'int32'> = 'float64',
): Tensor[] | null {
  const xs = inputs.map(x =>
    x ? tensor([...x.values], { shape: x.shape, backend, dtype: x.type === 'float' ? dtype : 'int32' }) : undefined,
  ) as Tensor[];
  return operators[operator]({ xs, given: inputs, attributes, opset, dtype });
}
