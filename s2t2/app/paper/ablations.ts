/**
 * What one setting of S2T2 does to the plan and to bits per byte, everything else at the table's settings. Validation
 * data.
 */
import { methods } from '../../methods.ts';
import type { Settings } from '../../settings.ts';
import { variants } from '../../sinkhorn.ts';
import { runCells, type Bench } from './cells.ts';

/** A setting that ablations vary. */
export type AblationName = 'alpha' | 'T' | 'variant' | 'noise' | 'prior' | 'share' | 'head' | 'spread' | 'bias';

/** The values of a setting that are tried. */
const choices: Readonly<
  Record<AblationName, (base: Settings) => readonly { readonly value: string; readonly vary: Partial<Settings> }[]>
> = {
  alpha: base =>
    [0.1, 0.3, 1, 3, 10, 30].map(factor => ({ value: `${factor}/v`, vary: { alpha: factor * base.alpha } })),
  T: () => [1, 2, 3, 5, 10].map(iterations => ({ value: String(iterations), vary: { iterations } })),
  variant: () => variants.map(variant => ({ value: variant, vary: { variant } })),
  noise: () => [0.01, 0.1, 0.5].map(noise => ({ value: String(noise), vary: { noise } })),
  prior: () => [0.03, 0.1, 0.3, 1].map(smoothing => ({ value: String(smoothing), vary: { smoothing } })),
  share: () => [0.03, 0.1, 0.2, 0.3, 0.5].map(planShare => ({ value: String(planShare), vary: { planShare } })),
  head: () =>
    (['columns', 'rows'] as const).map(headNormalisation => ({
      value: headNormalisation,
      vary: { headNormalisation },
    })),
  spread: () => (['none', 'isotropic'] as const).map(spread => ({ value: spread, vary: { spread } })),
  bias: () => (['none', 'frequencies'] as const).map(headBias => ({ value: headBias, vary: { headBias } })),
};

/** The settings that ablations can vary. */
export const ablationNames = Object.keys(choices) as AblationName[];

/** One setting varied, with what each value reached. */
export interface Ablation {
  readonly name: AblationName;
  readonly rows: readonly {
    readonly value: string;
    /** Source tokens a target token. */
    readonly support: number;
    /** Mean entropy of a row, in bits. */
    readonly entropy: number;
    /** Misplaced mass. */
    readonly residual: number;
    /** Bits per byte. */
    readonly before: number;
    readonly after: number;
  }[];
}

/** Varies settings one at a time, on validation data. */
export async function ablate(bench: Bench, names: readonly AblationName[], base: Settings): Promise<Ablation[]> {
  const cells = names.flatMap(name =>
    choices[name](base).map(({ value, vary }) => ({
      key: `${name} ${value}`,
      method: methods.s2t2,
      settings: { ...base, ...vary },
      name,
      value,
    })),
  );
  const results = [...(await runCells(bench, 'ablations', cells))];
  return names.map(name => ({
    name,
    rows: results
      .filter(([cell]) => cell.name === name)
      .map(([{ value }, { row, plan }]) => ({
        value,
        support: plan!.supportPerRow[1],
        entropy: plan!.entropy,
        residual: plan!.residual,
        before: row.before!.bitsPerByte,
        after: row.after.bitsPerByte,
      })),
  }));
}
