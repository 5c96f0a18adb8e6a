/** Patterns of `tokenizer.json` as JavaScript expressions. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AutomatonFinder } from '../../../models/tokenizer/pattern-automaton.ts';
import { BoundedFinder, type Finder } from '../../../models/tokenizer/pattern-match.ts';
import { compileProgram } from '../../../models/tokenizer/pattern-program.ts';
import { parsePattern, toJavaScript, type Node } from '../../../models/tokenizer/pattern-syntax.ts';
import {
  compilePattern,
  compileSplits,
  gpt2Pattern,
  quotePattern,
  type Split,
} from '../../../models/tokenizer/pattern.ts';
import { Units } from '../../../models/tokenizer/units.ts';
import { cpuTime } from '../../cpu.ts';
import { borders, llama3Pattern, text } from './samples.ts';

function words(s: string, splits: readonly Split[]): string[] {
  const out: string[] = [];
  compileSplits(splits)(s, (piece, from, to) => out.push(piece.slice(from, to)));
  return out;
}
const cut = (source: string, s: string) => words(s, [{ pattern: source }]);

test('both matchers find the same where a part is repeated that may match nothing', () => {
  let compared = 0;
  const many = fc.array(pattern, { minLength: 1, maxLength: 3 }).map(parts => `(?:${parts.join('|')})*`);
  fc.assert(
    fc.property(many, fc.string({ unit: fc.constantFrom('a', 'b', 'c', '\n'), maxLength: 9 }), (source, s) => {
      const node = compiled(source, parsePattern);
      const finder = node && compiled(source, () => AutomatonFinder.of(compileProgram(node, source)));
      if (!finder || !repeatsNothing(node)) return;
      expect(matchesOf(finder, s)).toEqual(matchesOf(new BoundedFinder(node, source), s));
      compared++;
    }),
    { numRuns: 2000 },
  );
  expect(compared).toBeGreaterThan(50);
});

test.each([
  ['GPT-2', gpt2Pattern.source],
  ['LLaMA 3', llama3Pattern],
  ['one with gaps', String.raw`\p{L}|[\s\d]+`],
])('%s: words lose nothing', (_, source) => {
  fc.assert(
    fc.property(fc.oneof(text, borders), s => {
      expect(cut(source, s).join('')).toBe(s);
    }),
  );
});

test.each<[string, string, string, string[]]>([
  ['contractions in either case', llama3Pattern, "DON'T we'll", ['DON', "'T", ' we', "'ll"]],
  ['case is ignored as Unicode has it', '(?i:sk)', 'aſ\u212ab', ['a', 'ſ\u212a', 'b']],
  ['case is ignored in the group only', '(?i:a)b|(?i:x(?-i:y))', 'AbAB XY Xy', ['Ab', 'AB XY ', 'Xy']],
  ['case is ignored in a class', "'(?i:[sdmt]|ll)", "a'S'LL", ['a', "'S", "'LL"]],
  ['a hyphen at the end of a class has no case', '(?i:[-a])+|(?i:[z-])+', 'A-Z!', ['A-', 'Z', '!']],
  ['digits by threes', llama3Pattern, '12345', ['123', '45']],
  ["white space is Unicode's", String.raw`\s+`, 'a\u0085b\ufeffc', ['a', '\u0085', 'b\ufeffc']],
  ['and so in a class', String.raw`[^\s]+`, 'a\u0085b\ufeffc', ['a', '\u0085', 'b\ufeffc']],
  ["digits are Unicode's", String.raw`\d`, 'a٣', ['a', '٣']],
  ['a dot takes all but a line feed', '.+', 'a\r\u2028b\nc', ['a\r\u2028b', '\n', 'c']],
  ['codes', String.raw`\x41|\x{1F600}|\u00e9`, 'A-😀é', ['A', '-', '😀', 'é']],
  ['scripts by their names', String.raw`[\p{Han}]+|\p{^Han}`, '中文ab', ['中文', 'a', 'b']],
  ['lookbehind', '(?<=a)b|(?<!a)c', 'abac', ['a', 'b', 'ac']],
  ['escaped signs', String.raw`\'\-\/|[\-\]]`, "a'-/]-", ['a', "'-/", ']', '-']],
  ['braces that are no quantifier', '{a}', 'x{a}', ['x', '{a}']],
  ['up to n', 'a{,2}', 'aaa', ['aa', 'a']],
  ['an empty match cuts nothing', 'x*', 'axb', ['a', 'x', 'b']],
  ['an empty match cuts what lies before it', '(?=b)', 'abab', ['a', 'ba', 'b']],
  ['the end of a line', String.raw`\s+$`, 'a \n b  ', ['a', ' ', '\n b', '  ']],
  ['the end of a line, before its newline', 'a$', 'a\nab', ['a', '\nab']],
  ['the beginning of a line', '^a', 'aa\nab', ['a', 'a\n', 'a', 'b']],
])('%s', (_, source, s, expected) => {
  expect(cut(source, s)).toEqual(expected);
});

test('one pattern after another', () => {
  const splits = [String.raw`\p{N}`, gpt2Pattern.source].map(pattern => ({ pattern }));
  expect(words('ab12 cd', splits)).toEqual(['ab', '1', '2', ' cd']);
});

test('a quoted text matches itself', () => {
  fc.assert(
    fc.property(fc.oneof(text, fc.string({ unit: fc.constantFrom(...'^$\\.*+?()[]{}|/-a') })), s => {
      if (s.length > 0) expect(cut(quotePattern(s), `${s}${s}`)).toEqual([s, s]);
    }),
  );
});

test.each([
  ['a++', 'the possessive quantifier "++"'],
  ['a?+', 'possessive'],
  ['a{1,2}+', 'possessive'],
  ['(?>a)', 'this kind of group'],
  ['(?i)a', 'this kind of group'],
  ['(?<name>a)', 'this kind of group'],
  ['[a[b]]', 'a nested class'],
  ['[[:alpha:]]', 'a nested class'],
  ['[a&&b]', 'a nested class'],
  ['(?=a)*', '"*" after what matches no text'],
  ['('.repeat(200), 'groups nested more than 100 deep'],
  ['(?:a{1000}){1000}b+c', 'is too long once its repetitions are expanded'],
  [String.raw`\b`, '"\\b"'],
  [String.raw`\1`, '"\\1"'],
  [String.raw`\p{Nothing}`, 'the property "Nothing"'],
  ['[]', 'an empty class'],
  ['[a', 'an unclosed class'],
  ['(a', 'an unclosed group'],
  ['a)', 'an unmatched ")"'],
  ['a\\', 'a trailing backslash'],
  ['a{1,99999}', 'a repetition of more than 1000'],
  ['a{5,1}', 'is not supported'],
  ['*', 'is not supported'],
  ['(?i:[a-z])', 'a case-insensitive range'],
  ['a'.repeat(5000), 'at most 4096'],
])('%s is rejected', (source, message) => {
  expect(() => compilePattern(source)).toThrow(message);
});

test('a class may hold &, and a pattern 4096 characters', () => {
  expect(cut('[a&c]+', 'b&a')).toEqual(['b', '&a']);
  expect(() => compilePattern('[a&]')).not.toThrow();
  expect(() => compilePattern('a'.repeat(4096))).not.toThrow();
  expect(() => compilePattern('a'.repeat(4097))).toThrow('is 4097 characters long; at most 4096 are supported');
});

test('what a step drops: the matches, or what lies between', () => {
  expect(words('a1bc2', [{ pattern: String.raw`\d`, drops: 'matches' }])).toEqual(['a', 'bc']);
  expect(words('a1bc2', [{ pattern: String.raw`\d`, drops: 'gaps' }])).toEqual(['1', '2']);
  expect(words('a1', [{ pattern: 'x', drops: 'gaps' }])).toEqual([]);
});

test('a step may only put a space first', () => {
  expect(words('ab', [{ prefixSpace: true }])).toEqual([' ab']);
  expect(words(' ab', [{ prefixSpace: true }])).toEqual([' ab']);
});

test('a space goes before each piece that has none, and places stay those of the text', () => {
  const places: [string, number][] = [];
  const splits = [{ pattern: 'b' }, { prefixSpace: true, pattern: String.raw` ?\w` }];
  compileSplits(splits)('ab cb', (piece, from, to, at) => places.push([piece.slice(from, to), at]));
  expect(places).toEqual([
    [' a', 0],
    [' b', 1],
    [' c', 2],
    [' b', 4],
  ]);
});

const pieces = [
  'a',
  'b',
  '[ab]',
  '.',
  '(',
  '(?:',
  '(?=',
  '(?!',
  '(?<=',
  '(?<!',
  ')',
  '*',
  '+',
  '?',
  '*?',
  '{2,}',
  '{1,2}',
  '|',
  '$',
];
const pattern = fc.string({ unit: fc.constantFrom(...pieces), maxLength: 12 });
const compiled = <T>(source: string, make: (source: string) => T): T | undefined => {
  try {
    return make(source);
  } catch (error) {
    expect((error as Error).name).toBe('UserError');
    return undefined;
  }
};

/** Whether a part is repeated that may match nothing: there JavaScript, unlike Oniguruma, looks for another way. */
function repeatsNothing(node: Node): boolean {
  if (node.kind === 'set') return false;
  if (node.kind === 'repeat') return mayBeEmpty(node.item) || repeatsNothing(node.item);
  return (node.kind === 'look' ? [node.item] : node.items).some(repeatsNothing);
}
function mayBeEmpty(node: Node): boolean {
  if (node.kind === 'choice') return node.items.some(mayBeEmpty);
  if (node.kind === 'sequence') return node.items.every(mayBeEmpty);
  return node.kind === 'look' || (node.kind === 'repeat' && (node.min === 0 || mayBeEmpty(node.item)));
}

