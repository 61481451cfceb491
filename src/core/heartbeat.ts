/**
 * The heartbeat wheel: one timer that looks at each line four times an interval, a few lines a
 * step, and writes to those that nothing was written to for more than three quarters of it. So a
 * silent line hears within one interval, a busy one costs a comparison, and the writes spread over
 * the wheel instead of falling on one moment.
 */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { HEARTBEAT_STEP_MS_MIN, HEARTBEAT_TURN_STEPS } from '../limits.js';
import type { Group } from './group.js';
import { STALLED, DRAINED } from './lines.js';
import type { Pump } from './pump.js';

/** Times that the wheel turns in one interval. */
const TURNS = 4;

export class Heartbeat<Socket> {
  readonly #pump: Pump<Socket>;
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #groups: Iterable<Group<Socket>>;
  readonly #through: (group: Group<Socket>) => number;
  /** Steps in one turn of the wheel: every line is looked at once a turn. */
  readonly #turnSteps: number;
  readonly #stepMs: number;
  #startedMs = 0;
  #cancel: (() => void) | undefined;

  constructor(
    pump: Pump<Socket>,
    clock: Clock,
    counters: Counters,
    groups: Iterable<Group<Socket>>,
    through: (group: Group<Socket>) => number,
    intervalMs: number,
  ) {
    this.#pump = pump;
    this.#clock = clock;
    this.#counters = counters;
    this.#groups = groups;
    this.#through = through;
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

  #next(): void {
    const dueMs = this.#startedMs + (this.#pump.step + 1) * this.#stepMs;
    this.#cancel = this.#clock.later(Math.max(1, dueMs - this.#clock.nowMs()), () => {
      const due = Math.floor((this.#clock.nowMs() - this.#startedMs) / this.#stepMs);
      // After a pause of the whole process one turn looks at every line; more would only look
      // again.
      const first = Math.max(this.#pump.step + 1, due - this.#turnSteps + 1);
      for (let step = first; step <= due; step++) this.#turn(step);
      this.#next();
    });
  }

  /** Looks at every `turnSteps`-th line. */
  #turn(step: number): void {
    this.#pump.step = step;
    for (const group of this.#groups) {
      const { table, encoding } = group;
      const { port } = group.mode;
      // Messages are kept alive by pings of the socket's own, and a poll is not written to before
      // it is answered.
      if (port.kind !== 'stream') continue;
      const { states, lastWrites, cursors } = table;
      const newest = group.newestId;
      const head = this.#through(group);
      let atHead: Buffer | undefined;
      for (
        let row = (step + group.phase) % this.#turnSteps;
        row < table.count;
        row += this.#turnSteps
      ) {
        if (step - (lastWrites[row] as number) <= (TURNS - 1) * this.#turnSteps) continue;
        if (states[row] === STALLED || states[row] === DRAINED) continue;
        const cursor = cursors[row] as number;
        // A cursor above the head was brought by the client: its events are accepted but have not
        // entered yet.
        const isAtHead = cursor >= newest && cursor <= head;
        const bytes = isAtHead
          ? (atHead ??= encoding.heartbeat(head))
          : encoding.heartbeat(undefined);
        const taken = port.write(table.sockets[row] as Socket, bytes);
        lastWrites[row] = step;
        this.#counters.heartbeats_total++;
        // The client has read that nothing up to the head is missing, so this is its cursor now.
        if (isAtHead) cursors[row] = head;
        if (!taken) this.#pump.stall(group, row);
      }
    }
  }
}
