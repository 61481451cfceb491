/**
 * A worker of the simulator: a simulated process that serves with the code of a real one, from its
 * end of the pipe to its hub.
 */
import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import type { NewEvent } from '../../src/core/event.js';
import type { LogRow, Receipt, RequestKey } from '../../src/core/event-log.js';
import { Hub, type HubOptions } from '../../src/core/hub.js';
import { Idempotency } from '../../src/core/idempotency.js';
import { makeCounters } from '../../src/counters.js';
import { QUEUED_EVENT_BYTES } from '../../src/limits.js';
import { Parent } from '../../src/workers/parent.js';
import type { Share } from '../../src/workers/shares.js';
import type { Held } from './fake-hub.js';
import { fakeModes } from './fake-port.js';
import type { Lost } from './follower.js';
import type { KeepingServer } from './keeping-server.js';
import { PipeEnd, SimulatedProcess, type PipeParts } from './simulated-process.js';

export const ROW_KIND = 'revocation';
/** A number below which each is exact, and which no clock reaches. */
const NEVER_MS = Number.MAX_SAFE_INTEGER;

export interface WorkerParts {
  readonly supervisor: SimulatedProcess;
  readonly pipe: PipeParts;
  readonly hub: HubOptions;
  readonly lost: Lost;
  /** Longest times until its program runs, then until it listens, and until its end is seen. */
  readonly startMs: number;
  readonly setupMs: number;
  readonly exitMs: number;
  /** Called once, when the process is dead. */
  readonly died: (worker: SimulatedWorker) => void;
  /** Runs at the end of the turn, outside of all processes. */
  readonly afterTurn: (task: () => void) => void;
  readonly note: (what: string) => void;
}

export class SimulatedWorker implements KeepingServer {
  readonly process: SimulatedProcess;
  readonly pid: number;
  readonly lost: Lost;
  readonly modes: ReturnType<typeof fakeModes>;
  readonly counters = makeCounters();
  /** What the supervisor holds of it. */
  readonly child: ChildProcess;
  /** Rows that it knows, by key. */
  readonly rows = new Map<string, string>();
  readonly pipeEnds: readonly [PipeEnd, PipeEnd];
  hub!: Hub<Held>;
  parent!: Parent;
  share!: Share;
  isServing = false;
  /** When it began to hang last. */
  hangsSinceMs: number | undefined;

  readonly #parts: WorkerParts;
  readonly #events = new EventEmitter();
  #idempotency!: Idempotency;
  #isLeaving = false;

