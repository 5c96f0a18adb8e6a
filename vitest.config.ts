import { defineConfig } from 'vitest/config';
import { seed } from './test/seed.ts';
import { LongestFirst } from './test/sequence.ts';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/announce.ts'],
    setupFiles: ['test/setup.ts'],
    // In a random order, so that no test needs another one before it.
    sequence: { shuffle: { tests: true }, seed, sequencer: LongestFirst },
    // Against what never ends, not what is slow: the machine may have other work.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    expect: { poll: { timeout: 300_000 } },
    // Two cores: a third worker was not faster. Each keeps the modules from file to file.
    maxWorkers: 2,
    isolate: false,
  },
});
