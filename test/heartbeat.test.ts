/**
 * The heartbeat wheel: who hears it, when, and that a thousand lines in step do not all hear it in
 * one moment.
 */
import { describe, expect, test } from 'vitest';
import { FakeHub } from './support/fake-hub.js';
import { Random } from './support/random.js';

const INTERVAL_MS = 1000;

describe('the heartbeat', () => {
  test('is heard by a silent line within each interval, with the head as its id', async () => {
    const fake = new FakeHub({ heartbeatMs: INTERVAL_MS });
    const line = fake.join('c');
    await fake.publish('elsewhere', 'x');
    for (let interval = 1; interval <= 5; interval++) {
      await fake.clock.run(INTERVAL_MS);
      const beats = fake.read(line).split(': keepalive\nid: 1\n\n').length - 1;
      expect(beats).toBeGreaterThanOrEqual(interval);
      expect(beats).toBeLessThanOrEqual(interval * 1.34 + 1);
    }
  });

  test('is not written to a line that something is written to in each half of it', async () => {
    const fake = new FakeHub({ heartbeatMs: INTERVAL_MS });
    const line = fake.join('c');
    for (let i = 0; i < 40; i++) {
      await fake.publish('c', 'x');
      await fake.clock.run(INTERVAL_MS / 2);
    }
    expect(fake.read(line)).not.toContain('keepalive');
    expect(fake.counters.heartbeats_total).toBe(0);
  });

  test('is not written to a stalled line, and again once it has drained, though nothing is published', async () => {
    const fake = new FakeHub({ heartbeatMs: INTERVAL_MS });
    const line = fake.join('c', { kind: 'live' }, 1000);
    for (let i = 0; i < 4; i++) {
      await fake.publish('c', 'x'.repeat(5000));
      await fake.clock.turn();
    }
    expect(fake.hub.figures.gauges.linesStalled).toBe(1);
    const { unreadBytes } = line.socket;
    await fake.clock.run(5 * INTERVAL_MS);
    expect(line.socket.unreadBytes).toBe(unreadBytes);
    await fake.settle(line);
    await fake.clock.run(1.1 * INTERVAL_MS);
    expect(fake.read(line)).toMatch(/: keepalive\nid: 4\n\n$/);
  });

  test('is not written to a line that stalled at the head until it drains, and then it is', async () => {
    const fake = new FakeHub({ heartbeatMs: INTERVAL_MS });
    const line = fake.join('c', { kind: 'live' }, 30);
    // The first event is taken in part, which is not reported; the second is refused, and with it
    // the line is at the head.
    for (const data of ['x', 'y']) {
      await fake.publish('c', data);
      await fake.clock.turn();
    }
    expect(fake.hub.figures.gauges.linesStalled).toBe(1);
    await fake.clock.run(3 * INTERVAL_MS);
    expect(fake.counters.heartbeats_total).toBe(0);
    await fake.settle(line);
    await fake.clock.run(1.1 * INTERVAL_MS);
    expect(fake.read(line)).toMatch(/id: 2\ndata: y\n\n(:\n)+: keepalive\nid: 2\n\n$/);
  });

  test('does not tell a line the head while an event that it is owed waits for the flush interval', async () => {
    const fake = new FakeHub({ heartbeatMs: INTERVAL_MS, flushIntervalMs: 10 * INTERVAL_MS });
    const line = fake.join('c');
    await fake.publish('c', 'owed');
    await fake.clock.run(5 * INTERVAL_MS);
    expect(fake.read(line)).toContain(': keepalive\n\n');
    expect(line.text).not.toContain(': keepalive\nid:');
    await fake.clock.run(6 * INTERVAL_MS);
    expect(fake.read(line)).toContain('id: 1\ndata: owed\n\n');
  });

  test('is heard in time by every line while others leave, whose places in the table are filled', async () => {
    const fake = new FakeHub({ heartbeatMs: INTERVAL_MS });
    const random = new Random(1);
    const open = Array.from({ length: 1000 }, () => ({ line: fake.join('c'), writes: 0, atMs: 0 }));
    let longestMs = 0;
    for (let ms = 0; ms < 3 * INTERVAL_MS; ms++) {
      await fake.clock.turn();
      for (const one of open) {
        if (one.line.socket.writes > one.writes) {
          one.writes = one.line.socket.writes;
          one.atMs = ms;
        }
        longestMs = Math.max(longestMs, ms - one.atMs);
      }
      if (ms % 4 > 0) continue;
      const [{ line }] = open.splice(random.below(open.length), 1) as [(typeof open)[number]];
      fake.hub.left(line.handle, line.socket);
    }
    // A step of the wheel, and the turns of this loop.
    expect(longestMs).toBeLessThanOrEqual(INTERVAL_MS + INTERVAL_MS / 64 + 2);
  });

  test('of 1,000 lines that were written to at one moment is spread over a quarter of the interval or more', async () => {
    const fake = new FakeHub({ heartbeatMs: INTERVAL_MS });
    const lines = Array.from({ length: 1000 }, () => fake.join('c'));
    await fake.publish('c', 'all at once');
    await fake.clock.run(10);
    const startMs = fake.clock.nowMs();
    const writes = lines.map((line) => line.socket.writes);
    const heardMs = new Map<number, number>();
    let mostAtOnce = 0;
    while (fake.clock.nowMs() < startMs + INTERVAL_MS + 5) {
      await fake.clock.turn();
      const before = heardMs.size;
      for (const [i, line] of lines.entries())
        if (!heardMs.has(i) && line.socket.writes > writes[i]!)
          heardMs.set(i, fake.clock.nowMs() - startMs);
      mostAtOnce = Math.max(mostAtOnce, heardMs.size - before);
    }
    expect(heardMs.size, 'all of them within the interval').toBe(1000);
    const times = [...heardMs.values()];
    expect(Math.max(...times) - Math.min(...times)).toBeGreaterThanOrEqual(0.22 * INTERVAL_MS);
    expect(mostAtOnce).toBeLessThanOrEqual(1000 / 15);
  });

  test('of 1,000 lines on a channel each is spread too', async () => {
    const fake = new FakeHub({ heartbeatMs: INTERVAL_MS });
    const lines = Array.from({ length: 1000 }, (_, i) => fake.join(`c${i}`));
    let mostAtOnce = 0;
    for (let ms = 0; ms < INTERVAL_MS; ms++) {
      const before = fake.counters.heartbeats_total;
      await fake.clock.turn();
      mostAtOnce = Math.max(mostAtOnce, fake.counters.heartbeats_total - before);
    }
    expect(fake.counters.heartbeats_total).toBe(lines.length);
    expect(mostAtOnce).toBeLessThanOrEqual(1000 / 15);
  });

  test('after a pause of the process is made up for once, not once for each interval missed', async () => {
    const fake = new FakeHub({ heartbeatMs: INTERVAL_MS });
    const lines = Array.from({ length: 100 }, () => fake.join('c'));
    await fake.clock.turn(100 * INTERVAL_MS);
    await fake.clock.turn(1);
    for (const line of lines) expect(fake.read(line).split('keepalive').length - 1).toBe(1);
    await fake.clock.run(INTERVAL_MS);
    for (const line of lines)
      expect(fake.read(line).split('keepalive').length - 1).toBeLessThanOrEqual(3);
  });

  test('is an empty line on a stream of JSON, and nothing on a WebSocket, which pings by itself', async () => {
    const fake = new FakeHub({ heartbeatMs: INTERVAL_MS });
    const stream = fake.join('c', { kind: 'live' }, Infinity, 'ndjson');
    const socket = fake.join('c', { kind: 'live' }, Infinity, 'websocket');
    await fake.clock.run(3 * INTERVAL_MS);
    expect(fake.read(stream)).toMatch(/^\n{4,5}$/);
    expect(fake.read(socket)).toBe('');
    expect(fake.counters.heartbeats_total).toBe(stream.text.length - 1);
  });

  test('stops with the hub', async () => {
    const fake = new FakeHub({ heartbeatMs: INTERVAL_MS });
    fake.join('c');
    fake.hub.stop();
    await fake.clock.run(3 * INTERVAL_MS);
    expect(fake.counters.heartbeats_total).toBe(0);
    expect(fake.clock.timerCount).toBe(0);
  });
});
