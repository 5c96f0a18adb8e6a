/** A gigabyte, read, cut and encoded in less than 4 GB: minutes of work, done with LONG_TESTS (`npm run test:long`). */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { corpora, makeCorpus, type Kind } from '../../../bench/corpora.ts';

const bench = fileURLToPath(new URL('../../../dist/bench/corpus.js', import.meta.url));

test.runIf(process.env.LONG_TESTS).each(Object.keys(corpora) as Kind[])(
  'a gigabyte of %s takes less than 4 GB',
  async kind => {
    const directory = await mkdtemp(join(tmpdir(), 's2t2-large-'));
    try {
      const path = join(directory, `corpus.${corpora[kind].extension}`);
      await makeCorpus(path, kind, 1000);
      const args = [bench, '--stage', 'read, cut, encode', path, kind];
      const { stdout } = await promisify(execFile)(process.execPath, args);
      const { megabytes, peakMegabytes } = JSON.parse(stdout) as { megabytes: number; peakMegabytes: number };
      expect(megabytes).toBeGreaterThan(900);
      expect(peakMegabytes).toBeLessThan(4000);
    } finally {
      await rm(directory, { recursive: true });
    }
  },
  3_600_000,
);
