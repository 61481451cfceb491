/**
 * A leader of the stream that has lost the others answers as before for ten seconds: what it says
 * of the newest message is not taken for the truth. With a NATS of the test's own.
 */
import type { JetStreamManager, StreamInfo } from '@nats-io/jetstream';
import type { Msg, NatsConnection } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
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

test.each([
  ['one that is alone is asked again', ALONE, 0],
  ['one that has a majority is believed: the stream was put back', HEARD, 1],
])('a leader whose stream ends too early: %s', async (_name, info, told) => {
  const clock = new FakeClock();
  let asked = 0;
  let behind = 0;
  const manager = {
    streams: {
      info: async () => {
        asked++;
        return info;
      },
    },
    consumers: { add: async () => ({ name: 'c', delivered: { stream_seq: NEWEST } }) },
  } as unknown as JetStreamManager;
  const nats = {
    subscribe: () => ({ unsubscribe: () => {} }),
    publish: (_subject: string, _message?: Msg) => {},
  } as unknown as NatsConnection;
  const tail = new Tail(nats, manager, 'S', NEWEST + 3, clock, {
    isConnected: () => true,
    arrived: () => {},
    lost: () => {},
    streamMissing: async () => {},
    streamIsBehind: () => void behind++,
  });
  void tail.restart();
  for (let turn = 0; turn < 20 && asked === 0; turn++) await clock.turn(1);
  expect([behind, tail.isLive]).toEqual([told, false]);
  tail.close();
});