/** The matches in a text: those of a finder, and those of JavaScript's engine. */
function matchesOf(finder: Finder, s: string): [number, number][] {
  const found: [number, number][] = [];
  const units = new Units().of(s);
  for (let from = 0; from <= s.length && finder.find(units, from); ) {
    found.push([finder.start, finder.end]);
    from = Math.max(
      finder.end,
      finder.start + (finder.end > finder.start ? 0 : s.codePointAt(finder.start)! > 0xffff ? 2 : 1),
    );
  }
  return found;
}
const expectedMatches = (node: Node, s: string) =>
  Array.from(s.matchAll(new RegExp(toJavaScript(node), 'gu')), m => [m.index, m.index + m[0].length]);

test.each<[string, (node: Node, source: string) => Finder | undefined]>([
  ['bounded', (node, source) => new BoundedFinder(node, source)],
  ['table-driven', (node, source) => AutomatonFinder.of(compileProgram(node, source))],
])('the %s matcher finds what the engine of JavaScript finds', (_, make) => {
  let compared = 0;
  fc.assert(
    fc.property(pattern, fc.string({ unit: fc.constantFrom('a', 'b', 'c', '\n'), maxLength: 9 }), (source, s) => {
      const node = compiled(source, parsePattern);
      const finder = node && compiled(source, () => make(node, source));
      if (!finder || repeatsNothing(node)) return;
      expect(matchesOf(finder, s)).toEqual(expectedMatches(node, s));
      compared++;
    }),
    { numRuns: 5000 },
  );
  expect(compared).toBeGreaterThan(100);
});

