/**
 * The patterns of `tokenizer.json`, written in Oniguruma's dialect, as a tree. Every construct gets the meaning it has
 * there: `\s` is Unicode's white space (JavaScript's takes U+FEFF and leaves out U+0085), `\d` any decimal digit, `^`
 * and `$` the ends of a line, `(?i:…)` spelled out letter by letter. What has no translation here (possessive
 * quantifiers, atomic groups, classes within classes, word boundaries) is rejected rather than approximated.
 */
import { UserError } from '../errors.ts';

/** A node of a pattern's tree. */
export type Node =
  /** One character of a set, as a JavaScript expression with the flag u. */
  | { readonly kind: 'set'; readonly source: string }
  | { readonly kind: 'sequence'; readonly items: readonly Node[] }
  | { readonly kind: 'choice'; readonly items: readonly Node[] }
  | { readonly kind: 'repeat'; readonly item: Node; readonly min: number; readonly max: number; readonly lazy: boolean }
  | { readonly kind: 'look'; readonly item: Node; readonly ahead: boolean; readonly negative: boolean };

/** The tree of a pattern. @throws UserError for what is not supported, with its place. */
export function parsePattern(source: string): Node {
  if (source.length > 4096)
    throw new UserError(`pattern: is ${source.length} characters long; at most 4096 are supported`);
  return new Parser(source).run();
}

/** The JavaScript expression, for the flag u, that means the same. */
export function toJavaScript(node: Node): string {
  switch (node.kind) {
    case 'set':
      return node.source;
    case 'sequence':
      return node.items
        .map(item => (item.kind === 'choice' ? `(?:${toJavaScript(item)})` : toJavaScript(item)))
        .join('');
    case 'choice':
      return node.items.map(toJavaScript).join('|');
    case 'look':
      return `(?${node.ahead ? '' : '<'}${node.negative ? '!' : '='}${toJavaScript(node.item)})`;
    case 'repeat': {
      const { item, min, max, lazy } = node;
      const inner = item.kind === 'set' ? toJavaScript(item) : `(?:${toJavaScript(item)})`;
      const count =
        max === Infinity
          ? (['*', '+'][min] ?? `{${min},}`)
          : min === 0 && max === 1
            ? '?'
            : `{${min}${max === min ? '' : `,${max}`}}`;
      return `${inner}${count}${lazy ? '?' : ''}`;
    }
  }
}

/** A text as a pattern that matches it and nothing else. */
export const quotePattern = (text: string): string => text.replace(/[\^$\\.*+?()[\]{}|/]/g, '\\$&');

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
/** Groups within groups. */
const maxDepth = 100;

const set = (source: string): Node => ({ kind: 'set', source });
const allButNewline = set(String.raw`[^\n]`);
const look = (item: Node, ahead: boolean, negative: boolean): Node => ({ kind: 'look', item, ahead, negative });

/** One walk over a pattern; `at` is the place. */
class Parser {
  private readonly source: string;
  private at = 0;
  private depth = 0;

  constructor(source: string) {
    this.source = source;
  }

  run(): Node {
    const node = this.choice(false);
    if (this.at < this.source.length) {
      this.at++;
      this.reject('an unmatched ")"');
    }
    return node;
  }

