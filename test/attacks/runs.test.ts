/**
 * Runs under attack: killed at any moment, on a full, broken or read-only disk, two in one directory. Nothing is lost,
 * no file is half written, and the run goes on to the files of one that was left in peace.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { Random } from '../../engine/index.ts';
import { loadModel } from '../../models/node/checkpoint.ts';
import { type LanguageModel } from '../../models/checkpoint.ts';
import { sha256 } from '../../models/sha256.ts';
import { sha256File } from '../../models/node/files.ts';
import { UserError } from '../../models/errors.ts';
import { readSafetensors, writeSafetensors } from '../../models/node/safetensors.ts';
import { type TensorData } from '../../models/safetensors/write.ts';
import { adapt } from '../../s2t2/app/adapt.ts';
import type { Results } from '../../s2t2/cell.ts';
import { readCorpus } from '../../s2t2/app/corpus.ts';
import { loadPlan } from '../../s2t2/app/plan-file.ts';
import type { Domain } from '../../s2t2/app/prepare.ts';
import { defaults, type Settings } from '../../s2t2/settings.ts';
import { refusal, temporaryDirectory } from '../models/temporary.ts';
import { writeFixture } from '../s2t2/fixture.ts';
import { seed } from '../seed.ts';
import { signalAt } from '../signals.ts';
import { onFailingDisk } from './disk.ts';

const cli = new URL('../../dist/s2t2/app/cli.js', import.meta.url).pathname;
const directory = temporaryDirectory();
const at = (...names: string[]) => join(directory, ...names);
let fixture: Awaited<ReturnType<typeof writeFixture>>;
let source: LanguageModel;
let domain: Domain;

const settings: Settings = {
  ...defaults,
  vocabSize: 48,
  maxBytes: 60,
  budget: { unit: 'tokens', amount: 600 },
  batchTokens: 128,
  alpha: 1 / 317,
};
const job = (out: string) => [
  'adapt',
  '--model',
  fixture.model,
  '--data',
  fixture.train,
  '--test',
  fixture.test,
  '--out',
  out,
  '--methods',
  'source,s2t2',
  '--vocab-size',
  '48',
  '--max-bytes',
  '60',
  '--tokens',
  '600',
  '--batch-tokens',
  '128',
  '--save-every',
  '0',
  '--plain-simd', // as the run in this process
  '--threads',
  '1', // the tests have the processors
  // In place of the published rates, which the command looks up.
  '--rate',
  String(defaults.rate),
  '--plan-rate',
  String(defaults.planRate),
  '--body-rate',
  String(defaults.bodyRate),
];

beforeAll(async () => {
  fixture = await writeFixture(directory);
  source = await loadModel(fixture.model);
  const texts = async (file: string) => (await readCorpus(file)).documents.map(d => d.text);
  domain = { train: await texts(fixture.train), test: await texts(fixture.test), format: 'fasta' };
  await adaptHere(at('peaceful'));
});

/** The job in this process; it ends with the same files as the command. */
const adaptHere = (out: string) =>
  adapt({ source, domain, settings, methods: ['source', 's2t2'], out, saveEverySeconds: 0, log: () => {} });

/** What must not depend on how a run went: model, plan, and results without their timings. */
async function fingerprint(out: string): Promise<string[]> {
  const results = JSON.parse(await readFile(join(out, 'results.json'), 'utf8')) as Results;
  const untimed = {
    ...results,
    provenance: undefined, // the command names the directory
    methods: results.methods.map(m => ({
      ...m,
      seconds: 0,
      spentBefore: { ...m.spentBefore, seconds: 0 },
      curve: m.curve.map(point => ({ ...point, seconds: 0 })),
    })),
  };
  return [
    await sha256File(join(out, 'model', 'model.safetensors')),
    await sha256File(join(out, 'plan.safetensors')),
    sha256(JSON.stringify(untimed)),
  ];
}

const filesIn = async (out: string) =>
  (await readdir(out, { recursive: true, withFileTypes: true }).catch(() => []))
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name));

