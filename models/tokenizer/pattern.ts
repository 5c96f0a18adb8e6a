/**
 * How text is cut into words. A pattern is written as `tokenizer.json` writes it, in Oniguruma's dialect, and compiled
 * here to a JavaScript expression that means the same: `\s` is Unicode's white space (JavaScript's takes U+FEFF and
 * leaves out U+0085), `\d` any decimal digit, `(?i:…)` spelled out letter by letter. What has no such translation
 * (possessive quantifiers, atomic groups, classes within classes, anchors) is refused rather than approximated.
 *
 * A pattern that may take exponential time, a repetition of repetitions or of alternatives such as `(a+)+` and `(a|a)*`,
 * is refused as well: the ways to match multiply. Honest limit: so they do, slower, one after another (`a*a*a*b`,
 * `a?a?a?aaa`), as in every engine that backtracks.
 */
import { UserError } from '../errors.ts';

/** GPT-2's words: contractions, letters, digits, other signs, each with the space before it; runs of white space. */
export const gpt2Pattern = /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** Words of a text: what the first pattern matches and what lies between, each cut further by the next. */
export function splitWords(text: string, patterns: readonly RegExp[]): string[] {
  if (text.length === 0) return [];
  const [first, ...others] = patterns;
  const words = first ? splitByPattern(text, first) : [text];
  return others.reduce((cut, pattern) => cut.flatMap(word => splitByPattern(word, pattern)), words);
}

function splitByPattern(text: string, pattern: RegExp): string[] {
  const words: string[] = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) words.push(text.slice(end, match.index));
    if (match[0].length > 0) words.push(match[0]);
    end = match.index + match[0].length;
  }
  if (end < text.length) words.push(text.slice(end));
  return words;
}

/** A text as a pattern that matches it and nothing else. */
export const quotePattern = (text: string): string => text.replace(/[\^$\\.*+?()[\]{}|/]/g, '\\$&');

/** The JavaScript expression of a pattern. */
export function compilePattern(source: string): RegExp {
  if (source.length > 4096) throw new UserError(`pattern: is ${source.length} characters long; at most 4096 are read`);
  const translated = new Translation(source).run();
  try {
    return new RegExp(translated, 'gu');
  } catch (error) {
    throw new UserError(
      `pattern ${JSON.stringify(source.slice(0, 60))}: is not supported: ${(error as Error).message}`,
    );
  }
}

const wordCharacters = String.raw`\p{Alphabetic}\p{M}\p{Nd}\p{Pc}`;
const escapes: Readonly<Record<string, string>> = {
  s: String.raw`\p{White_Space}`,
  S: String.raw`\P{White_Space}`,
  d: String.raw`\p{Nd}`,
  D: String.raw`\P{Nd}`,
  n: String.raw`\n`,
  r: String.raw`\r`,
  t: String.raw`\t`,
  f: String.raw`\f`,
  v: String.raw`\v`,
};

/** Largest bound of `{m,n}`: an expression grows with it. */
const maxRepeat = 1000;

interface Group {
  /** Whether it ignores case. */
  readonly folds: boolean;
  /** Whether it can match one text in several ways: it holds alternatives or a repetition of no fixed number. */
  ambiguous: boolean;
}

/** One walk over a pattern: `at` is the place, `groups` are those open there, the whole pattern the first. */
class Translation {
  private readonly source: string;
  private at = 0;
  private readonly groups: Group[] = [{ folds: false, ambiguous: false }];
  /** The group that ends at this very place. */
  private ended: Group | undefined;

  constructor(source: string) {
    this.source = source;
  }

  run(): string {
    let out = '';
    while (this.at < this.source.length) out += this.next();
    if (this.groups.length > 1) this.refuse('a group without its end');
    return out;
  }

  private refuse(what: string): never {
    throw new UserError(
      `pattern ${JSON.stringify(this.source.slice(0, 60))}: ${what} (at ${this.at}) is not supported`,
    );
  }

  /** Takes what `expression` (sticky) matches here. */
  private take(expression: RegExp): RegExpExecArray | null {
    expression.lastIndex = this.at;
    const match = expression.exec(this.source);
    if (match) this.at += match[0].length;
    return match;
  }

  private get group(): Group {
    return this.groups[this.groups.length - 1];
  }

  private get folding(): boolean {
    return this.group.folds;
  }

