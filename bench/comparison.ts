/**
 * The same events on the same channel by each transport, each from a fresh server process: what it
 * costs the server and how late the events arrive. The clients are those of `holdline load`.
 */
import { fileURLToPath } from 'node:url';
import { readKernelNetworkBytes } from '../src/linux/memory.js';
import { readBusySeconds, readProcessUsage, readRssBytes } from '../src/linux/processes.js';
import { CLIENT_CORE, Child, SERVER_CORE } from './child.js';
import { sleepMs } from './clock.js';
import { remarkOnStrangers } from './machine.js';
import type { Measured } from './results.js';
import { median } from './statistics.js';
import { drawTable, ms, percent } from './table.js';

export const WAYS = ['sse', 'ndjson', 'ws', 'long-poll', 'short-poll'] as const;
export type Way = (typeof WAYS)[number];

export interface CompareParameters {
  connections: number;
  ratePerSecond: number;
  seconds: number;
  pollIntervalSeconds: number;
  eventBytes: number;
  ways: Way[];
  /**
   * Clients that are connected when memory is measured: more, so that the noise of a process is
   * shared by many.
   */
  heldConnections: number;
  /**
   * How long a server that has just started is left alone before its memory is taken for that of
   * one without clients.
   */
  startSettleSeconds: number;
  /** How long the clients are left alone before their memory is taken. */
  heldSettleSeconds: number;
}

/** What `holdline load --json` prints; src/tools/load/report/report.ts. */
export interface LoadReport {
  connectSeconds: number;
  durationSeconds: number;
  published: number;
  expected: number;
  delivered: number;
  lost: number;
  doubled: number;
  outOfOrder: number;
  gaps: number;
  requests: number;
  requestsPerClientMinute: number;
  emptyAnswers: number;
  emptyShare: number;
  bytesReceived: number;
  bytesPerClient: number;
  latencyMs: {
    p50: number | null;
    p90: number | null;
    p99: number | null;
    p999: number | null;
    max: number | null;
  };
  clientBusyShare: number;
  clientLimited: boolean;
  startedAt: string;
}

/** Bytes at one moment. */
interface MemorySample {
  rssBytes: number;
  /** Socket buffers and the kernel's slabs, of the whole machine. */
  kernelBytes: number;
}

export interface CompareRound {
  way: Way;
  memory: {
    before: MemorySample;
    /** With every client connected and nothing going on. */
    held: MemorySample;
  };
  load: LoadReport;
  /** From the first event until the last had reached everyone. */
  measuredSeconds: number;
  serverCpuSeconds: number;
  /** Of everything on the machine. */
  machineCpuSeconds: number;
}

export interface CompareFigures {
  way: Way;
  p50Ms: number | null;
  p99Ms: number | null;
  p999Ms: number | null;
  /** Of one core, while events were published. */
  serverCpuShare: number;
  serverCpuUsPerDelivery: number;
  /**
   * Of the server process, not collected: see the memory subject for the exact figure of a line.
   */
  rssBytesPerClient: number;
  /** Both ends of every connection are on this machine. */
  kernelBytesPerClient: number;
  requestsPerClientMinute: number;
  emptyShare: number;
  bytesPerClientMinute: number;
  delivered: number;
  /** Lost, doubled, out of order, gaps. */
  faults: number;
  clientLimited: boolean;
  /** Of one core, what everything but the server and the client used. */
  strangerCpuShare: number;
}

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const CHANNEL = 'compare';
const OPS_KEY = 'compare-the-transports';

const START_DEADLINE_MS = 20_000;
const HELD_DEADLINE_MS = 60_000;
const LOAD_MARGIN_MS = 60_000;
const LOOK_MS = 50;
const SAMPLE_MS = 100;
const MEMORY_SAMPLES = 5;
/** A server is up for a moment before it is loaded: its first second is compilation. */
const WARM_MS = 1_000;

export function wayTitle(
  way: Way,
  { pollIntervalSeconds }: Pick<CompareParameters, 'pollIntervalSeconds'>,
): string {
  const titles: Record<Way, string> = {
    sse: 'SSE',
    ndjson: 'NDJSON stream',
    ws: 'WebSocket',
    'long-poll': 'long-poll',
    'short-poll': `short-poll, ${pollIntervalSeconds} s`,
  };
  return titles[way];
}

