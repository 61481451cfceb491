/**
 * Knobs: the effect of each option that changes memory, or the time until a vanished peer is
 * closed; one fresh server for each setting.
 */
import { once } from 'node:events';
import { Socket } from 'node:net';
import { readPortTotals, readTcpBytes } from '../src/linux/sockets.js';
import { Namespace } from '../test/support/namespace.js';
import { sleepMs } from './clock.js';
import { DATA_BYTES } from './event.js';
import type { Measured, RunOptions } from './results.js';
import type { HoldlineSettings } from './servers/holdline.js';
import { median } from './statistics.js';
import { drawTable } from './table.js';
import type { Running } from './targets.js';
import { visit } from './visit.js';

export interface KnobsParameters {
  stalledReaders: number;
  unreadClients: number;
  ringChannels: number;
  eventBytes: number;
  rounds: number;
}

/** One figure of one setting in one round; null where it was not reached in time. */
export interface KnobsRound {
  round: number;
  /** As flags. */
  setting: string;
  /** What was done. */
  scene: string;
  /** What was measured. */
  measured: string;
  unit: KnobUnit;
  value: number | null;
}

export type KnobUnit = 'KiB' | 's';

/** The median of the rounds. */
export type KnobsFigures = Omit<KnobsRound, 'round'>;

type Figure = Omit<KnobsFigures, 'setting'>;

const KIB = 1024;
const ROUNDS = 3;
const DEADLINE_MS = 20_000;
const LOOK_MS = 20;
/** Queues that have not changed for this long are full. */
const STEADY_MS = 300;
const BATCH_EVENTS_MAX = 400;
/**
 * More than the kernel receives for a process that does not read, and within the limit of a body.
 */
const UNREAD_BODY_BYTES = 3 * 1024 * KIB;
/** The worst moment to write to a vanished peer is this long before it would be noticed anyway. */
const WORST_MOMENT_MS = 300;
/** Longer than any of the timeouts below; without one it takes about 15 minutes. */
const VANISHED_WAIT_MS = 15_000;
/** Events that a ring is filled with: the default of --replay-events, and some to evict. */
const RING_EVENTS = 1_200;

const STALLED: readonly HoldlineSettings[] = [
  { socketSendBufferBytes: 0 },
  { socketSendBufferBytes: 0, notsentLowatBytes: 16 * KIB },
  { socketSendBufferBytes: 256 * KIB },
  { socketSendBufferBytes: 64 * KIB },
  { socketSendBufferBytes: 64 * KIB, notsentLowatBytes: 16 * KIB },
  { socketSendBufferBytes: 16 * KIB },
];
const UNREAD: readonly HoldlineSettings[] = [0, 64 * KIB, 16 * KIB].map(
  (socketReceiveBufferBytes) => ({
    socketReceiveBufferBytes,
  }),
);
const VANISHED: readonly HoldlineSettings[] = [0, 10_000, 4_000].map((deadPeerTimeoutMs) => ({
  deadPeerTimeoutMs,
}));
const RINGS: readonly HoldlineSettings[] = [
  {},
  { replayBytes: 64 * KIB },
  { replayBytes: 16 * KIB },
  { replayEvents: 100 },
  { replayEvents: 10 },
];

const STALLED_SCENE = 'a reader never reads';
const UNREAD_SCENE = 'a client sends 3 MiB to a server that has stopped';
const VANISHED_SCENE = 'a peer vanishes';
const RINGS_SCENE = `${RING_EVENTS} events of ${DATA_BYTES} bytes are published to a channel`;

const FLAGS: readonly [keyof HoldlineSettings, flag: string, text: (value: number) => string][] = [
  ['socketSendBufferBytes', '--socket-send-buffer', sizeText],
  ['socketReceiveBufferBytes', '--socket-receive-buffer', sizeText],
  ['notsentLowatBytes', '--notsent-lowat', sizeText],
  ['deadPeerTimeoutMs', '--dead-peer-timeout', (ms) => (ms === 0 ? '0' : `${ms / 1000}s`)],
  ['replayEvents', '--replay-events', String],
  ['replayBytes', '--replay-bytes', sizeText],
];

