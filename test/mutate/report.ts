/** What is said about mutants: shares with their intervals, and the survivors. */
import { diffOf, type Mutant } from './mutants.ts';

export interface Status {
  /** `hung`: a test did not end; it counts as killed. `not reached`: no test runs the place; it counts as survived. */
  readonly status: 'killed' | 'hung' | 'survived' | 'not reached';
  /** The test that noticed, its file and its id; where that is not known, the file twice. */
  readonly by?: { readonly test: string; readonly id: string };
  /** Ids of tests that reach a survivor and were not tried, for time. */
  readonly untried?: readonly string[];
}

export interface Verdict extends Status {
  readonly number: number;
  readonly tree: string;
  readonly line: number;
  readonly mutant: Mutant;
}

/** Wilson's 95 % interval of a share of k in n (Wilson 1927). */
export function wilson(k: number, n: number): [number, number] {
  const z2 = 1.959964 ** 2;
  const [middle, half] = [(k + z2 / 2) / (n + z2), (Math.sqrt(z2) * Math.sqrt((k * (n - k)) / n + z2 / 4)) / (n + z2)];
  return [middle - half, middle + half];
}

export const survives = ({ status }: Status): boolean => status === 'survived' || status === 'not reached';

/**
 * What is not numerical code: what reads, writes or shows (the formats of files, texts for people) and the directories
 * around the cores. The engine and the rest of `models` and `s2t2` are numerical.
 */
const around = [
  /^models\/(errors|json|printable|utf8|sha256|turn|tokenizer\/json.*)\.ts/,
  /^models\/gguf\/(files|header|metadata|tokenizer)\.ts/,
  /^models\/(node|safetensors)\//,
  /^s2t2\/(plan-format\.ts|\w+\/)/,
];

export const isNumerical = (file: string): boolean => !around.some(pattern => pattern.test(file));

const percent = (x: number): string => `${(100 * x).toFixed(1)}%`;

/** A line for each tree, and one for the numerical code of all. */
export function summary(verdicts: readonly Verdict[]): string {
  const lines = [
    ['tree', 'mutants', 'killed', 'of these hung', 'survived', 'of these not reached', 'killed share', '95% interval'],
  ];
  const line = (name: string, of: readonly Verdict[]) => {
    const count = (...statuses: string[]) => of.filter(v => statuses.includes(v.status)).length;
    const [killed, survived] = [count('killed', 'hung'), count('survived', 'not reached')];
    const n = killed + survived;
    lines.push(
      [
        name,
        n,
        killed,
        count('hung'),
        survived,
        count('not reached'),
        percent(killed / n),
        wilson(killed, n).map(percent).join(' – '),
      ].map(String),
    );
  };
  for (const tree of new Set(verdicts.map(v => v.tree)))
    line(
      tree,
      verdicts.filter(v => v.tree === tree),
    );
  line(
    'numerical code',
    verdicts.filter(v => isNumerical(v.mutant.file)),
  );
  const widths = lines[0].map((_, i) => Math.max(...lines.map(cells => cells[i].length)));
  return lines
    .map(cells => cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '))
    .join('\n');
}

export function survivors(verdicts: readonly Verdict[], sources: ReadonlyMap<string, string>): string {
  return verdicts
    .filter(survives)
    .sort((a, b) => a.mutant.file.localeCompare(b.mutant.file) || a.mutant.start - b.mutant.start)
    .map(({ mutant, line, status, untried = [] }) => {
      const notReached = status === 'not reached' ? ', reached by no test' : '';
      const notTried = untried.length > 0 ? `, ${untried.length} tests not tried` : '';
      const diff = diffOf(sources.get(mutant.file)!, mutant);
      return `${mutant.file}:${line}  ${mutant.kind}${notReached}${notTried}\n${diff}`;
    })
    .join('\n');
}