export async function compareWays(
  parameters: CompareParameters,
  say: (text: string) => void,
): Promise<Measured<CompareParameters, CompareRound, CompareFigures[]>> {
  const rounds: CompareRound[] = [];
  for (const way of parameters.ways) {
    say(`${wayTitle(way, parameters)}: ${parameters.connections} clients, ${parameters.seconds} s`);
    const memory = await measureMemory(way, parameters);
    rounds.push({ way, memory, ...(await measureLoad(way, parameters)) });
  }
  const summary = rounds.map((round) => figuresOf(round, parameters));
  const remarks = summary.flatMap((figures) => [
    ...(figures.faults > 0
      ? [`${figures.way}: ${figures.faults} deliveries were lost, doubled or out of order, or gaps`]
      : []),
    ...remarkOnStrangers(figures.way, figures.strangerCpuShare),
    ...(figures.clientLimited
      ? [`${figures.way}: the load client was the limit; the server may do better`]
      : []),
  ]);
  remarks.push(
    'kernel memory is that of both ends of each connection: the clients run on the same machine',
  );
  return { parameters, rounds, summary, remarks, table: describe(summary, parameters) };
}

/**
 * The clients connect and are stopped (SIGSTOP): their connections stay, and nobody publishes or
 * asks.
 */
async function measureMemory(
  way: Way,
  parameters: CompareParameters,
): Promise<CompareRound['memory']> {
  return withServer(async (server) => {
    await sleepMs(parameters.startSettleSeconds * 1000);
    const before = await sampleMemory(server);
    const load = startLoad(way, server, parameters, 'hold');
    try {
      await untilConnected(server, parameters.heldConnections);
      load.signal('SIGSTOP');
      await sleepMs(parameters.heldSettleSeconds * 1000);
      return { before, held: await sampleMemory(server) };
    } finally {
      await load.kill();
    }
  });
}

async function measureLoad(
  way: Way,
  parameters: CompareParameters,
): Promise<Omit<CompareRound, 'way' | 'memory'>> {
  return withServer(async (server) => {
    await sleepMs(WARM_MS);
    const samples: CpuSample[] = [];
    const look = (): void => {
      samples.push({
        atMs: Date.now(),
        serverSeconds: readProcessUsage(server.pid).cpuSeconds,
        machineSeconds: readBusySeconds(),
      });
    };
    const timer = setInterval(look, SAMPLE_MS);
    const child = startLoad(way, server, parameters, 'run');
    try {
      const printed = await child.textLines().next(parameters.seconds * 1000 + LOAD_MARGIN_MS);
      look();
      const load = JSON.parse(printed) as LoadReport;
      // The first event was due at once, the last an interval before the end of the time; then the
      // clients disconnect.
      const lastDueMs = (load.durationSeconds - 1 / parameters.ratePerSecond) * 1000;
      const measuredMs = lastDueMs + (load.latencyMs.max ?? 0);
      const fromMs = Date.parse(load.startedAt) + load.connectSeconds * 1000;
      const spent = (name: 'serverSeconds' | 'machineSeconds'): number =>
        at(samples, name, fromMs + measuredMs) - at(samples, name, fromMs);
      return {
        load,
        measuredSeconds: measuredMs / 1000,
        serverCpuSeconds: spent('serverSeconds'),
        machineCpuSeconds: spent('machineSeconds'),
      };
    } finally {
      clearInterval(timer);
      await child.kill();
    }
  });
}

interface CpuSample {
  atMs: number;
  serverSeconds: number;
  machineSeconds: number;
}

/** Between two samples, as if it had grown evenly. */
function at(
  samples: readonly CpuSample[],
  name: 'serverSeconds' | 'machineSeconds',
  atMs: number,
): number {
  const after = samples.findIndex((sample) => sample.atMs >= atMs);
  if (after < 1) throw new Error('the server was not watched for as long as events were published');
  const [from, to] = [samples[after - 1]!, samples[after]!];
  return from[name] + ((to[name] - from[name]) * (atMs - from.atMs)) / (to.atMs - from.atMs);
}

interface Serving {
  pid: number;
  port: number;
}

async function withServer<T>(measure: (server: Serving) => Promise<T>): Promise<T> {
  const args = [MAIN, 'serve', '--port', '0', '--open-publish', '--ops-key', OPS_KEY];
  const child = new Child({
    name: 'holdline serve',
    command: process.execPath,
    args,
    core: SERVER_CORE,
    ipc: false,
  });
  try {
    const lines = child.textLines();
    for (;;) {
      const line = JSON.parse(await lines.next(START_DEADLINE_MS)) as {
        msg?: string;
        port?: number;
      };
      if (line.msg === 'listening') return await measure({ pid: child.pid, port: line.port! });
    }
  } finally {
    await child.kill();
  }
}

