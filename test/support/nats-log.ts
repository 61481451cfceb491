/** Logs on a real NATS, as nodes of one cluster have them, and what they handed over. */
import { onTestFinished } from 'vitest';
import { SYSTEM_CLOCK } from '../../src/clock.js';
import { isDeletion, type LoggedEntry, type NewEvent } from '../../src/core/event.js';
import { makeCounters, type Counters } from '../../src/counters.js';
import { asError } from '../../src/errors.js';
import { NatsLog } from '../../src/log/nats/nats-log.js';
import type { NatsLogOptions } from '../../src/log/nats/options.js';
import { checkForeign } from '../../src/transports/foreign.js';
import { Watched } from './wire.js';
import { until } from './until.js';

export const MAX_EVENT_BYTES = 64 * 1024;

/** A node's log, and all that it told. */
export class LogNode extends Watched {
  readonly log: NatsLog;
  readonly counters: Counters;
  readonly entries: LoggedEntry[] = [];
  /** Losses: up to which id, and of which channel. */
  readonly lost: (readonly [number, string | undefined])[] = [];
  readonly reports: string[] = [];

  constructor(url: string, options: Partial<NatsLogOptions> = {}) {
    super();
    this.counters = makeCounters();
    this.log = new NatsLog({
      url,
      stream: 'holdline',
      prefix: 'holdline',
      replicas: 1,
      retention: { events: 0, bytes: 0, ageMs: 0 },
      firstId: undefined,
      clock: SYSTEM_CLOCK,
      counters: this.counters,
      check: (foreign) => checkForeign(foreign, MAX_EVENT_BYTES),
      report: (error) => this.reports.push(asError(error).message),
      ...options,
    });
  }

  /** Opens it and tails it; closed when the test is over. */
  static async open(url: string, options: Partial<NatsLogOptions> = {}): Promise<LogNode> {
    const node = new LogNode(url, options);
    onTestFinished(() => node.log.close());
    await node.open();
    return node;
  }

  async open(): Promise<void> {
    await this.log.open();
    this.log.tail(
      (entries) => {
        this.entries.push(...entries);
        this.changed();
      },
      (throughId, channel) => {
        this.lost.push([throughId, channel]);
        this.changed();
      },
    );
  }

  describe(): string {
    return `${this.entries.length} entries, the last ${this.entries.at(-1)?.id}; lost ${JSON.stringify(this.lost)}; ${this.reports.join('; ')}; ${JSON.stringify(this.log.state)}`;
  }

  /** What was handed over, as `texts` gives it. */
  get texts(): string[] {
    return texts(this.entries);
  }

  get ids(): number[] {
    return this.entries.map(({ id }) => id);
  }

  /** Waits until so many entries came. */
  async hasEntries(count: number, deadlineMs?: number): Promise<void> {
    await this.waitFor(`${count} entries`, () => this.entries.length >= count, deadlineMs);
  }

  async isUp(isUp = true): Promise<void> {
    await until(`the log is ${isUp ? 'up' : 'down'}`, () => this.log.state.isUp === isUp);
  }
}

export function event(channel: string, text: string, more: Partial<NewEvent> = {}): NewEvent {
  return { channel, type: undefined, data: Buffer.from(text), json: false, ...more };
}

/** `channel: data`, or `end of channel`. */
export function texts(entries: readonly LoggedEntry[]): string[] {
  return entries.map((entry) =>
    isDeletion(entry)
      ? `end of ${entry.channel}`
      : `${entry.channel}: ${Buffer.from(entry.data).toString()}`,
  );
}
