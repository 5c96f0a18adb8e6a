/** What is said of mutants. */
import { expect, test } from 'vitest';
import type { Mutant } from './mutants.ts';
import { isNumerical, summary, survivors, type Status, type Verdict } from './report.ts';

const source = 'export const one = 1;\n';
const verdict = (number: number, file: string, status: Status['status'], untried?: string[]): Verdict => {
  const mutant: Mutant = {
    file,
    kind: 'constant',
    start: 19,
    end: 20,
    replacement: '2',
    site: { start: 19, end: 20, statement: false },
  };
  return { number, tree: file.split('/')[0], line: 1, mutant, status, untried };
};

test('a hung test kills, unreached code survives; numerical code is counted over all trees', () => {
  const verdicts = [
    verdict(0, 'engine/shape.ts', 'killed'),
    verdict(1, 'engine/shape.ts', 'hung'),
    verdict(2, 's2t2/plan.ts', 'survived'),
    verdict(3, 's2t2/app/cli.ts', 'not reached'),
    verdict(4, 's2t2/app/cli.ts', 'killed'),
  ];
  expect(
    summary(verdicts)
      .split('\n')
      .slice(1)
      .map(line => line.split(/\s{2,}/).slice(0, 7)),
  ).toEqual([
    ['engine', '2', '2', '1', '0', '0', '100.0%'],
    ['s2t2', '3', '1', '0', '2', '1', '33.3%'],
    ['numerical code', '3', '2', '1', '1', '0', '66.7%'],
  ]);
});

test('numerical code is what computes: the engine and the cores, without what reads, writes or shows', () => {
  const numerical = [
    'engine/wasm/machine.ts',
    'models/muon.ts',
    'models/tokenizer/train.ts',
    'models/checkpoint.ts',
    's2t2/sinkhorn.ts',
    'models/gguf/types.ts',
    's2t2/settings.ts',
    's2t2/translate.ts',
  ];
  const around = [
    'models/node/files.ts',
    'models/safetensors/header.ts',
    'models/tokenizer/json-read.ts',
    'models/gguf/header.ts',
    's2t2/plan-format.ts',
    's2t2/app/cli.ts',
    's2t2/app/paper/statistics.ts',
    's2t2/corpus/fasta.ts',
    's2t2/app/data/make.ts',
    's2t2/app/report/run.ts',
    's2t2/view/chart.ts',
    's2t2/app/paper/markdown.ts',
  ];
  expect([...numerical, ...around].filter(isNumerical)).toEqual(numerical);
});

test('a survivor is shown with its line, before and after, and with what it has not met', () => {
  const text = survivors(
    [verdict(0, 'a.ts', 'survived', ['x', 'y']), verdict(1, 'b.ts', 'killed'), verdict(2, 'b.ts', 'not reached')],
    new Map([
      ['a.ts', source],
      ['b.ts', source],
    ]),
  );
  expect(text.split('\n')).toEqual([
    'a.ts:1  constant, 2 tests not tried',
    '  - export const one = 1;',
    '  + export const one = 2;',
    'b.ts:1  constant, reached by no test',
    '  - export const one = 1;',
    '  + export const one = 2;',
  ]);
});
