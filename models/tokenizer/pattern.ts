/**
 * How text is cut into words. A pattern, in the dialect of pattern-syntax.ts, is matched by the bounded matcher of
 * pattern-match.ts unless a backtracking engine's time is linear on every text. Then it is matched by a table
 * (pattern-automaton.ts) or, where it looks further than that can, by JavaScript's own engine.
 */
import { UserError } from '../errors.ts';
import { AutomatonFinder } from './pattern-automaton.ts';
import { BoundedFinder, type Finder } from './pattern-match.ts';
import { compileProgram } from './pattern-program.ts';
import { parsePattern, toJavaScript, type Node } from './pattern-syntax.ts';
import { Units } from './units.ts';

export { quotePattern } from './pattern-syntax.ts';

/** GPT-2's words: contractions, letters, digits, other signs, each with the space before it; runs of white space. */
export const gpt2Pattern = /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/**
 * One step of cutting a text: each piece of the step before is cut into what the pattern matches and what lies between.
 */
export interface Split {
  /** In the dialect of `tokenizer.json`; missing: the step cuts nothing. */
  readonly pattern?: string;
  /** What is thrown away: what the pattern matches, or what lies between; by default nothing. */
  readonly drops?: 'matches' | 'gaps';
  /** Whether a space is put before each piece that does not begin with one, before the piece is cut. */
  readonly prefixSpace?: boolean;
}

/** A word: the units of `piece` from `from` up to `to`; `at` is where it begins in the text. */
type Visit = (piece: Units, from: number, to: number, at: number) => void;
/** Calls `visit` for every word of a text, in order. No word is empty; a piece is gone after the call. */
export type Splitter = (text: string, visit: Visit) => void;

function whole(): Splitter {
  const units = new Units();
  return (text, visit) => {
    if (text.length > 0) visit(units.of(text), 0, text.length, 0);
  };
}

/** The words of a text: the steps, one after another. */
export function compileSplits(steps: readonly Split[]): Splitter {
  if (steps.length === 0) return whole();
  return steps
    .map(compileStep)
    .reduceRight(
      (rest, cut) => (text, visit) =>
        cut(text, (piece, from, to, at) =>
          rest(piece.slice(from, to), (inner, begin, end, offset) => visit(inner, begin, end, at + offset)),
        ),
    );
}

function compileStep({ pattern, drops, prefixSpace = false }: Split): Splitter {
  const finder = pattern === undefined ? undefined : compilePattern(pattern);
  const [keepsMatches, keepsGaps] = [drops !== 'matches', drops !== 'gaps'];
  const units = new Units();
  return (piece, visit) => {
    // The place of what follows is that in the text, which has no such space.
    const shift = prefixSpace && !piece.startsWith(' ') ? 1 : 0;
    const text = shift > 0 ? ` ${piece}` : piece;
    units.of(text);
    let end = 0;
    for (let from = 0; finder !== undefined && from <= text.length && finder.find(units, from); ) {
      const { start } = finder;
      if (start > end && keepsGaps) visit(units, end, start, Math.max(0, end - shift));
      ({ end } = finder);
      if (end > start && keepsMatches) visit(units, start, end, Math.max(0, start - shift));
      from = end > start ? end : end + (text.codePointAt(end)! > 0xffff ? 2 : 1);
    }
    if (text.length > end && keepsGaps) visit(units, end, text.length, Math.max(0, end - shift));
  };
}

/** @throws UserError for a pattern that is not supported. */
export function compilePattern(source: string): Finder {
  const node = parsePattern(source);
  if (!isLinear(node)) return new BoundedFinder(node, source);
  const automaton = AutomatonFinder.of(compileProgram(node, source));
  if (automaton) return automaton;
  try {
    return new NativeFinder(toJavaScript(node));
  } catch (error) {
    throw new UserError(
      `pattern ${JSON.stringify(source.slice(0, 60))}: is not supported: ${(error as Error).message}`,
    );
  }
}

class NativeFinder implements Finder {
  start = 0;
  end = 0;
  private readonly here: RegExp;
  private readonly anywhere: RegExp;

  constructor(source: string) {
    this.here = new RegExp(source, 'uy');
    this.anywhere = new RegExp(source, 'gu');
  }

  find({ text }: Units, from: number): boolean {
    // Nearly every match begins where the last one ended; `test` makes no object for it.
    this.here.lastIndex = from;
    if (this.here.test(text)) {
      [this.start, this.end] = [from, this.here.lastIndex];
      return true;
    }
    this.anywhere.lastIndex = from;
    const match = this.anywhere.exec(text);
    if (!match) return false;
    [this.start, this.end] = [match.index, match.index + match[0].length];
    return true;
  }
}

/** Ways to match, or to fail to match, that a pattern may have at one place and still count as few. */
const few = 256;

/**
 * Whether a backtracking engine takes time linear in the text, whatever the text. It does where no alternative has
 * anything left that could fail after its first unbounded repetition: then it never gives back what it took. One that
 * does give back, in one run of a set (`\s*[\r\n]+`, `\s+(?!\S)`), is harmless where an alternative after it takes the
 * run at once (`\s+`). The patterns of GPT-2, GPT-4, GPT-4o, LLaMA 3, Qwen and DeepSeek are of this kind.
 */
function isLinear(node: Node): boolean {
  const alternatives = (node.kind === 'choice' ? node.items : [node]).map(n => (n.kind === 'sequence' ? n.items : [n]));
  let total = 0;
  return alternatives.every((items, i) => {
    const first = items.findIndex(item => waysOf(item) === Infinity);
    total += product(first < 0 ? items : items.slice(0, first));
    if (total > few) return false;
    if (first < 0) return true;
    const run = runOf(items[first]);
    if (run === undefined) return false;
    const rest = items.slice(first + 1);
    if (rest.every(isOptional)) return true;
    const unbounded = rest.findIndex(item => waysOf(item) === Infinity);
    const givesBackOnce =
      product(unbounded < 0 ? rest : rest.slice(0, unbounded)) <= few &&
      (unbounded < 0 || (runOf(rest[unbounded]) !== undefined && rest.slice(unbounded + 1).every(isOptional)));
    return givesBackOnce && alternatives.slice(i + 1).some(later => takesRun(later, run));
  });
}

/** The set that an unbounded repetition repeats; undefined for another repetition. */
const runOf = (node: Node): string | undefined =>
  node.kind === 'repeat' && node.max === Infinity && node.item.kind === 'set' ? node.item.source : undefined;

/** Whether the part never fails, since it may match nothing. */
const isOptional = (node: Node): boolean =>
  node.kind === 'repeat' && node.min === 0 && (runOf(node) !== undefined || waysOf(node) <= few);

/** Whether the alternative matches wherever the set does, and then all of its run. */
function takesRun(items: readonly Node[], run: string): boolean {
  const at = items.findIndex(item => !isOptional(item));
  const item = items[at];
  return item?.kind === 'repeat' && item.min === 1 && runOf(item) === run && items.slice(at + 1).every(isOptional);
}

const product = (items: readonly Node[]): number => items.reduce((n, item) => n * waysOf(item), 1);

/** In how many ways a part can match at one place, at most. */
function waysOf(node: Node): number {
  switch (node.kind) {
    case 'set':
      return 1;
    case 'sequence':
      return product(node.items);
    case 'choice':
      return node.items.reduce((n, item) => n + waysOf(item), 0);
    case 'look':
      return waysOf(node.item);
    case 'repeat':
      return node.max === Infinity ? Infinity : (node.max - node.min + 1) * waysOf(node.item) ** node.max;
  }
}