test.each([
  ['GPT-2', gpt2Pattern.source],
  ['LLaMA 3', llama3Pattern],
])('%s: the words are those of the engine of JavaScript, on any text', (_, source) => {
  const node = parsePattern(source);
  const finder = compilePattern(source);
  expect(finder).toBeInstanceOf(AutomatonFinder);
  const units = fc.constantFrom(..."aZ1é日😀 \t\n\r's.-\u0085\u00a0\ufeff٣ⅷ\u0301\ud800\udc00ſ");
  fc.assert(
    fc.property(fc.oneof(text, borders, fc.string({ unit: units, maxLength: 30 })), s => {
      expect(matchesOf(finder, s)).toEqual(expectedMatches(node, s));
    }),
    { numRuns: 1000 },
  );
});

test('more states and more sets than the table holds change nothing', () => {
  const letters = Array.from({ length: 40 }, (_, i) => String.fromCodePoint(0x4e00 + i));
  for (const source of ['[ab]*a[ab]{11}|[ab]+|c', `${letters.join('+|')}+|a[^b]?`]) {
    const finder = AutomatonFinder.of(compileProgram(parsePattern(source), source))!;
    const units = fc.constantFrom('a', 'b', 'a', 'b', 'c', ...(source.includes(letters[0]) ? letters : []));
    fc.assert(
      fc.property(fc.string({ unit: units, minLength: 200, maxLength: 400 }), s => {
        expect(matchesOf(finder, s)).toEqual(expectedMatches(parsePattern(source), s));
      }),
    );
  }
});

