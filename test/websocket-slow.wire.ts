/**
 * WebSockets that do not read, do not answer, or have vanished: they cost a cursor, and the control
 * line notices nothing.
 */
import { expect, onTestFinished, test } from 'vitest';
import { begunBefore } from './support/begun.js';
import { withoutOutdated } from './support/line.js';
import { ControlLine } from './support/control.js';
import { FaultProxy } from './support/proxy.js';
import { KERNEL_BUFFERS, serverForTest, TestServer, type Flags } from './support/server.js';
import {
  frameBytes,
  OPCODE,
  openWebSocket,
  type EventLine,
  type WebSocketLine,
} from './support/websocket.js';
import { DEADLINE_MS } from './support/wire.js';

const MIB = 2 ** 20;
const EVENTS_PER_BATCH = 1000;
const events = Array.from({ length: EVENTS_PER_BATCH }, (_, i) => ({
  data: `${i}:`.padEnd(1000, 'x'),
}));

/**
 * What one stalled WebSocket may cost the process: one message of 16 KiB, and a share of the
 * megabytes by which memory varies. A backlog would be 40 MB each. Kernel buffers do not count.
 */
const BYTES_PER_STALLED_LINE = 256 * 1024;

/** Follows the ids of one line, and records where the next is not one more. */
class Ids {
  last = 0;
  readonly jumps: { after: number; before: number }[] = [];
  take = ({ id }: EventLine): void => {
    if (this.last !== 0 && id !== this.last + 1) this.jumps.push({ after: this.last, before: id });
    this.last = id;
  };
}

/** A server and a control line on the channel `feed`, which is gone when the test is. */
async function setUp(flags: Flags = {}): Promise<{ server: TestServer; control: ControlLine }> {
  const server = await serverForTest({ ...KERNEL_BUFFERS, ...flags });
  const control = await ControlLine.open(server, 'feed');
  onTestFinished(() => control.line.close());
  return { server, control };
}

/** A server with four WebSockets, of which three will be given up. */
const silent = begunBefore(async (atEnd) => {
  // The shortest heartbeat: the native timer has ticks of 4 s and closes after 8 s or more.
  const server = await TestServer.start({ ...KERNEL_BUFFERS, heartbeat: '1s' });
  atEnd(() => server.kill());
  const control = await ControlLine.open(server, 'feed');
  atEnd(() => control.line.close());
  const proxy = await FaultProxy.start(server.port, atEnd);
  const vanished = await openWebSocket(proxy, '/feed', {}, atEnd);
  const mute = await openWebSocket(server, '/feed', { answers: false }, atEnd);
  const answering = await openWebSocket(server, '/feed', {}, atEnd);
  const stalled = await openWebSocket(server, '/bulk', { keep: false }, atEnd);
  expect((await server.stats()).lines.byTransport.websocket).toBe(4);
  proxy.newest.silence();
  stalled.connection.pause();
  for (let i = 0; i < 20; i++) await server.publishBatch('bulk', events);
  expect((await server.stats()).lines.stalled).toBe(1);
  return { server, control, vanished, mute, answering };
});

/** Publishes so many MB to `feed`; returns the last id. */
async function publishMegabytes(server: TestServer, count: number): Promise<number> {
  let last = 0;
  for (let i = 0; i < count; i++) last = (await server.publishBatch('feed', events)).last;
  return last;
}

