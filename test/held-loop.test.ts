/**
 * A loop that was held for longer than an answer may take, as when its process was stopped: timers
 * run first, then what has come meanwhile is read, and nothing of it is given up.
 */
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { giveUpAfter } from '../src/clock.js';
import { Arrivals } from '../src/log/nats/arrivals.js';
import { FRAME, FrameReader, jsonFrame, recordsFrame, type Frame } from '../src/workers/frames.js';
import { Link } from '../src/workers/link.js';
import { WorkerLog } from '../src/workers/worker-log.js';
import { FakeClock, settlePromises } from './support/fake-clock.js';

const HELD_MS = 60_000;

/** One turn of a loop that was held: `read` is what had come. */
async function heldTurn(clock: FakeClock, read: () => void): Promise<void> {
  clock.pass(HELD_MS);
  clock.runTimers();
  read();
  await settlePromises();
  clock.runSoon();
}

test('what is cancelled by then does not happen, and what is not does', async () => {
  const clock = new FakeClock();
  const given: string[] = [];
  const cancel = giveUpAfter(clock, 1_000, () => given.push('answered'));
  giveUpAfter(clock, 1_000, () => given.push('not answered'));
  await heldTurn(clock, cancel);
  expect(given).toEqual(['not answered']);
});

test('an event that this node has read back has arrived', async () => {
  const clock = new FakeClock();
  const arrivals = new Arrivals(clock);
  const [there, missing] = [arrivals.of(7, 2_000), arrivals.of(8, 2_000)];
  await heldTurn(clock, () => arrivals.arrived(7));
  expect(await Promise.all([there, missing])).toEqual([true, false]);
});

/** A worker's end of the pipe, into which a test writes what the supervisor sends. */
function workerLink(clock: FakeClock): {
  readonly link: Link;
  readonly take: (bytes: Buffer) => void;
} {
  const stream = new PassThrough();
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