  constructor(pid: number, parts: WorkerParts) {
    this.pid = pid;
    this.#parts = parts;
    this.lost = parts.lost;
    this.process = new SimulatedProcess(`worker ${pid}`);
    this.modes = fakeModes(this.process.clock, 0);
    this.pipeEnds = PipeEnd.pair(parts.supervisor, this.process, parts.pipe);
    this.child = Object.assign(this.#events, {
      stdio: [null, null, null, this.pipeEnds[0]],
      pid,
      exitCode: null,
      kill: () => this.end('SIGKILL'),
    }) as unknown as ChildProcess;
    const { random } = parts.pipe;
    this.process.clock.later(
      random.next() * parts.startMs,
      () => void this.#begin().catch(this.#failed),
    );
  }

  get isAlive(): boolean {
    return !this.process.isDead;
  }

  /** True while it takes new requests and answers. */
  get isResponsive(): boolean {
    return this.isServing && this.process.isRunning && !this.#isLeaving;
  }

  run(task: () => void): void {
    this.process.run(task);
  }

  hasPlace(): boolean {
    return this.share.hasRoom;
  }

  hang(): void {
    this.process.hang();
    this.hangsSinceMs = this.#parts.pipe.nowMs();
  }

  goOn(): void {
    this.hangsSinceMs = undefined;
    this.process.goOn();
  }

  /** The process ends: it is killed, or (a code) ends by itself. */
  end(how: 'SIGKILL' | number): void {
    if (this.process.isDead) return;
    const { note, died, supervisor, exitMs, pipe } = this.#parts;
    note(`worker ${this.pid} ends: ${how}`);
    this.process.die();
    this.isServing = false;
    this.pipeEnds[1].processEnded(how === 0);
    died(this);
    const isCode = typeof how === 'number';
    supervisor.clock.later(pipe.random.next() * exitMs, () => {
      Object.assign(this.child, { exitCode: isCode ? how : null });
      this.#events.emit('exit', isCode ? how : null, isCode ? null : how);
    });
  }

  /** It is asked to end by itself, and another one to take its place. */
  leave(): void {
    this.run(() => {
      if (!this.isServing) return;
      this.parent.leaves();
      this.#drain(0);
    });
  }

  /** Publishes; resolves to the ids. */
  async publish(entries: readonly NewEvent[], request?: RequestKey): Promise<readonly number[]> {
    const { hub } = this;
    const name = (entries[0] as NewEvent).channel;
    if (entries.some(({ channel }) => channel !== name))
      return (await hub.batches.submit(entries, hub.batches.reserve(''))).ids;
    if (request === undefined) return (await hub.publish(name, entries)).ids;
    const reservation = hub.reserve(name);
    let bytes = 0;
    for (const entry of entries) bytes += QUEUED_EVENT_BYTES + entry.data.length;
    reservation.grow(bytes);
    const submission = { reservation, isRead: true, read: () => entries } as const;
    const publish = async (): Promise<Receipt> => {
      const { ids, subscribers } = await hub.submit(name, submission, request);
      const [firstId, lastId] = [ids[0] as number, ids.at(-1) as number];
      return { firstId, lastId, count: ids.length, subscribers };
    };
    try {
      const { firstId, count } = await this.#idempotency.once(request, reservation, publish);
      return Array.from({ length: count }, (_none, index) => firstId + index);
    } finally {
      reservation.release();
    }
  }

  async putRow(key: string, value: string): Promise<void> {
    await this.parent.log.rows.put(ROW_KIND, key, value, NEVER_MS);
    this.rows.set(key, value);
  }

  /** A program whose process has ended does not go on; what else fails is a fault. */
  readonly #failed = (error: unknown): void => {
    if (this.isAlive) throw error;
  };

  async #begin(): Promise<void> {
    const { clock } = this.process;
    const { hub: options, setupMs, pipe } = this.#parts;
    const parent = await Parent.connect(
      (reason) => {
        this.#parts.note(`worker ${this.pid} lost its supervisor: ${reason}`);
        this.end(1);
      },
      this.pipeEnds[1].duplex,
      clock,
    );
    const { log } = parent;
    const hub = new Hub<Held>(log, clock, this.counters, options);
    this.parent = parent;
    this.hub = hub;
    this.#idempotency = new Idempotency(log, this.counters);
    parent.onQuestion = () =>
      JSON.stringify({ counters: { events_entered_total: this.counters.events_entered_total } });
    parent.onDrain = (drainMs) => this.#drain(drainMs);
    hub.countElsewhere(parent.elsewhere, {
      changed: (name, _before, after) => parent.linesChanged(name, after),
    });
    log.queueLengthOf = (channel) => hub.channels.get(channel)?.queueLength ?? 0;
    this.share = parent.share('lines', () => hub.lines.open);
    await new Promise<void>((resolve) => {
      clock.later(pipe.random.next() * setupMs, resolve);
    });
    await log.open();
    hub.begin();
    log.rows.onChange = ({ key, value }: LogRow) => this.rows.set(key, value);
    for (const { key, value } of await log.rows.load(ROW_KIND)) this.rows.set(key, value);
    const address = { host: '127.0.0.1', port: 1, opsPort: undefined };
    parent.listens({ address, build: null, problems: [] });
    this.isServing = true;
  }

  /** As a server is closed: its lines end, then its log, then the process. */
  #drain(drainMs: number): void {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    const { clock } = this.process;
    this.hub.endSome(Infinity, 'draining');
    clock.later(drainMs, () => {
      this.hub.stop();
      void this.parent.log.close();
      this.#parts.afterTurn(() => this.end(0));
    });
  }
}
