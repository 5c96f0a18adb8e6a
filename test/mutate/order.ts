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

/** Names in a text, in small letters. */
const wordsIn = (text: string): Set<string> => new Set(text.toLowerCase().match(/[a-z_][a-z_0-9]{2,}/g) ?? []);

/** The words of the line that is broken, and of the lines that open the blocks around it. */
export function wordsAround({ start }: Pick<Mutant, 'start'>, source: string): Set<string> {
  const lines = source.slice(0, (source.indexOf('\n', start) + 1 || source.length + 1) - 1).split('\n');
  const indent = (line: string) => line.search(/\S/);
  const around: string[] = [];
  let depth = Infinity;
  for (const line of lines.toReversed())
    if (indent(line) >= 0 && indent(line) < depth) {
      around.push(line);
      depth = indent(line);
    }
  return wordsIn(around.join(' '));
}

/** Whether a part of a test file's name is one of the path of a file: `data-readers.test.ts` and `data/readers.ts`. */
function isNamesake(test: string, file: string): boolean {
  const parts = file.replace(/\.ts$/, '').split(/[/-]/).slice(1);
  return basename(test, '.test.ts')
    .split('-')
    .some(part => parts.includes(part));
}

/** Remembers who noticed what. */
export class Order {
  readonly #tests: readonly {
    readonly test: string;
    readonly file: TestFile;
    readonly words: readonly ReadonlySet<string>[];
  }[];
  readonly #sources: ReadonlyMap<string, string>;
  readonly #wordsOf = new Map<string, ReadonlySet<string>>();
  /** In how many files of the code a word is. */
  readonly #spread = new Map<string, number>();
  readonly #kills = new Map<string, number>();

  constructor(tests: Readonly<Record<string, TestFile>>, sources: ReadonlyMap<string, string>) {
    this.#tests = Object.entries(tests).map(([test, file]) => ({
      test,
      file,
      words: file.cases.map(({ name }) => wordsIn(name)),
    }));
    this.#sources = sources;
    for (const [file, source] of sources) {
      const words = wordsIn(`${source} ${file}`);
      this.#wordsOf.set(file, words);
      for (const word of words) this.#spread.set(word, (this.#spread.get(word) ?? 0) + 1);
    }
  }

  /** That a test has noticed a mutant of a file. */
  add(file: string, test: string, id: string): void {
    for (const key of [test, id, `${file} ${test}`, `${file} ${id}`])
      this.#kills.set(key, (this.#kills.get(key) ?? 0) + 1);
  }

  /** The tests in these directories that reach mutant number `n`, in the order in which it should meet them. */
  batches(n: number, mutant: Mutant, directories: readonly string[], among?: ReadonlySet<string>): Batch[] {
    const near = wordsAround(mutant, this.#sources.get(mutant.file)!);
    const found: { batch: Batch; worth: number }[] = [];
    for (const {
      test,
      file: { overhead, reaches, cases },
      words,
    } of this.#tests) {
      if (!directories.some(directory => test.startsWith(directory))) continue;
      const values = cases
        .map((each, k) => ({ each, words: words[k] }))
        .filter(({ each }) => (reaches.includes(n) || each.reaches.includes(n)) && (among?.has(each.id) ?? true))
        .map(({ each, words: named }) => ({
          each,
          value: this.#value(n, mutant.file, test, each) + 30 * this.#kinship(mutant.file, near, named),
        }))
        .sort((a, b) => b.value / (1 + b.each.milliseconds) - a.value / (1 + a.each.milliseconds));
      const best = Math.max(...values.map(({ value }) => value));
      // The rest only when the promising ones have noticed nothing.
      for (const part of [
        values.filter(({ value }) => value > best / 3),
        values.filter(({ value }) => value <= best / 3),
      ]) {
        if (part.length === 0) continue;
        const milliseconds = part.reduce((sum, { each }) => sum + each.milliseconds, overhead);
        found.push({
          batch: { test, cases: part.map(({ each }) => each), milliseconds },
          worth: Math.max(...part.map(({ value }) => value)) / milliseconds,
        });
      }
    }
    return found.sort((a, b) => b.worth - a.worth).map(({ batch }) => batch);
  }

  /**
   * How much a test's name tells of a file: it has a word of it that few others have, or one that stands near the
   * mutant.
   */
  #kinship(file: string, near: ReadonlySet<string>, named: ReadonlySet<string>): number {
    const own = this.#wordsOf.get(file)!;
    return Math.max(
      0,
      ...[...named].filter(word => own.has(word)).map(word => (near.has(word) ? 2 : 1) / this.#spread.get(word)!),
    );
  }

  /** That this test notices the mutant: not a probability, but it grows with it. */
  #value(n: number, file: string, test: string, { id, reaches }: Case): number {
    const kills = (key: string) => this.#kills.get(key) ?? 0;
    return (
      1 +
      (reaches.includes(n) ? 4 : 0) +
      (isNamesake(test, file) ? 5 : 0) +
      Math.min(kills(test), 5) +
      5 * Math.min(kills(`${file} ${test}`), 5) +
      5 * Math.min(kills(id), 5) +
      60 * Math.min(kills(`${file} ${id}`), 5)
    );
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
