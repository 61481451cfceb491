/** The bench's command line: runs subjects, writes their results and prints their tables. */
import { parseArgs } from 'node:util';
import { wholeNumber } from './flags.js';
import { describeMachine } from './machine.js';
import {
  type Measured,
  type RunOptions,
  SUBJECTS,
  type SubjectName,
  writeResult,
} from './results.js';

type Subject = (options: RunOptions) => Promise<Measured<unknown, unknown, unknown>>;

/** Loaded on demand: a subject that fails to load must not stop the others. */
const subjects: Record<SubjectName, () => Promise<Subject>> = {
  'fan-out': async () => (await import('./fan-out.js')).measureFanOut,
  'long-poll': async () => (await import('./long-poll.js')).measureLongPoll,
  'short-poll': async () => (await import('./short-poll.js')).measureShortPoll,
  memory: async () => (await import('./memory.js')).measureMemory,
  accept: async () => (await import('./accept.js')).measureAccept,
  idle: async () => (await import('./idle.js')).measureIdle,
  publish: async () => (await import('./publish.js')).measurePublish,
  micro: async () => (await import('./micro.js')).measureMicro,
  alternatives: async () => (await import('./alternatives.js')).measureAlternatives,
  heap: async () => (await import('./heap.js')).measureHeap,
  deadlines: async () => (await import('./deadlines.js')).measureDeadlines,
  drain: async () => (await import('./drain.js')).measureDrain,
  herd: async () => (await import('./herd.js')).measureHerd,
  log: async () => (await import('./log.js')).measureLog,
  'fan-out-logs': async () => (await import('./fan-out-logs.js')).measureFanOutLogs,
  'short-sweeps': async () => (await import('./short-sweeps.js')).measureShortSweeps,
  sweep: async () => (await import('./sweep.js')).measureSweep,
  workers: async () => (await import('./workers.js')).measureWorkers,
  isolation: async () => (await import('./isolation.js')).measureIsolation,
  compression: async () => (await import('./compression.js')).measureCompression,
  tls: async () => (await import('./tls.js')).measureTls,
  knobs: async () => (await import('./knobs.js')).measureKnobs,
  plan: async () => (await import('./plan-check.js')).measurePlan,
};

const USAGE = `npm run bench [-- SUBJECT … | all] [--quick] [--connections N] [--rounds N] [--seconds N] [--rates 10,100] [--targets holdline,raw-uws]
subjects: ${SUBJECTS.join(' · ')}; none = all. --quick is a smoke run: small, short, written to bench/out/ instead of bench/results/.`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    connections: { type: 'string' },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    rates: { type: 'string' },
    targets: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

if (values.help) {
  console.log(USAGE);
  process.exit(0);
}

const options: RunOptions = {
  quick: values.quick,
  lines: wholeNumber('connections', values.connections),
  rounds: wholeNumber('rounds', values.rounds),
  windowSeconds: wholeNumber('seconds', values.seconds),
  ratesPerSecond: values.rates?.split(',').map((rate) => wholeNumber('rates', rate)!),
  targets: values.targets?.split(','),
  say: (text) => console.log(text),
};

const machine = describeMachine();
console.log(
  `${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}, ${machine.uWebSockets}; ${machine.pinned}`,
);

let failed = 0;
for (const name of chosenSubjects()) {
  const startedAt = new Date();
  console.log(`\n── ${name}`);
  try {
    const measure = await subjects[name]();
    const measured = await measure(options);
    const file = writeResult(name, startedAt, options.quick, machine, measured);
    console.log(`\n${measured.table}`);
    for (const remark of measured.remarks) console.log(`! ${remark}`);
    if (measured.passed === false) failed++;
    console.log(
      `raw figures: ${file} (${Math.round((Date.now() - startedAt.getTime()) / 1000)} s)`,
    );
  } catch (error) {
    failed++;
    console.error(
      `${name} failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
  }
}
process.exit(failed > 0 ? 1 : 0);

function chosenSubjects(): SubjectName[] {
  if (positionals.length === 0 || positionals.includes('all')) return [...SUBJECTS];
  for (const name of positionals) {
    if (!(SUBJECTS as readonly string[]).includes(name)) fail(`there is no subject "${name}"`);
  }
  return SUBJECTS.filter((name) => positionals.includes(name));
}

function fail(why: string): never {
  console.error(`${why}\n${USAGE}`);
  process.exit(2);
}
