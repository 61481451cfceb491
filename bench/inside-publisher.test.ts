/** The publisher inside a server of the bench: what is published when, and how it is booked. */
import { describe, expect, it } from 'vitest';
import { dueUsOf, isOfRun, newRun, sequenceOf } from '../src/tools/load/clients/event.js';
import { nowUs } from './clock.js';
import { InsidePublisher, type Series, publishSeries } from './inside-publisher.js';

const series = (events: number): Series => ({
  run: newRun(),
  sizeBytes: 64,
  startUs: nowUs(),
  ratePerSecond: 2000,
  events,
});

describe('a publisher inside the server', () => {
  it('publishes each event when it is due, once, with its number and due time', async () => {
    const wanted = series(20);
    const taken: { data: Buffer; atUs: number }[] = [];
    const { sentUs, statuses, ids } = await publishSeries(wanted, async (data) => {
      taken.push({ data, atUs: nowUs() });
      return 100 + taken.length;
    });
    expect(taken.map(({ data }) => sequenceOf(data, 0))).toEqual([...sentUs.keys()]);
    for (const [sequence, { data, atUs }] of taken.entries()) {
      expect(isOfRun(data, 0, wanted.run)).toBe(true);
      expect(data).toHaveLength(64);
      expect(dueUsOf(data, 0)).toBe(Math.round(wanted.startUs + sequence * 500));
      expect(atUs).toBeGreaterThanOrEqual(wanted.startUs + sequence * 500);
    }
    expect([...statuses]).toEqual(taken.map(() => 200));
    expect([...ids]).toEqual(taken.map((_one, nth) => 101 + nth));
  });

  it('tells what was refused, and ends with what is no refusal', async () => {
    let nth = 0;
    const { statuses, ids } = await publishSeries(series(3), async () =>
      nth++ === 1 ? undefined : nth,
    );
    expect([...statuses]).toEqual([200, 503, 200]);
    expect(Number.isNaN(ids[1]!)).toBe(true);
    await expect(
      publishSeries(series(3), async () => {
        throw new Error('a fault');
      }),
    ).rejects.toThrow('a fault');
  });

  it('is booked by the runner as if it had published itself', async () => {
    let nth = 0;
    const publisher = new InsidePublisher(
      {
        target: { address: '', port: 0, authority: '', path: '', key: undefined },
        run: newRun(),
        sizeBytes: 64,
        ratePerSecond: 2000,
        events: 4,
        key: undefined,
        connections: 1,
        keepsTimes: true,
        gaveUp: () => {},
      },
      (wanted) => publishSeries(wanted, async () => (nth++ === 2 ? undefined : nth)),
    );
    await publisher.publish(nowUs());
    const { published } = publisher;
    expect([0, 1, 2, 3].map((sequence) => published.has(sequence))).toEqual([
      true,
      true,
      false,
      true,
    ]);
    expect([...published.ids.subarray(0, 2)]).toEqual([1, 2]);
    expect(publisher.answered).toBe(4);
    expect(publisher.latenessUs.totalCount).toBe(4);
  });
});
