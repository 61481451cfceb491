/** The memory of publishes: what fits later is told from what never fits. */
import { expect, test } from 'vitest';
import { makeHeldBytes } from '../src/core/held-bytes.js';
import { PublishMemory, Reservation, type PublishShare } from '../src/core/publish-memory.js';
import { PUBLISH_BYTES_MAX } from '../src/limits.js';

test('a publish that fits alone, but not now, may be tried again; one that never fits may not', () => {
  const memory = new PublishMemory(makeHeldBytes());
  const first = new Reservation(memory, { heldBytes: 0 });
  first.grow(PUBLISH_BYTES_MAX / 4);
  const second = new Reservation(memory, { heldBytes: 0 });
  expect(() => second.grow(PUBLISH_BYTES_MAX / 2)).toThrow(
    expect.objectContaining({ code: 'HOLDLINE_PUBLISH_BUSY' }),
  );
  expect(() => second.grow(PUBLISH_BYTES_MAX / 2 + 1)).toThrow(
    expect.objectContaining({ code: 'HOLDLINE_TOO_LARGE' }),
  );
  first.release();
  second.grow(PUBLISH_BYTES_MAX / 2);
  expect(second.bytes).toBe(PUBLISH_BYTES_MAX / 2);
});

test('two memories have their own bounds, and one account', () => {
  const held = makeHeldBytes();
  const batches = new PublishMemory(held, 100, { what: 'batches', ofShare: 'of this key' });
  const memories = [new PublishMemory(held, 1000), batches];
  const [first, second] = memories.map((memory) => new Reservation(memory, { heldBytes: 0 }));
  first!.grow(500);
  second!.grow(50);
  expect(held.publishes).toBe(550);
  expect(() => second!.grow(1)).toThrow('batches already hold 50 of 100 bytes');
  first!.release();
  expect(() => second!.grow(1)).toThrow('batches already hold 50 of 100 bytes');
  second!.release();
  expect(held.publishes).toBe(0);
});

test('a refusal says what is full: what all hold together, and how much of it is the own share', () => {
  const memory = new PublishMemory(makeHeldBytes(), 1000);
  const [full, own] = [{ heldBytes: 0 }, { heldBytes: 0 }];
  new Reservation(memory, full).grow(500);
  new Reservation(memory, own).grow(200);
  const refusalOf = (share: PublishShare): unknown => {
    try {
      return new Reservation(memory, share).grow(300);
    } catch (error) {
      return (error as Error).message;
    }
  };
  expect([full, own, { heldBytes: 0 }, memory.unverified].map(refusalOf)).toEqual([
    'publishes already hold 700 of 1000 bytes, 500 of them to this channel; try again after Retry-After',
    'publishes already hold 700 of 1000 bytes, 200 of them to this channel; try again after Retry-After',
    'publishes already hold 700 of 1000 bytes, 0 of them to this channel; try again after Retry-After',
    'publishes already hold 700 of 1000 bytes, 0 of them from unknown senders; try again after Retry-After',
  ]);
});