  private next(): string {
    const group = this.take(/\((?:\?(?:[:=!]|<[=!]|i:|-i:)|(?!\?))/y);
    if (group) {
      const [open] = group;
      this.ended = undefined;
      this.groups.push({ folds: open === '(?i:' ? true : open === '(?-i:' ? false : this.folding, ambiguous: false });
      return open.endsWith('i:') || open === '(' ? '(?:' : open;
    }
    const repeat = this.take(/(?:[*+?]|\{(\d*)(,?)(\d*)\})(\??)(\+?)/y);
    if (repeat) return this.repeat(repeat);
    const char = this.take(/[^]/uy)![0];
    this.ended = undefined;
    switch (char) {
      case '(':
        return this.refuse('this kind of group');
      case ')':
        if (this.groups.length === 1) this.refuse('")" without its beginning');
        this.ended = this.groups.pop()!;
        this.group.ambiguous ||= this.ended.ambiguous;
        return ')';
      case '[':
        return this.characterClass();
      case '\\':
        return this.escape(false);
      case '|':
        this.group.ambiguous = true;
        return '|';
      case '.':
        return String.raw`[^\n]`;
      case '^':
      case '$':
        return this.refuse(`the anchor "${char}"`);
      default:
        return this.letter(char, false);
    }
  }

  private repeat([all, least, comma, most, lazy, possessive]: RegExpExecArray): string {
    if (possessive === '+') this.refuse(`the possessive quantifier "${all}"`);
    const mark = all[0];
    const [from, to] =
      mark === '{'
        ? [Number(least), comma === '' ? Number(least) : Number(most || Infinity)]
        : [mark === '+' ? 1 : 0, mark === '?' ? 1 : Infinity];
    if (this.ended?.ambiguous && to > 1)
      this.refuse('a repetition of repetitions or alternatives, which may take for ever,');
    this.group.ambiguous ||= from !== to;
    this.ended = undefined;
    if (least === undefined) return all;
    if (least === '' && most === '') this.refuse(`"${all}"`);
    if (Number(least) > maxRepeat || Number(most) > maxRepeat) this.refuse(`a repetition of more than ${maxRepeat}`);
    return `{${least || '0'}${comma}${most}}${lazy}`;
  }

  private characterClass(): string {
    let out = this.take(/\^/y) ? '[^' : '[';
    for (let first = true; ; first = false) {
      const char = this.take(/[^]/uy)?.[0] ?? this.refuse('a class without its end');
      const next = this.source[this.at];
      if (char === ']' && first) this.refuse('an empty class');
      if (char === ']') return `${out}]`;
      if (char === '[' || (char === '&' && next === '&')) this.refuse('a class within a class');
      if (char === '-') {
        if (this.folding && !first && next !== ']') this.refuse('a range that ignores case');
        out += '-'; // a range or, at either end, itself: the same in both dialects
      } else out += char === '\\' ? this.escape(true) : this.letter(char, true);
    }
  }

  /** What follows a backslash. */
  private escape(inClass: boolean): string {
    const property = this.take(/([pP])\{(\^?)([A-Za-z_]+)\}/y);
    if (property) return this.property(property[1], property[2], property[3]);
    const code = this.take(/(?:x\{([0-9A-Fa-f]{1,6})\}|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4}))/y);
    if (code) {
      if (this.folding) this.refuse('a code that ignores case');
      return `\\u{${code[1] ?? code[2] ?? code[3]}}`;
    }
    const char = this.take(/[^]/uy)?.[0] ?? this.refuse('a backslash at the end');
    if (Object.hasOwn(escapes, char)) return escapes[char];
    if (char === 'w') return inClass ? wordCharacters : `[${wordCharacters}]`;
    if (char === 'W' && !inClass) return `[^${wordCharacters}]`;
    if (/[A-Za-z0-9]/.test(char)) this.refuse(`"\\${char}"`);
    return quotePatternIn(char, inClass);
  }

  /** A general category or binary property has its name in both dialects; a script has it after `Script=` here. */
  private property(kind: string, not: string, name: string): string {
    const letter = (kind === 'P') !== (not === '^') ? 'P' : 'p';
    for (const candidate of [name, `Script=${name}`]) {
      const text = `\\${letter}{${candidate}}`;
      try {
        new RegExp(text, 'u');
        return text;
      } catch {
        // Not a name of this kind.
      }
    }
    return this.refuse(`the property "${name}"`);
  }

  private letter(char: string, inClass: boolean): string {
    if (!this.folding || !/\p{L}/u.test(char)) return quotePatternIn(char, inClass);
    const same = new RegExp(`^${char}$`, 'iu');
    const variants = [...new Set([char.toLowerCase(), char.toUpperCase(), 'ſ', '\u212a'])]
      .filter(c => same.test(c))
      .join('');
    return inClass ? variants : `[${variants}]`;
  }
}

/** A character as itself; within a class, an escaped hyphen is no range. */
function quotePatternIn(char: string, inClass: boolean): string {
  return char === '-' && inClass ? '\\-' : quotePattern(char);
}