function sizeText(bytes: number): string {
  return bytes === 0 ? '0' : `${bytes / KIB}KiB`;
}

function settingText(settings: HoldlineSettings): string {
  const given = FLAGS.flatMap(([name, flag, text]) => {
    const value = settings[name];
    return typeof value === 'number' ? [`${flag} ${text(value)}`] : [];
  });
  return given.length === 0 ? 'defaults' : given.join(' ');
}

export async function measureKnobs(
  options: RunOptions,
): Promise<Measured<KnobsParameters, KnobsRound, KnobsFigures[]>> {
  const { quick, say } = options;
  const parameters: KnobsParameters = {
    stalledReaders: options.lines ?? (quick ? 10 : 200),
    unreadClients: quick ? 5 : 50,
    ringChannels: quick ? 50 : 200,
    eventBytes: DATA_BYTES,
    rounds: options.rounds ?? (quick ? 1 : ROUNDS),
  };
  const remarks = [
    'both ends of every connection are on this machine: the receive queue is the reader’s own, and in production not the server’s',
  ];
  const rounds: KnobsRound[] = [];
  const run = async (
    round: number,
    settings: HoldlineSettings,
    measure: () => Promise<Figure[]>,
  ): Promise<void> => {
    const setting = settingText(settings);
    for (const figure of await measure()) {
      rounds.push({ round, setting, ...figure });
      say(
        `round ${round}/${parameters.rounds} ${setting}: ${figure.scene}; ${figure.measured}: ${figureText(figure)}`,
      );
    }
  };
  const noNamespace = Namespace.absence();
  if (noNamespace !== undefined) remarks.push(`vanished peers were not measured: ${noNamespace}`);
  for (let round = 1; round <= parameters.rounds; round++) {
    for (const settings of STALLED)
      await run(round, settings, () => measureStalled(settings, parameters.stalledReaders));
    for (const settings of UNREAD)
      await run(round, settings, () => measureUnread(settings, parameters.unreadClients));
    for (const settings of noNamespace === undefined ? VANISHED : [])
      await run(round, settings, () => measureVanished(settings));
    for (const settings of RINGS)
      await run(round, settings, () => measureRings(settings, parameters.ringChannels));
  }
  const summary = medians(rounds);
  return { parameters, rounds, summary, remarks, table: describe(summary) };
}

// ── readers that never read ──────────────────────────────────────────────────────────────────────

