import { defineConfig } from 'vitest/config';
import { seed } from './test/seed.ts';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/announce.ts'],
    setupFiles: ['test/setup.ts'],
    // In a random order, so that no test needs another one before it.
    sequence: { shuffle: { tests: true }, seed },
    // Against what never ends, not what is slow: the machine may have other work.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    expect: { poll: { timeout: 300_000 } },
    // Two cores: more workers only take turns.
    maxWorkers: 2,
  },
});
