/** Orders by use, against arrays. */
import assert from 'node:assert/strict';
import { fc } from './support/properties.js';
import { test } from 'vitest';
import { Order, Place } from '../src/core/order.js';

test('two orders of the same things: appended, prepended and taken out at random, each stands in one, where an array has it', () => {
  const step = fc.record({
    how: fc.constantFrom('append', 'prepend', 'remove'),
    which: fc.nat(1),
    item: fc.nat(6),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const places = Array.from({ length: 7 }, (_, i) => new Place(i));
      const orders = [new Order<Place<number>>(), new Order<Place<number>>()] as const;
      let expected: readonly [number[], number[]] = [[], []];
      for (const { how, which, item } of steps) {
        const place = places[item] as Place<number>;
        const order = orders[which] as Order<Place<number>>;
        if (how === 'remove' && place.order !== order) continue;
        expected = [
          expected[0].filter((other) => other !== item),
          expected[1].filter((other) => other !== item),
        ];
        if (how === 'append') expected[which]?.push(item);
        if (how === 'prepend') expected[which]?.unshift(item);
        order[how](place);
        for (const [i, one] of orders.entries()) {
          const forth: number[] = [];
          const back: number[] = [];
          for (let at = one.oldest; at !== undefined; at = at.newer) forth.push(at.item);
          for (let at = one.newest; at !== undefined; at = at.older) back.unshift(at.item);
          assert.deepEqual([forth, back], [expected[i], expected[i]]);
        }
        assert.equal(place.order, how === 'remove' ? undefined : order);
      }
    }),
    { numRuns: 300 },
  );
});
