/** Patterns of `tokenizer.json` as JavaScript expressions. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compilePattern, gpt2Pattern, quotePattern, splitWords } from '../../../models/tokenizer/pattern.ts';
import { cpuTime } from '../../cpu.ts';
import { borders, llama3Pattern, text } from './samples.ts';

test.each([
  ['GPT-2', gpt2Pattern.source],
  ['LLaMA 3', llama3Pattern],
  ['one with gaps', String.raw`\p{L}|[\s\d]+`],
])('%s: words lose nothing', (_, source) => {
  fc.assert(
    fc.property(fc.oneof(text, borders), s => {
      expect(splitWords(s, [compilePattern(source)]).join('')).toBe(s);
    }),
  );
});

const cut = (source: string, s: string) => splitWords(s, [compilePattern(source)]);

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
])('%s', (_, source, s, expected) => {
  expect(cut(source, s)).toEqual(expected);
});

test('one pattern after another', () => {
  expect(splitWords('ab12 cd', [String.raw`\p{N}`, gpt2Pattern.source].map(compilePattern))).toEqual([
    'ab',
    '1',
    '2',
    ' cd',
  ]);
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
  ['[a[b]]', 'a class within a class'],
  ['[[:alpha:]]', 'a class within a class'],
  ['[a&&b]', 'a class within a class'],
  ['^a', 'the anchor "^"'],
  ['a$', 'the anchor "$"'],
  [String.raw`\b`, '"\\b"'],
  [String.raw`\1`, '"\\1"'],
  [String.raw`\p{Nothing}`, 'the property "Nothing"'],
  ['[]', 'an empty class'],
  ['[a', 'a class without its end'],
  ['(a', 'a group without its end'],
  ['a)', '")" without its beginning'],
  ['a\\', 'a backslash at the end'],
  ['a{1,99999}', 'a repetition of more than 1000'],
  ['a{5,1}', 'is not supported'],
  ['*', 'is not supported'],
  ['(?i:[a-z])', 'a range that ignores case'],
  ['a'.repeat(5000), 'at most 4096'],
])('%s is refused', (source, message) => {
  expect(() => compilePattern(source)).toThrow(message);
});

test.each([
  '(a+)+b',
  '(a*)*b',
  '(?:a|a)*b',
  '(?:a|b|ab)+c',
  '(?:(?:a+))+b',
  '(?:(?:a{1,}){1,})b',
  '((a+)?)*b',
  '(?:(?=a+)a)*b',
  '(a+){2}b',
  '(a+){0,5}',
  '(?:a?){30}a{30}',
  '(?:ab{2,3})+',
  '(?:x(?:a|a)y?)+b',
])('%s may take for ever, and is refused', source => {
  expect(() => compilePattern(source)).toThrow('a repetition of repetitions or alternatives, which may take for ever,');
});

test.each(['(ab)+', '(?:a[bc]d)*', '(?:a|b)?c', '(?:a+b)?', '(?:a|b){1}', '(?:ab{2})+', '(?:a+|b)c+', '(?i:ab)*'])(
  '%s is no such thing',
  source => {
    expect(() => compilePattern(source)).not.toThrow();
  },
);

test('a class may hold &, and a pattern 4096 characters', () => {
  expect('b&a'.split(compilePattern('[a&c]+'))).toEqual('b&a'.split(/[a&c]+/));
  expect(() => compilePattern('[a&]')).not.toThrow();
  expect(() => compilePattern('a'.repeat(4096))).not.toThrow();
  expect(() => compilePattern('a'.repeat(4097))).toThrow('is 4097 characters long; at most 4096 are read');
});

test('whatever is not refused ends soon, on the texts that are worst', () => {
  const piece = fc.constantFrom('a', 'b', '[ab]', '.', '(', '(?:', ')', '*', '+', '?', '{2,}', '{3}', '|');
  fc.assert(
    fc.property(fc.string({ unit: piece, maxLength: 12 }), source => {
      let pattern: RegExp;
      try {
        pattern = compilePattern(source);
      } catch {
        return;
      }
      const started = cpuTime();
      for (const s of ['a'.repeat(40), `${'ab'.repeat(20)}c`]) splitWords(s, [pattern]);
      expect(cpuTime() - started).toBeLessThan(1000);
    }),
    { numRuns: 5000 },
  );
});

test('any text is compiled or refused in one line, never another error', () => {
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
        splitWords('a s-1', [compilePattern(source)]);
      } catch (error) {
        expect((error as Error).name).toBe('UserError');
      }
    }),
    { numRuns: 2000 },
  );
});
