/** Every mechanism gives every line every event: otherwise their figures could not be compared. */
import { describe, expect, test } from 'vitest';
import { type Corkable, EVENTS_HELD, type Mechanism } from './mechanism.js';
import { MECHANISMS } from './mechanisms.js';

/** What was written to it, and in how many corks. */
class FakeSocket implements Corkable {
  text = '';
  corks = 0;
  refuses = false;
  cork(write: () => void): void {
    this.corks++;
    write();
  }
  write(bytes: Uint8Array | string): boolean {
    this.text += typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString('latin1');
    return !this.refuses;
  }
}

const FRAME_BYTES = 280;

function frame(id: number): string {
  return `id: ${id}\ndata: `.padEnd(FRAME_BYTES - 2, String(id % 10)) + '\n\n';
}

function frames(first: number, last: number): string {
  let text = '';
  for (let id = first; id <= last; id++) text += frame(id);
  return text;
}

function append(mechanism: Mechanism, first: number, last: number): void {
  // Like the encoder's memory: longer than the frame, and overwritten by the next one.
  const scratch = Buffer.alloc(1024);
  for (let id = first; id <= last; id++)
    mechanism.append(id, scratch, scratch.write(frame(id), 'latin1'));
}

/** With slices of no time, so that a sweep is cut as often as possible. */
function pump(mechanism: Mechanism): void {
  for (let slices = 0; !mechanism.sweep(0); slices++)
    if (slices > 10_000) throw new Error('it is never done');
}

describe.each(Object.entries(MECHANISMS))('%s', (name, { make }) => {
  test('gives every line every event once and in order, from where it joined', () => {
    const mechanism = make();
    const early = Array.from({ length: 100 }, () => new FakeSocket());
    for (const socket of early) mechanism.join(socket);
    append(mechanism, 1, 5);
    pump(mechanism);
    const late = new FakeSocket();
    mechanism.join(late);
    append(mechanism, 6, 7);
    pump(mechanism);
    for (const { text } of early) expect(text).toBe(frames(1, 7));
    expect(late.text).toBe(frames(6, 7));
    expect(mechanism.lineCount).toBe(101);
  });

  test('writes what has piled up in corks of their size, or event by event', () => {
    const mechanism = make();
    const socket = new FakeSocket();
    mechanism.join(socket);
    append(mechanism, 1, 200);
    pump(mechanism);
    expect(socket.text).toBe(frames(1, 200));
    expect(mechanism.writes).toBe(socket.corks);
    if (name === 'write-per-event') expect(socket.corks).toBe(200);
    else expect(socket.corks).toBeLessThan(10);
  });

  test('leaves a line alone that refused bytes until it has drained', () => {
    const mechanism = make();
    const slow = new FakeSocket();
    const healthy = new FakeSocket();
    const line = mechanism.join(slow);
    mechanism.join(healthy);
    slow.refuses = true;
    append(mechanism, 1, 1);
    pump(mechanism);
    append(mechanism, 2, 9);
    pump(mechanism);
    expect(slow.text).toBe(frames(1, 1));
    expect(healthy.text).toBe(frames(1, 9));
    slow.refuses = false;
    mechanism.drained(line);
    pump(mechanism);
    expect(slow.text).toBe(frames(1, 9));
  });

  test('goes on with the oldest event that is held when a line drains too late for those it missed', () => {
    const mechanism = make();
    const slow = new FakeSocket();
    const line = mechanism.join(slow);
    const other = mechanism.join(new FakeSocket());
    slow.refuses = true;
    append(mechanism, 1, 1);
    pump(mechanism);
    append(mechanism, 2, 2);
    pump(mechanism);
    // No line reads from here on: the newest search result becomes stale.
    mechanism.left(other);
    append(mechanism, 3, 2 * EVENTS_HELD);
    slow.refuses = false;
    mechanism.drained(line);
    pump(mechanism);
    expect(slow.text).toBe(frames(1, 1) + frames(EVENTS_HELD + 1, 2 * EVENTS_HELD));
  });

  test('goes on with the others when lines leave in the middle of a sweep', () => {
    const mechanism = make();
    const sockets = Array.from({ length: 200 }, () => new FakeSocket());
    const lines = sockets.map((socket) => mechanism.join(socket));
    append(mechanism, 1, 3);
    expect(mechanism.sweep(0)).toBe(false);
    for (let index = 0; index < 200; index += 2) mechanism.left(lines[index]);
    append(mechanism, 4, 4);
    pump(mechanism);
    for (let index = 1; index < 200; index += 2) expect(sockets[index]!.text).toBe(frames(1, 4));
    expect(mechanism.lineCount).toBe(100);
  });
});
