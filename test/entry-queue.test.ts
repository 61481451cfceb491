/** The queue of one channel against an array: what is left, and what it counts for. */
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
