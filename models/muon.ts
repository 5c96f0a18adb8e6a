/**
 * Muon (Jordan et al. 2024): momentum whose update is orthogonalised, for the matrices inside a transformer; everything
 * else (embedding, head, vectors) goes through AdamW. Updates are scaled by 0.2 √max(rows, columns), so that their root
 * mean square is AdamW's and one learning rate serves both (Liu et al. 2025, arXiv 2502.16982, section 2.2).
 */
import { noGrad, scope, zeros, type Tensor } from '../engine/index.ts';
import { AdamW, adamWDefaults, type AdamWOptions, type Optimizer } from './adamw.ts';

/** Settings of Muon, and of AdamW for all other parameters. */
export interface MuonOptions extends AdamWOptions {
  /** μ, of the orthogonalised matrices. */
  readonly momentum: number;
  /** The learning rate of everything else, in units of theirs. */
  readonly othersRate: number;
}

/** AdamW's defaults, μ = 0.95 (Jordan et al. 2024), one rate for all parameters. */
export const muonDefaults: MuonOptions = { ...adamWDefaults, momentum: 0.95, othersRate: 1 };

/**
 * The orthogonal factor U Vᵀ of a matrix U S Vᵀ, roughly: five steps of an odd polynomial of degree five bring singular
 * values between 0.7 and 1.2 (Jordan et al. 2024).
 */
export function orthogonalise(g: Tensor): Tensor {
  const [a, b, c] = [3.4445, -4.775, 2.0315];
  const wide = g.shape[0] <= g.shape[1];
  let x = g.div(g.square().sum().sqrt().add(1e-7)); // (R, C)
  for (let step = 0; step < 5; step++) {
    const s = x.matmul(x, wide ? { transposeB: true } : { transposeA: true }); // X Xᵀ or Xᵀ X, the smaller
    const polynomial = s.mul(b).add(s.matmul(s).mul(c));
    x = x.mul(a).add(wide ? polynomial.matmul(x) : x.matmul(polynomial));
  }
  return x;
}

/** Muon for hidden matrices and AdamW for the rest, over one record of parameters that it changes in place. */
export class Muon implements Optimizer {
  readonly parameters: Readonly<Record<string, Tensor>>;
  /** Σ μᵗ g of the matrices that are orthogonalised. */
  readonly momentum: Record<string, Tensor> = {};
  readonly #others: AdamW;
  readonly #options: MuonOptions;

  /** `isHidden` says by name which parameters are matrices inside the transformer. */
  constructor(
    parameters: Readonly<Record<string, Tensor>>,
    isHidden: (name: string) => boolean,
    options: Partial<MuonOptions> = {},
  ) {
    this.parameters = parameters;
    this.#options = { ...muonDefaults, ...options };
    const others: Record<string, Tensor> = {};
    for (const [name, p] of Object.entries(parameters)) {
      if (!isHidden(name)) others[name] = p;
      else if (p.shape.length === 2) this.momentum[name] = zeros(p.shape, { dtype: p.dtype, backend: p.backend });
      else throw new Error(`Muon: ${name} has shape [${p.shape.join(', ')}]; only a matrix can be orthogonalised`);
    }
    this.#others = new AdamW(others, this.#options);
  }

  get steps(): number {
    return this.#others.steps;
  }

  set steps(n: number) {
    this.#others.steps = n;
  }

  get state() {
    const { mean, variance } = this.#others;
    return { parameter: this.parameters, mean, variance, momentum: this.momentum };
  }

  update(gradients: readonly Tensor[], rate: number): void {
    const { momentum, weightDecay, othersRate } = this.#options;
    const members = Object.entries(this.parameters).map(([name, p], i) => ({ name, p, g: gradients[i] }));
    this.#others.update(
      members.filter(({ name }) => !(name in this.momentum)).map(({ g }) => g),
      othersRate * rate,
    );
    for (const { name, p, g } of members.filter(m => m.name in this.momentum)) {
      noGrad(() =>
        scope(() => {
          const m = this.momentum[name].mul(momentum).add(g);
          const step = orthogonalise(g.add(m.mul(momentum))); // Nesterov
          p.assign(p.mul(1 - rate * weightDecay).sub(step.mul(0.2 * rate * Math.sqrt(Math.max(...p.shape)))));
          this.momentum[name].assign(m);
          g.dispose();
        }),
      );
    }
  }

  dispose(): void {
    this.#others.dispose();
    for (const t of Object.values(this.momentum)) t.dispose();
  }
}
