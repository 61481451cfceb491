/**
 * The fleet and its rounds, as the planner drives them: clients that stay, and windows of
 * publishing with books of their own.
 */

import { createServer, type ServerResponse } from 'node:http';
import { describe, expect, it, onTestFinished } from 'vitest';
import { compiled, hasCompiler } from '../bench/compile.js';
import { Published } from '../dist/tools/load/books/published.js';
import { findTarget } from '../dist/tools/load/clients/connection.js';
import { STAMP_BYTES } from '../dist/tools/load/clients/event.js';
import { Fleet } from '../dist/tools/load/processes/fleet.js';
import { Round, type RoundOutcome } from '../dist/tools/load/run/round.js';
import { fakes } from './support/load.js';
import { hostedForTest } from './support/hosted.js';
import { until } from './support/until.js';

const listen = fakes();

async function fleetFor(
  url: string,
  transport: 'sse' | 'ws' | 'long-poll',
  checkedShare: number,
  byteCounter?: string,
): Promise<Fleet> {
  const target = await findTarget(new URL(url));
  const fleet = await Fleet.start({ target, transport, processes: 2, checkedShare, byteCounter });
  onTestFinished(() => fleet.close());
  return fleet;
}

describe.each(['sse', 'ws'] as const)('a fleet over %s', (transport) => {
  it('plays rounds of any rate and size on the same clients, and grows between them', async () => {
    const server = await hostedForTest();
    const url = `${server.url}/c`;
    const fleet = await fleetFor(url, transport, 0.2);
    const play = async (ratePerSecond: number, sizeBytes: number): Promise<RoundOutcome> => {
      const target = await findTarget(new URL(url));
      const events = Math.round(ratePerSecond / 2);
      return new Round(fleet, {
        target,
        channel: 'c',
        sizeBytes,
        ratePerSecond,
        events,
        publishKey: undefined,
      }).play();
    };
    const booksOf = ({
      books: { published, expected, delivered, lost, doubled, checkedClients, countedClients },
    }: RoundOutcome) =>
      ({ published, expected, delivered, lost, doubled, checkedClients, countedClients }) as const;

    expect(await fleet.open(20)).toMatchObject({ lines: 20, failed: new Map(), hasStalled: false });
    const first = await play(100, 100);
    expect(booksOf(first)).toEqual({
      published: 50,
      expected: 1000,
      delivered: 1000,
      lost: 0,
      doubled: 0,
      checkedClients: 4,
      countedClients: 16,
    });
    expect(first.books.latencyUs.totalCount).toBe(4 * 50);

    expect(await fleet.open(50)).toMatchObject({ lines: 50, failed: new Map() });
    const second = await play(40, 20_000);
    expect(booksOf(second)).toEqual({
      published: 20,
      expected: 1000,
      delivered: 1000,
      lost: 0,
      doubled: 0,
      checkedClients: 10,
      countedClients: 40,
    });
    // Of this round alone.
    expect(second.books.latencyUs.totalCount).toBe(10 * 20);
    expect(second.tally.bytes).toBeGreaterThan(50 * 20 * 20_000);
    expect(second.tally.bytes).toBeLessThan(50 * 20 * 21_000);
    expect(second.seconds.reduce((sum, { deliveries }) => sum + deliveries, 0)).toBe(1000);
    expect(second.seconds.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(second.tally.bytes);
    expect(second.processes.map(({ pid }) => pid)).toEqual(fleet.pids);
    expect(second.startUs).toBeLessThan(second.publishEndedUs);
    expect(second.publishEndedUs).toBeLessThan(second.endUs);
    expect((await server.stats()).lines.open).toBe(50);

    await fleet.close();
    await server.statsUntil('nobody', ({ lines }) => lines.open === 0);
  });

  it('tells who could not be connected', async () => {
    const server = await hostedForTest({ 'max-connections': 10 });
    const fleet = await fleetFor(`${server.url}/c`, transport, 1);
    const { lines, failed } = await fleet.open(30);
    expect(lines).toBe(10);
    expect([...failed.keys()].join()).toMatch(/^refused/);
  });
});

describe.runIf(hasCompiler)('a fleet with the byte counter', () => {
  const program = (): string => compiled('../src/tools/load/processes/byte-counter.c');

  it.each(['sse', 'ws'] as const)(
    'counts most lines of %s in C, and checks the others',
    async (kind) => {
      const server = await hostedForTest();
      const url = `${server.url}/c`;
      const fleet = await fleetFor(url, kind, 0.1, program());
      expect(await fleet.open(40)).toMatchObject({ lines: 40, hasStalled: false });
      const round = new Round(fleet, {
        target: await findTarget(new URL(url)),
        channel: 'c',
        sizeBytes: 256,
        body: (sequence) => `event ${sequence}`,
        ratePerSecond: 100,
        events: 60,
        publishKey: undefined,
        window: { fromMs: 200, untilMs: 500 },
      });
      const { books, publisher, tally } = await round.play();
      expect(books).toMatchObject({
        published: 60,
        expected: 40 * 60,
        delivered: 40 * 60,
        lost: 0,
        underWay: 0,
        idMismatches: 0,
        checkedClients: 4,
        checkedDelivered: 4 * 60,
        countedClients: 36,
        countedLosers: 0,
      });
      const polled = await fetch(`${url}?since=0&limit=60`);
      const texts = ((await polled.json()) as { data: string }[]).map(({ data }) => data);
      expect(new Set(texts.map((text) => text.slice(STAMP_BYTES).trim()))).toEqual(
        new Set(Array.from({ length: 60 }, (_, sequence) => `event ${sequence}`)),
      );
      // Latency is that of the events of the window, 20 to 49.
      expect(books.latencyUs.totalCount).toBe(4 * 30);
      const answered = [...publisher.published.answeredUs].filter(
        (us) => us >= publisher.dueUs(20) && us < publisher.dueUs(50),
      );
      expect(books.acceptToDeliverUs.totalCount).toBe(4 * answered.length);
      expect([...publisher.published.statuses]).toEqual(Array.from({ length: 60 }, () => 200));
      expect(tally.checkedWireBytes).toBeGreaterThan(4 * 60 * 256);
      await fleet.leave();
      await server.statsUntil('nobody', ({ lines }) => lines.open === 0);
      expect(await fleet.open(10)).toMatchObject({ lines: 10 });
    },
  );

  it('gives lines their replay before they count as subscribed', async () => {
    const server = await hostedForTest();
    const url = `${server.url}/c`;
    const fleet = await fleetFor(url, 'sse', 0.1, program());
    const { publisher } = await new Round(fleet, {
      target: await findTarget(new URL(url)),
      channel: 'c',
      sizeBytes: 256,
      ratePerSecond: 200,
      events: 20,
      publishKey: undefined,
    }).play();
    const ids = [...publisher.published.ids].toSorted((a, b) => a - b);
    const replayed = new Published(20);
    for (const [sequence, id] of publisher.published.ids.entries())
      if (id > ids[9]!) replayed.add(sequence, id);
    const replay = { afterId: ids[9]!, events: 10, bytes: 10 * 256, published: 20 };
    expect(await fleet.open(30, { replay, atOnce: true })).toMatchObject({ lines: 30 });
    const { books } = await fleet.settle({ published: replayed, pending: 0, answered: 0 });
    expect(books).toMatchObject({ published: 10, checkedClients: 3, checkedDelivered: 30 });
    expect([books.doubled, books.outOfOrder, books.gaps]).toEqual([0, 0, 0]);
    expect(fleet.lineBytes!.min).toBeGreaterThan(10 * 256);
    expect(fleet.lineBytes!.max).toBeLessThan(11 * 300);
  });
});

describe('clients of long-poll', () => {
  it('poll again only when they are ordered to, where that is wanted', async () => {
    const server = await hostedForTest();
    const url = `${server.url}/c`;
    const fleet = await fleetFor(url, 'long-poll', 1);
    await fleet.open(10);
    await fleet.repoll(false);
    for (let shot = 0; shot < 2; shot++) {
      await server.statsUntil('all wait', ({ lines }) => lines.open === 10);
      const { books } = await new Round(fleet, {
        target: await findTarget(new URL(url)),
        channel: 'c',
        sizeBytes: 256,
        ratePerSecond: 10,
        events: 1,
        publishKey: undefined,
      }).play();
      expect(books).toMatchObject({ expected: 10, delivered: 10 });
      expect(books.deliveringShare).toBeGreaterThan(0);
      expect((await server.stats()).lines.open).toBe(0);
      await fleet.repoll(true);
      await fleet.repoll(false);
    }
  });
});

it('owes the events to a client that was cut off between its subscription and the first', async () => {
  const streams: ServerResponse[] = [];
  const url = await listen(
    createServer((request, response) => {
      if (request.method === 'POST') {
        let data = '';
        request.setEncoding('latin1').on('data', (text: string) => (data += text));
        request.on('end', () => {
          for (const stream of streams) stream.write(`data: ${data}\n\n`);
          response.end();
        });
        return;
      }
      response.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
      streams.push(response);
    }),
  );
  const fleet = await fleetFor(`${url}/c`, 'sse', 1);
  expect(await fleet.open(4)).toMatchObject({ lines: 4, failed: new Map() });
  streams[0]!.end();
  await until('one is cut off', async () => (await fleet.readTotals()).joined === 3);
  const target = await findTarget(new URL(`${url}/c`));
  const round = (): Promise<RoundOutcome> =>
    new Round(fleet, {
      target,
      channel: 'c',
      sizeBytes: 256,
      ratePerSecond: 20,
      events: 5,
      publishKey: undefined,
    }).play();
  expect((await round()).books).toMatchObject({
    published: 5,
    expected: 20,
    delivered: 15,
    lost: 5,
    cutOff: new Map([['the server ended the stream', 1]]),
  });
  // Books have it now.
  expect((await round()).books).toMatchObject({ expected: 15, lost: 0, cutOff: new Map() });
});
