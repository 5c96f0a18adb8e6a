/**
 * Files that the application reads back: what was written comes back, and any damage is one line that names the file.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../../models/errors.ts';
import { claim, differences } from '../../../s2t2/app/claim.ts';
import { finite, readMaybeSealed, readRecord, readSealed, writeSealed } from '../../../s2t2/app/records.ts';
import { readGrid } from '../../../s2t2/app/rates.ts';
import { cellResultSchema, readResults } from '../../../s2t2/app/results.ts';
import { damagedJson } from '../../arbitraries/hostile.ts';
import { refusal, temporaryDirectory } from '../../models/temporary.ts';

const directory = temporaryDirectory();
const at = (name: string) => join(directory, name);
const schema = v.object({ nats: v.array(finite) });

describe('sealed records', () => {
  test('come back as they were written; a missing file is undefined', async () => {
    await writeSealed(at('a.json'), { nats: [1.5, 2] });
    expect(await readSealed(at('a.json'), schema, 'delete it')).toEqual({ nats: [1.5, 2] });
    expect(await readSealed(at('missing.json'), schema, 'delete it')).toBeUndefined();
  });

  test('a digit changed by hand, although the shape is right', async () => {
    await writeSealed(at('b.json'), { nats: [4.525] });
    await writeFile(at('b.json'), (await readFile(at('b.json'), 'utf8')).replace('4.525', '4.363'));
    expect(await refusal(readSealed(at('b.json'), schema, 'delete it to evaluate again'))).toBe(
      `${at('b.json')}: is damaged: its checksum does not match its contents; delete it to evaluate again`,
    );
  });

  test('any byte flipped: the same record, or one line', async () => {
    await writeSealed(at('c.json'), { nats: [1, 2.25, 1e-3] });
    const bytes = await readFile(at('c.json'));
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (i, mask) => {
        const damaged = Uint8Array.from(bytes);
        damaged[i] ^= mask;
        await writeFile(at('c.json'), damaged);
        const result = await readSealed(at('c.json'), schema, 'delete it').catch((error: unknown) => error);
        if (result instanceof Error) {
          expect(result).toBeInstanceOf(UserError);
          expect(result.message).toMatch(/^[^\n]*c\.json.*delete it$/);
        } else expect(result).toEqual({ nats: [1, 2.25, 1e-3] });
      }),
    );
  });

  test('files of earlier versions have no checksum: their shape is checked', async () => {
    await writeFile(at('d.json'), '{"nats":[1]}');
    expect(await readMaybeSealed(at('d.json'), schema, 'delete it')).toEqual({ nats: [1] });
    await writeFile(at('d.json'), '{"nats":["1"]}');
    expect(await refusal(readMaybeSealed(at('d.json'), schema, 'delete it'))).toBe(
      `${at('d.json')}: nats.0: expected number, found "1"; delete it`,
    );
  });
});

describe('results.json', () => {
  const metrics = { perplexity: 2, bitsPerByte: 1, standardError: 0.1 };
  const row = {
    name: 's2t2',
    before: metrics,
    after: { ...metrics, standardError: null },
    tokensPerByte: 0.5,
    steps: 3,
    tokens: 30,
    bytes: 60,
    seconds: 1.5,
    curve: [{ tokens: 10, bytes: 20, seconds: 0.5, bitsPerByte: 4 }],
  };
  const results = { seed: 0, methods: [row], plan: null, sample: 'MKV' };

  test.each([
    ['an empty row', { ...results, methods: [{}] }, /results\.json: methods\.0\.name: is missing; run/],
    ['no rows', { ...results, methods: [] }, /results\.json: methods: expected >=1, found 0; run/],
    [
      'a string for a number',
      { ...results, methods: [{ ...row, tokens: '30' }] },
      /methods\.0\.tokens: expected number/,
    ],
    ['null', null, /results\.json: expected Object, found null; run/],
  ])('%s', async (_, content, message) => {
    await writeFile(at('results.json'), JSON.stringify(content));
    expect(await refusal(readResults(at('results.json')))).toMatch(message);
  });

  test('a row of one text has no standard error', async () => {
    await writeFile(at('results.json'), JSON.stringify(results));
    expect((await readResults(at('results.json'))).methods[0].after.standardError).toBeNaN();
  });

  test('damaged in any way: results, or one line', async () => {
    const readers = [
      (file: string) => readResults(file),
      (file: string) => readRecord(file, cellResultSchema, 'delete it'),
      (file: string) => readGrid(file),
    ];
    await fc.assert(
      fc.asyncProperty(damagedJson(results), fc.constantFrom(...readers), async (text, read) => {
        await writeFile(at('hostile.json'), JSON.stringify(text) ?? '');
        const error: unknown = await read(at('hostile.json')).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        if (error === undefined) return;
        expect(error).toBeInstanceOf(UserError);
        expect((error as Error).message).not.toMatch(/[\n\r]/);
      }),
      { numRuns: 500 },
    );
  });
});

describe('the owner of a directory', () => {
  const run = {
    settings: { seed: 0, budget: { unit: 'tokens', amount: 100 } },
    model: 'a'.repeat(64),
    backend: 'wasm',
  };

  test('the same run is accepted again, another is told what differs', async () => {
    await claim(at('run.json'), run, 'start again with --fresh');
    await claim(at('run.json'), run, 'start again with --fresh');
    const other = { ...run, settings: { ...run.settings, seed: 1 }, model: 'b'.repeat(64) };
    expect(await refusal(claim(at('run.json'), other, 'start again with --fresh'))).toBe(
      `${at('run.json')}: belongs to a run with other settings: settings.seed was 0, is 1, another model; start ` +
        'again with --fresh',
    );
  });

  test('differences are those of the leaves', () => {
    expect(differences(run, run)).toEqual([]);
    expect(differences({ a: 1, b: { c: 'x' } }, { b: { c: 'y', d: null } })).toEqual([
      'a was 1, is not set',
      'b.c was "x", is "y"',
      'b.d was not set, is null',
    ]);
  });
});
