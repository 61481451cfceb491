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
