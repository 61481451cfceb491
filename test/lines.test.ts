/** The packed table of lines and its handles, against a Map. */
import assert from 'node:assert/strict';
import { fc } from './support/properties.js';
import { expect, test } from 'vitest';
import { trustedFromOpening } from '../src/core/grace.js';
import {
  CATCHING_UP,
  DRAINED,
  HEALTHY,
  IN_GRACE,
  LATE_IN_GRACE,
  LineTable,
  NO_GRACE,
  STALLED,
  TABLE_ROW_BYTES,
} from '../src/core/line-table.js';
import { HANDLE_BYTES, Lines } from '../src/core/lines.js';

interface Socket {
  readonly name: number;
}

interface Group {
  readonly table: LineTable<Socket>;
}

/** A line as the naive model keeps it. */
interface Line {
  readonly group: Group;
  readonly socket: Socket;
  cursor: number;
  readonly losses: number;
  readonly step: number;
  readonly openedSecond: number;
  trustedFrom: number;
  state: number;
  grace: number;
}

type Step =
  | { readonly do: 'add'; readonly group: number; readonly cursor: number }
  | { readonly do: 'remove'; readonly which: number }
  | { readonly do: 'state'; readonly which: number; readonly state: number }
  | { readonly do: 'cursor'; readonly which: number; readonly by: number }
  | { readonly do: 'grace'; readonly which: number; readonly isLate: boolean }
  | {
      readonly do: 'judge';
      readonly which: number;
      readonly share: number;
      readonly isHeld: boolean;
    };

const FEEDS = 3;
const which = fc.nat(10_000);

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant('add' as const),
        group: fc.nat(FEEDS - 1),
        cursor: fc.nat(5),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('remove' as const), which }) },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('state' as const),
        which,
        state: fc.constantFrom(CATCHING_UP, HEALTHY, STALLED, DRAINED),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant('cursor' as const), which, by: fc.nat(3) }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant('grace' as const), which, isLate: fc.boolean() }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('judge' as const),
        which,
        share: fc.nat(4),
        isHeld: fc.boolean(),
      }),
    },
  ),
  { maxLength: 300, size: 'max' },
);

function check(
  lines: Lines<Socket, Group>,
  groups: readonly Group[],
  model: ReadonlyMap<number, Line>,
  gone: readonly [number, Socket][],
): void {
  assert.equal(lines.open, model.size);
  assert.equal(lines.openedTotal - lines.closedTotal, model.size);
  for (const group of groups) {
    const mine = [...model.values()].filter((line) => line.group === group);
    assert.equal(group.table.count, mine.length);
    assert.equal(group.table.sockets.length, mine.length);
    assert.equal(group.table.stalledCount, mine.filter((line) => line.state === STALLED).length);
    const inGrace = mine.filter((line) => line.grace !== NO_GRACE);
    assert.equal(group.table.graceCount, inGrace.length);
    assert.equal(group.table.graceThrough, Math.min(...inGrace.map((line) => line.cursor)));
  }
  for (const [handle, line] of model) {
    assert.equal(lines.groupOf(handle, line.socket), line.group);
    const row = lines.rowOf(handle);
    const { table } = line.group;
    assert.ok(row < table.count);
    assert.equal(table.handles[row], handle);
    assert.equal(table.sockets[row], line.socket);
    assert.equal(table.cursors[row], line.cursor);
    assert.equal(table.losses[row], line.losses);
    assert.equal(table.lastWrites[row], line.step);
    assert.equal(table.openedSeconds[row], line.openedSecond);
    assert.equal(table.trustedFrom[row], line.trustedFrom);
    assert.equal(table.states[row], line.state);
    assert.equal(table.inGrace[row], line.grace);
  }
  for (const [handle, socket] of gone)
    assert.equal(lines.groupOf(handle, socket), undefined, `a late callback of handle ${handle}`);
}

/** A second in which lines are trusted again that nobody is open for as long. */
const FAILED = 1_000_000;

/** A window of the group ends, for the table and for the model. */
function judge(group: Group, model: readonly Line[], goal: number, isHeld: boolean): void {
  const newestId = goal + 1;
  let vain = 0;
  for (const line of model) {
    if (line.group !== group || line.grace === NO_GRACE) continue;
    const isVain =
      line.cursor <= goal &&
      line.grace === IN_GRACE &&
      line.state === STALLED &&
      !(isHeld && line.cursor >= newestId);
    if (isVain) vain++;
    if (isVain && isHeld) line.trustedFrom = FAILED;
    line.grace = isVain ? NO_GRACE : IN_GRACE;
  }
  assert.equal(group.table.judgeGrace(goal, newestId, isHeld ? FAILED : undefined), vain);
}

