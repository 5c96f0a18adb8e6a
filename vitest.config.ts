import { defineConfig } from 'vitest/config';
import { seed } from './test/seed.ts';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/announce.ts'],
    setupFiles: ['test/setup.ts'],
    // In a random order, so that no test needs another one before it.
    sequence: { shuffle: { tests: true }, seed },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Two cores: more workers only take turns.
    maxWorkers: 2,
  },
});
