/** The reader of heap snapshots, on a made-up one and on one that V8 has just written. */
import { getHeapSnapshot } from 'node:v8';
import { expect, test } from 'vitest';
import { type HeapSnapshot, growthOf, sharesOf } from './heap-snapshot.js';

const META = {
  node_fields: ['type', 'name', 'id', 'self_size'],
  node_types: [['hidden', 'object', 'closure']] as [string[]],
};

test('sums nodes by constructor, by function, or by their kind', () => {
  const nodes = [1, 0, 1, 40, 1, 0, 3, 24, 2, 1, 5, 64, 0, 1, 7, 8];
  const shares = sharesOf({ snapshot: { meta: META }, nodes, strings: ['Line', 'onAborted'] });
  expect([...shares.values()]).toEqual([
    { name: 'object Line', count: 2, bytes: 64 },
    { name: 'closure onAborted', count: 1, bytes: 64 },
    { name: 'hidden', count: 1, bytes: 8 },
  ]);
});

test('says what it misses in a snapshot of another form', () => {
  const meta = { node_fields: ['type', 'name'], node_types: META.node_types };
  expect(() => sharesOf({ snapshot: { meta }, nodes: [], strings: [] })).toThrow('self_size');
});

test('finds in two snapshots what was added between them, and how large each is', async () => {
  class Added {
    readonly first = 1;
    readonly second = {};
  }
  const before = sharesOf(await snapshot());
  const kept = Array.from({ length: 1_000 }, () => new Added());
  const grown = growthOf(before, sharesOf(await snapshot()), kept.length, 4).find(
    ({ name }) => name === 'object Added',
  );
  expect(grown?.count).toBe(1);
  // A map, properties, elements and two fields, in words of 8 bytes, at the least.
  expect(grown?.bytes).toBeGreaterThanOrEqual(40);
});

async function snapshot(): Promise<HeapSnapshot> {
  let text = '';
  for await (const chunk of getHeapSnapshot()) text += String(chunk);
  return JSON.parse(text) as HeapSnapshot;
}