function startLoad(
  way: Way,
  { port }: Serving,
  parameters: CompareParameters,
  purpose: 'hold' | 'run',
): Child {
  const options = {
    url: `http://127.0.0.1:${port}/${CHANNEL}`,
    transport: way,
    connections: purpose === 'hold' ? parameters.heldConnections : parameters.connections,
    rate: purpose === 'hold' ? 1 : parameters.ratePerSecond,
    size: parameters.eventBytes,
    duration: purpose === 'hold' ? '1h' : `${parameters.seconds}s`,
    'poll-interval': `${parameters.pollIntervalSeconds}s`,
  };
  const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const args = [MAIN, 'load', ...flags, '--json', '--quiet'];
  return new Child({
    name: `holdline load --transport ${way}`,
    command: process.execPath,
    args,
    core: CLIENT_CORE,
    ipc: false,
  });
}

/** A client of a poll may have no request under way, so connections are counted. */
async function untilConnected({ port }: Serving, connections: number): Promise<void> {
  const untilMs = performance.now() + HELD_DEADLINE_MS;
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${port}/-/stats`, {
      headers: { Authorization: `Bearer ${OPS_KEY}` },
    });
    const stats = (await answer.json()) as { sockets: { open: number } };
    if (stats.sockets.open >= connections) return;
    if (performance.now() > untilMs)
      throw new Error(`${stats.sockets.open} of ${connections} clients were connected in time`);
    await sleepMs(LOOK_MS);
  }
}

async function sampleMemory({ pid }: Serving): Promise<MemorySample> {
  const samples: MemorySample[] = [];
  for (let taken = 0; taken < MEMORY_SAMPLES; taken++) {
    samples.push({ rssBytes: readRssBytes(pid), kernelBytes: readKernelNetworkBytes() });
    await sleepMs(SAMPLE_MS);
  }
  return {
    rssBytes: median(samples.map(({ rssBytes }) => rssBytes)),
    kernelBytes: median(samples.map(({ kernelBytes }) => kernelBytes)),
  };
}

function figuresOf(round: CompareRound, { heldConnections }: CompareParameters): CompareFigures {
  const { way, memory, load, measuredSeconds, serverCpuSeconds, machineCpuSeconds } = round;
  // Each event stands for the interval behind it, the last one, too.
  const seconds = Math.max(measuredSeconds, load.durationSeconds);
  return {
    way,
    p50Ms: load.latencyMs.p50,
    p99Ms: load.latencyMs.p99,
    p999Ms: load.latencyMs.p999,
    serverCpuShare: serverCpuSeconds / seconds,
    serverCpuUsPerDelivery: (serverCpuSeconds * 1e6) / load.delivered,
    rssBytesPerClient: (memory.held.rssBytes - memory.before.rssBytes) / heldConnections,
    kernelBytesPerClient: (memory.held.kernelBytes - memory.before.kernelBytes) / heldConnections,
    requestsPerClientMinute: load.requestsPerClientMinute,
    emptyShare: load.emptyShare,
    bytesPerClientMinute: (load.bytesPerClient * 60) / seconds,
    delivered: load.delivered,
    faults: load.lost + load.doubled + load.outOfOrder + load.gaps,
    clientLimited: load.clientLimited,
    strangerCpuShare: Math.max(
      0,
      (machineCpuSeconds - serverCpuSeconds) / measuredSeconds - load.clientBusyShare,
    ),
  };
}

function describe(summary: CompareFigures[], parameters: CompareParameters): string {
  const row = (name: string, pick: (figures: CompareFigures) => string): string[] => [
    name,
    ...summary.map(pick),
  ];
  return drawTable(
    ['', ...summary.map(({ way }) => wayTitle(way, parameters))],
    [
      row('latency p50', ({ p50Ms }) => ms(p50Ms ?? Number.NaN)),
      row('latency p99', ({ p99Ms }) => ms(p99Ms ?? Number.NaN)),
      row('latency p99.9', ({ p999Ms }) => ms(p999Ms ?? Number.NaN)),
      row('server CPU, of a core', ({ serverCpuShare }) => percent(serverCpuShare)),
      row(
        'CPU a delivered event',
        ({ serverCpuUsPerDelivery }) => `${serverCpuUsPerDelivery.toFixed(1)} µs`,
      ),
      row('RSS a client', ({ rssBytesPerClient }) => kib(rssBytesPerClient)),
      row('kernel memory a client, both ends', ({ kernelBytesPerClient }) =>
        kib(kernelBytesPerClient),
      ),
      row('requests a client and minute', ({ requestsPerClientMinute }) =>
        requestsPerClientMinute.toFixed(1),
      ),
      row('empty answers', ({ emptyShare }) => percent(emptyShare)),
      row('received a client and minute', ({ bytesPerClientMinute }) => kib(bytesPerClientMinute)),
      row('events delivered', ({ delivered }) => delivered.toLocaleString('en-US')),
      row('lost, doubled, out of order, gaps', ({ faults }) => String(faults)),
    ],
  );
}

function kib(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}