/** Every file under its own name is whole, and none is there under another but of the kinds that may be `left`. */
async function expectWhole(out: string, left: readonly ('tmp' | 'old' | 'lock')[] = []): Promise<void> {
  for (const file of await filesIn(out)) {
    const kind = /\.(tmp|old|lock)(\/|$)/.exec(file.slice(out.length))?.[1];
    if (kind !== undefined) expect(left, file).toContain(kind);
    else if (file.endsWith('.json')) JSON.parse(await readFile(file, 'utf8'));
    else if (file.endsWith('.html')) expect(await readFile(file, 'utf8')).toMatch(/<\/html>\s*$/);
    else if (file.endsWith('.md')) expect(await readFile(file, 'utf8')).toMatch(/^---\n[\s\S]*\n$/);
    else await readSafetensors(file);
  }
}

/** Starts the job, with arguments for Node before its own. */
function start(
  out: string,
  node: readonly string[] = [],
): {
  child: ChildProcess;
  ended: Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }>;
} {
  const child = spawn(process.execPath, [...node, cli, ...job(out)], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (d: Buffer) => {
    stdout += d.toString();
  });
  child.stderr.on('data', (d: Buffer) => {
    stderr += d.toString();
  });
  return { child, ended: once(child, 'close').then(([code, signal]) => ({ code, signal, stdout, stderr })) };
}

test('killed repeatedly while it writes, it ends with the files of an undisturbed run', async () => {
  const random = new Random(seed);
  const out = at('killed');
  // Each run gets further than the one before: its first calls make and lock the directory, its last ones write the
  // results.
  for (const call of [3, 60, 110].map(n => n + random.integer(30))) {
    const { code, signal } = await start(out, signalAt('SIGKILL', { call })).ended;
    if (code !== 0) expect(signal).toBe('SIGKILL');
    await expectWhole(out, ['tmp', 'old', 'lock']);
  }
  // The command again: a model that it had written has a card, which `adaptHere` does not write and would not remove.
  expect((await start(out).ended).code).toBe(0);
  await expectWhole(out);
  expect(await fingerprint(out)).toEqual(await fingerprint(at('peaceful')));
});

test('SIGTERM saves and exits with 143; the next run resumes', async () => {
  const out = at('terminated');
  const { code, stderr } = await start(out, signalAt('SIGTERM', { file: /source\.finetune\.safetensors$/ })).ended;
  expect([code, stderr.trim().split('\n').at(-1)]).toEqual([143, 'stopped; run the same command again to resume']);
  await expectWhole(out);
  await adaptHere(out);
  expect(await fingerprint(out)).toEqual(await fingerprint(at('peaceful')));
});

