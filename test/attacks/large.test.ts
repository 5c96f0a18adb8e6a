/**
 * Faults that take large files or many tries to show, with LONG_TESTS set (`npm run test:long`): bombs within bounds of
 * processor time and memory, Ctrl-C in the middle of each stage, thousands of mutants of every file that is read back.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import * as v from 'valibot';
import { beforeAll, describe, expect, test } from 'vitest';
import { UserError } from '../../models/errors.ts';
import { loadTokenizer } from '../../models/node/checkpoint.ts';
import { claim } from '../../s2t2/app/claim.ts';
import { chosenRates, readGrid } from '../../s2t2/app/rates.ts';
import { loadPlan } from '../../s2t2/app/plan-file.ts';
import { readSealed } from '../../s2t2/app/records.ts';
import { writeRunReport } from '../../s2t2/app/report/run.ts';
import { readResults } from '../../s2t2/app/results.ts';
import { dataFolder } from '../../s2t2/app/data/tools.ts';
import { tokenizerToJson, trainBPE } from '../../models/tokenizer/index.ts';
import { damagedBytes, damagedJson } from '../arbitraries/hostile.ts';
import { cpuTime } from '../cpu.ts';
import { temporaryDirectory } from '../models/temporary.ts';
import { cli, command } from '../s2t2/app/command.ts';

const directory = temporaryDirectory();
const at = (...names: string[]) => join(directory, ...names);
const source = dataFolder('source');

/** A command in its own process, and what it cost. */
interface Run {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
  /** Of the processor. */
  readonly seconds: number;
  /** At the peak. */
  readonly megabytes: number;
  /** From the signal to the end; NaN where none was sent. */
  readonly heardAfter: number;
}

/** SIGINT, so many ms after standard error shows a text or, without one, after the process began. */
interface Interrupt {
  readonly after?: RegExp;
  readonly ms: number;
}

