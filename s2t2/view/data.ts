/**
 * What a report shows: one record, made from a run (describe.ts), from the paper's table or in the playground.
 */
import type { Tokenizer } from '../../models/tokenizer/index.ts';
import type { Plan } from '../plan.ts';

/** A number with its uncertainty, in the units of its column. */
export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  /** Decimals to print. */
  readonly digits: number;
}

/** A cell of a table: text, or a figure with its interval. */
export type Cell = string | Interval;

/** A table of a report. */
export interface ReportTable {
  readonly title: string;
  readonly note?: string;
  readonly columns: readonly string[];
  /** Names of rows explained. */
  readonly terms?: readonly (readonly [name: string, text: string])[];
  /** The first cell names the row. An empty cell stands for what does not exist. */
  readonly rows: readonly {
    readonly cells: readonly Cell[];
    /** The row the table is about. */
    readonly emphasis?: boolean;
    /** The row that does best. */
    readonly best?: boolean;
  }[];
}

/** An axis of a plot. */
export interface Axis {
  readonly label: string;
  readonly log?: boolean;
}

/** A point of a curve. */
export interface CurvePlotPoint {
  readonly x: number;
  readonly y: number;
  /** A band around y. */
  readonly low?: number;
  readonly high?: number;
}

/** A plot. A series has the same colour in all plots, by its name. */
export interface CurvePlot {
  /** Plots under one heading have one legend; by default the heading is "Learning curves". */
  readonly section?: string;
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly {
    readonly name: string;
    readonly emphasis?: boolean;
    readonly points: readonly CurvePlotPoint[];
    /** Single measurements beside the curve, such as scores on held-out text. */
    readonly marks?: readonly CurvePlotPoint[];
  }[];
  /** Horizontal lines with a name, such as floors. */
  readonly levels?: readonly { readonly name: string; readonly y: number }[];
}

/** Everything that a report shows. */
export interface ReportData {
  readonly title: string;
  /** A paragraph that says what was done. */
  readonly lead: string;
  /** Label and value. */
  readonly facts: readonly (readonly [string, string])[];
  readonly tables: readonly ReportTable[];
  /** What it was made from and by. */
  readonly provenance?: ReportTable;
  readonly curves: readonly CurvePlot[];
  readonly plan?: { readonly plan: Plan; readonly source: Tokenizer; readonly target: Tokenizer };
  /** A text to show as the tokens of both vocabularies. */
  readonly sample?: { readonly text: string; readonly source: Tokenizer; readonly target: Tokenizer };
}
