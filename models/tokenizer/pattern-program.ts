/** A pattern as a list of instructions, for the matchers that do not leave it to JavaScript's engine. */
import { UserError } from '../errors.ts';
import type { Node } from './pattern-syntax.ts';

/** A step of a match; a place in the list is the state of one way to match. */
export type Instruction =
  | { readonly op: 'set'; readonly has: (codePoint: number) => boolean; readonly back: boolean }
  | { readonly op: 'split'; readonly to: readonly [number, number] }
  | { readonly op: 'jump'; readonly to: number }
  | { readonly op: 'look'; readonly negative: boolean; readonly to: number }
  | { readonly op: 'match' };

const maxInstructions = 20_000;

/** Instructions of a pattern. Lookbehind reads backwards: its items come in reverse. */
export function compileProgram(node: Node, source: string): Instruction[] {
  const program: Instruction[] = [];
  const emit = (instruction: Instruction): number => {
    if (program.length >= maxInstructions)
      throw new UserError(
        `pattern ${JSON.stringify(source.slice(0, 60))}: is too long once its repetitions are expanded`,
      );
    return program.push(instruction) - 1;
  };
  // One function for one set, however often the pattern has it.
  const sets = new Map<string, (codePoint: number) => boolean>();
  const remember = (set: string) => {
    const has = membership(set);
    sets.set(set, has);
    return has;
  };
  const add = (n: Node, back: boolean): void => {
    switch (n.kind) {
      case 'set':
        emit({ op: 'set', has: sets.get(n.source) ?? remember(n.source), back });
        break;
      case 'sequence':
        for (const item of back ? n.items.toReversed() : n.items) add(item, back);
        break;
      case 'choice': {
        const jumps: number[] = [];
        n.items.forEach((item, i) => {
          const last = i === n.items.length - 1;
          const split = last ? -1 : emit({ op: 'jump', to: 0 });
          add(item, back);
          if (last) return;
          jumps.push(emit({ op: 'jump', to: 0 }));
          program[split] = { op: 'split', to: [split + 1, program.length] };
        });
        for (const jump of jumps) program[jump] = { op: 'jump', to: program.length };
        break;
      }
      case 'repeat': {
        for (let i = 0; i < n.min; i++) add(n.item, back);
        const order = (inner: number, outer: number): [number, number] => (n.lazy ? [outer, inner] : [inner, outer]);
        if (n.max === Infinity) {
          const split = emit({ op: 'jump', to: 0 });
          add(n.item, back);
          emit({ op: 'jump', to: split });
          program[split] = { op: 'split', to: order(split + 1, program.length) };
          break;
        }
        const splits: number[] = [];
        for (let i = n.min; i < n.max; i++) {
          splits.push(emit({ op: 'jump', to: 0 }));
          add(n.item, back);
        }
        for (const split of splits) program[split] = { op: 'split', to: order(split + 1, program.length) };
        break;
      }
      case 'look': {
        const at = emit({ op: 'jump', to: 0 });
        add(n.item, !n.ahead);
        emit({ op: 'match' });
        program[at] = { op: 'look', negative: n.negative, to: program.length };
        break;
      }
    }
  };
  add(node, false);
  emit({ op: 'match' });
  return program;
}

/** Whether a code point is of a set; answers are remembered. */
function membership(source: string): (codePoint: number) => boolean {
  const expression = new RegExp(`^${source}$`, 'u');
  const ask = (codePoint: number) => expression.test(String.fromCodePoint(codePoint));
  const ascii = Array.from({ length: 128 }, (_, codePoint) => ask(codePoint));
  const others = new Map<number, boolean>();
  return codePoint => {
    if (codePoint < 128) return ascii[codePoint];
    let has = others.get(codePoint);
    if (has === undefined) others.set(codePoint, (has = ask(codePoint)));
    return has;
  };
}