/** Runs a command, and interrupts it. */
function run(args: readonly string[], interrupt?: Interrupt): Promise<Run> {
  const report =
    "import{writeSync}from'node:fs';process.on('exit',()=>writeSync(3,JSON.stringify(process.resourceUsage())))";
  const child = spawn(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(report)}`, cli, ...args],
    {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    },
  );
  let [stderr, usage, sent] = ['', '', Number.NaN];
  let isDue = interrupt !== undefined;
  const look = () => {
    if (!isDue || interrupt?.after?.test(stderr) === false) return;
    isDue = false;
    setTimeout(() => {
      sent = performance.now();
      child.kill('SIGINT');
    }, interrupt!.ms);
  };
  look();
  child.stderr!.on('data', (text: Buffer) => {
    stderr += text.toString();
    look();
  });
  (child.stdio[3] as NodeJS.ReadableStream).on('data', (text: Buffer) => {
    usage += text.toString();
  });
  return new Promise(resolve => {
    child.on('close', (code, signal) => {
      const heardAfter = performance.now() - sent;
      const used = (usage === '' ? {} : JSON.parse(usage)) as Partial<NodeJS.ResourceUsage>;
      const { userCPUTime = Number.NaN, systemCPUTime = Number.NaN, maxRSS = Number.NaN } = used;
      const [seconds, megabytes] = [(userCPUTime + systemCPUTime) / 1e6, maxRSS / 1024];
      resolve({ code, signal, stderr, seconds, megabytes, heardAfter });
    });
  });
}

/** Writes a file of a test. */
const file = (name: string, bytes: Uint8Array | string): string => {
  writeFileSync(at(name), bytes);
  return at(name);
};

/** Text in some 200 words. */
const prose = (bytes: number): Buffer => {
  const words = Array.from({ length: 4096 }, (_, i) => `w${(i * i * 7919) % 211}${i % 7 === 6 ? '.\n\n' : ' '}`);
  return Buffer.alloc(bytes, words.join(''));
};

/** A byte-level tokenizer.json of so many tokens and nearly as many merges, each of an earlier token and a letter. */
function tokenizerFile(size: number): string {
  const json = JSON.parse(tokenizerToJson(trainBPE(['a'], { vocabSize: 259, alphabet: 'bytes' }))) as {
    model: { vocab: Record<string, number>; merges: [string, string][] };
  };
  const { vocab, merges } = json.model;
  const letters = [...'abcdefghijklmnopqrstuvwxyzABCDEF'];
  const made = [...letters];
  for (let id = Object.keys(vocab).length + 2, i = 0; made.length < size; i++, id++) {
    const [left, right] = [made[Math.floor(i / letters.length)], letters[i % letters.length]];
    made.push(left + right); // every word over the letters, in order of length
    vocab[left + right] = id;
    merges.push([left, right]);
  }
  return JSON.stringify(json, null, 2);
}

describe.skipIf(!process.env.LONG_TESTS)('large', { timeout: 900_000 }, () => {
  describe('bombs of one or two megabytes: an answer within bounds of time and memory', () => {
    const members = (text: string) => {
      const member = gzipSync(Buffer.alloc(2 ** 20 - (2 ** 20 % text.length), text));
      return Buffer.concat(Array.from({ length: Math.floor(2 ** 20 / member.length) }, () => member));
    };
    /** A mebibyte that looks like text, and documents that take nearly none: 33 million of six bytes. */
    const padded = (begin: string, document: string) => {
      const random = randomBytes(0.75 * 2 ** 20).toString('hex');
      const member = gzipSync(Buffer.alloc(document.length * 2 ** 16, document));
      return Buffer.concat([gzipSync(`${begin}${random}"}\n\n`), ...Array.from({ length: 500 }, () => member)]);
    };
    const ratio = /unpacks to more than 200 times its \d+ bytes/;
    const dense = /holds more than 4 documents for each byte of gzip \(\d+ in the first \d+ bytes\)/;
    test.each<[string, () => Buffer, RegExp | null]>([
      ['one letter.txt.gz', () => members('A'), ratio],
      ['short paragraphs.txt.gz', () => members('AAAA\n\n'), dense],
      ['more paragraphs.txt.gz', () => padded('', 'AAAA\n\n'), dense],
      ['records.fasta.gz', () => members('>a\nMKVL\n'), dense],
      ['residues.fasta.gz', () => members('>\nA\n'), dense],
      ['headers.fasta.gz', () => members('>\n'), dense],
      ['objects.jsonl.gz', () => members('{"text":"a"}\n'), dense],
      ['more objects.jsonl.gz', () => padded('{"text":"', '{"text":"a"}\n'), dense],
      ['newlines.txt', () => Buffer.alloc(2 ** 21, '\n'), /holds no document/],
      ['carriage returns.txt', () => Buffer.alloc(2 ** 21, '\r'), /holds no document/],
      ['both.txt', () => Buffer.alloc(2 ** 21, '\r\n'), /holds no document/],
      ['spaces.txt', () => Buffer.alloc(2 ** 21, ' '), /holds no document/],
      ['lines of a letter.txt', () => Buffer.alloc(2 ** 21, 'a\n'), null],
      ['paragraphs of a letter.txt', () => Buffer.alloc(2 ** 21, 'a\n\n'), null],
      ['headers.fasta', () => Buffer.alloc(2 ** 21, '>\n'), /\d+ documents, all empty/],
      ['newlines.jsonl', () => Buffer.alloc(2 ** 21, '\n'), /holds no document/],
    ])('%s', async (name, make, message) => {
      const ended = await run(['tokenize', '--data', file(name, make()), '--out', at('t.json')]);
      if (message) expect(ended).toMatchObject({ code: 2, stderr: expect.stringMatching(message) as string });
      else expect(ended.code).toBe(0);
      expect(ended.seconds).toBeLessThan(30);
      expect(ended.megabytes).toBeLessThan(1000);
    });

    test.each<[string, (data: string) => string[]]>([
      ['adapt', data => ['adapt', '--model', source, '--data', data, '--out', at('out')]],
      ['evaluate', data => ['evaluate', '--model', source, '--data', data]],
      ['tokenize --field', data => ['tokenize', '--data', data, '--field', 't', '--out', at('t.json')]],
    ])('texts of a letter: %s', async (_, args) => {
      const ended = await run(args(file('letters.jsonl.gz', members('{"t":"a","text":"a"}\n'))));
      expect(ended).toMatchObject({ code: 2, stderr: expect.stringMatching(dense) as string });
      expect(ended.stderr.trim().split('\n')).toHaveLength(1);
      expect(ended.seconds).toBeLessThan(15);
      expect(ended.megabytes).toBeLessThan(500);
    });

    test('a valid tokenizer.json of 50 MB loads', async () => {
      const tokenizer = file('tokenizer.json', tokenizerFile(600_000));
      const started = cpuTime();
      expect((await loadTokenizer(tokenizer)).vocabSize).toBeGreaterThan(600_000);
      expect(cpuTime() - started).toBeLessThan(15_000);
    });
  });

  describe('Ctrl-C is heard within a second, on a machine that is not busy', () => {
    const large = () => at('40 MB.txt');
    beforeAll(() => {
      file('40 MB.txt', prose(40e6));
      file('4 MB.txt', prose(4e6));
    });
    const adapt = (name: string, methods: string) => {
      const data = ['--data', at('4 MB.txt'), '--test', at('4 MB.txt'), '--out', at(name)];
      const size = ['--vocab-size', '300', '--max-bytes', '200', '--tokens', '9007199254740991'];
      return ['adapt', '--model', source, ...data, ...size, '--methods', methods];
    };
    test.each<[string, () => string[], Interrupt]>([
      ['reading', () => ['tokenize', '--data', large(), '--out', at('t.json')], { ms: 700 }],
      [
        'training a tokenizer',
        () => ['tokenize', '--data', large(), '--out', at('t.json'), '--vocab-size', '50000'],
        { after: /plain text/, ms: 500 },
      ],
      ['encoding', () => ['evaluate', '--model', source, '--data', large()], { after: /plain text/, ms: 500 }],
      ['evaluating', () => adapt('evaluated', 'source'), { after: /memory:/, ms: 1500 }],
      ['learning a plan', () => adapt('planned', 's2t2'), { after: /s2t2\.plan/, ms: 500 }],
      ['generating', () => ['generate', '--model', source, '--max-tokens', '1000'], { ms: 1500 }],
    ])('%s', async (_, args, interrupt) => {
      const { code, signal, heardAfter, stderr } = await run(args(), interrupt);
      expect([code ?? signal, stderr.includes('Error')]).toEqual([code === null ? 'SIGINT' : 130, false]);
      expect(heardAfter).toBeLessThan(1000);
    });
  });

  describe('files that are read back, 2,000 mutants each: read, or one line', () => {
    const hash = v.pipe(v.string(), v.length(64));
    const tokenizer = loadTokenizer(source);
    let rendered = 0;
    beforeAll(async () => {
      file('p.fasta', ['MKVLAAGIVGLCAK', 'MKKLAAGIVKVLAA', 'GIVGLCAMKVKVLA'].map(t => `>p\n${t}\n`).join(''));
      const size = ['--vocab-size', '40', '--tokens', '64', '--methods', 's2t2', '--test-share', '0.4'];
      const { code, stderr } = await command(
        ['adapt', '--model', source, '--data', at('p.fasta'), '--out', at('run'), '--quiet'].concat(size),
      );
      expect([code, stderr]).toEqual([0, '']);
      cpSync(at('run'), at('other'), { recursive: true });
    });
    const original = (...names: string[]) => readFileSync(at('run', ...names));
    const readers: Readonly<Record<string, [() => Buffer, string, (path: string) => Promise<unknown>]>> = {
      'results.json': [
        () => original('results.json'),
        at('other/results.json'),
        async path => {
          await readResults(path);
          if (rendered++ % 50 === 0) await writeRunReport(at('other'), await tokenizer);
        },
      ],
      'run.json': [
        () => original('work/run.json'),
        at('other/work/run.json'),
        path =>
          claim(
            path,
            (JSON.parse(original('work/run.json').toString()) as { record: Record<string, unknown> }).record,
            'delete it',
          ),
      ],
      'an evaluation': [
        () => original('work/s2t2.after.json'),
        at('other/work/s2t2.after.json'),
        path => readSealed(path, v.object({ fingerprint: hash }), 'delete it'),
      ],
      'rates.jsonl': [
        () => readFileSync(dataFolder('rates.jsonl')),
        at('rates.jsonl'),
        async path => chosenRates(await readGrid(path), 's2t2', 'proteins', 1e6),
      ],
      'plan.safetensors': [() => original('plan.safetensors'), at('other/plan.safetensors'), path => loadPlan(path)],
      'tokenizer.json': [() => original('tokenizer.json'), at('other/tokenizer.json'), path => loadTokenizer(path)],
    };
    test.each(Object.entries(readers))('%s', async (_, [read, path, open]) => {
      const bytes = read();
      const isJson = path.endsWith('.json');
      const mutants: fc.Arbitrary<Uint8Array | string>[] = [damagedBytes(bytes)];
      if (isJson) mutants.push(damagedJson(JSON.parse(bytes.toString())).map(value => JSON.stringify(value) ?? ''));
      await fc.assert(
        fc.asyncProperty(fc.oneof(...mutants), async mutant => {
          writeFileSync(path, mutant);
          const error: unknown = await open(path).then(
            () => undefined,
            (reason: unknown) => reason,
          );
          if (error === undefined) return;
          expect(error).toBeInstanceOf(UserError);
          expect((error as Error).message).toMatch(/^[^\n\r]{1,1000}$/);
        }),
        { numRuns: 2000, endOnFailure: true }, // shrinking such files takes longer than reading them
      );
      writeFileSync(path, bytes);
    });
  });
});
