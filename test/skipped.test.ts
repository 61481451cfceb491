/**
 * A log that other servers publish to as well, and that does not hand over all: it forgot something
 * first. Lines that were at the head are told of a gap, with nothing else lost; and a position that
 * this server has not come to is waited for.
 */
import { describe, expect, test } from 'vitest';
import type { HubOptions } from '../src/core/hub.js';
import { FakeHub, idsOf } from './support/fake-hub.js';
import { KeepingLog, KeepingStore } from './support/keeping-log.js';

const after = (id: number) => ({ kind: 'after', id }) as const;

const gapsOf = (text: string): unknown[] =>
  [...text.matchAll(/^event: gap\ndata: (.*)\n/gm)].map(
    (match) => JSON.parse(match[1] as string) as unknown,
  );

const entry = (channel: string) => ({
  channel,
  type: undefined,
  data: Buffer.from('lost'),
  json: false,
});

async function start(
  options: Partial<HubOptions> = {},
): Promise<{ readonly fake: FakeHub; readonly log: KeepingLog }> {
  let log: KeepingLog | undefined;
  const fake = new FakeHub(
    options,
    0,
    (clock) => (log = new KeepingLog(new KeepingStore(1), {}, clock)),
  );
  await log!.open();
  fake.hub.begin();
  return { fake, log: log! };
}

describe('what a log has not handed over', () => {
  test('is told to lines at the head as a gap, at once', async () => {
    const { fake, log } = await start();
    const line = fake.join('c');
    await fake.publish('c', 'one');
    await fake.settle(line);
    log.skip([entry('c'), entry('c')], 'all');
    await fake.clock.run(50);
    await fake.settle(line);
    expect(gapsOf(line.text)).toEqual([{ after: 1, before: null }]);
    await fake.publish('c', 'four');
    await fake.settle(line);
    expect(idsOf(line.text)).toEqual([1, 4]);
    expect(gapsOf(line.text)).toHaveLength(1);
  });

  test('of one channel is no gap on another', async () => {
    const { fake, log } = await start();
    const lines = [fake.join('a'), fake.join('b'), fake.join('a,b')] as const;
    await fake.publish('a', 'one');
    await fake.publish('b', 'two');
    await fake.settle(...lines);
    log.skip([entry('a')], 'channel');
    await fake.publish('b', 'four');
    await fake.clock.run(50);
    await fake.settle(...lines);
    expect(lines.map(({ text }) => gapsOf(text).length)).toEqual([1, 0, 1]);
    expect(lines.map(({ text }) => idsOf(text))).toEqual([[1], [2, 4], [1, 2, 4]]);
  });

  test('is told to those who come later, to a channel that was not known as well', async () => {
    const { fake, log } = await start();
    await fake.publish('c', 'one');
    log.skip([entry('new')], 'all');
    const late = [
      await fake.joinWhenReady('c', after(1)),
      await fake.joinWhenReady('new', after(1)),
    ];
    await fake.clock.run(50);
    await fake.settle(...late);
    expect(gapsOf(late[1]!.text)).toEqual([{ after: 1, before: null }]);
    expect(await fake.pollWhenReady('new', after(2))).toMatchObject({
      answer: { body: undefined, position: 2 },
    });
  });

  test('is told to those who come later to a channel that was forgotten, whose own loss is older', async () => {
    const { fake, log } = await start({ channelsMax: 1 });
    await fake.publish('c', 'one');
    await fake.publish('other', 'two');
    expect(fake.hub.channels.member('c').lostThrough).toBe(1);
    log.skip([entry('c')], 'all');
    await fake.publish('other', 'four');
    const late = await fake.joinWhenReady('c', after(2));
    await fake.clock.run(50);
    await fake.settle(late);
    expect(gapsOf(late.text)).toEqual([{ after: 2, before: null }]);
  });

  test('does not take what is in the ring and was not given to a line yet', async () => {
    const { fake, log } = await start();
    const line = fake.join('c');
    await fake.publish('c', 'one', 'two', 'three');
    log.skip([entry('other')], 'all');
    await fake.publish('c', 'five');
    await fake.clock.run(50);
    await fake.settle(line);
    expect(idsOf(line.text)).toEqual([1, 2, 3, 5]);
  });
});

test('a line that comes with a position ahead of this server starts when it has come there', async () => {
  const { fake, log } = await start();
  await fake.publish('c', 'one');
  let arrive: ((isThere: boolean) => void) | undefined;
  // Asked for by the hub when it begins.
  const asked: number[] = [];
  Object.assign(log, {
    reach: (id: number) => {
      asked.push(id);
      return new Promise<boolean>((resolve) => (arrive = resolve));
    },
  });
  const other = new FakeHub({}, 0, () => log);
  other.hub.begin();
  const joining = other.joinWhenReady('c', after(2));
  await fake.publish('c', 'two');
  arrive!(true);
  const line = await joining;
  await other.publish('c', 'three');
  await other.settle(line);
  expect([idsOf(line.text), gapsOf(line.text), asked]).toEqual([[3], [], [2]]);
});