test('50 WebSockets that do not read meet 40 MB: stalled, bounded, and told exactly what they missed when they read on', async () => {
  const LINES = 50;
  const MEGABYTES = 40;
  // Unanswered pings close a line too, but later than this test takes.
  const server = await serverForTest({ heartbeat: '60s' });
  const seen = new Ids();
  const control = await openWebSocket(server, '/feed', { keep: false, onEvent: seen.take });

  let last = 0;
  /** The most memory that the server had on the way, bytes. */
  const publishAll = async (): Promise<number> => {
    let mostBytes = 0;
    for (let i = 0; i < MEGABYTES; i++) {
      last = await publishMegabytes(server, 1);
      // A megabyte is more than a socket takes at once: the line keeps up if it is given time.
      await control.waitForId(last, 20_000);
      mostBytes = Math.max(mostBytes, server.rssBytes());
    }
    return mostBytes;
  };
  // Warm-up: the same with the control line alone, until memory has not grown twice. What grows
  // then is the stalled lines'.
  let warmBytes = 0;
  for (let round = 0, steadyRounds = 0; steadyRounds < 2 && round < 8; round++) {
    const mostBytes = await publishAll();
    steadyRounds = mostBytes < warmBytes + MIB ? steadyRounds + 1 : 0;
    warmBytes = Math.max(warmBytes, mostBytes);
  }

  const ids = Array.from({ length: LINES }, () => new Ids());
  const stalled = await Promise.all(
    ids.map((one) => openWebSocket(server, '/feed', { keep: false, onEvent: one.take })),
  );
  for (const line of stalled) line.connection.pause();
  const grownBytes = (await publishAll()) - warmBytes;
  expect((await server.stats()).lines).toMatchObject({
    open: LINES + 1,
    stalled: LINES,
    byTransport: { websocket: LINES + 1 },
  });
  console.log(
    `warm ${(warmBytes / MIB).toFixed(1)} MiB, at most ${(grownBytes / LINES / 1024).toFixed(1)} KiB more a stalled WebSocket`,
  );
  expect(grownBytes).toBeLessThan(LINES * BYTES_PER_STALLED_LINE);
  expect([control.gaps, seen.jumps, control.eventCount]).toEqual([[], [], last]);

  for (const line of stalled) line.connection.resume();
  for (const line of stalled) await line.waitForId(last, 40_000);
  for (const [i, line] of stalled.entries()) {
    expect(line.gaps.length, 'a ring of 1 MiB does not hold 40 MB').toBeGreaterThan(0);
    expect(withoutOutdated(line.gaps), 'a gap is told where ids jump, and nowhere else').toEqual(
      ids[i]!.jumps,
    );
  }
  const { counters } = await server.stats();
  expect(counters).toMatchObject({
    gaps_at_join_total: 0,
    lines_closed_total: 0,
    lines_closed_stalled_total: 0,
  });
  expect(counters.gaps_slow_total).toBe(stalled.reduce((sum, line) => sum + line.gaps.length, 0));

  // They are ordinary lines again.
  const live = await server.publish('feed', 'live');
  for (const line of [control, ...stalled]) await line.waitForId(live, 2 * DEADLINE_MS);
}, 120_000);

test('one that stalls and reads on within what is kept misses nothing and is told no gap', async () => {
  const { server, control } = await setUp({
    'replay-bytes': '32MiB',
    'replay-events': 100_000,
    heartbeat: '60s',
  });
  const ids = new Ids();
  const line = await openWebSocket(server, '/feed', { keep: false, onEvent: ids.take });
  line.connection.pause();
  const last = await publishMegabytes(server, 16);
  await server.statsUntil('it has stalled', (stats) => stats.lines.stalled === 1);
  line.connection.resume();
  await line.waitForId(last, 2 * DEADLINE_MS);
  expect([line.eventCount, line.gaps, ids.jumps]).toEqual([16 * EVENTS_PER_BATCH, [], []]);
  const { lines, counters } = await server.stats();
  expect([lines.stalled, counters.gaps_total]).toEqual([0, 0]);
  await control.noticedNothing();
});

test('lines larger than a message stall and go on whole, too', async () => {
  const { server, control } = await setUp({
    'replay-bytes': '32MiB',
    'replay-events': 100_000,
    heartbeat: '60s',
  });
  const line = await openWebSocket(server, '/feed', { keep: false });
  line.connection.pause();
  let last = 0;
  // 12 MB in lines of 1 to 60 KB: some share a message, others have one of their own.
  for (let i = 0; i < 400; i++)
    last = await server.publish('feed', 'x'.repeat(1000 + (i % 60) * 1000));
  await server.statsUntil('it has stalled', (stats) => stats.lines.stalled === 1);
  line.connection.resume();
  await line.waitForId(last, 2 * DEADLINE_MS);
  expect([line.eventCount, line.gaps]).toEqual([400, []]);
  await control.noticedNothing();
});

