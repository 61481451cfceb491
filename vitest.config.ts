/** How the tests run. */

import { defineConfig } from 'vitest/config';

/**
 * Tests that measure times and memory. Another test beside them would change the figures, so they
 * run one at a time, after all others.
 */
const ALONE = [
  'hostile/turns',
  'hostile/floods',
  'hostile/memory',
  'hostile/isolation',
  'hostile/small',
  'bounds',
  'bounds-publish',
  'grace',
].map((name) => `test/${name}.wire.ts`);

export default defineConfig({
  test: {
    // uWebSockets.js keeps state in the process and aborts it when a worker thread ends with live
    // sockets, so each file gets a process of its own.
    pool: 'forks',
    isolate: true,
    setupFiles: ['test/support/built.ts'],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    teardownTimeout: 10_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'together',
          include: ['test/**/*.{test,wire}.ts', 'bench/**/*.test.ts'],
          exclude: ALONE,
          // The build machines have two cores, and a wire test runs a server beside its clients.
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: ALONE,
          maxWorkers: 1,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
