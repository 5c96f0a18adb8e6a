/** What the paper's table holds once its cells are trained: read by the Markdown and by the page. */
import type { Settings } from '../../settings.ts';
import type { DomainData } from '../data/domains.ts';
import type { Ablation } from './ablations.ts';
import type { Meaning } from './meaning.ts';
import type { GridRow } from '../rates.ts';
import type { Table } from './table.ts';
import type { Transfer } from './transfer.ts';

/** A finished table, with all that was measured beside it. */
export interface Paper {
  readonly domain: Pick<DomainData, 'name' | 'unit' | 'source' | 'licence'> & {
    /** Where its files lie; null for those that are bundled. */
    readonly folder: string | null;
    readonly trainingTexts: number;
  };
  readonly model: {
    readonly parameters: number;
    readonly width: number;
    readonly layers: number;
    readonly vocabSize: number;
  };
  readonly settings: Settings;
  readonly backend: string;
  readonly grid: readonly GridRow[];
  readonly table: Table;
  readonly ablations: readonly Ablation[];
  readonly meaning: Meaning | null;
  readonly transfer: Transfer | null;
}
