/**
 * The fleet and its rounds, as the planner drives them: clients that stay, and windows of
 * publishing with books of their own.
 */

import { describe, expect, it, onTestFinished } from 'vitest';
import { findTarget } from '../dist/tools/load/clients/connection.js';
import { Fleet } from '../dist/tools/load/processes/fleet.js';
import { Round, type RoundOutcome } from '../dist/tools/load/run/round.js';
import { serverForTest } from './support/server.js';

async function fleetFor(
  url: string,
  transport: 'sse' | 'ws',
  checkedShare: number,
): Promise<Fleet> {
  const target = await findTarget(new URL(url));
  const fleet = await Fleet.start({ target, transport, processes: 2, checkedShare });
  onTestFinished(() => fleet.close());
  return fleet;
}

describe.each(['sse', 'ws'] as const)('a fleet over %s', (transport) => {
  it('plays rounds of any rate and size on the same clients, and grows between them', async () => {
    const server = await serverForTest();
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
    const server = await serverForTest({ 'max-connections': 10 });
    const fleet = await fleetFor(`${server.url}/c`, transport, 1);
    const { lines, failed } = await fleet.open(30);
    expect(lines).toBe(10);
    expect([...failed.keys()].join()).toMatch(/^refused/);
  });
});
