/** How the tests run. `*.soak.ts` take minutes and run by hand. */

import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.{test,wire}.ts', 'bench/**/*.test.ts'],
    // uWebSockets.js keeps state in the process and aborts it when a worker thread ends with live sockets: a process a file.
    pool: 'forks',
    isolate: true,
    // The build machines have two cores, and a wire test is a server beside its clients.
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 20_000,
    teardownTimeout: 10_000,
  },
});