test('a reader slower than the feed is told each gap where its ids jump, and nowhere else', async () => {
  const { server, control } = await setUp({ heartbeat: '60s' });
  const proxy = await FaultProxy.start(server.port);
  // About 3 MB/s, far less than is published.
  Object.assign(proxy.faults, { pieceBytes: 64 * 1024, delayMs: 20 });
  const ids = new Ids();
  const slow = await openWebSocket(proxy, '/feed', { keep: false, onEvent: ids.take });
  let last = 0;
  for (let i = 0; i < 30; i++) {
    last = await publishMegabytes(server, 1);
    await control.line.waitForId(last);
  }
  proxy.newest.faults.delayMs = 0;
  await slow.waitForId(last, 2 * DEADLINE_MS);
  expect(slow.gaps.length).toBeGreaterThan(0);
  expect(withoutOutdated(slow.gaps)).toEqual(ids.jumps);
  expect((await server.stats()).counters).toMatchObject({
    gaps_total: slow.gaps.length,
    gaps_slow_total: slow.gaps.length,
  });
  await control.noticedNothing();
});

test('--slow latest: it goes on with the newest event and is told what it missed', async () => {
  const { server, control } = await setUp({ slow: 'latest', heartbeat: '60s' });
  const ids = new Ids();
  const reader = await openWebSocket(server, '/feed', { keep: false, onEvent: ids.take });
  reader.connection.pause();
  const last = await publishMegabytes(server, 20);
  await control.line.waitForId(last, 2 * DEADLINE_MS);
  reader.connection.resume();
  await server.statsUntil('it has drained', (stats) => stats.lines.stalled === 0, 2 * DEADLINE_MS);
  const live = await server.publish('feed', 'live');
  await reader.waitForId(live, 2 * DEADLINE_MS);
  expect(ids.jumps.map(({ before }) => before)).toEqual([last]);
  expect(reader.gaps).toEqual(ids.jumps);
  expect((await server.stats()).counters).toMatchObject({ slow_latest_total: 1 });
  await control.noticedNothing();
});

test('--slow close: it gets whole messages, the end line `slow` and close code 1013', async () => {
  const { server, control } = await setUp({ slow: 'close', heartbeat: '60s' });
  const ids = new Ids();
  const reader = await openWebSocket(server, '/feed', { keep: false, onEvent: ids.take });
  reader.connection.pause();
  const last = await publishMegabytes(server, 20);
  await control.line.waitForId(last, 2 * DEADLINE_MS);
  reader.connection.resume();
  await reader.waitForClose(2 * DEADLINE_MS);
  expect([reader.end, reader.closeFrame?.code]).toEqual([{ code: 'slow', reconnect: true }, 1013]);
  expect([ids.jumps, reader.gaps], 'what it got is without a hole').toEqual([[], []]);
  expect((await server.stats()).counters).toMatchObject({
    slow_closed_total: 1,
    lines_ended_total: 1,
    lines_closed_total: 1,
  });
  const again = await openWebSocket(server, `/feed?since=${reader.lastId}`, { keep: false });
  await again.waitForId(last);
  expect(again.gaps, 'whoever comes back is told').toMatchObject([{ after: reader.lastId }]);
  await control.noticedNothing();
});

test('one that is stalled when the server drains has its messages, the end line and 1012 when it reads on', async () => {
  const { server } = await setUp({
    drain: '8s',
    heartbeat: '60s',
    'replay-bytes': '32MiB',
    'replay-events': 100_000,
  });
  const ids = new Ids();
  const reader = await openWebSocket(server, '/feed', { keep: false, onEvent: ids.take });
  const bystander = await openWebSocket(server, '/other');
  reader.connection.pause();
  await publishMegabytes(server, 16);
  await server.statsUntil('it has stalled', (stats) => stats.lines.stalled === 1);
  server.signal('SIGTERM');
  await bystander.waitForClose();
  reader.connection.resume();
  await reader.waitForClose(2 * DEADLINE_MS);
  expect([reader.end?.code, reader.closeFrame?.code, ids.jumps]).toEqual(['draining', 1012, []]);
  expect(await server.exited()).toBe(0);
});

/** Resolves when the kernel has the bytes, or the connection is gone. */
function handOver(line: WebSocketLine, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => line.connection.socket.write(bytes, () => resolve()));
}

// A `ref` of control characters makes the longest answers.
const REF = '\u0001'.repeat(128);

