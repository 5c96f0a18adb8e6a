/**
 * AdamW (Loshchilov & Hutter 2019) with clipping of the global gradient norm, and the learning-rate schedule.
 * The update itself is three rows of the operation table; this class keeps the running moments.
 */
import {
  adamwMean,
  adamwStep,
  adamwVariance,
  div,
  minimum,
  noGrad,
  scope,
  zeros,
  type Tensor,
} from '../engine/index.ts';

/** What a training loop needs of an optimiser; `state` is what a resumed run must have back, parameters included. */
export interface Optimizer {
  readonly state: Readonly<Record<string, Readonly<Record<string, Tensor>>>>;
  /** Updates made. */
  steps: number;
  /**
   * One update at a learning rate; `gradients` in the order of the parameters. Each is freed once it is used, so that
   * at no time all gradients and all new values are in memory.
   */
  update(gradients: readonly Tensor[], rate: number): void;
  dispose(): void;
}

/** Settings of AdamW; `adamWDefaults` has the values of those that are left out. */
export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  /** Beside √v̂, so in units of a gradient. */
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Largest global norm of the gradients; Infinity leaves them alone. */
  readonly clip: number;
  /** The learning rate of a parameter, in units of the rate. */
  readonly rateOf: (name: string) => number;
}

/** β₂ and the decay of GPT-3 and LLaMA, gradients clipped to norm 1. */
export const adamWDefaults: AdamWOptions = {
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
  clip: 1,
  rateOf: () => 1,
};

/** AdamW over a record of parameters, which it changes in place; the state lives until `dispose`. */
export class AdamW implements Optimizer {
  readonly parameters: Readonly<Record<string, Tensor>>;
  readonly options: AdamWOptions;
  /** Running means of gradients and of squared gradients, by parameter. */
  readonly mean: Record<string, Tensor> = {};
  readonly variance: Record<string, Tensor> = {};
  steps = 0;

  constructor(parameters: Readonly<Record<string, Tensor>>, options: Partial<AdamWOptions> = {}) {
    this.parameters = parameters;
    this.options = { ...adamWDefaults, ...options };
    for (const [name, p] of Object.entries(parameters)) {
      const like = { dtype: p.dtype, backend: p.backend };
      this.mean[name] = zeros(p.shape, like);
      this.variance[name] = zeros(p.shape, like);
    }
  }

  get state() {
    return { parameter: this.parameters, mean: this.mean, variance: this.variance };
  }

  /** Only matrices decay. */
  update(gradients: readonly Tensor[], rate: number): void {
    const { beta1, beta2, epsilon, weightDecay, rateOf } = this.options;
    this.steps++;
    noGrad(() =>
      scope(() => {
        const scale = this.clipping(gradients);
        Object.entries(this.parameters).forEach(([name, p], i) => {
          const [mean, variance] = [this.mean[name], this.variance[name]];
          const g = scale ? gradients[i].mul(scale) : gradients[i].detach();
          gradients[i].dispose();
          mean.assign(adamwMean(mean, g, beta1));
          variance.assign(adamwVariance(variance, g, beta2));
          g.dispose();
          p.assign(
            adamwStep(p, mean, variance, {
              lr: rate * rateOf(name),
              weightDecay: p.shape.length > 1 ? weightDecay : 0,
              eps: epsilon,
              correction1: 1 - beta1 ** this.steps,
              correction2: 1 - beta2 ** this.steps,
            }),
          );
        });
      }),
    );
  }

  /** What every gradient is multiplied by, a scalar; null where nothing is clipped. */
  private clipping(gradients: readonly Tensor[]): Tensor | null {
    const { clip } = this.options;
    if (clip === Infinity || gradients.length === 0) return null;
    const squares = gradients.map(g => scope(() => g.square().sum()));
    const norm = squares.reduce((a, b) => a.add(b)).sqrt();
    return minimum(1, div(clip, norm.add(1e-6)));
  }

  dispose(): void {
    for (const moments of [this.mean, this.variance]) for (const t of Object.values(moments)) t.dispose();
  }
}

/**
 * The share of the peak learning rate at step 0 … steps−1: a linear rise over `warmup` steps, then a linear fall to
 * zero.
 */
export function linearSchedule(step: number, steps: number, warmup: number): number {
  if (step < warmup) return (step + 1) / warmup;
  return (steps - step) / Math.max(1, steps - warmup);
}
