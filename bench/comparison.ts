/**
 * The same events by each transport, each with a new server process: what they cost the server, and
 * how late they arrive. The clients are those of `holdline load`.
 */
import { fileURLToPath } from 'node:url';
import { readKernelNetworkBytes } from '../src/linux/memory.js';
import { readBusySeconds, readProcessUsage, readRssBytes } from '../src/linux/processes.js';
import type { LoadReport } from '../src/tools/load/report/report.js';
import { CLIENT_CORE, Child, SERVER_CORE } from './child.js';
import { sleepMs } from './clock.js';
import { remarkOnOtherProcesses } from './machine.js';
import type { Measured } from './results.js';
import { median } from './statistics.js';
import { drawTable, fixed, kib, ms, percent } from './table.js';

export const TRANSPORTS = ['sse', 'ndjson', 'ws', 'long-poll', 'short-poll'] as const;
export type Transport = (typeof TRANSPORTS)[number];

export interface CompareParameters {
  connections: number;
  ratePerSecond: number;
  seconds: number;
  pollIntervalSeconds: number;
  eventBytes: number;
  ways: Transport[];
  /** Clients while memory is measured: more of them, so that noise matters less. */
  heldConnections: number;
  /** How long a new server idles before its memory without clients is measured. */
  startSettleSeconds: number;
  /** How long the clients idle before their memory is measured. */
  heldSettleSeconds: number;
}

/** Bytes at one moment. */
interface MemorySample {
  rssBytes: number;
  /** TCP buffers and slabs of the whole machine. */
  kernelBytes: number;
}

export interface CompareRound {
  way: Transport;
  memory: {
    before: MemorySample;
    /** With all clients connected and idle. */
    held: MemorySample;
  };
  load: LoadReport;
  /** From the first event until the last one had reached all clients. */
  measuredSeconds: number;
  serverCpuSeconds: number;
  /** Of all processes of the machine. */
  machineCpuSeconds: number;
}

export interface CompareFigures {
  way: Transport;
  p50Ms: number | null;
  p99Ms: number | null;
  p999Ms: number | null;
  /** Share of a core while events were published. */
  serverCpuShare: number;
  serverCpuUsPerDelivery: number;
  /** Of the server process, garbage included. The memory subject has the exact figure of a line. */
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
  /** What all other processes used, as a share of a core. */
  strangerCpuShare: number;
}

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const CHANNEL = 'compare';
const OPS_KEY = 'compare-the-transports';

const START_DEADLINE_MS = 20_000;
const HELD_DEADLINE_MS = 60_000;
const LOAD_MARGIN_MS = 60_000;
const CONNECTED_CHECK_MS = 50;
const SAMPLE_MS = 100;
const MEMORY_SAMPLES = 5;
/** A server idles for so long before its load, since it compiles code in its first second. */
const WARM_UP_MS = 1_000;

export function transportTitle(
  way: Transport,
  { pollIntervalSeconds }: Pick<CompareParameters, 'pollIntervalSeconds'>,
): string {
  const titles: Record<Transport, string> = {
    sse: 'SSE',
    ndjson: 'NDJSON stream',
    ws: 'WebSocket',
    'long-poll': 'long-poll',
    'short-poll': `short-poll, ${pollIntervalSeconds} s`,
  };
  return titles[way];
}