test('closing stdout early ends a command silently; closing stderr does not stop a run', async () => {
  const reader = spawn(process.execPath, [cli, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let complaint = '';
  reader.stderr.on('data', (d: Buffer) => {
    complaint += d.toString();
  });
  reader.stdout.destroy();
  expect([(await once(reader, 'close'))[0], complaint]).toEqual([141, '']);

  const out = at('unwatched');
  const { child, ended } = start(out);
  child.stderr!.destroy();
  expect((await ended).code).toBe(0);
  expect(await fingerprint(out)).toEqual(await fingerprint(at('peaceful')));
});

test('two runs in one directory: one continues, the other fails with one line and changes nothing', async () => {
  const out = at('shared');
  // The first stops itself in the middle: it must not be over before the second is.
  const first = start(out, signalAt('SIGSTOP', { file: /run\.json$/ }));
  while (!existsSync(join(out, 'work', 'run.json'))) await new Promise(resolve => setTimeout(resolve, 10));
  const second = await start(out).ended;
  expect(second.code).toBe(2);
  expect(second.stderr.trim().split('\n').at(-1)).toContain(
    `${out}: process ${first.child.pid} on ${hostname()} is running here`,
  );
  // More than once, in case it has written the file and not yet stopped.
  const wake = setInterval(() => first.child.kill('SIGCONT'), 20);
  expect((await first.ended).code).toBe(0);
  clearInterval(wake);
  await expectWhole(out);
  expect(await fingerprint(out)).toEqual(await fingerprint(at('peaceful')));
});

test('two runs at the same moment: at most one continues', async () => {
  const out = at('twins');
  // The one that gets the lock stops itself: it must not be over before the other one asks for the lock.
  const runs = [0, 1].map(() => start(out, signalAt('SIGSTOP', { file: /run\.json$/ })));
  expect((await Promise.race(runs.map(({ ended }) => ended))).code).toBe(2);
  const wake = setInterval(() => runs.forEach(({ child }) => void child.kill('SIGCONT')), 20);
  const codes = (await Promise.all(runs.map(({ ended }) => ended))).map(({ code }) => code);
  clearInterval(wake);
  expect([
    [0, 2],
    [2, 0],
    [2, 2],
  ]).toContainEqual(codes);
  expect((await filesIn(out)).filter(file => file.endsWith('.lock'))).toEqual([]);
});

describe('a disk that fails', () => {
  const told = /: (no space left|the disk reports an error|the file system is read-only)/;

  test.each(['ENOSPC', 'EROFS'])(
    '%s again and again: one line, whole files, and each run resumes the last one',
    async code => {
      const random = new Random(seed).split(code);
      const out = at(code);
      for (let failing = 0; ; failing = 1 + random.integer(200)) {
        const calls = await onFailingDisk(code, failing, () => adaptHere(out)).catch((error: unknown) => {
          expect(error).toBeInstanceOf(UserError);
          expect((error as UserError).message).toMatch(told);
          return Infinity;
        });
        await expectWhole(out);
        if (calls <= failing) break;
      }
      expect(await fingerprint(out)).toEqual(await fingerprint(at('peaceful')));
    },
  );

  // What is moved away to be replaced is moved back: hence one failing call, not all from it on.
  test('EIO at any call while the results are written', async () => {
    const out = at('results');
    await cp(at('peaceful'), out, { recursive: true });
    const calls = await onFailingDisk('EIO', Infinity, () => adaptHere(out));
    expect(calls).toBeGreaterThan(20);
    for (let failing = seed % 16; failing < calls; failing += failing < calls - 5 ? 16 : 1) {
      expect(await refusal(onFailingDisk('EIO', failing, () => adaptHere(out), failing + 1))).toMatch(told);
      await expectWhole(out, ['old']); // stays where the disk would not say that the new one is safe
      expect(await fingerprint(out)).toEqual(await fingerprint(at('peaceful')));
    }
  });

  test.skipIf(process.platform !== 'linux')('a place where nothing can be created', async () => {
    const { code, stdout, stderr } = await start('/proc/none').ended;
    expect([code, stdout, stderr.trim().split('\n').at(-1)]).toEqual([
      2,
      '',
      's2t2: /proc/none: no such file or directory; check the path',
    ]);
  });
});

describe('a damaged state', () => {
  const state = () => at('damaged', 'work', 's2t2.finetune.safetensors');
  /** The state file of a finished run with metadata and tensors put in the place of its own. */
  async function rewrite(metadata: Record<string, string>, tensors: Record<string, TensorData> = {}): Promise<string> {
    await cp(at('peaceful'), at('damaged'), { recursive: true });
    const file = await readSafetensors(state());
    const all = new Map<string, TensorData>();
    for (const [name, { dtype, shape }] of file.tensors)
      all.set(name, tensors[name] ?? { dtype, shape, data: await file.read(name) });
    await writeSafetensors(state(), all, { ...Object.fromEntries(file.metadata), ...metadata });
    return refusal(adaptHere(at('damaged')));
  }

  test.each([
    ['{"step":', /its progress: not valid JSON/],
    ['null', /is damaged: step undefined of undefined is none of \d+; delete it to train this part again$/],
    ['{"step":3}', /is damaged: step 3 of undefined is none of \d+;/],
    ['', /its progress: not valid JSON/],
  ])('in its progress: %s', async (progress, message) => {
    expect(await rewrite({ progress })).toMatch(message);
  });

  test('in a shape', async () => {
    expect(await rewrite({}, { losses: { dtype: 'F32', shape: [1], data: Float32Array.of(1) } })).toMatch(
      /is damaged: "losses" does not have the shape \[\d+\]; delete it/,
    );
  });

  test('in any way: rejected with one line', async () => {
    await cp(at('peaceful'), at('damaged'), { recursive: true });
    const bytes = await readFile(state());
    const random = new Random(seed);
    for (let n = 0; n < 6; n++) {
      await writeFile(state(), bytes.subarray(0, random.integer(bytes.length)));
      expect(await adaptHere(at('damaged')).catch((error: unknown) => error)).toBeInstanceOf(UserError);
    }
    await writeFile(state(), bytes);
    await adaptHere(at('damaged'));
    expect(await fingerprint(at('damaged'))).toEqual(await fingerprint(at('peaceful')));
    expect((await loadPlan(at('damaged', 'plan.safetensors'))).values.length).toBeGreaterThan(0);
  });
});
