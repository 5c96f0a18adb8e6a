/** Reports to test with: any texts in any place, over a plan of any size. */
import fc from 'fast-check';
import { Tokenizer } from '../../../models/tokenizer/index.ts';
import { encodeUtf8 } from '../../../models/tokenizer/alphabet.ts';
import type { Plan } from '../../../s2t2/plan.ts';
import type { ReportData } from '../../../s2t2/view/data.ts';
import { plans } from '../../arbitraries/plans.ts';

/** Texts that would break a page that forgot to escape one. */
export const hostile = [
  '</script><script>globalThis.broken = 1</script>',
  '<!--<script>',
  '--><img src=x onerror="globalThis.broken = 1">',
  '" onmouseover="globalThis.broken = 1',
  "'><b>",
  '&lt;i&gt;&#0;',
  ']]>',
  '</style>',
  '</title><h1>',
  '\u202egnirts',
  '\0\r\n\t\x7f',
  '\u2028\u2029',
  '\ufeff',
  '\ud800',
  '${1}',
  '`',
];

export const texts = fc.oneof(fc.constantFrom(...hostile), fc.string({ unit: 'binary' }), fc.string());

/** A tokenizer whose token `id` is `names[id]`, or the byte of `id` where names end. */
export const tokenizerOf = (names: readonly string[], size: number): Tokenizer =>
  new Tokenizer({
    tokens: Array.from({ length: Math.max(size, 256) }, (_, id) =>
      names[id] ? encodeUtf8(names[id]) : Uint8Array.of(id % 256),
    ),
    merges: [],
    added: [],
    splits: [],
  });

/** All texts of a report are drawn from `pool`, in turn; its numbers and its plan are fixed. */
export function exampleReport(pool: readonly string[], plan: Plan, size: number): ReportData {
  let drawn = 0;
  const text = () => pool[drawn++ % pool.length];
  const source = tokenizerOf(pool, size);
  const target = tokenizerOf(pool.toReversed(), size);
  const points = [1, 2, 3].map(x => ({ x, y: 5 - x, low: 4 - x, high: 6 - x }));
  return {
    title: text(),
    lead: text(),
    facts: [[text(), text()]],
    tables: [
      {
        title: text(),
        note: `note ${text()}`,
        columns: [text(), text(), text()],
        rows: [{ cells: [text(), { mean: 1.5, low: 1.25, high: 2, digits: 2 }, `cell ${text()}`], emphasis: true }],
      },
    ],
    provenance: { title: text(), columns: [text(), text()], rows: [{ cells: [text(), text()] }] },
    curves: [
      {
        title: text(),
        x: { label: text(), log: true },
        y: { label: text() },
        series: [
          { name: `a ${text()}`, points },
          { name: `b ${text()}`, points, emphasis: true },
        ],
      },
    ],
    plan: { plan, source, target },
    // Bytes that no text of the pool has taken the place of.
    sample: { text: 'zzzz', source, target },
  };
}

export const reports = fc
  .record({
    pool: fc.array(
      texts.filter(text => text !== ''),
      { minLength: 1, maxLength: 12 },
    ),
    example: plans(),
  })
  .map(({ pool, example: { plan, sourceSize, targetSize } }) => ({
    pool,
    plan,
    size: Math.max(sourceSize, targetSize),
  }));
