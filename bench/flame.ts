/**
 * Flame: a 0x flame graph of the shipped server (`dist/main.js`) under 15,000 lines × 100 events/s,
 * and its functions by self time.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Child, SERVER_CORE, childPids } from './child.js';
import { wholeNumber } from './flags.js';
import { nowUs, sleepMs } from './clock.js';
import { freePort, listening } from './ports.js';
import { drawTable, percent, short } from './table.js';
import { Visit } from './visit.js';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    connections: { type: 'string' },
    seconds: { type: 'string' },
    rate: { type: 'string' },
  },
});

const lines = wholeNumber('connections', values.connections) ?? (values.quick ? 1_000 : 15_000);
const windowSeconds = wholeNumber('seconds', values.seconds) ?? (values.quick ? 3 : 20);
const ratePerSecond = wholeNumber('rate', values.rate) ?? 100;

const OUT = fileURLToPath(new URL('out/flame/', import.meta.url));
const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const ZERO_X = fileURLToPath(new URL('../node_modules/0x/cmd.js', import.meta.url));

const ZERO_X_FLAGS = [
  '--quiet',
  '--write-ticks',
  '--name',
  'flame',
  '--working-dir',
  OUT,
  '--output-dir',
  'run',
];
const SERVE_FLAGS = ['--open-publish', '--first-id', '1'];

const START_DEADLINE_MS = 20_000;
/** 0x needs about a second to draw ten seconds of a profile. */
const RENDER_DEADLINE_MS = 180_000;
const FUNCTIONS_SHOWN = 25;

interface Tick {
  name: string;
  type?: string;
}

if (!existsSync(MAIN)) throw new Error('dist/main.js is missing: npm run build');
rmSync(OUT, { recursive: true, force: true });
mkdirSync(OUT, { recursive: true });

// 0x swallows the server's output, and with it its port, so the port is chosen here.
const port = await freePort();
const zeroX = new Child({
  name: '0x',
  command: process.execPath,
  // The JavaScript of dist: a loader has a second thread, whose log 0x might take.
  args: [
    ZERO_X,
    ...ZERO_X_FLAGS,
    '--',
    process.execPath,
    MAIN,
    'serve',
    '--port',
    String(port),
    ...SERVE_FLAGS,
  ],
  core: SERVER_CORE,
  ipc: false,
});
await listening(port, START_DEADLINE_MS);
const served = { name: 'holdline' as const, port, stop: async (): Promise<void> => stopServer() };
const here = new Visit<typeof served>(served);
try {
  await profile();
} finally {
  await here.end();
}
await rendered();
report();
process.exit(0);

async function profile(): Promise<void> {
  const fleet = await here.startFleet();
  await here.open(fleet, lines);
  const before = nowUs();
  const { books } = await here
    .round(fleet, { ratePerSecond, events: windowSeconds * ratePerSecond })
    .play();
  console.log(
    `${lines} lines, ${books.published} of ${windowSeconds * ratePerSecond} events accepted, ` +
      `${short((books.delivered * 1e6) / (nowUs() - before))} deliveries/s under the profiler`,
  );
}

/** 0x ends when its child does, which only a signal to the child can cause. */
async function stopServer(): Promise<void> {
  for (const pid of childPids(zeroX.pid)) process.kill(pid, 'SIGINT');
}

async function rendered(): Promise<void> {
  const late = sleepMs(RENDER_DEADLINE_MS).then(() => {
    throw new Error(`0x had not drawn its graph after ${RENDER_DEADLINE_MS} ms`);
  });
  await Promise.race([zeroX.exited, late]);
}

function report(): void {
  const run = join(OUT, 'run');
  const ticksFile = join(run, 'ticks.json');
  if (!existsSync(ticksFile))
    throw new Error(
      `0x left no ${ticksFile}; in ${OUT} there is ${readdirSync(OUT).join(', ') || 'nothing'}`,
    );
  const stacks = JSON.parse(readFileSync(ticksFile, 'utf8')) as Tick[][];
  const selfTicks = new Map<string, number>();
  for (const stack of stacks) {
    const leaf = stack.at(-1);
    if (leaf === undefined) continue;
    const name = shorten(leaf.name);
    selfTicks.set(name, (selfTicks.get(name) ?? 0) + 1);
  }
  const top = [...selfTicks].sort(([, a], [, b]) => b - a).slice(0, FUNCTIONS_SHOWN);
  console.log(
    drawTable(
      ['self time', 'function'],
      top.map(([name, ticks]) => [percent(ticks / stacks.length), name]),
    ),
  );
  console.log(`${stacks.length} samples; flame graph: ${join(run, 'flame.html')}`);
}

/** V8 names a frame by its state, its function and its URL, which is shortened to its path here. */
function shorten(name: string): string {
  const root = fileURLToPath(new URL('..', import.meta.url));
  return name.replaceAll(`file://${root}`, '').replaceAll(root, '');
}
