/** What one setting of S2T2 does to the plan and to bits per byte, everything else at the table's settings. Validation data. */
import { methods } from '../../methods.ts';
import type { Settings } from '../../settings.ts';
import { variants } from '../../sinkhorn.ts';
import { runCells, type Bench } from './cells.ts';

export type AblationName =
  | 'alpha'
  | 'T'
  | 'marginals'
  | 'variant'
  | 'init'
  | 'share'
  | 'normalisation'
  | 'body'
  | 'ends';

/** The values of a setting that are tried. */
const choices: Readonly<
  Record<AblationName, (base: Settings) => readonly { readonly value: string; readonly vary: Partial<Settings> }[]>
> = {
  alpha: base =>
    [0.1, 0.3, 1, 3, 10, 30].map(factor => ({ value: `${factor}/v`, vary: { alpha: factor * base.alpha } })),
  T: () => [1, 2, 3, 5, 10].map(iterations => ({ value: String(iterations), vary: { iterations } })),
  marginals: () => (['uniform', 'frequency'] as const).map(marginals => ({ value: marginals, vary: { marginals } })),
  variant: () => variants.map(variant => ({ value: variant, vary: { variant } })),
  init: () => [
    { value: 'noise 0.01', vary: { noise: 0.01 } },
    { value: 'noise 0.1', vary: { noise: 0.1 } },
    { value: 'noise 0.5', vary: { noise: 0.5 } },
    { value: 'pieces', vary: { init: 'pieces' } },
  ],
  share: () => [0.03, 0.1, 0.2, 0.3, 0.5].map(planShare => ({ value: String(planShare), vary: { planShare } })),
  normalisation: () =>
    (['actual', 'nominal'] as const).map(rowNormalisation => ({ value: rowNormalisation, vary: { rowNormalisation } })),
  body: () => [1, 0.5, 0.25, 0.125].map(bodyRate => ({ value: String(bodyRate), vary: { bodyRate } })),
  ends: () => [
    { value: 'both by the plan', vary: { planEnds: 'both' } },
    { value: 'embedding by the plan, head random', vary: { planEnds: 'embedding' } },
    { value: 'head by the plan, embedding random', vary: { planEnds: 'head' } },
  ],
};

export const ablationNames = Object.keys(choices) as AblationName[];

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
