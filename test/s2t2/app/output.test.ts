/**
 * What every command prints: with `--json` one object on standard output, with `--quiet` nothing else, never a colour,
 * and no table wider than the terminal. A command that is added fails the first test until it is in the table.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Random } from '../../../engine/index.ts';
import { initTransformer } from '../../../models/init.ts';
import { saveModel } from '../../../models/node/checkpoint.ts';
import { columnsOf } from '../../../models/printable.ts';
import { trainBPE } from '../../../models/tokenizer/index.ts';
import { gridText } from '../../../s2t2/app/rates.ts';
import { temporaryDirectory } from '../../models/temporary.ts';
import { cli, command } from './command.ts';
import { englishPackages, japanesePages, unpack } from './data/packages.ts';

const directory = temporaryDirectory();
const at = (...names: string[]) => join(directory, ...names);
const anyString: unknown = expect.any(String);
const anyNumber: unknown = expect.any(Number);
const anyArray: unknown = expect.any(Array);

beforeAll(async () => {
  const tokenizer = trainBPE(['a few words to learn from, a few more'], { vocabSize: 280, alphabet: 'bytes' });
  const config = {
    family: 'olmo' as const,
    vocabSize: tokenizer.vocabSize,
    width: 8,
    layers: 1,
    heads: 2,
    keyValueHeads: 2,
    feedForward: 8,
    context: 1024,
    rotaryBase: 10000,
    normEps: 1e-5,
    tied: true,
  };
  await saveModel(at('model'), { model: initTransformer(config, new Random(1)), tokenizer });
  const proteins = ['MKVLAAGIVGLCAK', 'MKKLAAGIVKVLAA', 'GIVGLCAMKVKVLA', 'AAGIVGLCAMKVLA'];
  writeFileSync(at('p.fasta'), proteins.map((text, i) => `>${i}\n${text}\n`).join(''));
  const cell = { name: 'scratch', rate: 1e-3, planRate: 1e-2, bodyRate: 1, before: null, bitsPerByte: 4 };
  writeFileSync(at('rates.jsonl'), gridText([{ ...cell, domain: 'greek', tokens: 64, chosen: true }]));
  unpack(at('packages'), japanesePages(20));
  await englishPackages(at('pretrain/english'), 200);
});

/** A command: its arguments, and what its object holds. */
interface Row {
  readonly arguments: () => readonly string[];
  readonly json: Readonly<Record<string, unknown>>;
  /** Run once only, as objects. */
  readonly isLong?: boolean;
}

const words = (text: string) => text.split(' ');

const plan = () => ['--plan', at('run/plan.safetensors'), '--target', at('run/model')];
const model = () => ['--model', at('model')];
const data = () => ['--data', at('p.fasta')];
const adaptation = ['--vocab-size', '40', '--tokens', '64', '--batch-tokens', '32', '--methods', 's2t2'];

