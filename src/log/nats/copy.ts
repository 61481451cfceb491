/**
 * Moves a log to NATS: its entries in their order, and the rows beside them. A stream's ids follow
 * one another, so the last entry takes the last id that the log has given, and the others those
 * before it: an id is higher than it was where the log has lost one that came later, and never
 * lower. A reader's position from before then points further back than it should, at events that
 * the reader has had.
 */
import { pause } from '../../clock.js';
import type { LoggedEntry } from '../../core/event.js';
import type { LogRow, RequestKey } from '../../core/event-log.js';
import { HoldlineError, isTemporary } from '../../errors.js';
import { NATS_COPY_BATCH_MAX, NATS_COPY_RETRY_MS_MAX, NATS_RECONNECT_MS } from '../../limits.js';
import { NatsLog } from './nats-log.js';
import type { NatsLogOptions } from './options.js';

export type CopyOptions = NatsLogOptions & { readonly firstId: number };

export interface Copied {
  readonly entries: number;
  readonly rows: number;
  /** Ids in the stream; 0 without entries. */
  readonly firstId: number;
  readonly lastId: number;
  /** Entries that have another id now, and the first of them; undefined without one. */
  readonly changed: number;
  readonly firstChanged: { readonly from: number; readonly to: number } | undefined;
}

/**
 * Copies entries, in id order, and then rows into a stream that is new or empty, and starts at
 * `firstId`. Rejects with HOLDLINE_BAD_LOG for a stream that has had entries, and with
 * HOLDLINE_LOG_UNAVAILABLE when NATS is away for NATS_COPY_RETRY_MS_MAX: then delete the stream and
 * begin again. `told` hears now and then how many entries have been copied.
 */
export async function copyTo(
  entries: AsyncIterable<LoggedEntry>,
  rows: Iterable<LogRow>,
  options: CopyOptions,
  told: (entries: number) => void = () => {},
): Promise<Copied> {
  const copy = new Copy(options, told);
  try {
    let batch: LoggedEntry[] = [];
    for await (const entry of entries) {
      batch.push(entry);
      if (batch.length < NATS_COPY_BATCH_MAX) continue;
      await copy.append(batch);
      batch = [];
    }
    await copy.append(batch);
    await copy.put(rows);
    return copy.result;
  } finally {
    await copy.close();
  }
}

class Copy {
  readonly #options: CopyOptions;
  readonly #told: (entries: number) => void;
  #log: NatsLog | undefined;
  #result: Copied = {
    entries: 0,
    rows: 0,
    firstId: 0,
    lastId: 0,
    changed: 0,
    firstChanged: undefined,
  };

  constructor(options: CopyOptions, told: (entries: number) => void) {
    this.#options = options;
    this.#told = told;
  }

  get result(): Copied {
    return this.#result;
  }

  async append(batch: readonly LoggedEntry[]): Promise<void> {
    const first = batch[0];
    if (first === undefined) return;
    const log = (this.#log ??= await this.#open());
    // One key for the batch: what is tried again is kept once.
    const request = { key: `copy.${first.id}`, digest: 'copy', subscribers: 0 };
    const ids = await this.#insist(() => idsOf(log, batch, request));
    const changed = batch.flatMap(({ id }, i) =>
      id === ids[i] ? [] : [{ from: id, to: ids[i]! }],
    );
    const before = this.#result;
    this.#result = {
      ...before,
      entries: before.entries + batch.length,
      firstId: before.firstId === 0 ? (ids[0] as number) : before.firstId,
      lastId: ids.at(-1) as number,
      changed: before.changed + changed.length,
      firstChanged: before.firstChanged ?? changed[0],
    };
    this.#told(this.#result.entries);
  }

  async put(rows: Iterable<LogRow>): Promise<void> {
    for (const { kind, key, value, untilMs } of rows) {
      const log = (this.#log ??= await this.#open());
      await this.#insist(async () => log.rows?.put(kind, key, value, untilMs));
      this.#result = { ...this.#result, rows: this.#result.rows + 1 };
    }
  }

  async close(): Promise<void> {
    await this.#log?.close();
  }

  async #open(): Promise<NatsLog> {
    const log = new NatsLog(this.#options);
    await log.open();
    if (log.lastId() === log.floor()) return log;
    await log.close();
    throw new HoldlineError(
      'HOLDLINE_BAD_LOG',
      `the stream ${this.#options.stream} has had entries before; copy into one that is new (--nats-stream)`,
    );
  }

  async #insist<Done>(act: () => Promise<Done>): Promise<Done> {
    const { clock } = this.#options;
    const untilMs = clock.nowMs() + NATS_COPY_RETRY_MS_MAX;
    for (;;) {
      try {
        return await act();
      } catch (error) {
        if (!isTemporary(error) || clock.nowMs() > untilMs) throw error;
      }
      await pause(clock, NATS_RECONNECT_MS);
    }
  }
}

/** Ids of a batch: also of one that the stream had before, since its answer was lost. */
async function idsOf(
  log: NatsLog,
  batch: readonly LoggedEntry[],
  request: RequestKey & { readonly subscribers: number },
): Promise<readonly number[]> {
  const ids = await log.append(batch, request);
  if (ids.length > 0) return ids;
  const kept = await log.kept(request.key);
  if (kept === undefined) return idsOf(log, batch, request);
  // Nobody else publishes here: they follow one another.
  return batch.map((_, index) => kept.receipt.firstId + index);
}