async function measureStalled(settings: HoldlineSettings, readers: number): Promise<Figure[]> {
  return visit('holdline', settings, async ({ server }) => {
    const tcpBefore = readTcpBytes() ?? Number.NaN;
    const sockets = await Promise.all(Array.from({ length: readers }, () => connect(server.port)));
    try {
      for (const socket of sockets)
        socket.write(request('GET', '/bench', 'Accept: text/event-stream\r\n'));
      await untilCounter(server, 'lines_opened_total', readers);
      while ((await counter(server, 'lines_stalled_total')) < readers)
        await publishBatch(server.port, '/bench', BATCH_EVENTS_MAX);
      const given = await counter(server, 'written_bytes_total');
      // Sockets that drain a little are given more, until no queue changes any more.
      const held = await steady(async () => {
        await publishBatch(server.port, '/bench', BATCH_EVENTS_MAX);
        return readPortTotals(server.port)?.sendQueueBytes ?? Number.NaN;
      });
      const tcp = (readTcpBytes() ?? Number.NaN) - tcpBefore;
      return [
        kib(STALLED_SCENE, 'given to it before it counts as stalled', given / readers),
        kib(STALLED_SCENE, 'then held in the server’s send queue', held / readers),
        kib(STALLED_SCENE, 'TCP memory of both ends', tcp / readers),
      ];
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });
}

// ── clients whose bytes nobody reads ─────────────────────────────────────────────────────────────

async function measureUnread(settings: HoldlineSettings, clients: number): Promise<Figure[]> {
  return visit('holdline', settings, async ({ server }) => {
    const sockets = await Promise.all(Array.from({ length: clients }, () => connect(server.port)));
    await untilCounter(server, 'sockets_opened_total', clients);
    const body = Buffer.alloc(UNREAD_BODY_BYTES, 97);
    // Its loop stops.
    process.kill(server.pid, 'SIGSTOP');
    try {
      for (const socket of sockets) {
        socket.write(request('POST', '/bench', `Content-Length: ${body.length}\r\n`));
        socket.write(body);
      }
      const held = await steady(async () => {
        await sleepMs(LOOK_MS);
        return readPortTotals(server.port)?.receiveQueueBytes ?? Number.NaN;
      });
      return [kib(UNREAD_SCENE, 'held in the server’s receive queue', held / clients)];
    } finally {
      for (const socket of sockets) socket.destroy();
      process.kill(server.pid, 'SIGCONT');
    }
  });
}

// ── peers that vanished ──────────────────────────────────────────────────────────────────────────

async function measureVanished(settings: HoldlineSettings): Promise<Figure[]> {
  const silentMs = await vanish(settings);
  const figures = [
    seconds(VANISHED_SCENE, 'its line is closed, if nothing is written to it', silentMs),
  ];
  if (silentMs !== undefined) {
    const writtenMs = await vanish(settings, silentMs - WORST_MOMENT_MS);
    figures.push(
      seconds(
        VANISHED_SCENE,
        'its line is closed, if it is written to in the worst moment',
        writtenMs,
      ),
    );
  }
  return figures;
}

/** Milliseconds until the line is closed; undefined when it is not closed in time. */
function vanish(settings: HoldlineSettings, writeAfterMs?: number): Promise<number | undefined> {
  return visit(
    'holdline',
    { ...settings, host: '0.0.0.0', heartbeatMs: 600_000 },
    async ({ server }) => {
      const namespace = Namespace.create();
      try {
        namespace.hold(server.port, [request('GET', '/bench', 'Accept: text/event-stream\r\n')]);
        await untilCounter(server, 'lines_opened_total', 1);
        namespace.pullCable();
        const vanishedAtMs = performance.now();
        if (writeAfterMs !== undefined) {
          await sleepMs(writeAfterMs);
          await publishBatch(server.port, '/bench', 1);
        }
        const isGone = await untilCounter(
          server,
          'lines_closed_total',
          1,
          vanishedAtMs + VANISHED_WAIT_MS - performance.now(),
        ).then(
          () => true,
          () => false,
        );
        return isGone ? performance.now() - vanishedAtMs : undefined;
      } finally {
        namespace.remove();
      }
    },
  );
}

// ── rings ────────────────────────────────────────────────────────────────────────────────────────

async function measureRings(settings: HoldlineSettings, channels: number): Promise<Figure[]> {
  return visit('holdline', settings, async ({ server }) => {
    const names = Array.from({ length: channels }, (_, i) => `/ring-${i}`);
    // Once before measuring: code, buffers and the young generation then have their size.
    await publishBatch(server.port, '/warm', RING_EVENTS);
    const before = await settledRss(server);
    for (const name of names) await publishBatch(server.port, name, RING_EVENTS);
    const records = await settledRss(server);
    const sockets = await Promise.all(names.map(() => connect(server.port)));
    try {
      for (const [i, socket] of sockets.entries()) {
        socket.resume();
        socket.write(request('GET', `${names[i]}?since=0`, 'Accept: text/event-stream\r\n'));
      }
      await untilCounter(server, 'lines_opened_total', channels);
      await steady(() => counter(server, 'written_bytes_total'));
      const frames = await settledRss(server);
      return [
        kib(RINGS_SCENE, 'RSS a channel', (records - before) / channels),
        kib(RINGS_SCENE, 'RSS a channel with a line on it', (frames - before) / channels),
      ];
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });
}

async function settledRss(server: Running): Promise<number> {
  for (let run = 0; run < 3; run++) {
    await server.gc();
    await sleepMs(STEADY_MS);
  }
  return server.rssBytes();
}

// ── asking ───────────────────────────────────────────────────────────────────────────────────────

/** A connection that reads nothing until `resume`. */
async function connect(port: number): Promise<Socket> {
  const socket = new Socket();
  socket.pause();
  socket.on('error', () => {});
  socket.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

function request(method: string, path: string, headers: string): string {
  return `${method} ${path} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`;
}

const EVENT = `{"data":"${'a'.repeat(DATA_BYTES)}"}\n`;

async function publishBatch(port: number, path: string, events: number): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-ndjson' },
    body: EVENT.repeat(events),
  });
  await answer.arrayBuffer();
  if (!answer.ok) throw new Error(`publishing was answered ${answer.status}`);
}

