/** How the tests run. */

import { relative } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const wire = (names: readonly string[]): string[] => names.map((name) => `test/${name}.wire.ts`);

/**
 * Tests that measure times and memory so closely that another test beside them would change the
 * figures: they run one at a time, after all others.
 */
const ALONE = wire([
  'hostile/turns',
  'hostile/floods',
  'hostile/memory',
  'hostile/isolation',
  'hostile/small',
  'bounds',
  'bounds-publish',
  'grace',
]);

/**
 * Tests whose assertions hold only where every process gets the processor within a moment, and
 * those that fill both cores by themselves.
 */
const QUIET = [
  ...wire([
    'websocket-hostile',
    'websocket-slow',
    'stalled',
    'socket-options',
    'capacity',
    'cluster',
    'doctor',
    'hop',
    'lmdb-crash',
    'load',
    'load-fleet',
    'nats-cluster',
    'nats-failures',
    'load-mix',
    'ops',
    'process-meter',
    'proc-net',
    'report',
    'workers',
    'workers-deaths',
    'workers-memory',
  ]),
  'test/native-notes.test.ts',
  // Its snapshots have the whole heap of its process in them.
  'bench/heap-snapshot.test.ts',
];

/** Tests without a process or a server of their own: they need no fresh process each. */
const UNITS = ['test/**/*.test.ts', 'bench/**/*.test.ts'];
/** Those of UNITS that do start one, or that look at the heap of their own. */
const NO_UNITS = [
  ...['main', 'library', 'library-arguments', 'errors', 'token', 'memory'].map(
    (name) => `test/${name}.test.ts`,
  ),
  'bench/targets.test.ts',
];

/**
 * What takes longest, so that it does not begin last and keep the others waiting for its end; one
 * that computes beside those that wait.
 */
const LONGEST = [
  'test/simulator.test.ts',
  'test/grace.test.ts',
  'test/readme.wire.ts',
  'test/clients/matrix.wire.ts',
  'test/http-gate.wire.ts',
  'test/poll.wire.ts',
  'test/answers.wire.ts',
  'test/terminal.wire.ts',
  'test/hostile.wire.ts',
  'test/demo-layout.wire.ts',
  'test/client.wire.ts',
  'test/bodies.wire.ts',
  'test/demo.wire.ts',
  'test/load-mix.wire.ts',
  'test/doctor.wire.ts',
  'test/native-notes.test.ts',
  'test/websocket-hostile.wire.ts',
];

/**
 * The units first, of which one computes for a minute while the others go on; then the longest,
 * then as Vitest has it: by what it knows of the last run, or by size.
 */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const place = LONGEST.indexOf(relative(import.meta.dirname, moduleId));
      return place < 0 ? LONGEST.length : place;
    };
    const group = ({ project }: TestSpecification): number => project.config.sequence.groupOrder;
    // Within a group projects stay together, as Vitest needs them.
    const sorted = await super.sort(files);
    const projects = ['units', ...new Set(sorted.map(({ project }) => project.name))];
    const place = ({ project }: TestSpecification): number => projects.indexOf(project.name);
    return sorted.toSorted(
      (a, b) => group(a) - group(b) || place(a) - place(b) || rank(a) - rank(b),
    );
  }
}

export default defineConfig({
  test: {
    // uWebSockets.js aborts the process when a worker thread ends with live sockets. It keeps state
    // in the process, too, so most files get one of their own.
    pool: 'forks',
    isolate: true,
    setupFiles: ['test/support/built.ts'],
    // Nothing waits for these when all is well, and a machine may be several times slower.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 15_000 } },
    teardownTimeout: 10_000,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: {
          name: 'together',
          include: ['test/**/*.wire.ts', ...NO_UNITS],
          exclude: [...QUIET, ...ALONE],
          // Most of them only start processes, and none leaves anything behind in its own.
          isolate: false,
          // The build machines have two cores; these wait for nearly half of their time.
          maxWorkers: 4,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'units',
          include: UNITS,
          exclude: [...NO_UNITS, ...QUIET],
          isolate: false,
          maxWorkers: 4,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'quiet',
          include: QUIET,
          // A wire test runs a server beside its clients.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: ALONE,
          maxWorkers: 1,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