test.each([
  ['publishes', { publish: { data: 1, channel: 'elsewhere' }, ref: REF }, 1013],
  ['sends what is refused', { publish: {}, ref: REF }, 1008],
  ['sends very short messages', {}, 1008],
])(
  'a client that %s and never reads an answer is closed before its answers fill the memory',
  async (_name, message, code) => {
    const { server, control } = await setUp({ heartbeat: '60s' });
    const client = await openWebSocket(server, '/quiet', { keep: false });
    client.connection.pause();
    const frame = frameBytes(JSON.stringify(message));
    const frames = Buffer.concat(
      Array.from({ length: Math.ceil(MIB / frame.length) }, () => frame),
    );
    const before = server.rssBytes();
    let mostBytes = before;
    let sentMegabytes = 0;
    // The kernel takes some MB of answers first.
    for (
      ;
      sentMegabytes < 40 && (await server.stats()).lines.byTransport.websocket === 1;
      sentMegabytes++
    ) {
      await handOver(client, frames);
      mostBytes = Math.max(mostBytes, server.rssBytes());
    }
    console.log(
      `closed after ${sentMegabytes} MiB of messages; at most ${((mostBytes - before) / MIB).toFixed(1)} MiB more memory`,
    );
    const { lines, counters } = await server.stats();
    expect(lines).toMatchObject({ open: 1, byTransport: { websocket: 0 } });
    expect(counters.lines_closed_total).toBe(1);
    expect(mostBytes - before).toBeLessThan(48 * MIB);
    client.connection.resume();
    await client.waitForClose(2 * DEADLINE_MS);
    expect([client.replyCount, client.closeFrame?.code], 'what was read was answered').toEqual([
      counters.messages_received_total,
      code,
    ]);
    await control.noticedNothing();
  },
  60_000,
);

// Pongs are sent natively; past its bound uWebSockets sends nothing more, and what is not sent must
// not count as given. native-notes/websocket-backpressure.md
test('a client that pings without end and reads no pong is closed, and comes back to everything it was not given', async () => {
  const { server, control } = await setUp({ heartbeat: '60s' });
  const ids = new Ids();
  const client = await openWebSocket(server, '/feed', { keep: false, onEvent: ids.take });
  const first = await server.publish('feed', 'before');
  await client.waitForId(first);
  client.connection.pause();
  const ping = frameBytes(Buffer.alloc(125), { opcode: OPCODE.ping });
  const pings = Buffer.concat(Array.from({ length: Math.ceil(MIB / ping.length) }, () => ping));
  const before = server.rssBytes();
  for (let megabytes = 0; megabytes < 20; megabytes++) await handOver(client, pings);
  const meanwhile = await publishMegabytes(server, 1);
  await server.statsUntil('it is closed', (stats) => stats.lines.byTransport.websocket === 0);
  expect(server.rssBytes() - before).toBeLessThan(48 * MIB);
  client.connection.resume();
  // What the kernel has not taken is lost, maybe in the middle of a frame.
  await client.waitFor(
    'the end of the connection',
    () => client.connection.closed,
    2 * DEADLINE_MS,
  );
  expect([ids.jumps, client.gaps]).toEqual([[], []]);
  const again = await openWebSocket(server, `/feed?since=${client.lastId}`, {
    keep: false,
    onEvent: ids.take,
  });
  await again.waitForId(meanwhile);
  expect([ids.jumps, again.gaps]).toEqual([[], []]);
  await control.noticedNothing();
});

test('a peer that vanished, one that answers no ping, and one that stalls for good are closed within the idle time; others stay', async () => {
  const { value, leftMs } = silent();
  const { server, control, vanished, mute, answering } = value;
  await server.statsUntil(
    'three are given up',
    (stats) => stats.lines.byTransport.websocket === 1,
    leftMs(40_000),
  );
  await mute.waitForClose();
  expect([vanished.closed, answering.closed]).toEqual([false, false]);
  expect(mute.controls.length, 'it was asked').toBeGreaterThan(0);
  expect(answering.controls.length).toBeGreaterThan(0);
  const id = await server.publish('feed', 'still here');
  await answering.waitForId(id);
  expect((await server.stats()).counters).toMatchObject({
    lines_closed_total: 3,
    lines_closed_stalled_total: 1,
    gaps_total: 0,
  });
  await control.noticedNothing();
});
