/** The memory of publishes: what fits later is told from what never fits. */
import { expect, test } from 'vitest';
import { makeHeldBytes } from '../src/core/held-bytes.js';
import { PublishMemory, Reservation } from '../src/core/publish-memory.js';
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
  const memories = [new PublishMemory(held, 1000), new PublishMemory(held, 100, 'batches')];
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
