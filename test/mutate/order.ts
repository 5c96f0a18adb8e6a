/** Which tests a mutant meets, and which of them first: those that are likely to notice it, for their time. */
import { basename } from 'node:path';
import type { Mutant } from './mutants.ts';

/** What is known of a test file before anything is broken. */
export interface TestFile {
  /** Milliseconds that it takes besides its tests. */
  readonly overhead: number;
  /** Numbers of the mutants that are reached when it is read, outside of its tests. */
  readonly reaches: readonly number[];
  readonly cases: readonly Case[];
}

/** A test of a test file. */
export interface Case {
  readonly id: string;
  /** With the names of the groups that it is in. */
  readonly name: string;
  readonly milliseconds: number;
  /** Numbers of the mutants that it reaches. */
  readonly reaches: readonly number[];
}

/** Tests of one file that a mutant meets together. */
export interface Batch {
  readonly test: string;
  readonly cases: readonly Case[];
  readonly milliseconds: number;
}

/** The words of the line that is broken, of the lines that open the blocks around it, and of the path of its file. */
export function wordsOf({ file, start }: Pick<Mutant, 'file' | 'start'>, source: string): Set<string> {
  const lines = source.slice(0, (source.indexOf('\n', start) + 1 || source.length + 1) - 1).split('\n');
  const indent = (line: string) => line.search(/\S/);
  const around: string[] = [];
  let depth = Infinity;
  for (const line of lines.toReversed()) if (indent(line) >= 0 && indent(line) < depth) {
    around.push(line);
    depth = indent(line);
  }
  return new Set(`${around.join(' ')} ${file.replace(/\.ts$/, '')}`.toLowerCase().match(/[a-z_][a-z_0-9]{2,}/g) ?? []);
}

/** Whether a part of a test file's name is one of the path of a file: `data-readers.test.ts` and `data/readers.ts`. */
function isNamesake(test: string, file: string): boolean {
  const parts = file.replace(/\.ts$/, '').split(/[/-]/).slice(1);
  return basename(test, '.test.ts').split('-').some(part => parts.includes(part));
}

/** Remembers who noticed what. */
export class Order {
  readonly #files: Readonly<Record<string, TestFile>>;
  readonly #names: readonly string[];
  readonly #rare = new Map<string, boolean>();
  readonly #kills = new Map<string, number>();

  constructor(files: Readonly<Record<string, TestFile>>) {
    this.#files = files;
    this.#names = Object.values(files).flatMap(({ cases }) => cases.map(({ name }) => name.toLowerCase()));
  }

  /** That a test has noticed a mutant of a file. */
  add(file: string, test: string, id: string): void {
    for (const key of [test, id, `${file} ${test}`, `${file} ${id}`]) this.#kills.set(key, (this.#kills.get(key) ?? 0) + 1);
  }

  /** The tests in these directories that reach mutant number `n`, in the order in which it should meet them. */
  batches(n: number, mutant: Mutant, source: string, directories: readonly string[], among?: ReadonlySet<string>): Batch[] {
    const words = [...wordsOf(mutant, source)].filter(word => this.#isRare(word));
    const found: { batch: Batch; worth: number }[] = [];
    for (const [test, { overhead, reaches, cases }] of Object.entries(this.#files)) {
      if (!directories.some(directory => test.startsWith(directory))) continue;
      const values = cases
        .filter(each => (reaches.includes(n) || each.reaches.includes(n)) && (among?.has(each.id) ?? true))
        .map(each => ({ each, value: this.#value(n, mutant.file, words, test, each) }))
        .sort((a, b) => b.value / (1 + b.each.milliseconds) - a.value / (1 + a.each.milliseconds));
      const best = Math.max(...values.map(({ value }) => value));
      // The rest only when the promising ones have noticed nothing.
      for (const part of [values.filter(({ value }) => value > best / 3), values.filter(({ value }) => value <= best / 3)]) {
        if (part.length === 0) continue;
        const milliseconds = part.reduce((sum, { each }) => sum + each.milliseconds, overhead);
        found.push({ batch: { test, cases: part.map(({ each }) => each), milliseconds }, worth: Math.max(...part.map(({ value }) => value)) / milliseconds });
      }
    }
    return found.sort((a, b) => b.worth - a.worth).map(({ batch }) => batch);
  }

  /** That this test notices the mutant: not a probability, but it grows with it. */
  #value(n: number, file: string, words: readonly string[], test: string, { id, name, reaches }: Case): number {
    const kills = (key: string) => this.#kills.get(key) ?? 0;
    const lower = name.toLowerCase();
    return 1 + (reaches.includes(n) ? 4 : 0) + (isNamesake(test, file) ? 10 : 0) + (words.some(word => lower.includes(word)) ? 30 : 0)
      + Math.min(kills(test), 10) + 5 * Math.min(kills(`${file} ${test}`), 10) + 5 * Math.min(kills(id), 10) + 50 * kills(`${file} ${id}`);
  }

  /** Whether some tests are named so, but few: others tell nothing. */
  #isRare(word: string): boolean {
    let rare = this.#rare.get(word);
    if (rare === undefined) {
      const count = this.#names.filter(name => name.includes(word)).length;
      this.#rare.set(word, (rare = count > 0 && count <= Math.max(1, this.#names.length / 10)));
    }
    return rare;
  }
}

/** As much of a batch as fits into the time. */
export function within({ test, cases, milliseconds }: Batch, most: number): Batch {
  let sum = milliseconds - cases.reduce((total, each) => total + each.milliseconds, 0);
  const fitting: Case[] = [];
  for (const each of cases) {
    if (sum + each.milliseconds > most) continue;
    sum += each.milliseconds;
    fitting.push(each);
  }
  return { test, cases: fitting, milliseconds: sum };
}