async function counter(server: Running, name: string): Promise<number> {
  return (await server.counters())?.[name] ?? Number.NaN;
}

async function untilCounter(
  server: Running,
  name: string,
  least: number,
  deadlineMs = DEADLINE_MS,
): Promise<void> {
  const untilMs = performance.now() + deadlineMs;
  for (
    let value = await counter(server, name);
    !(value >= least);
    value = await counter(server, name)
  ) {
    if (performance.now() > untilMs)
      throw new Error(`${name} was ${value}, not ${least}, after ${deadlineMs} ms`);
    await sleepMs(LOOK_MS);
  }
}

/** The value once it has stayed the same for a while. */
async function steady(measure: () => Promise<number>): Promise<number> {
  const untilMs = performance.now() + DEADLINE_MS;
  let value = await measure();
  for (let sinceMs = performance.now(); performance.now() - sinceMs < STEADY_MS;) {
    if (performance.now() > untilMs) throw new Error(`it still changes after ${DEADLINE_MS} ms`);
    await sleepMs(LOOK_MS);
    const next = await measure();
    if (next === value) continue;
    value = next;
    sinceMs = performance.now();
  }
  return value;
}

// ── figures ──────────────────────────────────────────────────────────────────────────────────────

function kib(scene: string, measured: string, bytes: number): Figure {
  return { scene, measured, unit: 'KiB', value: bytes / KIB };
}

function seconds(scene: string, measured: string, ms: number | undefined): Figure {
  return { scene, measured, unit: 's', value: ms === undefined ? null : ms / 1000 };
}

/** 53 KiB, 3.1 s, not within 15 s */
export function figureText({ value, unit }: Pick<KnobsFigures, 'value' | 'unit'>): string {
  if (value === null) return `not within ${VANISHED_WAIT_MS / 1000} s`;
  return `${value.toFixed(unit === 's' || value < 10 ? 1 : 0)} ${unit}`;
}

/**
 * In the order of the first round. A figure that was not reached in one round counts as not
 * reached.
 */
function medians(rounds: readonly KnobsRound[]): KnobsFigures[] {
  return rounds
    .filter(({ round }) => round === 1)
    .map(({ setting, scene, measured, unit }) => {
      const values = rounds
        .filter(
          (one) => one.setting === setting && one.scene === scene && one.measured === measured,
        )
        .map(({ value }) => value);
      const reached = values.filter((value) => value !== null);
      return {
        setting,
        scene,
        measured,
        unit,
        value: reached.length < values.length ? null : median(reached),
      };
    });
}

function describe(summary: readonly KnobsFigures[]): string {
  return drawTable(
    ['scene', 'setting', 'measured', 'figure'],
    summary.map((figures) => [
      figures.scene,
      figures.setting,
      figures.measured,
      figureText(figures),
    ]),
  );
}
