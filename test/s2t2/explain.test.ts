/** Explanations against P(source | target) itself, and tables for a terminal as they should look. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { explainPlan } from '../../s2t2/explain.ts';
import { renderTable } from '../../models/node/table.ts';
import { explanationTable, resultsTable } from '../../s2t2/app/tables.ts';
import { unseenIds, unseenShares } from '../../s2t2/plan.ts';
import { plans } from '../arbitraries/plans.ts';
import { tokenizerOf } from './app/report-example.ts';

const names = (prefix: string) => Array.from({ length: 16 }, (_, i) => `${prefix}${i}`);

describe('explainPlan', () => {
  test('gives the largest entries of every row and the share they cover; rows are sorted by that share', () => {
    fc.assert(
      fc.property(
        plans(),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 6 }),
        ({ plan, dense, sourceSize, targetSize }, top, count) => {
          const [source, target] = [tokenizerOf(names('s'), sourceSize), tokenizerOf(names('t'), targetSize)];
          const v = plan.nu.length;
          const rows = Array.from(plan.targetIds, (id, i) => {
            const row = dense.slice(i * v, (i + 1) * v);
            const total = row.reduce((a, b) => a + b, 0);
            const sorted = row
              .map(p => p / total)
              .filter(p => p > 0)
              .sort((a, b) => b - a);
            return { token: `t${id}`, row, total, top: sorted.slice(0, top), support: sorted.length };
          });
          const explained = explainPlan(plan, source, target, { top, count });
          expect(explained).toHaveLength(Math.min(count, rows.length));
          for (const [k, e] of explained.entries()) {
            const { row, total, top: expected, support } = rows.find(r => r.token === e.token)!;
            expect(e.support).toBe(support);
            expect(e.sources).toHaveLength(expected.length);
            e.sources.forEach((s, i) => {
              expect(s.probability).toBeCloseTo(expected[i], 6);
              expect(s.probability).toBeCloseTo(row[plan.sourceIds.indexOf(Number(s.token.slice(1)))] / total, 6);
            });
            expect(e.covered).toBeCloseTo(
              expected.reduce((a, b) => a + b, 0),
              6,
            );
            if (k > 0) expect(e.covered).toBeLessThanOrEqual(explained[k - 1].covered);
          }
          // The rows that are left out cover no more.
          const left = rows
            .filter(r => !explained.some(e => e.token === r.token))
            .map(r => r.top.reduce((a, b) => a + b, 0));
          for (const covered of left) expect(covered).toBeLessThanOrEqual(explained.at(-1)!.covered + 1e-6);

          const named = rows.at(-1)!.token;
          expect(explainPlan(plan, source, target, { tokens: [named] }).map(e => e.token)).toEqual([named]);
          // Tokens that the text never shows are no part of the table, and still can be asked for.
          for (const id of unseenIds(plan)) {
            const pieces = unseenShares(plan).filter(s => s.target === id);
            const [own] = explainPlan(plan, source, target, { tokens: [`t${id}`], top });
            expect(own.support).toBe(pieces.length);
            expect(own.sources).toEqual(
              pieces.slice(0, top).map(s => ({ token: `s${s.source}`, probability: 1 / pieces.length })),
            );
          }
          expect(() => explainPlan(plan, source, target, { tokens: [named, 'nosuch'] })).toThrow(
            'the plan has no target token "nosuch"; write it as the table of the plan shows it',
          );
        },
      ),
    );
  });
});

describe('tables for a terminal', () => {
  test('columns are as wide as their widest cell, the first aligned left, and no line ends in spaces', () => {
    expect(
      renderTable(
        ['a', 'bb'],
        [
          ['long', '1'],
          ['x', '☕☕☕'],
        ],
      ),
    ).toBe('a         bb\n────  ──────\nlong       1\nx     ☕☕☕');
    expect(renderTable(['a', 'b'], [['x', '']])).toBe('a  b\n─  ─\nx');
  });

  test('of results', () => {
    const metrics = (bitsPerByte: number, perplexity: number) => ({ bitsPerByte, perplexity, standardError: 0.0123 });
    const row = { steps: 1, curve: [] };
    expect(
      resultsTable({
        seed: 0,
        plan: null,
        sample: '',
        methods: [
          {
            ...row,
            name: 'order0',
            before: null,
            after: metrics(4.1634, 17.92),
            tokensPerByte: 1,
            tokens: 0,
            bytes: 0,
            seconds: 0,
          },
          {
            ...row,
            name: 's2t2',
            before: metrics(4.65, 377.04),
            after: metrics(4.2512, 224.34),
            tokensPerByte: 0.5451,
            tokens: 150_221,
            bytes: 274_143,
            seconds: 25.4,
          },
        ],
      }),
    ).toBe(
      [
        'method  ppl before  bits/byte before  ppl after  bits/byte after  tokens/byte   tokens    bytes  seconds',
        '──────  ──────────  ────────────────  ─────────  ───────────────  ───────────  ───────  ───────  ───────',
        'order0                                    17.92    4.163 ± 0.012        1.000',
        's2t2         377.0     4.650 ± 0.012      224.3    4.251 ± 0.012        0.545  150,221  274,143       25',
      ].join('\n'),
    );
  });

  test('of explanations', () => {
    expect(
      explanationTable([
        {
          token: 'MK',
          covered: 0.2165,
          support: 50,
          sources: [
            { token: ' r"', probability: 0.1234 },
            { token: 'b', probability: 0.0931 },
          ],
        },
      ]),
    ).toBe(
      [
        'target token  covered  support  top source tokens',
        '────────────  ───────  ───────  ─────────────────',
        'MK              21.6%       50  ␣r" 12.3%  b 9.3%',
      ].join('\n'),
    );
  });
});
