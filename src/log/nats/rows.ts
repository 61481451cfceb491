/**
 * What is kept beside the events, such as revocations: a stream of its own, which keeps the last
 * message of each subject and forgets none for its age. Every node hears of each row at once, by a
 * message that comes once or, where NATS is divided, never: so it also looks now and then whether
 * the stream has more, and reads that.
 */
import { createHash } from 'node:crypto';
import {
  DiscardPolicy,
  JetStreamApiError,
  StorageType,
  type JetStreamManager,
  type StreamState,
} from '@nats-io/jetstream';
import { type Msg, type NatsConnection, type Subscription } from '@nats-io/transport-node';
import { pause, type Clock } from '../../clock.js';
import type { LogRow, LogRows } from '../../core/event-log.js';
import { asError, HoldlineError } from '../../errors.js';
import { NATS_RECONNECT_MS, NATS_REQUEST_MS_MAX, NATS_STREAM_MS_MAX } from '../../limits.js';
import { Past } from './past.js';
import { isStreamMissing } from './stream.js';
import { unavailable } from './unavailable.js';

const PULL_BYTES = 1024 * 1024;

type Row = LogRow & { readonly node: string };

export class NatsRows implements LogRows {
  onChange: ((row: LogRow) => void) | undefined;
  readonly #nats: NatsConnection;
  readonly #manager: JetStreamManager;
  readonly #stream: string;
  readonly #root: string;
  readonly #replicas: number;
  readonly #clock: Clock;
  readonly #past: Past;
  readonly #heard: Subscription;
  /** Who put a row: what this node has put is no news to it. */
  readonly #node = crypto.randomUUID();
  #isMade = false;
  /** The message up to which all rows are known here; undefined while nobody wants them. */
  #readThrough: number | undefined;
  #isCatchingUp = false;
  #isClosed = false;

  constructor(
    nats: NatsConnection,
    manager: JetStreamManager,
    { stream, replicas }: { readonly stream: string; readonly replicas: number },
    clock: Clock,
  ) {
    this.#nats = nats;
    this.#manager = manager;
    this.#stream = `${stream}_rows`;
    this.#root = `_holdline_rows.${stream}`;
    this.#replicas = replicas;
    this.#clock = clock;
    this.#past = new Past(nats, manager, this.#stream, clock);
    this.#heard = nats.subscribe(`${this.#root}.>`, {
      callback: (error, message) => {
        if (error === null) this.#hear(message.data);
      },
    });
  }

  /**
   * Tries again for NATS_STREAM_MS_MAX: a server must not start without the rows because NATS was
   * busy for a moment.
   */
  async load(kind: string): Promise<readonly LogRow[]> {
    for (const untilMs = this.#clock.nowMs() + NATS_STREAM_MS_MAX; ;) {
      try {
        return await this.#loadNow(kind);
      } catch (error) {
        const isRefused = error instanceof JetStreamApiError && error.status < 500;
        if (isRefused || this.#isClosed || this.#clock.nowMs() > untilMs)
          throw error instanceof HoldlineError ? error : unavailable(error);
      }
      await pause(this.#clock, NATS_RECONNECT_MS);
    }
  }

  async #loadNow(kind: string): Promise<readonly LogRow[]> {
    await this.#make();
    const state = await this.#state();
    const rows = await this.#read(`${kind}.*`, 0, state);
    // What was put meanwhile is heard, or read with the next look.
    this.#readThrough ??= state.last_seq;
    return rows;
  }

  async #state(): Promise<StreamState> {
    const { state } = await this.#manager.streams.info(this.#stream);
    return state;
  }

  /**
   * Rows that count, behind a message of the stream and at least through its last one. Those that
   * were over when the stream took that are deleted: the clock of this server may be ahead.
   */
  async #read(subjects: string, after: number, state: StreamState): Promise<readonly Row[]> {
    const lastMs = Date.parse(state.last_ts);
    const reading = await this.#past.read(`${this.#root}.${subjects}`, after, state.last_seq);
    try {
      const rows: Row[] = [];
      for (;;) {
        const messages = await reading.next(Infinity, PULL_BYTES);
        if (messages.length === 0) return rows;
        for (const { id, data } of messages) {
          const row = rowOf(data);
          if (row === undefined) continue;
          if (row.untilMs > this.#clock.wallMs()) rows.push(row);
          else if (row.untilMs <= lastMs)
            await this.#manager.streams.deleteMessage(this.#stream, id, false).catch(ignore);
        }
      }
    } finally {
      reading.end();
    }
  }

  async put(kind: string, key: string, value: string, untilMs: number): Promise<void> {
    await this.#make().catch((error: unknown) => {
      throw unavailable(error);
    });
    const subject = `${this.#root}.${kind}.${createHash('sha256').update(key).digest('base64url')}`;
    const text = JSON.stringify({ node: this.#node, kind, key, value, untilMs });
    let answer: Msg;
    try {
      answer = await this.#nats.request(subject, text, { timeout: NATS_REQUEST_MS_MAX });
    } catch (error) {
      throw new HoldlineError(
        'HOLDLINE_OUTCOME_UNKNOWN',
        `the log did not say whether it has it: ${asError(error).message}; repeat it`,
      );
    }
    const { error } = answer.json<{ readonly error?: { readonly description?: string } }>();
    if (error !== undefined) throw unavailable(error.description ?? 'NATS refuses it');
  }

  /**
   * Tells the rows that the stream has got since they were read last, those that were heard among
   * them. One question where there are none. Rejects when NATS does not answer: try it again later.
   */
  async catchUp(): Promise<void> {
    const before = this.#readThrough;
    if (before === undefined || this.#isCatchingUp || this.#isClosed) return;
    this.#isCatchingUp = true;
    try {
      await this.#make();
      const state = await this.#state();
      const lastId = state.last_seq;
      // A stream that was made again counts from 1.
      if (lastId !== before)
        for (const row of await this.#read('>', lastId > before ? before : 0, state))
          this.#tell(row);
      this.#readThrough = lastId;
    } catch (error) {
      if (isStreamMissing(error)) this.#isMade = false;
      throw error;
    } finally {
      this.#isCatchingUp = false;
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#heard.unsubscribe();
  }

  #hear(data: Uint8Array): void {
    const row = rowOf(data);
    if (row !== undefined) this.#tell(row);
  }

  #tell(row: Row): void {
    if (row.node !== this.#node) this.onChange?.(row);
  }

  /** The same configuration may be made again, by any node. */
  async #make(): Promise<void> {
    if (this.#isMade) return;
    await this.#manager.streams.add({
      name: this.#stream,
      description: 'holdline: revocations and the like',
      subjects: [`${this.#root}.>`],
      storage: StorageType.File,
      discard: DiscardPolicy.Old,
      num_replicas: this.#replicas,
      max_msgs_per_subject: 1,
    });
    this.#isMade = true;
  }
}

function rowOf(data: Uint8Array): Row | undefined {
  try {
    const { node, kind, key, value, untilMs } = JSON.parse(
      Buffer.from(data).toString(),
    ) as Partial<Row>;
    const isRow =
      typeof kind === 'string' &&
      typeof key === 'string' &&
      typeof value === 'string' &&
      typeof untilMs === 'number';
    return isRow ? { node: String(node), kind, key, value, untilMs } : undefined;
  } catch {
    return undefined;
  }
}

function ignore(): void {}
