/**
 * The page's first exhibit: a plan small enough to be seen whole. Twelve target tokens of proteins, twenty source
 * tokens, the letters; a cost of noise and of what the text of the tokens says; the sparse layer beside the entropic
 * one.
 */
import { createBackend, noGrad, Random, scope, tensor, type Tensor } from '../../../engine/index.ts';
import { compress, reportPlan, type Plan } from '../../plan.ts';
import { denseSinkhorn, sparseSinkhorn } from '../../sinkhorn.ts';
import type { Toy, ToyRound, ToySettings } from '../protocol.ts';
import { toyColumns as columns, toyIterations, toyRows as rows } from '../toy-tokens.ts';

/** In float64 and in the order of plain loops, so that nothing but the method is seen. */
const backend = createBackend('reference');

/** What the text of a token says: the share of each letter in it. */
const pieces = rows.map(row => columns.map(c => [...row].filter(r => r === c).length / row.length));

/** The toy plan of these settings, sparse and entropic, after each round. */
export async function makeToy({ variant, alpha, marginals, prior, seed }: ToySettings): Promise<Toy> {
  const [u, v] = [rows.length, columns.length];
  const random = new Random(seed).split('toy');
  const cost = Float64Array.from({ length: u * v }, (_, e) => {
    const noise = random.normal();
    return (1 - prior) * noise - 3 * prior * pieces[Math.floor(e / v)][e % v];
  });
  const mu = new Float64Array(u).fill(1 / u);
  // Zipf: the k-th column has mass in proportion to 1/k.
  const weights = columns.map((_, j) => (marginals === 'uniform' ? 1 : 1 / (j + 1)));
  const total = weights.reduce((a, b) => a + b, 0);
  const nu = Float64Array.from(weights, w => w / total);
  const place = (data: Float64Array<ArrayBuffer>, shape: readonly number[]) =>
    tensor(data, { shape, dtype: 'float64', backend });
  const [C, muTensor, nuTensor] = [place(cost, [u, v]), place(mu, [u]), place(nu, [v])];

  const figures = async (plan: Tensor): Promise<ToyRound> => {
    const values = Float32Array.from(await plan.data());
    plan.dispose();
    const report = reportPlan({
      ...compress(values, u, v),
      mu: Float32Array.from(mu),
      nu: Float32Array.from(nu),
    } as unknown as Plan);
    return { plan: values, support: report.support, entropy: report.entropy, misplaced: report.residual };
  };
  const [sparse, entropic]: ToyRound[][] = [[], []];
  for (let iterations = 1; iterations <= toyIterations; iterations++) {
    sparse.push(
      await figures(
        noGrad(() =>
          scope(() => sparseSinkhorn(C.mul(-1 / (alpha * u)), muTensor, nuTensor, { variant, iterations }).plan),
        ),
      ),
    );
    entropic.push(
      await figures(noGrad(() => scope(() => denseSinkhorn(C.mul(-1 / alpha), muTensor, nuTensor, iterations).plan))),
    );
  }
  [C, muTensor, nuTensor].forEach(t => t.dispose());
  return { rows, columns, sparse, entropic };
}
