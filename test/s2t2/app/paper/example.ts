/** Results of a paper that nobody ran: every figure another, so that none can stand in another's place unnoticed. */
import type { CurvePoint } from '../../../../s2t2/cell.ts';
import type { Paper } from '../../../../s2t2/app/paper/paper.ts';
import type { Interval } from '../../../../s2t2/app/paper/statistics.ts';
import type { TableRow } from '../../../../s2t2/app/paper/table.ts';
import { defaults } from '../../../../s2t2/settings.ts';

const around = (mean: number, half: number, error = half / 2): Interval => ({
  mean,
  low: mean - half,
  high: mean + half,
  error,
});
const line = (at: (x: number) => number): CurvePoint[] =>
  Array.from({ length: 21 }, (_, i) => ({ tokens: 1000 * i, bytes: 2000 * i, seconds: i, bitsPerByte: at(i / 20) }));

const floor = (name: string, bits: number, less: number): TableRow => ({
  name,
  vocabulary: null,
  perplexity: { before: null, after: 2 ** bits },
  before: null,
  after: around(bits, 0.01),
  againstS2T2: around(less, 0.02),
  againstOrder0: around(bits - 4.2, 0.004),
  tokensPerByte: 1,
  secondsPerThousandBytes: null,
  tokens: 0,
  bytes: 0,
  seconds: 0,
  support: null,
  residual: null,
  curve: [],
});
const row = (name: string, more: Partial<TableRow>): TableRow => ({
  ...floor(name, 4.4, 0),
  vocabulary: 'target',
  againstOrder0: around(0.2, 0.05),
  ...more,
});

/** What the cells of the grid share. */
const cell = { domain: 'proteins', tokens: 150_000, before: 6.9 };

export const example: Paper = {
  domain: {
    name: 'proteins',
    unit: 'residue',
    source: 'a bank of proteins',
    licence: 'free',
    folder: null,
    trainingTexts: 6000,
  },
  model: { parameters: 1_064_960, width: 128, layers: 4, vocabSize: 2048 },
  settings: { ...defaults, alpha: 0.0005, budget: { unit: 'tokens', amount: 150_000 } },
  backend: 'made by hand',
  grid: [
    { ...cell, name: 'source', rate: 0.001, planRate: 0.005, bodyRate: 0.25, bitsPerByte: 4.14787, chosen: false },
    { ...cell, name: 'source', rate: 0.002, planRate: 0.005, bodyRate: 0.25, bitsPerByte: 4.14104, chosen: true },
  ],
  table: {
    seeds: [0, 1, 2],
    sequences: 200,
    rows: [
      floor('order 0', 4.2, -0.1),
      row('source', {
        vocabulary: 'source',
        perplexity: { before: 115.04, after: 17.561 },
        before: around(6.8461, 0.041),
        after: around(4.1342, 0.012),
        againstS2T2: around(-0.1213, 0.006),
        againstOrder0: around(-0.0658, 0.01),
        tokensPerByte: 1,
        secondsPerThousandBytes: 0.0661,
        tokens: 150_180.4,
        bytes: 149_613,
        seconds: 31.4,
        curve: line(x => 6 - 2 * x),
      }),
      row('fvt', {
        perplexity: { before: 1006.2, after: 235.14 },
        before: around(5.4351, 0.031),
        after: around(4.2921, 0.02),
        againstS2T2: around(0.0361, 0.014),
        tokensPerByte: 0.5451,
        secondsPerThousandBytes: 0.0291,
        tokens: 150_195,
        bytes: 274_046,
        seconds: 24.4,
        curve: line(x => 5 - 0.2 * x),
      }),
      row('plain', {
        perplexity: { before: 601.94, after: 227.44 },
        before: around(4.5, 0.03),
        after: around(4.2662, 0.0121),
        againstS2T2: around(0.0011, 0.002),
        curve: line(() => 9),
      }),
      row('s2t2', {
        perplexity: { before: 377.04, after: 224.34 },
        before: around(4.6631, 0.0201),
        after: around(4.2552, 0.0122),
        againstS2T2: null,
        tokensPerByte: 0.5451,
        secondsPerThousandBytes: 0.0281,
        tokens: 150_221,
        bytes: 274_143,
        seconds: 25.4,
        support: 78.14,
        residual: 0.0382,
        curve: line(() => 5),
      }),
      row('s2t2-dykstra', {
        perplexity: { before: 375.34, after: 224.14 },
        before: around(4.6601, 0.02),
        after: around(4.2551, 0.012),
        againstS2T2: around(-0.0011, 0.003),
        support: 1010,
        residual: 0.046,
      }),
      row('scratch', {
        perplexity: { before: null, after: 224.14 },
        before: null,
        after: around(4.2542, 0.012),
        againstS2T2: around(-0.0012, 0.005),
        curve: line(x => 8 - x),
      }),
    ],
  },
  ablations: [
    {
      name: 'T',
      rows: [1, 2, 5].map((T, i) => ({
        value: String(T),
        support: 80.14 + i,
        entropy: 6.041 + i,
        residual: 0.0801 / (i + 1),
        before: 4.6521 + i / 10,
        after: 4.2581 + i / 100,
      })),
    },
    {
      name: 'alpha',
      rows: [0.1, 1, 10].map((a, i) => ({
        value: `${a}/v`,
        support: 10.7,
        entropy: 3.16,
        residual: 0.032,
        before: 5.2 - i / 10,
        after: 4.27 - i / 100,
      })),
    },
    {
      name: 'variant',
      rows: ['alternating', 'dykstra', 'dual'].map(value => ({
        value,
        support: 1,
        entropy: 2,
        residual: 0.03,
        before: 5,
        after: 4,
      })),
    },
  ],
  meaning: {
    overlap: { seeds: 0.0271, shuffled: 0.0201 },
    rows: { plan: 4.6632, shuffled: 7.9981 },
    blosum62: { correlation: 0.0061, p: 0.4123 },
  },
  transfer: {
    model: { parameters: 2_162_688, family: 'olmo' },
    rows: [
      {
        name: 's2t2',
        before: around(4.7921, 0.022),
        after: around(4.2701, 0.015),
        againstTransferred: around(0.0191, 0.005),
      },
      { name: 'transferred', before: around(6.0831, 0.033), after: around(4.2511, 0.014), againstTransferred: null },
    ],
  },
};