  private reject(what: string): never {
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

  /** Alternatives up to the end of the group; `folds`: whether they ignore case. */
  private choice(folds: boolean): Node {
    const items = [this.sequence(folds)];
    while (this.take(/\|/y)) items.push(this.sequence(folds));
    return items.length === 1 ? items[0] : { kind: 'choice', items };
  }

  private sequence(folds: boolean): Node {
    const items: Node[] = [];
    while (this.at < this.source.length && !'|)'.includes(this.source[this.at])) {
      const repeat = this.take(/(?:[*+?]|\{(?:(\d+),?(\d*)|,(\d+))\})(\??)(\+?)/y);
      if (!repeat) items.push(this.item(folds));
      else items.push(this.repeat(items.pop(), repeat));
    }
    return items.length === 1 ? items[0] : { kind: 'sequence', items };
  }

  private item(folds: boolean): Node {
    const group = this.take(/\((?:\?(?:[:=!]|<[=!]|i:|-i:)|(?!\?))/y);
    if (group) return this.group(group[0], folds);
    const char = this.take(/[^]/uy)![0];
    switch (char) {
      case '(':
        return this.reject('this kind of group');
      case '[':
        return set(this.characterClass(folds));
      case '\\':
        return set(this.escape(folds, false));
      case '.':
        return allButNewline;
      case '^':
        return look(allButNewline, false, true);
      case '$':
        return look(allButNewline, true, true);
      default:
        return set(this.letter(char, folds, false));
    }
  }

  private group(open: string, folds: boolean): Node {
    if (++this.depth > maxDepth) this.reject(`groups nested more than ${maxDepth} deep`);
    const node = this.choice(open === '(?i:' ? true : open === '(?-i:' ? false : folds);
    if (!this.take(/\)/y)) this.reject('an unclosed group');
    this.depth--;
    return /[=!]$/.test(open) ? look(node, !open.includes('<'), open.endsWith('!')) : node;
  }

  private repeat(item: Node | undefined, [all, least, most, atMost, lazy, possessive]: RegExpExecArray): Node {
    if (possessive === '+') this.reject(`the possessive quantifier "${all}"`);
    if (!item) this.reject(`"${all}" with nothing before it`);
    if (item.kind === 'look') this.reject(`"${all}" after what matches no text`);
    const mark = all[0];
    const min = mark === '{' ? Number(least ?? 0) : mark === '+' ? 1 : 0;
    const max =
      mark === '{' ? Number(atMost ?? (most || (all.includes(',') ? Infinity : least))) : mark === '?' ? 1 : Infinity;
    if (min > maxRepeat || (max > maxRepeat && max !== Infinity)) this.reject(`a repetition of more than ${maxRepeat}`);
    if (min > max) this.reject(`"${all}"`);
    return { kind: 'repeat', item, min, max, lazy: lazy === '?' };
  }

  private characterClass(folds: boolean): string {
    let out = this.take(/\^/y) ? '[^' : '[';
    for (let first = true; ; first = false) {
      const char = this.take(/[^]/uy)?.[0] ?? this.reject('an unclosed class');
      const next = this.source[this.at];
      if (char === ']' && first) this.reject('an empty class');
      if (char === ']') break;
      if (char === '[' || (char === '&' && next === '&')) this.reject('a nested class');
      if (char === '-') {
        if (folds && !first && next !== ']') this.reject('a case-insensitive range');
        out += '-'; // a range or, at either end, itself: the same in both dialects
      } else out += char === '\\' ? this.escape(folds, true) : this.letter(char, folds, true);
    }
    try {
      new RegExp(`${out}]`, 'u');
    } catch {
      this.reject(`the class "${out}]"`);
    }
    return `${out}]`;
  }

  /** What follows a backslash. */
  private escape(folds: boolean, inClass: boolean): string {
    const property = this.take(/([pP])\{(\^?)([A-Za-z_]+)\}/y);
    if (property) return this.property(property[1], property[2], property[3]);
    const code = this.take(/(?:x\{([0-9A-Fa-f]{1,6})\}|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4}))/y);
    if (code) {
      if (folds) this.reject('a case-insensitive code');
      const hex = code[1] ?? code[2] ?? code[3];
      if (parseInt(hex, 16) > 0x10ffff) this.reject(`the code ${hex}`);
      return `\\u{${hex}}`;
    }
    const char = this.take(/[^]/uy)?.[0] ?? this.reject('a trailing backslash');
    if (Object.hasOwn(escapes, char)) return escapes[char];
    if (char === 'w') return inClass ? wordCharacters : `[${wordCharacters}]`;
    if (char === 'W' && !inClass) return `[^${wordCharacters}]`;
    if (/[A-Za-z0-9]/.test(char)) this.reject(`"\\${char}"`);
    return quoteIn(char, inClass);
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
    return this.reject(`the property "${name}"`);
  }

  private letter(char: string, folds: boolean, inClass: boolean): string {
    if (!folds || !/\p{L}/u.test(char)) return quoteIn(char, inClass);
    const same = new RegExp(`^${char}$`, 'iu');
    const variants = [...new Set([char.toLowerCase(), char.toUpperCase(), 'ſ', '\u212a'])]
      .filter(c => same.test(c))
      .join('');
    return inClass ? variants : `[${variants}]`;
  }
}

/** A character as itself; within a class, an escaped hyphen is not a range. */
function quoteIn(char: string, inClass: boolean): string {
  return char === '-' && inClass ? '\\-' : quotePattern(char);
}
