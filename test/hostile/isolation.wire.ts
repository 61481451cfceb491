/**
 * Channel B beside a hostile channel A: whatever is done on A, by its publishers or its readers, B
 * does not notice.
 */
import { expect, test } from 'vitest';
import { SseLine } from '../support/line.js';
import { hasCompiler, startReading } from '../support/stalling-readers.js';
import { RawConnection, requestBytes } from '../support/wire.js';
import { medianOf, pause } from './support/actor.js';
import { sharedCasts, type Role } from './support/cast.js';
import { isLong, ROUNDS_DEADLINE_MS, scaled } from './support/scale.js';
import {
  holdsControl,
  holdsIsolation,
  judge,
  medianBy,
  runRound,
  Stage,
  type Round,
  type RoundOptions,
} from './support/stage.js';
import { tried, type Trial } from './support/trial.js';

const casts = sharedCasts();

const ISOLATED =
  'accept → deliver p99 on B ≤ max(2 × quiet, quiet + 10 ms), and no publish on B is refused';
const NDJSON = 'application/x-ndjson';
const EVENT = JSON.stringify({ data: 'x'.repeat(1_000) });
const EVENT_BYTES = EVENT.length + 1;
const MIB = 2 ** 20;
/** A batch of nearly 4 MiB. */
const LARGE_BATCH = {
  contentType: NDJSON,
  line: EVENT,
  lines: Math.floor((4 * MIB) / EVENT_BYTES),
};

/** What readers in concert must leave of a channel's throughput, %. */
const SHARE_PERCENT_MIN = 85;

/** Two roles as one. */
function both(first: Role, second: Role): Role {
  return {
    look: async () => ({ ...(await first.look()), ...(await second.look()) }),
    stop: async () => ({ ...(await first.stop()), ...(await second.stop()) }),
  };
}

/**
 * Twenty event streams on A behind receive buffers of 16 KiB, of which some stall. They have a
 * process of their own that is not held up by the publishers': a reader who gets no processor does
 * not keep up.
 */
async function readersOf(
  port: number,
  stallers: number,
  stallMs: number,
  readMs: number,
): Promise<Role> {
  const stop = await startReading({
    port,
    path: '/A',
    lines: 20,
    receiveBytes: 16 * 1_024,
    stallers,
    stallMs,
    readMs,
    reconnects: false,
  });
  return {
    look: () => Promise.resolve({}),
    stop: async () => {
      const { gaps, stallerGaps } = await stop();
      return { gapsOfOthers: gaps, gapsOfStallers: stallerGaps };
    },
  };
}

function isolated(
  attack: string,
  options: RoundOptions,
  more?: (trial: Trial, rounds: readonly Round[]) => void,
): Promise<void> {
  return judge(casts(), ['isolation', attack, ISOLATED], options, (trial, rounds) => {
    holdsIsolation(trial, rounds);
    holdsControl(trial, rounds);
    more?.(trial, rounds);
  });
}

const readers = scaled(1_000, 3_000);

test(
  `one batch of 4 MiB to ${readers} lines that read at once`,
  () =>
    isolated(`one batch of 4 MiB to A, whose ${readers} lines read as fast as they can`, {
      prepare: ({ begin }) => begin('lines', 0, { count: readers, path: '/A' }),
      attack: ({ begin }) =>
        begin('publishers', 0, { count: 1, channel: 'A', times: 1, ...LARGE_BATCH }),
      attackMs: scaled(2_000, 10_000),
    }),
  ROUNDS_DEADLINE_MS,
);

test(
  '20 sockets with batches of 4 MiB to a channel without lines',
  () =>
    isolated(
      'twenty sockets send batches of 4 MiB to A, which has no line, without end',
      {
        attack: ({ begin }) => begin('publishers', 0, { count: 20, channel: 'A', ...LARGE_BATCH }),
      },
      (trial, rounds) => {
        trial.note(
          'batches accepted on A',
          medianBy(rounds, ({ attack }) => attack['accepted']!),
        );
        trial.note(
          'batches refused on A',
          medianBy(rounds, ({ attack }) => attack['refused']!),
        );
      },
    ),
  ROUNDS_DEADLINE_MS,
);