test('handles find their line while rows move; a late callback of a closed line, its handle reused or not, finds nothing', () => {
  fc.assert(
    fc.property(steps, (given) => {
      const lines = new Lines<Socket, Group>();
      const groups: Group[] = Array.from({ length: FEEDS }, () => ({
        table: new LineTable<Socket>(),
      }));
      const model = new Map<number, Line>();
      const gone: [number, Socket][] = [];
      let mostOpen = 0;
      for (const [i, step] of given.entries()) {
        if (step.do === 'add') {
          const line: Line = {
            group: groups[step.group]!,
            socket: { name: i },
            cursor: step.cursor,
            losses: step.cursor + 1,
            step: i,
            openedSecond: 2 * i,
            trustedFrom: trustedFromOpening(2 * i),
            state: CATCHING_UP,
            grace: NO_GRACE,
          };
          const handle = lines.add(
            line.group,
            line.socket,
            line.cursor,
            line.losses,
            line.step,
            line.openedSecond,
          );
          assert.ok(!model.has(handle), 'a handle in use is not given again');
          model.set(handle, line);
          mostOpen = Math.max(mostOpen, model.size);
          assert.ok(
            handle < mostOpen,
            'handles are as small as the number of lines that were open at a time',
          );
        } else {
          const chosen = [...model][step.which % Math.max(1, model.size)];
          if (chosen === undefined) continue;
          const [handle, line] = chosen;
          if (step.do === 'remove') {
            expect(lines.remove(handle)).toBe(line.group);
            model.delete(handle);
            gone.push([handle, line.socket]);
          } else if (step.do === 'state') {
            line.group.table.setState(lines.rowOf(handle), step.state);
            if (line.state !== step.state && step.state === HEALTHY && line.grace !== NO_GRACE) {
              line.grace = NO_GRACE;
              if (line.trustedFrom < FAILED) line.trustedFrom = 0;
            }
            line.state = step.state;
          } else if (step.do === 'cursor') {
            line.cursor += step.by;
            line.group.table.advance(lines.rowOf(handle), line.cursor);
          } else if (step.do === 'grace') {
            const grace = step.isLate ? LATE_IN_GRACE : IN_GRACE;
            line.group.table.startGrace(lines.rowOf(handle), grace);
            if (line.grace === NO_GRACE) line.grace = grace;
          } else {
            judge(line.group, [...model.values()], line.cursor + step.share - 2, step.isHeld);
          }
        }
        check(lines, groups, model, gone);
      }
    }),
    { numRuns: 60 },
  );
});

test('ten thousand lines that open and close in every order leave the table as small as it was with the most open', () => {
  const lines = new Lines<Socket, Group>();
  const group: Group = { table: new LineTable<Socket>() };
  const open: { handle: number; socket: Socket }[] = [];
  let highest = 0;
  for (let i = 0; i < 10_000; i++) {
    const socket = { name: i };
    const handle = lines.add(group, socket, i, 0, 0, 0);
    highest = Math.max(highest, handle);
    open.push({ handle, socket });
    if (open.length < 100) continue;
    const [closed] = open.splice((i * 7919) % open.length, 1);
    lines.remove(closed!.handle);
  }
  expect(highest).toBeLessThan(100);
  expect(group.table.cursors.length).toBe(128);
  for (const { handle, socket } of open) {
    expect(lines.groupOf(handle, socket)).toBe(group);
    expect(group.table.cursors[lines.rowOf(handle)]).toBe(socket.name);
  }
});

test('the typed arrays take as many bytes a line as is exported', () => {
  const lines = new Lines<Socket, Group>();
  const group: Group = { table: new LineTable<Socket>() };
  for (let name = 0; name < 4096; name++) lines.add(group, { name }, 0, 0, 0, 0);
  expect(group.table.memoryBytes).toBe(4096 * TABLE_ROW_BYTES);
  expect(lines.memoryBytes).toBe(4096 * HANDLE_BYTES);
});

test('a row that is walked downwards is met once, whoever is removed on the way', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(1000), { minLength: 1, maxLength: 60 }),
      fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }),
      (victims, removes) => {
        const lines = new Lines<Socket, Group>();
        const group: Group = { table: new LineTable<Socket>() };
        const handleOf = new Map<Socket, number>();
        for (let i = 0; i < 60; i++) {
          const socket = { name: i };
          handleOf.set(socket, lines.add(group, socket, 0, 0, 0, 0));
        }
        const met = new Set<Socket>();
        const { table } = group;
        // As core/pump.ts does it, over several turns with removals of any row in between.
        let row = table.count - 1;
        for (let turn = 0; row >= 0; turn++) {
          const socket = table.sockets[row]!;
          if (removes[turn % removes.length] === true && turn < victims.length) {
            met.add(socket);
            const victim = table.sockets[victims[turn]! % table.count]!;
            lines.remove(handleOf.get(victim)!);
            handleOf.delete(victim);
          } else {
            met.add(socket);
          }
          row = Math.min(row - 1, table.count - 1);
        }
        for (const socket of handleOf.keys())
          expect(met.has(socket), `line ${socket.name} was left out`).toBe(true);
      },
    ),
  );
});
