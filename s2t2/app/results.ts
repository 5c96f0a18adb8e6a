/** The files that hold rows of a table, `results.json` and the paper's cells: their schemas, and how they are read. */
import * as v from 'valibot';
import type { Results, Row } from '../cell.ts';
import type { Metrics } from '../evaluate.ts';
import type { PlanReport } from '../plan.ts';
import { count, finite, hash, readRecord } from './records.ts';

/** JSON has no NaN: the standard error of a single text is stored as null. */
const maybeNaN = v.pipe(
  v.nullable(finite),
  v.transform(x => x ?? Number.NaN),
);
const amount = v.pipe(v.number(), v.finite(), v.minValue(0));
const positive = v.pipe(v.number(), v.finite(), v.gtValue(0));

const metricsSchema: v.GenericSchema<unknown, Metrics> = v.object({
  perplexity: positive,
  bitsPerByte: finite,
  standardError: maybeNaN,
});

const spent = { tokens: amount, bytes: amount, seconds: amount };
const curvePoint = v.object({ ...spent, bitsPerByte: finite });

/** A row of a table. */
export const rowSchema: v.GenericSchema<unknown, Row> = v.object({
  name: v.string(),
  before: v.nullable(metricsSchema),
  after: metricsSchema,
  tokensPerByte: positive,
  steps: count,
  ...spent,
  rates: v.optional(v.object({ rate: finite, planRate: finite, bodyRate: finite })),
  spentBefore: v.optional(v.object(spent)),
  curve: v.array(curvePoint),
  selection: v.optional(v.pipe(v.array(curvePoint), v.minLength(1))),
});

/** The figures of a plan. */
const planReportSchema: v.GenericSchema<unknown, PlanReport> = v.object({
  rows: count,
  columns: count,
  support: count,
  supportPerRow: v.tuple([finite, finite, finite]),
  entropy: finite,
  residual: finite,
  gap: v.nullable(finite),
});

/** What a run was made from and by: enough to make it again. */
const provenanceSchema = v.object({
  version: v.string(),
  command: v.array(v.string()),
  backend: v.string(),
  model: v.object({ path: v.string(), sha256: hash }),
  data: v.array(v.object({ use: v.string(), path: v.string(), sha256: v.nullable(hash) })),
  settings: v.record(v.string(), v.unknown()),
});

const resultsSchema = v.object({
  seed: count,
  methods: v.pipe(v.array(rowSchema), v.minLength(1)),
  plan: v.nullable(planReportSchema),
  sample: v.string(),
  saved: v.optional(v.nullable(v.string())),
  provenance: v.optional(provenanceSchema),
});

/** Reads `results.json` of an adaptation. */
export const readResults = (path: string): Promise<Results> =>
  readRecord(path, resultsSchema, 'run the adaptation again to rewrite it');

const nats = v.array(finite);

/** The result of a cell of the paper's tables. */
export const cellResultSchema = v.object({
  row: rowSchema,
  before: v.nullable(nats),
  after: v.pipe(nats, v.minLength(1)),
  endBits: finite,
  secondsPerThousandBytes: finite,
  plan: v.nullable(planReportSchema),
});