test.each(scaled([64, 1_024], [16, 64, 256, 1_024]))(
  'batches of %i KiB to lines that read, one after the other',
  (kibibytes) =>
    isolated(
      `batches of ${kibibytes} KiB to A and its ${readers} lines, the next when the last was answered`,
      {
        prepare: ({ begin }) => begin('lines', 0, { count: readers, path: '/A' }),
        attack: ({ begin }) =>
          begin('publishers', 0, {
            count: 1,
            channel: 'A',
            contentType: NDJSON,
            line: EVENT,
            lines: Math.floor((kibibytes * 1_024) / EVENT_BYTES),
          }),
      },
    ),
  ROUNDS_DEADLINE_MS,
);

test.runIf(hasCompiler)(
  'a reader that stalls on and off makes no other reader lose',
  async () => {
    const options: RoundOptions = {
      flags: { 'max-event-bytes': '128KiB' },
      attack: async ({ begin, server }) => {
        const lines = await readersOf(server.port, 1, 200, 200);
        return both(
          lines,
          await begin('publishers', 0, { count: 4, channel: 'A', line: 'x'.repeat(60_000) }),
        );
      },
      attackMs: scaled(3_000, 10_000),
    };
    await judge(
      casts(),
      [
        'isolation',
        'one of twenty readers (receive buffers of 16 KiB) stalls 200 ms and reads 200 ms, four publishers of 60 KB events',
        'a reader that keeps up loses nothing, whatever others on its channel do',
      ],
      options,
      (trial, rounds) => {
        trial.atMost(
          'gaps told to the 19 others',
          Math.max(...rounds.map(({ attack }) => attack['gapsOfOthers']!)),
          0,
        );
        trial.note(
          'gaps told to the one',
          medianBy(rounds, ({ attack }) => attack['gapsOfStallers']!),
        );
        trial.note(
          'published',
          medianBy(rounds, ({ attack }) => attack['acceptedBytes']! / MIB),
          'MiB',
        );
        holdsControl(trial, rounds);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

test.runIf(hasCompiler)(
  'readers that stall in turn do not hold their channel',
  async () => {
    await tried(
      [
        'isolation',
        'twenty readers stall 90 ms each, one after the other, four publishers of 60 KB events',
        'readers in concert keep at most 15 % of the throughput from their channel',
      ],
      async (trial) => {
        const windowMs = scaled(1_500, 5_000);
        const shares: number[] = [];
        const stage = await Stage.open(casts(), { flags: { 'max-event-bytes': '128KiB' } });
        /** What four publishers get through in a window, bytes. */
        const published = async (stallers: number): Promise<number> => {
          const lines = await readersOf(stage.server.port, stallers, 90, 19 * 90);
          const publishers = await stage.begin('publishers', 0, {
            count: 4,
            channel: 'A',
            line: 'x'.repeat(60_000),
          });
          await pause(300);
          await publishers.look();
          await pause(windowMs);
          const { acceptedBytes } = await publishers.stop();
          await lines.stop();
          await stage.server.statsUntil('the lines are gone', ({ lines: { open } }) => open === 1);
          return acceptedBytes!;
        };
        // In CI one round that keeps it is enough, so that a neighbour's noise decides nothing.
        for (let round = 0; round < scaled(3, 5); round++) {
          const free = await published(0);
          shares.push((await published(20)) / free);
          trial.note(`round ${round + 1}: without stalls`, free / windowMs / 1_000, 'MB/s');
          if (!isLong && shares[0]! * 100 >= SHARE_PERCENT_MIN) break;
        }
        const { control } = await stage.close();
        trial.atLeast(
          'throughput, share of that without stalls (median)',
          medianOf(shares) * 100,
          SHARE_PERCENT_MIN,
          '%',
        );
        trial.exactly('control line: lost', control['undelivered']!, 0);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

/** The ids that a reader is given who asks for everything that is held. */
async function held(
  port: number,
  channel: string,
  many: number,
): Promise<{ ids: number[]; gaps: number }> {
  const line = await SseLine.open(port, `/${channel}?since=0`);
  await line.waitForEvents(many, 2_000).catch(() => {});
  line.close();
  return { ids: line.ids, gaps: line.gaps.length };
}

test(
  'names that only readers hold do not displace events',
  async () => {
    const count = 6_250;
    await tried(
      [
        'isolation',
        `${count} lines, each on 16 names that nobody has used before`,
        'names that only readers hold never displace events',
      ],
      async (trial) => {
        const stage = await Stage.open(casts());
        const { server } = stage;
        for (let i = 0; i < 5; i++) await server.publish('quiet', `event ${i}`);
        const path = `/${Array.from({ length: 16 }, (_, i) => `n{n}x${i}`).join(',')}`;
        const lines = await stage.begin('lines', 0, { count, path });
        const { open, refused } = await lines.look();
        trial.note('lines open', open!);
        trial.note('lines refused', refused!);
        await server.publish('other', 'x');
        const { ids } = await held(server.port, 'quiet', 5);
        trial.exactly('events of a channel without lines that are still there', ids.length, 5);
        trial.note('resident', server.rssBytes() / MIB, 'MiB');
        await lines.stop();
        const { control, stats } = await stage.close();
        trial.note('channels known', stats.channels.known);
        trial.exactly('control line: lost', control['undelivered']!, 0);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

test(
  'frames for readers are let go before what is kept for replay',
  async () => {
    await tried(
      [
        'isolation',
        '100 channels of 0.6 MiB, 300 sockets read each as SSE, with envelope=1 and as NDJSON with last=1',
        'frames are let go before records',
      ],
      async (trial) => {
        const stage = await Stage.open(casts());
        const { server } = stage;
        const batch = {
          count: 100,
          contentType: NDJSON,
          line: EVENT,
          lines: 600,
          times: 1,
          awaitsEnd: true,
        };
        const published = await (
          await stage.begin('publishers', 0, { ...batch, channel: 'h{n}' })
        ).stop();
        trial.exactly('batches accepted', published['accepted']!, 100);
        const sse = await stage.begin('lines', 0, { count: 100, path: '/h{n}?last=1' });
        const envelope = await stage.begin('lines', 0, {
          count: 100,
          path: '/h{n}?envelope=1&last=1',
        });
        const ndjson = await stage.begin('lines', 0, {
          count: 100,
          path: '/h{n}?last=1',
          accept: [NDJSON],
        });
        await server.publish('other', 'x');
        await pause(200);
        const { counters, channels } = await server.stats();
        trial.exactly('histories dropped', counters.rings_dropped_total, 0);
        trial.note('rings', channels.ringBytes / MIB, 'MiB');
        const { ids } = await held(server.port, 'h0', 600);
        trial.exactly('events of the first channel that are still there', ids.length, 600);
        for (const role of [sse, envelope, ndjson]) await role.stop();
        const { control } = await stage.close();
        trial.exactly('control line: lost', control['undelivered']!, 0);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

test(
  'past the most channels nobody is told a gap where nothing was lost',
  async () => {
    const count = 120_000;
    await tried(
      [
        'isolation',
        `${count} channels of one byte, then Last-Event-ID: 5 on a channel that holds everything`,
        'no gap is told where nothing was lost, also past the most channels',
      ],
      async (trial) => {
        const stage = await Stage.open(casts());
        const { server, probe } = stage;
        for (let i = 0; i < 10; i++) await server.publish('whole', `event ${i}`);
        const before = server.published.get('whole')!;
        const line = await SseLine.open(server.port, '/whole');
        const rssBytes = probe.reset();
        const publishers = 16;
        const role = await stage.begin('publishers', 0, {
          count: publishers,
          channel: 'one{n}-{i}',
          line: 'x',
          times: count / publishers,
          pipelined: 25,
          awaitsEnd: true,
        });
        const { accepted, refused, other } = await role.stop();
        trial.note('channels published to', accepted!);
        trial.note('refused', refused! + other!);
        trial.note('memory of them', (probe.peakBytes - rssBytes) / MIB, 'MiB');
        // A position between the events of the channel, as a reader has that comes back.
        const resumed = await SseLine.open(server.port, '/whole', {
          headers: { 'Last-Event-ID': String(before[4]) },
        });
        await resumed.waitForEvents(5);
        trial.exactly('gaps told', resumed.gaps.length, 0);
        trial.exactly('events given', resumed.ids.join(), before.slice(5).join());
        resumed.close();
        line.close();
        const { control, stats } = await stage.close();
        trial.note('channels known', stats.channels.known);
        trial.exactly('control line: lost', control['undelivered']!, 0);
        trial.exactly('control line: gaps', control['gaps']!, 0);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

test(
  'a publisher that leaves loses its place',
  async () => {
    await tried(
      [
        'isolation',
        `100 publishers wait for room on A (${readers} lines, a batch of 4 MiB before them) and leave`,
        'publishers that have left hold no place in the admission queue',
      ],
      async (trial) => {
        const stage = await Stage.open(casts());
        const { server } = stage;
        const lines = await stage.begin('lines', 0, { count: readers, path: '/A' });
        const batch = await stage.begin('publishers', 0, {
          count: 2,
          channel: 'A',
          times: 2,
          ...LARGE_BATCH,
        });
        await server.statsUntil(
          'the batch holds the channel',
          ({ queue }) => queue.bytes + queue.waitingBytes > 0,
        );
        const sockets = await Promise.all(
          Array.from({ length: 100 }, () => RawConnection.open(server.port)),
        );
        for (const socket of sockets)
          socket.send(requestBytes(server.port, 'POST', '/A', { body: 'x' }));
        const { queue } = await server.statsUntil(
          'they wait',
          ({ queue: { waitingPublishers } }) => waitingPublishers >= 100,
        );
        trial.note('waiting', queue.waitingPublishers);
        const leftMs = performance.now();
        for (const socket of sockets) socket.socket.resetAndDestroy();
        let waiting = queue.waitingPublishers;
        while (waiting > 4 && performance.now() < leftMs + 1_000)
          waiting = (await server.stats()).queue.waitingPublishers;
        trial.atMost('waiting when they had left', waiting, 4);
        trial.note('after', performance.now() - leftMs, 'ms');
        await batch.stop();
        await lines.stop();
        server.kill();
        expect(queue.waitingPublishers).toBeGreaterThan(0);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

test(
  'a channel that is held up does not hold up a line on it and another',
  async () => {
    const options: RoundOptions = {
      channel: 'B',
      prepare: ({ begin }) => begin('lines', 0, { count: readers, path: '/A' }),
      attack: async ({ begin, server }) => {
        const line = await SseLine.open(server.port, '/A,B', { keep: false });
        const role = await begin('publishers', 0, {
          count: 2,
          channel: 'A',
          times: 2,
          ...LARGE_BATCH,
        });
        const stop = async () => {
          const figures = {
            ...(await role.stop()),
            gapsOfBoth: line.gaps.length,
            broken: line.broken === undefined ? 0 : 1,
          };
          line.close();
          return figures;
        };
        return { look: () => role.look(), stop };
      },
      attackMs: scaled(2_000, 10_000),
    };
    const round = await runRound(casts(), options);
    await tried(
      [
        'isolation',
        'a line on A and B while four batches of 4 MiB hold A up',
        'ids rise on every line, and no gap is told where nothing was lost',
      ],
      async (trial) => {
        trial.exactly('gaps on the line on both', round.attack['gapsOfBoth']!, 0);
        trial.exactly('ids that fell on the line on both', round.attack['broken']!, 0);
        holdsControl(trial, [round]);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);
