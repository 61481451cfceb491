/**
 * A leader of the stream that has lost the others answers as before for ten seconds: what it says
 * of the newest message is not taken for the truth. With a NATS of the test's own.
 */
import type { JetStreamManager, StreamInfo } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { NATS_BEHIND_MS_MAX } from '../src/limits.js';
import { PEER_SILENT_MS } from '../src/log/nats/stream.js';
import { StreamWatch } from '../src/log/nats/stream-watch.js';
import { Tail } from '../src/log/nats/tail.js';
import { FakeClock } from './support/fake-clock.js';

const NEWEST = 7;
const NS_PER_MS = 1e6;

/** The stream, of a leader that has heard each other server so long ago, ms. */
const infoOf = (...heardMs: readonly number[]): StreamInfo =>
  ({
    config: { name: 'S' },
    state: { first_seq: 1, last_seq: NEWEST },
    cluster: {
      leader: 'n0',
      replicas: heardMs.map((ms, i) => ({
        name: `n${i + 1}`,
        current: true,
        offline: false,
        active: ms * NS_PER_MS,
      })),
    },
  }) as unknown as StreamInfo;

const ALONE = infoOf(PEER_SILENT_MS + 1, PEER_SILENT_MS + 1);
const HEARD = infoOf(PEER_SILENT_MS + 1, PEER_SILENT_MS - 1);

test('the newest id is known where the leader has heard a majority, and nowhere else', async () => {
  let info = HEARD;
  const manager = { streams: { info: async () => info } } as unknown as JetStreamManager;
  const owner = { isConnected: () => true, looked: () => {} };
  const watch = new StreamWatch(manager, info, new FakeClock(), owner);
  expect(await watch.newest()).toBe(NEWEST);
  info = ALONE;
  await expect(watch.newest()).rejects.toMatchObject({
    code: 'HOLDLINE_LOG_UNAVAILABLE',
    message: expect.stringContaining('no majority') as string,
  });
});

const GIVEN = NEWEST + 3;

/** A tail that has had everything up to GIVEN, and what it tells. */
function tailOf(clock: FakeClock, info: () => StreamInfo) {
  const manager = {
    streams: { info: async () => info() },
    // As nats-server does from 2.11 on; before, such a consumer starts at the end of the stream.
    consumers: { add: async () => ({ name: 'c', delivered: { stream_seq: GIVEN } }) },
  } as unknown as JetStreamManager;
  const nats = {
    subscribe: () => ({ unsubscribe: () => {} }),
    publish: () => {},
  } as unknown as NatsConnection;
  let behind = 0;
  const tail = new Tail(nats, manager, 'S', GIVEN, clock, {
    isConnected: () => true,
    arrived: () => {},
    lost: () => {},
    streamMissing: async () => {},
    streamIsBehind: () => void behind++,
  });
  return { tail, behind: () => behind };
}

const caughtUp = (info: StreamInfo): StreamInfo => ({
  ...info,
  state: { ...info.state, last_seq: GIVEN },
});

test.each([
  ['alone, is asked again and again', ALONE, undefined, [0, false, true]],
  ['with a majority, and stays so: it was put back', HEARD, undefined, [1, false, true]],
  ['with a majority, and has the rest soon: it is new', HEARD, caughtUp(HEARD), [0, true, false]],
])('a leader whose stream ends before what was given, %s', async (_name, first, later, outcome) => {
  const clock = new FakeClock();
  let info = first;
  const { tail, behind } = tailOf(clock, () => info);
  void tail.restart();
  for (let passed = 0; passed < 2 * NATS_BEHIND_MS_MAX && behind() === 0; passed += 50) {
    if (passed > NATS_BEHIND_MS_MAX / 2) info = later ?? info;
    await clock.turn(50);
  }
  expect([behind(), tail.isLive, tail.isAhead]).toEqual(outcome);
  tail.close();
});

test('a stream that was put back under a tail that waits is found with the next looks', async () => {
  const clock = new FakeClock();
  let info = caughtUp(HEARD);
  const { tail } = tailOf(clock, () => info);
  await tail.restart();
  const look = (): void => tail.compare(info.state.first_seq, info.state.last_seq);
  look();
  look();
  expect([tail.isLive, tail.isAhead]).toEqual([true, false]);
  info = HEARD;
  look();
  await clock.turn(1);
  expect([tail.isLive, tail.isAhead]).toEqual([false, true]);
  tail.close();
});
