/** The queue of one channel against an array: what is left, and what it counts for. */
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { roomBytesOf, EntryQueue } from '../src/core/entry-queue.js';
import { isDeletion, type LoggedEntry } from '../src/core/event.js';
import { fc } from './support/properties.js';

/** A push of an event of so many bytes, or of a deletion; undefined: the first is taken out. */
const step = fc.option(fc.option(fc.nat({ max: 300 })), { nil: undefined });

test('it has what was pushed and not taken out, in order, and what that counts for', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const queue = new EntryQueue();
      const model: LoggedEntry[] = [];
      for (const [index, bytes] of steps.entries()) {
        if (bytes === undefined) {
          if (model.length > 0) expect(queue.shift()).toBe(model.shift());
          continue;
        }
        const entry: LoggedEntry =
          bytes === null
            ? { id: index, channel: 'c', isDeletion: true }
            : {
                id: index,
                channel: 'c',
                type: undefined,
                data: new Uint8Array(bytes),
                json: false,
              };
        queue.push(entry);
        model.push(entry);
      }
      expect(queue.left).toEqual(model);
      expect(queue.costBytes).toBe(model.reduce((sum, entry) => sum + roomBytesOf(entry), 0));
      expect(queue.eventsFrom(0)).toBe(model.filter((entry) => !isDeletion(entry)).length);
      const middle = steps.length >> 1;
      expect(queue.countThrough(middle)).toBe(model.filter(({ id }) => id <= middle).length);
    }),
  );
});

test('an entry that was taken out is not kept, however many are behind it', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const queue = new EntryQueue();
  const data = Array.from({ length: 10 }, (_, id) => {
    const bytes = new Uint8Array(1000);
    queue.push({ id, channel: 'c', type: undefined, data: bytes, json: false });
    return new WeakRef(bytes);
  });
  for (let i = 0; i < 3; i++) queue.shift();
  // What a WeakRef has shown stays until the turn is over.
  await turn();
  collect();
  expect(data.map((ref) => ref.deref() === undefined)).toEqual(data.map((_, i) => i < 3));
  expect(queue.length).toBe(7);
});
