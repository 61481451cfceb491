/** Whose lines are: the arrays by handle and the tallies of names, against a Map. */
import assert from 'node:assert/strict';
import { fc } from './support/properties.js';
import { expect, test } from 'vitest';
import {
  AT_ONCE,
  NEVER,
  NOBODY,
  OWNER_BYTES,
  Owners,
  TIMED_ENDS,
  type Owner,
  type TimedEnd,
} from '../src/core/owners.js';

const USERS = [undefined, 'ada', 'bob', 'eve', '__proto__', 'constructor'];
const ADDRESSES = ['', '192.0.2.1', '2001:db8::/64', '198.51.100.7'];
const SHOWN = [undefined, '', '192.0.2.1', '2001:db8::7'];

/** A line as the naive model keeps it. */
interface Line {
  readonly id: number;
  readonly owner: Owner;
  end: number;
  code: TimedEnd;
}

const steps = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant('add' as const),
        user: fc.constantFrom(...USERS),
        address: fc.constantFrom(...ADDRESSES),
        shown: fc.constantFrom(...SHOWN),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant('remove' as const), which: fc.nat(1000) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('end' as const),
        which: fc.nat(1000),
        second: fc.oneof(fc.nat(20), fc.constantFrom(AT_ONCE, NEVER, NEVER - 1)),
        code: fc.constantFrom(...TIMED_ENDS),
      }),
    },
  ),
  { maxLength: 250, size: 'max' },
);

function countBy(lines: Iterable<Line>, name: (owner: Owner) => string | undefined) {
  const counts = new Map<string | undefined, number>();
  for (const { owner } of lines) counts.set(name(owner), (counts.get(name(owner)) ?? 0) + 1);
  return counts;
}

function check(owners: Owners, model: ReadonlyMap<number, Line>): void {
  const users = countBy(model.values(), ({ user }) => user);
  const addresses = countBy(model.values(), ({ address }) => address);
  for (const user of USERS) {
    if (user === undefined) continue;
    assert.equal(owners.linesOfUser(user), users.get(user) ?? 0);
    const found: number[] = [];
    owners.eachOfUser(user, (handle) => found.push(handle));
    const mine = [...model].filter(([, { owner }]) => owner.user === user);
    assert.deepEqual(
      found,
      mine.map(([handle]) => handle).toSorted((one, other) => one - other),
    );
  }
  for (const address of ADDRESSES)
    if (address !== '') assert.equal(owners.linesOfAddress(address), addresses.get(address) ?? 0);
  for (const [handle, { id, owner, end, code }] of model) {
    assert.equal(owners.idOf(handle), id);
    assert.equal(owners.handleOfId(id), handle);
    assert.equal(owners.userOf(handle), owner.user);
    assert.equal(owners.addressOf(handle) ?? '', owner.shownAddress || owner.address);
    assert.equal(owners.endSecondOf(handle), end);
    if (end !== NEVER) assert.equal(owners.endCodeOf(handle), code);
  }
  const ends = [...model.values()].map(({ end }) => end);
  for (const second of [AT_ONCE, 7, 20]) {
    const later = ends.filter((end) => end > second);
    const count = ends.length - later.length;
    assert.deepEqual(owners.due(second), { count, nextSecond: Math.min(NEVER, ...later) });
  }
}

test('users, addresses, ids and ends are those of the open lines, and counts go with the last line', () => {
  fc.assert(
    fc.property(steps, (given) => {
      const owners = new Owners();
      const model = new Map<number, Line>();
      const free: number[] = [];
      let ids = 0;
      let next = 0;
      for (const step of given) {
        const chosen =
          step.do === 'add' ? undefined : [...model][step.which % Math.max(1, model.size)];
        if (step.do === 'add') {
          const { user, address, shown } = step;
          const owner = { ...NOBODY, user, address, ...(shown && { shownAddress: shown }) };
          const handle = free.pop() ?? next++;
          owners.add(handle, owner);
          model.set(handle, { id: ++ids, owner, end: NEVER, code: 'expired' });
        } else if (chosen !== undefined && step.do === 'remove') {
          const [handle, { id }] = chosen;
          owners.remove(handle);
          model.delete(handle);
          free.push(handle);
          assert.equal(owners.handleOfId(id), -1, 'the id of a closed line finds nothing');
        } else if (chosen !== undefined && step.do === 'end') {
          const [handle, line] = chosen;
          owners.setEnd(handle, step.second, step.code);
          line.end = step.second;
          line.code = step.code;
        }
        check(owners, model);
      }
    }),
    { numRuns: 40 },
  );
});

test('lines of a credential whose user the program calls otherwise are found by both names', () => {
  const owners = new Owners();
  const handlesOf = (user: string): number[] => {
    const found: number[] = [];
    owners.eachOfUser(user, (handle) => found.push(handle));
    return found;
  };
  owners.add(0, { ...NOBODY, user: '42', credentialUser: 'ada' });
  owners.add(1, { ...NOBODY, user: 'ada', credentialUser: 'ada' });
  owners.add(2, { ...NOBODY, user: undefined, credentialUser: 'ada' });
  owners.add(3, { ...NOBODY, user: '42' });
  expect([handlesOf('ada').sort((a, b) => a - b), handlesOf('42')]).toEqual([
    [0, 1, 2],
    [0, 3],
  ]);
  expect([owners.linesOfUser('ada'), owners.linesOfUser('42')]).toEqual([1, 2]);
  for (const handle of [0, 2]) owners.remove(handle);
  owners.add(0, NOBODY);
  expect([handlesOf('ada'), handlesOf('42')]).toEqual([[1], [3]]);
});

test('no id is found that nobody has', () => {
  const owners = new Owners();
  owners.add(0, NOBODY);
  owners.remove(0);
  for (const id of [0, -1, 2, 0.5, Number.NaN, Infinity]) expect(owners.handleOfId(id)).toBe(-1);
});

test('a line takes 25 bytes of arrays, with names that many lines share', () => {
  const owners = new Owners();
  const owner = { ...NOBODY, user: 'ada', address: '192.0.2.1', shownAddress: '2001:db8::7' };
  for (let handle = 0; handle < 4096; handle++) owners.add(handle, owner);
  expect(OWNER_BYTES).toBe(25);
  // Three tallies begin with room for 64 names, 4 bytes each.
  expect(owners.memoryBytes).toBe(4096 * OWNER_BYTES + 3 * 64 * 4);
});

test('lines that come and go with new names leave nothing of them', () => {
  const owners = new Owners();
  for (let i = 0; i < 10_000; i++) {
    owners.add(0, { ...NOBODY, user: `user ${i}`, address: `192.0.2.${i}` });
    owners.remove(0);
  }
  expect(owners.memoryBytes).toBe(64 * OWNER_BYTES + 3 * 64 * 4);
  expect(owners.linesOfUser('user 9999')).toBe(0);
});