test('on texts of any length it costs no more than a little for each character', () => {
  const worst = [
    `${'(?:a|a)'.repeat(30)}b`,
    String.raw`\s*\s*\s*\s*\s*x`,
    '(a+)+b',
    '(?:a|a)*b',
    '(?:(?:a+))+b',
    '(?:a?){30}a{30}',
    'a*a*a*b',
    'a+b',
    String.raw`\s*[\r\n]+`,
    String.raw`\s+(?!\S)`,
  ];
  const started = cpuTime();
  for (const source of worst)
    for (const s of ['a'.repeat(50_000), ' '.repeat(50_000), 'ab'.repeat(25_000)])
      expect(cut(source, s).join('')).toBe(s);
  expect(cpuTime() - started).toBeLessThan(20_000); // the engine of JavaScript would take years
});

test('a pattern that costs too much fails with one line', () => {
  expect(() => cut('(?:(?=a+c)a|a)*b', 'a'.repeat(50_000))).toThrow(
    /^pattern "[^"]*": takes more than \d+ steps on a text of 50000 characters; simplify it$/,
  );
});

test('a character beyond 16 bits is one', () => {
  expect(cut('(?:(?:.)+)+x|(?<=😀).', '😀😀a')).toEqual(['😀', '😀', 'a']);
});

test('every accepted pattern ends soon, even on its worst texts', () => {
  fc.assert(
    fc.property(pattern, source => {
      const finder = compiled(source, compilePattern);
      if (!finder) return;
      const started = cpuTime();
      for (const s of ['a'.repeat(2000), `${'ab'.repeat(1000)}c`])
        compiled(source, () => expect(cut(source, s).join('')).toBe(s)); // or it says that it takes too many steps
      expect(cpuTime() - started).toBeLessThan(2000);
    }),
    { numRuns: 1000 },
  );
});

test('any text compiles or is rejected with one line', () => {
  const pieces = fc.constantFrom(
    '(',
    ')',
    '(?i:',
    '(?=',
    '[',
    ']',
    '^',
    '-',
    '\\',
    '\\p{',
    '}',
    '{',
    '1',
    ',',
    'a',
    's',
    '*',
    '+',
    '?',
    '|',
    '.',
    '\\s',
    '\\x41',
  );
  fc.assert(
    fc.property(fc.string({ unit: pieces, maxLength: 12 }), source => {
      try {
        cut(source, 'a s-1');
      } catch (error) {
        expect((error as Error).name).toBe('UserError');
      }
    }),
    { numRuns: 2000 },
  );
});
