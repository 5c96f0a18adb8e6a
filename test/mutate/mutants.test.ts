/**
 * The tool that tests the tests: what it breaks, what it leaves alone, how it finds what is reached, and its interval.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { temporaryDirectory } from '../models/temporary.ts';
import { hitsOf, instrument, separator } from './instrument.ts';
import { apply, diffOf, lineOf, mutantsOf, parses } from './mutants.ts';
import { wilson } from './report.ts';

const changes = (source: string): string[] => mutantsOf('a.ts', source).map(m => `${m.kind}: ${apply(source, m)}`);

describe('a mutant', () => {
  test.each<[string, string[]]>([
    ['a + b;', ['removed statement: ;', 'arithmetic: a - b;']],
    [
      'f(a) < 0;',
      [
        'removed statement: ;',
        'removed call: (a) < 0;',
        'boundary: f(a) <= 0;',
        'comparison: f(a) >= 0;',
        'constant: f(a) < 1;',
      ],
    ],
    [
      'const x = a ? b ?? 1.5 : -c;',
      [
        'negated condition: const x = !(a) ? b ?? 1.5 : -c;',
        'logical: const x = a ? b : -c;',
        'constant: const x = a ? b ?? 3 : -c;',
        'arithmetic: const x = a ? b ?? 1.5 : c;',
      ],
    ],
    ['if (!a) return;', ['removed statement: ;', 'negated condition: if (a) return;']],
    ['g(a, b.c, d.e)', ['removed statement: ;', 'swapped arguments: g(a, d.e, b.c)']],
    [
      'const y = xs.slice(1).sort();',
      [
        'removed call: const y = xs.sort();',
        'removed call: const y = xs.slice(1);',
        'constant: const y = xs.slice(2).sort();',
      ],
    ],
    ['const z = Math.max(a, b);', ['removed call: const z = (a);']],
  ])('of %s', (source, expected) => {
    expect(
      changes(`async function f() { ${source} }`)
        .map(c => c.replace('async function f() { ', '').replace(/ }$/, ''))
        .sort(),
    ).toEqual(expected.toSorted());
  });

  test.each([
    "import { a } from './a1.ts';",
    'type T = 1 | -2; interface I { a: 3 }',
    'function f(x: 1): 2 { throw new Error(`${1 + 2} ${x}`); }',
    "const s = 'a' + b + 'c'; const e = new RangeError(`${a + 1}`);",
    'const o = { 1: a, b, [c]: d }; const m = o.e;',
    'const m = add(a, b);',
  ])('is nowhere in %s', source => {
    expect(changes(source)).toEqual([]);
  });

  test('of the project is a program, other than the project, and differs in the lines that are shown', () => {
    const source = readFileSync(new URL('../../engine/reference.ts', import.meta.url), 'utf8');
    const mutants = mutantsOf('reference.ts', source);
    expect(mutants.length).toBeGreaterThan(200);
    fc.assert(
      fc.property(fc.constantFrom(...mutants), mutant => {
        const changed = apply(source, mutant);
        expect(parses(changed)).toBe(true);
        expect(changed).not.toBe(source);
        const [before] = diffOf(source, mutant).split('\n');
        expect(before).toBe(`  - ${source.split('\n')[lineOf(source, mutant) - 1].trim()}`);
      }),
      { numRuns: 50 },
    );
  });
});

describe('where a mutant is reached', () => {
  const directory = temporaryDirectory();
  const source = `function tell(list, least) {
    if (list.length > 5) return 'long' + list.length;
    if (list.length > 3) throw new Error('longer than 3');
    for (let i = 0; i < list.length; i++) if (list[i] < least) {
      list[i] += 1; // never
      list.push(list?.[0].toFixed(2).slice(1)); // never
    }
    return !least ? list.join(list.at(-1) + 2) : Math.max(...list) * (list[0] - least);
  }
  console.log(tell([3, 1, 2], 0), tell([3, 4], 1), tell([3, 1, 2, 3, 4, 5], 1));
  `;

  test('is written down when it runs, and the program does what it did', () => {
    const mutants = mutantsOf('program.ts', source);
    const program = join(directory, 'program.mjs');
    const hits = join(directory, 'hits');
    writeFileSync(program, source);
    const plain = execFileSync(process.execPath, [program], { encoding: 'utf8' });
    writeFileSync(
      program,
      instrument(
        source,
        mutants.map((mutant, number) => ({ number, mutant })),
      ),
    );
    expect(execFileSync(process.execPath, [program], { encoding: 'utf8' })).toBe(plain);
    expect(
      execFileSync(process.execPath, [program], { encoding: 'utf8', env: { ...process.env, MUTANT_HITS: hits } }),
    ).toBe(plain);
    const reached = hitsOf(readFileSync(hits, 'utf8')).get('')!;
    const never = mutants.filter((_, number) => !reached.has(number));
    expect(never.length).toBe(7);
    const lines = source.split('\n');
    mutants.forEach((mutant, number) =>
      expect(reached.has(number), `line ${lineOf(source, mutant)}`).toBe(
        !lines[lineOf(source, mutant) - 1].includes('// never'),
      ),
    );
  });
});

test('a hit is of the test before it, and of none before the first and between two', () => {
  const lines = ['3', `${separator}a`, '1', '2', separator, '4', `${separator}b`, '2', `${separator}a`, '5'];
  expect(hitsOf(`${lines.join('\n')}\n`)).toEqual(
    new Map([
      ['', new Set([3, 4])],
      ['a', new Set([1, 2, 5])],
      ['b', new Set([2])],
    ]),
  );
  expect(hitsOf('')).toEqual(new Map([['', new Set()]]));
});

describe('the interval of a share', () => {
  test("is Wilson's: 5 of 10 is 23.7 to 76.3 %, 0 of 10 begins at 0", () => {
    expect(wilson(5, 10).map(x => x.toFixed(4))).toEqual(['0.2366', '0.7634']);
    expect(wilson(0, 10).map(x => Math.abs(x).toFixed(4))).toEqual(['0.0000', '0.2775']);
  });

  test('of the others is the rest of it, and it holds the share', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 900 }).chain(n => fc.tuple(fc.nat(n), fc.constant(n))),
        ([k, n]) => {
          const [[low, high], [low2, high2]] = [wilson(k, n), wilson(n - k, n)];
          expect([1 - high, 1 - low]).toEqual([expect.closeTo(low2, 12), expect.closeTo(high2, 12)]);
          expect(low).toBeLessThanOrEqual(k / n + 1e-12);
          expect(high).toBeGreaterThanOrEqual(k / n - 1e-12);
        },
      ),
    );
  });
});
