/**
 * A matcher that reads each character of a match once and looks up what follows in a table.
 *
 * All the ways to match that a backtracking engine would try, in its order of preference, are one state, and a state
 * and a character give the next one, made when a text first leads there (the lazy automaton of RE2, Cox 2010).
 * Characters that belong to the same sets of the pattern share a column. A lookahead at one character, as in
 * `\s+(?!\S)`, is decided by that character. The matches are those of the engine; on the words of a text it takes a
 * fraction of the engine's time.
 */
import type { Finder } from './pattern-match.ts';
import type { Instruction } from './pattern-program.ts';
import type { Units } from './units.ts';

/** Longer programs take long to make a state. */
const maxInstructions = 512;
/** When there are more states, they are made again. */
const maxStates = 2048;
/** Numbers of the state that nothing follows, of that before the first character, and of the column of a text's end. */
const dead = 0;
const first = 1;
const endOfText = 0;
const unknown = -1;

/** Finds matches by a table of states and characters. */
export class AutomatonFinder implements Finder {
  start = 0;
  end = 0;
  private readonly program: readonly Instruction[];
  private readonly sets: readonly ((codePoint: number) => boolean)[];
  /** Places in the program that a state stands for, the preferred one first; the number of a state by them. */
  private states: (readonly number[])[] = [];
  private numbers = new Map<string, number>();
  /** The column of every UTF-16 unit that is a character, 0 for what must be asked, and of characters of two units. */
  private readonly columns = new Uint16Array(2 ** 16);
  private readonly columnsOfPairs = new Map<number, number>();
  /** The column of each combination of sets, and a character of each column. */
  private readonly combinations = new Map<string, number>();
  private readonly examples: (number | undefined)[] = [undefined];
  /** For a state and a column twice the next state, and 1 more where a match ends before the character. */
  private next: Int32Array;
  /** The entry of a state and a column is number (state << shift) + column. */
  private shift = 4;

  /** A finder for a program; undefined for one that is long or looks at more than the next character. */
  static of(program: readonly Instruction[]): AutomatonFinder | undefined {
    const looksAtOne = (pc: number) => program[pc + 1].op === 'set' && program[pc + 2].op === 'match';
    const fits = program.every((i, pc) => (i.op === 'set' ? !i.back : i.op !== 'look' || looksAtOne(pc)));
    return fits && program.length <= maxInstructions ? new AutomatonFinder(program) : undefined;
  }

  private constructor(program: readonly Instruction[]) {
    this.program = program;
    this.sets = [...new Set(program.flatMap(i => (i.op === 'set' ? [i.has] : [])))];
    this.next = new Int32Array(maxStates << this.shift).fill(unknown);
    this.clear();
  }

  find(text: Units, from: number): boolean {
    const { values, length } = text;
    for (let start = from; start <= length; start += isPair(values, start, length) ? 2 : 1) {
      const end = this.endOf(values, length, start);
      if (end < 0) continue;
      this.start = start;
      this.end = end;
      return true;
    }
    return false;
  }

  /** The end of the match that begins at `from`, or −1. */
  private endOf(units: Uint16Array, length: number, from: number): number {
    const { columns } = this;
    let { next, shift } = this;
    let state = first;
    let end = -1;
    for (let at = from; at < length; at++) {
      const begin = at;
      let column = columns[units[at]];
      let entry = column === 0 ? unknown : next[(state << shift) + column];
      if (entry === unknown) {
        if (column === 0) {
          column = this.columnAt(units, at, length);
          if (isPair(units, at, length)) at++;
        }
        entry = this.entry(state, column);
        ({ next, shift } = this); // which may be wider now
      }
      if ((entry & 1) === 1) end = begin;
      state = entry >> 1;
      if (state === dead) return end;
    }
    return (this.entry(state, endOfText) & 1) === 1 ? length : end;
  }

  private entry(state: number, column: number): number {
    const entry = this.next[(state << this.shift) + column];
    return entry === unknown ? this.learn(state, column) : entry;
  }

  private columnAt(units: Uint16Array, at: number, length: number): number {
    if (!isPair(units, at, length)) return this.learnColumn(units[at]);
    const codePoint = 0x10000 + ((units[at] & 0x3ff) << 10) + (units[at + 1] & 0x3ff);
    return this.columnsOfPairs.get(codePoint) ?? this.learnColumn(codePoint);
  }

  private learnColumn(codePoint: number): number {
    const combination = this.sets.map(has => Number(has(codePoint))).join('');
    let column = this.combinations.get(combination);
    if (column === undefined) {
      column = this.examples.push(codePoint) - 1;
      this.combinations.set(combination, column);
      if (column === 1 << this.shift) this.widen();
    }
    if (codePoint >= 2 ** 16) this.columnsOfPairs.set(codePoint, column);
    else if ((codePoint & 0xfc00) !== 0xd800) this.columns[codePoint] = column; // else it may begin a pair elsewhere
    return column;
  }

  private widen(): void {
    const { shift } = this;
    this.shift++;
    const wider = new Int32Array(maxStates << this.shift).fill(unknown);
    for (let state = 0; state < this.states.length; state++)
      wider.set(this.next.subarray(state << shift, (state + 1) << shift), state << this.shift);
    this.next = wider;
  }

  private learn(state: number, column: number): number {
    const { places, matched } = this.step(this.states[state], this.examples[column]);
    const full = this.states.length === maxStates;
    if (full) this.clear(); // and `state` is no more
    const entry = 2 * this.numberOf(places) + Number(matched);
    if (!full) this.next[(state << this.shift) + column] = entry;
    return entry;
  }

  private clear(): void {
    this.numbers.clear();
    this.states = [];
    this.next.fill(unknown);
    for (const places of [[], [0]]) this.numberOf(places); // dead, first
  }

  private numberOf(places: readonly number[]): number {
    const key = places.join();
    let number = this.numbers.get(key);
    if (number === undefined) {
      number = this.states.push(places) - 1;
      this.numbers.set(key, number);
    }
    return number;
  }

  /** Where the ways that are at `places` are after a character, and whether one of them ends a match before it. */
  private step(
    places: readonly number[],
    codePoint: number | undefined,
  ): { readonly places: readonly number[]; readonly matched: boolean } {
    const { program } = this;
    const after = new Set<number>();
    const visited = new Set<number>();
    const takes = (pc: number): boolean => {
      const i = program[pc];
      return i.op === 'set' && codePoint !== undefined && i.has(codePoint);
    };
    /** Whether a match ends here: then the ways that come later are not taken. */
    const visit = (pc: number): boolean => {
      if (visited.has(pc)) return false;
      visited.add(pc);
      const i = program[pc];
      switch (i.op) {
        case 'match':
          return true;
        case 'jump':
          return visit(i.to);
        case 'split':
          return visit(i.to[0]) || visit(i.to[1]);
        case 'look':
          return takes(pc + 1) !== i.negative && visit(i.to);
        case 'set':
          if (takes(pc)) after.add(pc + 1);
          return false;
      }
    };
    const matched = places.some(visit);
    return { places: [...after], matched };
  }
}

const isPair = (units: Uint16Array, at: number, length: number): boolean =>
  at + 1 < length && (units[at] & 0xfc00) === 0xd800 && (units[at + 1] & 0xfc00) === 0xdc00;
