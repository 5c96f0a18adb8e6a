/** Tables for a terminal: every cell on one line, no line wider than the terminal, no cell lost. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { columnsOf } from '../../../models/printable.ts';
import { renderTable } from '../../../models/node/table.ts';
import { evaluationTable, explanationTable } from '../../../s2t2/app/tables.ts';

describe('a table', () => {
  test('is padded to its widest cells, the first column left and the others right', () => {
    expect(
      renderTable(
        ['a', 'long'],
        [
          ['bcd', '1'],
          ['e', '23'],
        ],
      ),
    ).toBe('a    long\n───  ────\nbcd     1\ne      23');
  });

  test('wider than the terminal continues below, with the first column again', () => {
    expect(renderTable(['name', 'one', 'two'], [['x', '1', '2']], 10)).toBe(
      'name  one\n────  ───\nx       1\n\nname  two\n────  ───\nx       2',
    );
  });

  test.each([
    [true, 0, 80],
    [true, undefined, 80],
    [true, 40, 40],
    [undefined, undefined, Infinity],
  ])('on a terminal: %s, which reports %s columns: %d', (isTTY, columns, expected) => {
    const [header, row] = ['x'.repeat(50), 'y'.repeat(50)].map(text => ['name', text.slice(0, 30), text]);
    const before = ['isTTY', 'columns'].map(
      key => [key, Object.getOwnPropertyDescriptor(process.stdout, key)] as const,
    );
    try {
      Object.defineProperties(process.stdout, {
        isTTY: { value: isTTY, configurable: true },
        columns: { value: columns, configurable: true },
      });
      expect(renderTable(header, [row])).toBe(renderTable(header, [row], expected));
    } finally {
      for (const [key, descriptor] of before) {
        if (descriptor) Object.defineProperty(process.stdout, key, descriptor);
        else delete (process.stdout as unknown as Record<string, unknown>)[key];
      }
    }
    expect(renderTable(header, [row], 80)).not.toBe(renderTable(header, [row], Infinity));
  });

  test('never has a line wider than the terminal, and shows every cell that fits', () => {
    const cell = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 12 }),
      fc.constantFrom('a\nb', '\u001b[2J', '日本語'),
    );
    fc.assert(
      fc.property(
        fc
          .integer({ min: 1, max: 6 })
          .chain(n => fc.array(fc.array(cell, { minLength: n, maxLength: n }), { minLength: 1, maxLength: 4 })),
        fc.integer({ min: 24, max: 80 }),
        ([header, ...rows], width) => {
          const lines = renderTable(header, rows, width).split('\n');
          for (const line of lines) expect(columnsOf(line)).toBeLessThanOrEqual(width);
          const blocks = lines.filter(line => line.startsWith('─')).length;
          expect(lines.length).toBe(blocks * (rows.length + 2) + (blocks - 1 > 0 ? blocks - 1 : 0));
        },
      ),
    );
  });
});

test('tokens are shown, not obeyed, and quoted once', () => {
  const table = explanationTable([
    {
      token: '\n\u001b[31m',
      covered: 0.5,
      support: 2,
      sources: [
        { token: '\\xda', probability: 0.25 },
        { token: ' the', probability: 0.25 },
      ],
    },
  ]);
  expect(table.split('\n')).toHaveLength(3);
  expect(table).toContain('\\n\\x1b[31m');
  expect(table).toContain('\\xda 25.0%  ␣the 25.0%');
});

test('one text has no standard error, and none is printed', () => {
  const result = {
    texts: 1,
    bytes: 9,
    tokensPerByte: 1,
    perplexity: 4,
    bitsPerByte: 2,
    standardError: Number.NaN,
    endBits: 1,
    secondsPerThousandBytes: 1,
  };
  expect(evaluationTable(result)).toMatch(/ 2\.0000 /);
  expect(evaluationTable(result)).not.toMatch(/NaN|±/);
  expect(evaluationTable({ ...result, standardError: 0.5 })).toMatch(/ 2\.0000 ± 0\.5000 /);
});