export async function compareTransports(
  parameters: CompareParameters,
  say: (text: string) => void,
): Promise<Measured<CompareParameters, CompareRound, CompareFigures[]>> {
  const rounds: CompareRound[] = [];
  for (const way of parameters.ways) {
    say(
      `${transportTitle(way, parameters)}: ${parameters.connections} clients, ` +
        `${parameters.seconds} s`,
    );
    const memory = await measureMemory(way, parameters);
    rounds.push({ way, memory, ...(await measureLoad(way, parameters)) });
  }
  const summary = rounds.map((round) => figuresOf(round, parameters));
  const remarks = summary.flatMap((figures) => [
    ...(figures.faults > 0
      ? [`${figures.way}: ${figures.faults} deliveries were lost, doubled or out of order, or gaps`]
      : []),
    ...remarkOnOtherProcesses(figures.way, figures.strangerCpuShare),
    ...(figures.clientLimited
      ? [`${figures.way}: the load client was at its limit; the server may be faster`]
      : []),
  ]);
  remarks.push(
    'kernel memory includes both ends of each connection: the clients run on the same machine',
  );
  const { head, rows } = comparisonTable(summary, parameters);
  return { parameters, rounds, summary, remarks, table: drawTable(head, rows) };
}

/** Connects the clients and stops them (SIGSTOP): they stay connected and send nothing. */
async function measureMemory(
  way: Transport,
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
  way: Transport,
  parameters: CompareParameters,
): Promise<Omit<CompareRound, 'way' | 'memory'>> {
  return withServer(async (server) => {
    await sleepMs(WARM_UP_MS);
    const samples: CpuSample[] = [];
    const sample = (): void => {
      samples.push({
        atMs: Date.now(),
        serverSeconds: readProcessUsage(server.pid).cpuSeconds,
        machineSeconds: readBusySeconds(),
      });
    };
    const timer = setInterval(sample, SAMPLE_MS);
    const child = startLoad(way, server, parameters, 'run');
    try {
      const printed = await child.textLines().next(parameters.seconds * 1000 + LOAD_MARGIN_MS);
      sample();
      const load = JSON.parse(printed) as LoadReport;
      // The first event is due at once, the last one an interval before the end.
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

/** A total at a moment between two samples, interpolated. */
function at(
  samples: readonly CpuSample[],
  name: 'serverSeconds' | 'machineSeconds',
  atMs: number,
): number {
  const after = samples.findIndex((sample) => sample.atMs >= atMs);
  if (after < 1) throw new Error('the samples of the server do not cover the time of publishing');
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
  way: Transport,
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

/** Waits for the clients. A polling client may have no request open, so connections are counted. */
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
    await sleepMs(CONNECTED_CHECK_MS);
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
  // Each event stands for the interval after it, also the last one.
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

/** The figures as a table with a column for each transport. */
export function comparisonTable(
  summary: readonly CompareFigures[],
  parameters: CompareParameters,
): { head: string[]; rows: string[][] } {
  const row = (name: string, pick: (figures: CompareFigures) => string): string[] => [
    name,
    ...summary.map(pick),
  ];
  return {
    head: ['', ...summary.map(({ way }) => transportTitle(way, parameters))],
    rows: [
      row('latency p50', ({ p50Ms }) => ms(p50Ms)),
      row('latency p99', ({ p99Ms }) => ms(p99Ms)),
      row('latency p99.9', ({ p999Ms }) => ms(p999Ms)),
      row('server, of a core', ({ serverCpuShare }) => percent(serverCpuShare)),
      row(
        'server CPU a delivered event',
        ({ serverCpuUsPerDelivery }) => `${fixed(serverCpuUsPerDelivery, 1)} µs`,
      ),
      row('memory a client, server process', ({ rssBytesPerClient }) => kib(rssBytesPerClient)),
      row('memory a client, kernel, both ends', ({ kernelBytesPerClient }) =>
        kib(kernelBytesPerClient),
      ),
      row('requests a client and minute', ({ requestsPerClientMinute }) =>
        fixed(requestsPerClientMinute, 0),
      ),
      row('of its answers, empty', ({ emptyShare, requestsPerClientMinute }) =>
        requestsPerClientMinute === 0 ? '–' : percent(emptyShare),
      ),
      row('received a client and minute', ({ bytesPerClientMinute }) => kib(bytesPerClientMinute)),
      row('lost, doubled, out of order, gaps', ({ faults }) => String(faults)),
    ],
  };
}
