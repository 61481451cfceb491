/**
 * A loop that was held for longer than something may take, as when its process was stopped: timers
 * run first, then what has come meanwhile is read, and nothing of it is given up. What others have
 * to do for it first has the time that it would have had.
 */
import { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { giveUpAfter } from '../src/clock.js';
import {
  BODY_PROGRESS_MS_MAX,
  CORK_WRITE_BYTES_MAX,
  PUBLISH_WAIT_MS_MAX,
  WORKER_ANSWER_MS_MAX,
} from '../src/limits.js';
import { Arrivals } from '../src/log/nats/arrivals.js';
import { Appends } from '../src/workers/appends.js';
import { makeHeldBytes } from '../src/core/held-bytes.js';
import { PublishMemory, Reservation } from '../src/core/publish-memory.js';
import { IncomingBody } from '../src/http/body.js';
import type { Exchange } from '../src/http/exchange.js';
import { FRAME, FrameReader, jsonFrame, recordsFrame, type Frame } from '../src/workers/frames.js';
import { Link } from '../src/workers/link.js';
import { WorkerLog } from '../src/workers/worker-log.js';
import { FakeClock, settlePromises } from './support/fake-clock.js';
import { FakeHub, ids, idsOf } from './support/fake-hub.js';

const HELD_MS = 60_000;

/** One turn of a loop that was held: `read` is what had come. */
async function heldTurn(clock: FakeClock, read: () => void): Promise<void> {
  clock.pass(HELD_MS);
  clock.runTimers();
  await settlePromises();
  read();
  await settlePromises();
  clock.runSoon();
  await settlePromises();
}

test('what is cancelled by then does not happen, and what is not does', async () => {
  const clock = new FakeClock();
  const given: string[] = [];
  const cancel = giveUpAfter(clock, 1_000, () => given.push('answered'));
  giveUpAfter(clock, 1_000, () => given.push('not answered'));
  await heldTurn(clock, cancel);
  await clock.run(900);
  expect(given, 'as long as the loop was held, at most as long as it may wait').toEqual([]);
  await clock.run(200);
  expect(given).toEqual(['not answered']);
});

test('a loop that was held a little waits a little longer', async () => {
  const clock = new FakeClock();
  let isGivenUp = false;
  giveUpAfter(clock, 1_000, () => (isGivenUp = true));
  await clock.turn(1_100);
  await clock.run(90);
  expect(isGivenUp).toBe(false);
  await clock.run(20);
  expect(isGivenUp).toBe(true);
});

test('an event that this node has read back has arrived', async () => {
  const clock = new FakeClock();
  const arrivals = new Arrivals(clock);
  const [there, missing] = [arrivals.of(7, 2_000), arrivals.of(8, 2_000)];
  await heldTurn(clock, () => arrivals.arrived(7));
  await clock.run(3_000);
  expect(await Promise.all([there, missing])).toEqual([true, false]);
});

/** A worker's end of the pipe, into which a test writes what the supervisor sends. */
function workerLink(clock: FakeClock): {
  readonly link: Link;
  readonly take: (bytes: Buffer) => void;
} {
  const stream = new Duplex({ read() {}, write: (_bytes, _encoding, done) => done() });
  const link = new Link(stream, { frame() {}, asked() {}, ended() {} }, clock);
  return { link, take: (bytes) => void stream.emit('data', bytes) };
}

test('the answer of another process that waits in the pipe counts', async () => {
  const clock = new FakeClock();
  const { link, take } = workerLink(clock);
  const [answered, silent] = [link.ask('one', 1), link.ask('other', 2)];
  silent.catch(() => {});
  await heldTurn(clock, () => take(jsonFrame(FRAME.answer, 1, { value: 'here' })));
  expect(await answered).toBe('here');
  await clock.run(WORKER_ANSWER_MS_MAX + 10);
  await expect(silent).rejects.toMatchObject({ code: 'HOLDLINE_LOG_UNAVAILABLE' });
});

function readOne(bytes: Buffer): Frame {
  let frame!: Frame;
  new FrameReader().take(bytes, (one) => (frame = one));
  return frame;
}

test('a position that another worker has told is reached by what waits in the pipe', async () => {
  const clock = new FakeClock();
  const { link, take } = workerLink(clock);
  const state = { isUp: true, problem: '' };
  const log = new WorkerLog(link, { floor: 0, lastId: 0, state }, clock);
  log.tail(() => {});
  const reached = log.reach(5);
  take(jsonFrame(FRAME.answer, 1, { value: 5 }));
  await settlePromises();
  const entry = { id: 5, channel: 'c', type: undefined, data: Buffer.from('x'), json: false };
  await heldTurn(clock, () => log.records(readOne(recordsFrame([entry]))));
  expect(await reached).toBe(true);
});

/** One byte of work a sweep: an event of a cork's size is all the room that there is. */
const LITTLE_ROOM = { sweepWorkBytes: 1 };
const LARGE = 'x'.repeat(CORK_WRITE_BYTES_MAX * 0.6);

test('publishes that wait for room are let in by the sweeps that could not run', async () => {
  const fake = new FakeHub(LITTLE_ROOM);
  const line = fake.join('c');
  const published = Promise.all(Array.from({ length: 50 }, () => fake.publish('c', LARGE)));
  expect(fake.hub.figures.gauges.waitingPublishers).toBe(49);
  await heldTurn(fake.clock, () => {});
  await fake.settle(line);
  expect((await published).flatMap((one) => one.ids)).toEqual(ids(1, 50));
  expect(idsOf(line.text)).toEqual(ids(1, 50));
});

test('and are refused when there is no room after that either', async () => {
  const fake = new FakeHub(LITTLE_ROOM);
  const read = (): Promise<never> => new Promise(() => {});
  void fake.hub.submit('c', { reservation: fake.hub.reserve('c'), read });
  const outcomes: string[] = [];
  fake.publish('c', 'x').catch((error: unknown) => outcomes.push((error as Error).message));
  await heldTurn(fake.clock, () => {});
  await fake.clock.run(PUBLISH_WAIT_MS_MAX - 100);
  expect(outcomes).toEqual([]);
  await fake.clock.run(200);
  expect(outcomes).toEqual([expect.stringContaining('a large batch before it')]);
});

test('publishes of several processes are let in by what their workers have said', async () => {
  const clock = new FakeClock();
  let isFull = true;
  let lastId = 0;
  const log: ConstructorParameters<typeof Appends>[0] = {
    kept: () => Promise.resolve(undefined),
    append: () => Promise.resolve([++lastId]),
  };
  const appends = new Appends(log, clock, () => (isFull ? 'channel is full' : 'room'));
  const entry = { channel: 'c', type: undefined, data: new Uint8Array(1), json: false };
  const waiting = Promise.all([1, 2, 3].map((worker) => appends.append(worker, [entry])));
  await heldTurn(clock, () => {
    isFull = false;
    appends.proceed(['c']);
  });
  await clock.run(10);
  expect(await waiting).toEqual([[1], [2], [3]]);
});

test('a batch over several channels waits for what goes on entering as long as it would have', async () => {
  const fake = new FakeHub();
  await fake.publish('c', ...Array.from({ length: 10_000 }, () => 'x'));
  expect(fake.hub.figures.gauges.queueEvents).toBeGreaterThan(0);
  const events = ['c', 'd'].map((channel) => ({
    channel,
    type: undefined,
    data: Buffer.from('last'),
    json: false,
  }));
  const published = fake.hub.batches.submit(events, fake.hub.batches.reserve(''));
  await settlePromises();
  await heldTurn(fake.clock, () => {});
  await fake.settle();
  expect((await published).ids).toEqual([10_001, 10_002]);
});

/** A body of ten bytes of which half has come. */
async function halfBody(clock: FakeClock): Promise<{
  readonly incoming: IncomingBody;
  readonly received: Promise<void>;
}> {
  const exchange = { receive() {}, closeAfter() {} } as Partial<Exchange> as Exchange;
  const reservation = new Reservation(new PublishMemory(makeHeldBytes()), { heldBytes: 0 });
  const incoming = new IncomingBody(exchange, 10, 10, reservation, clock);
  const received = incoming.receive();
  incoming.take(new ArrayBuffer(5), false);
  await settlePromises();
  return { incoming, received };
}

test('a body whose rest waits in the socket is received', async () => {
  const clock = new FakeClock();
  const { incoming, received } = await halfBody(clock);
  await heldTurn(clock, () => incoming.take(new ArrayBuffer(5), true));
  await received;
  expect(incoming.body).toHaveLength(10);
  expect(clock.timerCount, 'no deadline is left behind').toBe(0);
});

test('and one that does not go on is refused', async () => {
  const clock = new FakeClock();
  const { received } = await halfBody(clock);
  const refused = received.catch((error: unknown) => error);
  await clock.run(BODY_PROGRESS_MS_MAX + 10);
  expect(await refused).toMatchObject({ code: 'HOLDLINE_BODY_TIMEOUT' });
});
