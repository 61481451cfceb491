/**
 * The heartbeat wheel: one timer that checks each line four times an interval, a few lines a step,
 * and writes to those to which nothing was written for more than three quarters of the interval. So
 * a silent line hears something within one interval, a busy one costs a comparison, and the writes
 * are spread over time.
 */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { HEARTBEAT_STEP_MS_MIN, HEARTBEAT_TURN_STEPS } from '../limits.js';
import type { Group } from './group.js';
import { DRAINED, READING, STALLED, type LineTable } from './line-table.js';
import type { Lines } from './lines.js';
import type { LinePort } from './ports.js';
import type { Progress } from './progress.js';
import type { Pump } from './pump.js';

/** Turns of the wheel in one interval. */
const TURNS = 4;

/** The lines that there are, by group and by handle. */
interface HeldLines {
  readonly groups: Iterable<Group>;
  readonly lines: Lines<unknown, Group>;
}

export class Heartbeat {
  readonly #pump: Pump;
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #groups: Iterable<Group>;
  readonly #lines: Lines<unknown, Group>;
  readonly #progress: Progress;
  /** Steps in one turn of the wheel: every line is checked once a turn. */
  readonly #turnSteps: number;
  readonly #stepMs: number;
  /** Called at each step, for what needs no timer of its own. */
  onStep: (() => void) | undefined;
  /**
   * Handles of lines that were due when another row became theirs: the wheel may have just passed
   * that row. At most one for each line removed since the last step.
   */
  readonly #moved: number[] = [];
  #startedMs = 0;
  #cancel: (() => void) | undefined;

  constructor(
    pump: Pump,
    clock: Clock,
    counters: Counters,
    { groups, lines }: HeldLines,
    progress: Progress,
    intervalMs: number,
  ) {
    this.#pump = pump;
    this.#clock = clock;
    this.#counters = counters;
    this.#groups = groups;
    this.#lines = lines;
    this.#progress = progress;
    const turnMs = intervalMs / TURNS;
    this.#turnSteps = Math.max(
      1,
      Math.min(HEARTBEAT_TURN_STEPS, Math.floor(turnMs / HEARTBEAT_STEP_MS_MIN)),
    );
    this.#stepMs = turnMs / this.#turnSteps;
  }

  start(): void {
    this.#startedMs = this.#clock.nowMs() - this.#pump.step * this.#stepMs;
    this.#next();
  }

  /** Time since a step of the wheel, ms. */
  sinceMs(step: number): number {
    return (this.#pump.step - step) * this.#stepMs;
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /**
   * The row has become another line's, and is checked up to a turn from now. That is soon enough
   * for a line that is not due yet; one that is due is checked at the next step.
   */
  moved({ mode, table }: Group, row: number): void {
    if (mode.port.kind === 'stream' && this.#isDue(table, row))
      this.#moved.push(table.handles[row] as number);
  }

  #next(): void {
    const dueMs = this.#startedMs + (this.#pump.step + 1) * this.#stepMs;
    this.#cancel = this.#clock.later(Math.max(1, dueMs - this.#clock.nowMs()), () => {
      const due = Math.floor((this.#clock.nowMs() - this.#startedMs) / this.#stepMs);
      // After a pause of the whole process one turn checks every line; more would check it again.
      const first = Math.max(this.#pump.step + 1, due - this.#turnSteps + 1);
      for (let step = first; step <= due; step++) this.#turn(step);
      this.onStep?.();
      this.#next();
    });
  }

  /** Nothing was written to the line for more than three quarters of the interval. */
  #isDue({ lastWrites }: LineTable<unknown>, row: number): boolean {
    return this.#pump.step - (lastWrites[row] as number) > (TURNS - 1) * this.#turnSteps;
  }

  /** Checks every `turnSteps`-th line, and those that were due when their rows changed. */
  #turn(step: number): void {
    this.#pump.step = step;
    for (const handle of this.#moved) {
      // It may have left since, and its handle be another line's.
      const group = this.#lines.groupAt(handle) as Group | undefined;
      if (group?.mode.port.kind === 'stream')
        this.#check(group, this.#lines.rowOf(handle), Infinity);
    }
    this.#moved.length = 0;
    for (const group of this.#groups) {
      // A port of messages sends pings of its own, and a waiting poll is not written to.
      if (group.mode.port.kind !== 'stream') continue;
      this.#check(group, (step + group.phase) % this.#turnSteps, this.#turnSteps);
    }
  }

  /** Checks the lines of a group from row `first` on, every `every`-th. */
  #check(group: Group, first: number, every: number): void {
    const { step } = this.#pump;
    const { table, encoding, set, mode } = group;
    const port = mode.port as LinePort;
    const { states, lastWrites, cursors } = table;
    const newest = set.newestId;
    const head = this.#progress.through(set);
    let atHead: Buffer | undefined;
    for (let row = first; row < table.count; row += every) {
      if (!this.#isDue(table, row)) continue;
      if (states[row] === STALLED || states[row] === DRAINED) continue;
      const cursor = cursors[row] as number;
      // A cursor above the head came from the client: those events are accepted but have not
      // entered yet. What a line is behind that is given the log's past is not in the rings.
      const isAtHead = cursor >= newest && cursor <= head && states[row] !== READING;
      const bytes = isAtHead
        ? (atHead ??= encoding.heartbeat(head))
        : encoding.heartbeat(undefined);
      const taken = port.write(table.sockets[row], bytes);
      lastWrites[row] = step;
      this.#counters.heartbeats_total++;
      // The heartbeat tells the client that nothing up to the head is missing.
      if (isAtHead) cursors[row] = head;
      table.interrupt(row);
      if (!taken) this.#pump.stall(group, row);
    }
  }
}