const commands: Readonly<Record<string, Row>> = {
  adapt: {
    arguments: () => [...model(), ...data(), '--out', at('run'), '--test-share', '0.5', ...adaptation],
    json: { methods: anyArray, out: anyString, report: anyString },
  },
  report: {
    arguments: () => ['--run', at('run'), '--source', at('model')],
    json: { report: anyString },
  },
  explain: {
    arguments: () => [...plan(), '--source', at('model')],
    json: { plan: anyString, tokens: anyArray },
  },
  translate: {
    arguments: () => [...plan(), ...model(), '--out', at('translated')],
    json: { bytes: anyNumber, out: anyString },
  },
  import: {
    arguments: () => [at('model'), '--out', at('imported')],
    json: { bytes: anyNumber, out: anyString },
  },
  export: {
    arguments: () => [at('run/model'), '--out', at('exported.gguf')],
    json: { bytes: anyNumber, out: anyString },
  },
  evaluate: {
    arguments: () => [...model(), ...data()],
    json: {
      bitsPerByte: anyNumber,
      texts: 4,
      format: 'fasta',
      skipped: { empty: 0, tooShort: 0, tooLong: 0, stops: 0 },
      unknown: { bytes: 0, texts: 0 },
    },
  },
  generate: {
    arguments: () => [...model(), '--prompt', 'MK', '--max-tokens', '2'],
    json: { prompt: 'MK', text: anyString, tokens: anyNumber },
  },
  tokenize: {
    arguments: () => [...data(), '--vocab-size', '40', '--out', at('t.json')],
    json: { vocabSize: anyNumber, tokensPerByte: anyNumber, out: anyString },
  },
  data: {
    arguments: () => {
      cpSync(at('packages'), at('work'), { recursive: true });
      return [
        'japanese',
        '--work',
        at('work'),
        '--out',
        at('made'),
        '--train',
        '6',
        '--validation',
        '2',
        '--test',
        '2',
      ];
    },
    json: { unit: 'byte', splits: expect.any(Object) },
  },
  paper: {
    arguments: () =>
      words('--domain greek --lines scratch --tokens 64 --seeds 1 --held-out 2').concat(model(), [
        '--out',
        at('paper'),
        '--rates',
        at('rates.jsonl'),
      ]),
    json: { out: anyString, papers: anyArray },
    isLong: true,
  },
  pretrain: {
    arguments: () =>
      words('--vocab-size 280 --width 8 --heads 2 --layers 1 --window 16').concat(
        words('--text 0.2 --tokens 64 --batch-tokens 64'),
        ['--work', at('pretrain'), '--out', at('pretrain/model')],
      ),
    json: { steps: anyNumber, heldOut: expect.any(Object) },
    isLong: true,
  },
};

/** On a terminal, which `script` of util-linux gives a command. */
test.skipIf(process.platform !== 'linux')('on a terminal it has no colour, with NO_COLOR or FORCE_COLOR', () => {
  const { NO_COLOR: _, FORCE_COLOR: __, ...plain } = process.env;
  const shell = (...words: string[]) => words.map(word => `'${word}'`).join(' ');
  const run = (args: readonly string[], env: Record<string, string>) =>
    spawnSync('script', ['-qec', shell(process.execPath, cli, '--plain-simd', ...args), '/dev/null'], {
      env: { ...plain, TERM: 'xterm-256color', ...env },
      encoding: 'utf8',
      input: '',
    });
  for (const env of [{ NO_COLOR: '1' }, { FORCE_COLOR: '1' }] as Record<string, string>[]) {
    const { status, stdout } = run(['evaluate', ...model(), ...data()], env);
    expect([status, stdout], JSON.stringify(env)).toEqual([0, expect.stringContaining('perplex')]);
    expect(stdout.replaceAll('\u001b', 'ESC'), JSON.stringify(env)).not.toMatch(/ESC\[[\d;]*m/);
  }
});

test('every command is in the table', async () => {
  const { stdout } = await command(['--help']);
  const named = stdout.slice(stdout.indexOf('Commands:')).match(/(?<=^ {2})[a-z]+/gm)!;
  // `start` is `adapt` on the bundled model and proteins.
  const others = new Set(['help', 'start']);
  expect(named.filter(name => !others.has(name)).sort()).toEqual(Object.keys(commands).sort());
});

describe('each command, in this order', { shuffle: false }, () => {
  const { columns } = process.stdout;
  afterEach(() => {
    process.stdout.columns = columns;
  });

  test.each(Object.entries(commands))('%s', async (name, { arguments: args, json, isLong }) => {
    const quiet = await command([name, ...args(), '--json', '--quiet']);
    expect([quiet.code, quiet.stderr]).toEqual([0, '']);
    expect(quiet.stdout.trimEnd().split('\n')).toHaveLength(1);
    expect(JSON.parse(quiet.stdout)).toMatchObject(json);
    expect(quiet.stdout[0]).toBe('{');

    if (isLong) return;
    process.stdout.columns = 40;
    const { code, stdout, stderr } = await command([name, ...args()]);
    expect([code, (stdout + stderr).includes('\u001b')]).toEqual([0, false]);
    for (const [table] of stdout.matchAll(/^[^\n]+\n[─ ]+\n(?:[^\n]+\n)*/gm))
      for (const line of table.split('\n')) expect(columnsOf(line), line).toBeLessThanOrEqual(40);
  });
});
