/**
 * A matcher whose time is bounded, for patterns on which a backtracking engine may run for ever: `(?:a|a){30}b`, and,
 * on long texts, `\s*\s*x` or even `a+b`.
 *
 * It explores the same alternatives in the same order as JavaScript's engine and so finds the same matches, but it
 * remembers every state (instruction, position) that has failed and never enters one twice, within a match or from one
 * beginning to the next (Cox 2010, "BitState"): n characters and m instructions cost at most n·m steps. Lookarounds
 * remember their results, and a limit on the steps bounds whatever is left.
 */
import { UserError } from '../errors.ts';
import { compileProgram, type Instruction } from './pattern-program.ts';
import type { Node } from './pattern-syntax.ts';
import type { Units } from './units.ts';

/** Finds the matches of a pattern, one after another. */
export interface Finder {
  /** Whether there is a match at `from` or after it; its ends are `start` and `end`. Positions must not decrease. */
  find(text: Units, from: number): boolean;
  readonly start: number;
  readonly end: number;
}

/** Steps a character of text and an instruction may take, and steps that any text may. */
const [stepsPerState, stepsAlways] = [4, 1e6];
/** Positions whose states are kept together. */
const pageSize = 64;
/** Results of lookarounds that are kept. */
const mostLooked = 100_000;

/** Finds matches by backtracking that never enters a state twice, in bounded steps. */
export class BoundedFinder implements Finder {
  start = 0;
  end = 0;
  private readonly program: readonly Instruction[];
  private readonly source: string;
  private text = '';
  private steps = 0;
  /** States that have failed: a bit each, in pages of positions. */
  private failed = new Map<number, Uint32Array>();
  private lowestPage = 0;
  private readonly looked = new Map<number, boolean>();

  constructor(node: Node, source: string) {
    this.program = compileProgram(node, source);
    this.source = source;
  }

  find({ text }: Units, from: number): boolean {
    if (text !== this.text || from <= this.start) {
      this.text = text;
      this.steps = 0;
      this.lowestPage = 0;
      this.failed.clear();
      this.looked.clear();
    }
    for (let start = from; start <= text.length; start += start < text.length ? width(text, start) : 1) {
      const end = this.run(0, start, this.failed);
      while (this.lowestPage < Math.floor(start / pageSize)) this.failed.delete(this.lowestPage++);
      if (end < 0) continue;
      [this.start, this.end] = [start, end];
      // States beyond the end have failed, those at the end may be on the way to this match.
      for (let pc = 0; pc < this.program.length; pc++) this.mark(this.failed, pc, end, false);
      return true;
    }
    return false;
  }

  /** The end of the first match of the program at `entry` that begins at `from`, or −1. */
  private run(entry: number, from: number, failed: Map<number, Uint32Array>): number {
    const { program, text } = this;
    const stack = [entry, from];
    while (stack.length > 0) {
      let at = stack.pop()!;
      let pc = stack.pop()!;
      while (this.mark(failed, pc, at, true)) {
        if (++this.steps > stepsAlways + stepsPerState * text.length * program.length)
          throw new UserError(
            `pattern ${JSON.stringify(this.source.slice(0, 60))}: takes more than ${this.steps - 1} steps on a ` +
              `text of ${text.length} characters; simplify it`,
          );
        const instruction = program[pc];
        if (instruction.op === 'match') return at;
        if (instruction.op === 'jump') pc = instruction.to;
        else if (instruction.op === 'split') {
          stack.push(instruction.to[1], at);
          pc = instruction.to[0];
        } else if (instruction.op === 'look') {
          if (this.look(pc + 1, at) === instruction.negative) break;
          pc = instruction.to;
        } else if (instruction.back) {
          if (at === 0) break;
          const before = at - (at > 1 && isPair(text, at - 2) ? 2 : 1);
          if (!instruction.has(text.codePointAt(before)!)) break;
          at = before;
          pc++;
        } else {
          if (at === text.length || !instruction.has(text.codePointAt(at)!)) break;
          at += width(text, at);
          pc++;
        }
      }
    }
    return -1;
  }

  private look(entry: number, at: number): boolean {
    const key = at * this.program.length + entry;
    const known = this.looked.get(key);
    if (known !== undefined) return known;
    const found = this.run(entry, at, new Map()) >= 0;
    if (this.looked.size >= mostLooked) this.looked.clear();
    this.looked.set(key, found);
    return found;
  }

  /** Sets or clears the mark of a state; whether that changed it. */
  private mark(marks: Map<number, Uint32Array>, pc: number, at: number, value: boolean): boolean {
    const number = Math.floor(at / pageSize);
    let page = marks.get(number);
    if (!page) {
      if (!value) return false;
      page = new Uint32Array(Math.ceil((pageSize * this.program.length) / 32));
      marks.set(number, page);
    }
    const bit = (at % pageSize) * this.program.length + pc;
    const was = (page[bit >>> 5] >>> (bit & 31)) & 1;
    if (was === Number(value)) return false;
    page[bit >>> 5] ^= 1 << (bit & 31);
    return true;
  }
}

const isPair = (text: string, at: number): boolean => text.codePointAt(at)! > 0xffff;
const width = (text: string, at: number): number => (isPair(text, at) ? 2 : 1);
