/** Runs before every test file. */
import fc from 'fast-check';
import { afterAll, afterEach, beforeEach } from 'vitest';
import { setBackend } from '../engine/tensor.ts';
import { logTest } from './log.ts';
import { beginStreams } from './random.ts';
import { seed } from './seed.ts';

fc.configureGlobal({ seed });

// Files share two processes and with them the modules: what one sets must not be there for the next.
afterAll(() => setBackend(null));

beforeEach(({ task }) => {
  beginStreams(task.name);
  logTest('begins', task);
});
afterEach(({ task }) => logTest(task.result?.state === 'fail' ? 'fails' : 'ends', task));
