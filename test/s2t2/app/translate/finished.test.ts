/** A translation that is stopped anywhere: what is finished is kept, as long as it is what was written. */
import { existsSync } from 'node:fs';
import { readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { sha256File } from '../../../../models/node/files.ts';
import { readSafetensors, writeSafetensors } from '../../../../models/node/safetensors.ts';
import { type TensorData } from '../../../../models/safetensors/write.ts';
import { spawned } from '../command.ts';
import { refusal } from '../../../models/temporary.ts';
import { signalAt } from '../../../signals.ts';
import { translateCheckpoint } from '../../../../s2t2/app/translate/checkpoint.ts';
import { contents, inMemory, llama, readJsonFile, translations } from './example.ts';

const { at, paths, source, large } = translations();

describe('stopped', () => {
  /** Runs the command, with arguments for Node before its own. */
  const run = (model: string, out: string, node: readonly string[] = []) =>
    spawned(['translate', '--model', model, '--plan', paths.plan, '--target', at('target'), '--out', out], node);

  test('killed or interrupted it leaves no model; run again it resumes and ends with the same files', async () => {
    const model = await large('kill', 10, 2 ** 20);
    const first = await run(model, at('kill-out'), signalAt('SIGKILL', { file: /model-3\.safetensors$/ }));
    expect(first.signal).toBe('SIGKILL');
    expect(existsSync(at('kill-out', 'config.json'))).toBe(false);
    const done = (await readdir(at('kill-out'))).filter(name => /^model-\d+\.safetensors$/.test(name));
    expect(done.length).toBeGreaterThan(0);
    expect(done.length).toBeLessThan(10);
    // The last one was killed as it took its name, before it was recorded: it is written again.
    const recorded = Object.keys((await readJsonFile(at('kill-out'), 'translation.json')).finished as object);
    expect(recorded).toHaveLength(done.length - 1);
    const times = () => Promise.all(recorded.map(async name => (await stat(at('kill-out', name))).mtimeMs));
    const before = await times();
    const interrupted = await run(model, at('kill-out'), signalAt('SIGINT', { file: /model-6\.safetensors$/ }));
    expect([interrupted.code, interrupted.stderr.trim().split('\n').at(-1)]).toEqual([
      130,
      'stopped; run the same command again to resume',
    ]);
    expect(existsSync(at('kill-out', 'config.json'))).toBe(false);
    const second = await run(model, at('kill-out'));
    const all = await Promise.all(
      (await readdir(model))
        .filter(name => name.endsWith('.safetensors'))
        .map(async name => (await stat(join(model, name))).size),
    );
    const megabytes = Number(
      /^(\d+) MB of weights in [\d.]+ s, \d+ MB\/s; written to .*kill-out\n$/.exec(second.stdout)?.[1],
    );
    // All but the headers.
    expect([second.code, megabytes]).toEqual([0, Math.round(all.reduce((a, b) => a + b, 0) / 1e6)]);
    expect(await times()).toEqual(before);
    await translateCheckpoint({ model, ...paths, out: at('straight') });
    const names = async (out: string) => (await readdir(out)).sort();
    expect(await names(at('kill-out'))).toEqual(await names(at('straight')));
    for (const name of await names(at('straight'))) {
      if (name !== 'translation.json' && name !== 'README.md')
        expect((await readFile(at('kill-out', name))).equals(await readFile(at('straight', name))), name).toBe(true);
    }
  });

  test('on a signal it throws, and the next run resumes', async () => {
    const model = await source('abort', llama, 'F32', 3);
    const stop = new AbortController();
    const options = { model, ...paths, out: at('abort-out') };
    await expect(
      translateCheckpoint({
        ...options,
        signal: stop.signal,
        onProgress: (_, __, file) => {
          if (file.includes('00002')) stop.abort(new Error('stopped'));
        },
      }),
    ).rejects.toThrow('stopped');
    expect(existsSync(at('abort-out', 'config.json'))).toBe(false);
    await translateCheckpoint(options);
    expect(await contents(at('abort-out'))).toEqual(await contents(await inMemory(model, 'F32')));
  });
});

test.skipIf(!existsSync('/proc/self/io'))('what is written is not read again, and is recorded as it is', async () => {
  const readBytes = async () => Number(/^rchar: (\d+)$/m.exec(await readFile('/proc/self/io', 'utf8'))![1]);
  const copied = await large('once-copied', 3, 8 * 2 ** 20);
  // The same with everything in the file whose ends are translated.
  const rewritten = await source('once-rewritten', llama, 'F32');
  const whole = await readSafetensors(join(rewritten, 'model.safetensors'));
  const kept = [...whole.tensors].map(
    ([name, { dtype, shape }]) => [name, { dtype, shape, data: () => whole.blocks(name) }] as const,
  );
  const body: TensorData = { dtype: 'U8', shape: [2 ** 24], data: new Uint8Array(2 ** 24).map((_, i) => i >> 9) };
  await writeSafetensors(at('once.safetensors'), { ...Object.fromEntries(kept), body });
  await rename(at('once.safetensors'), join(rewritten, 'model.safetensors'));
  for (const model of [copied, rewritten]) {
    const out = `${model}-out`;
    const before = await readBytes();
    await translateCheckpoint({ model, ...paths, out });
    expect((await readBytes()) - before).toBeLessThan(1.5 * 2 ** 24);
    const { finished } = (await readJsonFile(out, 'translation.json')) as { finished: Record<string, unknown> };
    const files = (await readdir(out)).filter(name => name.endsWith('.safetensors'));
    expect(Object.keys(finished).sort()).toEqual(files.sort());
    for (const file of files)
      expect(finished[file]).toEqual({
        size: (await stat(join(out, file))).size,
        sha256: await sha256File(join(out, file)),
      });
  }
});

test('run again, it keeps files that are as it left them, and writes damaged ones again', async () => {
  const model = await source('whole', llama, 'F32', 3);
  const out = at('whole-out');
  const translated = async () => {
    const lines: string[] = [];
    await translateCheckpoint({ model, ...paths, out, log: line => lines.push(line) });
    return lines;
  };
  const file = (i: number) => join(out, `model-0000${i}-of-00003.safetensors`);
  const times = () => Promise.all([1, 2, 3].map(async i => (await stat(file(i))).mtimeMs));
  const again = (...files: number[]) =>
    files.map(i => `${file(i)}: does not match the record of an earlier run, and is written again`);
  expect(await translated()).toEqual([]);
  const [expected, before] = [await contents(out), await times()];
  expect(await translated()).toEqual([]);
  expect(await times()).toEqual(before);

  await truncate(file(1), 600);
  const bytes = await readFile(file(2));
  bytes[bytes.length - 1] ^= 1;
  await writeFile(file(2), bytes);
  expect(await translated()).toEqual(again(1, 2));
  expect(await contents(out)).toEqual(expected);
  expect((await times())[2]).toBe(before[2]);

  // A run that was killed before it recorded a file, and one of an earlier version, which recorded none.
  const { finished, ...record } = await readJsonFile(out, 'translation.json');
  expect(Object.keys(finished as object)).toHaveLength(3);
  await writeFile(join(out, 'translation.json'), JSON.stringify(record));
  await rm(file(3));
  expect(await translated()).toEqual(again(1, 2));
  expect(await contents(out)).toEqual(expected);
});

describe('rejected', () => {
  let model = '';
  beforeAll(async () => {
    model = await source('good', llama, 'F32', 3);
  });

  test('a directory with something else in it, including the model itself', async () => {
    expect(await refusal(translateCheckpoint({ model, ...paths, out: model }))).toContain(
      'is not an unfinished translation; choose an empty directory',
    );
  });
  test('a directory with another translation', async () => {
    await translateCheckpoint({ model, ...paths, out: at('taken') });
    const other = await source('other-model', llama, 'BF16', 3);
    expect(await refusal(translateCheckpoint({ model: other, ...paths, out: at('taken') }))).toContain(
      'translation.json: belongs to a translation of another model, plan or tokenizer',
    );
  });
});
