/**
 * The log on NATS JetStream: one stream for all channels and all nodes, whose sequence is the ids.
 * Every node tails the whole stream, and knows its own events only from there, so all have one
 * order. While NATS is away nothing is appended or read, and all of it resumes by itself.
 */
import { jetstreamManager, type JetStreamManager, type StreamInfo } from '@nats-io/jetstream';
import { pause } from '../../clock.js';
import type { LoggedEntry, NewEntry } from '../../core/event.js';
import { isDeletion } from '../../core/event.js';
import {
  LOG_UP,
  type EventLog,
  type History,
  type KeptReceipt,
  type LogFigures,
  type LogRows,
  type LogState,
  type LoseIds,
  type RequestKey,
} from '../../core/event-log.js';
import { asError, HoldlineError } from '../../errors.js';
import {
  IDEMPOTENCY_MS,
  NATS_RECEIPTS_READ_MAX,
  NATS_REQUEST_MS_MAX,
  NATS_SILENT_MS_MAX,
  NATS_STREAM_MS_MAX,
  NATS_TAIL_WAIT_MS_MAX,
} from '../../limits.js';
import { firstIdAt } from '../first-id.js';
import { KeptReceipts } from '../kept-receipts.js';
import { LogLoss } from '../log-loss.js';
import { Appends } from './appends.js';
import { Arrivals } from './arrivals.js';
import { connectTo, type Connection } from './connection.js';
import { NatsHistory } from './history.js';
import { Marks } from './marks.js';
import type { NatsLogOptions } from './options.js';
import { Past } from './past.js';
import { Publisher } from './publisher.js';
import { meaningOf, receiptOf, type Arrived } from './record.js';
import { NatsRows } from './rows.js';
import { SeenIds } from './seen-ids.js';
import { AHEAD, differences, floorOf, openStream } from './stream.js';
import { SILENT, StreamWatch } from './stream-watch.js';
import { Subjects } from './subjects.js';
import { Tail } from './tail.js';
import { unavailable } from './unavailable.js';

const REPLACED = `${AHEAD}: it was replaced or restored`;

const down = (problem: string): LogState => ({ isUp: false, problem });

/** What there is once it is open. */
interface Opened {
  readonly connection: Connection;
  readonly publisher: Publisher;
  readonly appends: Appends;
  readonly tail: Tail;
  readonly watch: StreamWatch;
  readonly history: NatsHistory;
  readonly marks: Marks;
  readonly seenIds: SeenIds;
  readonly past: Past;
  readonly rows: NatsRows;
}

export class NatsLog implements EventLog {
  readonly #options: NatsLogOptions;
  readonly #subjects: Subjects;
  readonly #receipts: KeptReceipts;
  readonly #arrivals: Arrivals;
  #opened: Opened | undefined;
  #floor = 0;
  #take: ((entries: readonly LoggedEntry[]) => void) | undefined;
  #lose: LoseIds | undefined;
  /** Why the stream cannot be used until this server is started again. */
  #fault = '';
  #receiptsRead: Promise<void> | undefined;
  /** The last attempt to read what rows other servers have put has failed, which was reported. */
  #areRowsBehind = false;
  #isClosed = false;

  /** Throws HOLDLINE_BAD_OPTION. */
  constructor(options: NatsLogOptions) {
    if (!Subjects.accepts(options.prefix)) {
      throw new HoldlineError(
        'HOLDLINE_BAD_OPTION',
        `--nats-prefix must be tokens of A–Z a–z 0–9 _ - with dots between, of which the first does not begin with _ (got ${JSON.stringify(options.prefix)})`,
      );
    }
    if (!/^[\w-]+$/.test(options.stream)) {
      throw new HoldlineError(
        'HOLDLINE_BAD_OPTION',
        `--nats-stream must be of A–Z a–z 0–9 _ - (got ${JSON.stringify(options.stream)})`,
      );
    }
    this.#options = options;
    this.#subjects = new Subjects(options.prefix);
    this.#receipts = new KeptReceipts(options.clock, options.counters);
    this.#arrivals = new Arrivals(options.clock);
  }

  async open(): Promise<void> {
    const { clock, stream } = this.#options;
    const connection = await connectTo(this.#options, clock);
    try {
      // While servers of a cluster start, JetStream is not there yet: the stream is waited for.
      const manager = await jetstreamManager(connection.nats, {
        timeout: NATS_REQUEST_MS_MAX,
        checkAPI: false,
      });
      const { firstId = firstIdAt(clock.wallMs()) } = this.#options;
      const info = await openStream(manager, this.#options, firstId, clock);
      this.#floor = floorOf(info);
      const different = differences(info, this.#options);
      if (different !== '') this.#report(`the stream ${stream} stays as it is: ${different}`);
      const lastId = Math.max(info.state.last_seq, this.#floor);
      this.#opened = this.#assemble(connection, manager, info, lastId);
    } catch (error) {
      await connection.close().catch(() => {});
      throw error;
    }
    void connection.watch({
      connectionLost: () => this.#opened?.tail.pause(),
      connectionBack: () => this.#back(),
    });
    // The stream itself keeps a request once: a receipt that is not read costs a repeat no more.
    this.#receiptsRead = this.#readReceipts(this.#opened).catch(() => {});
    try {
      await this.#opened.tail.restart(clock.nowMs() + NATS_STREAM_MS_MAX);
    } catch (error) {
      await this.close();
      const reason = asError(error).message;
      throw new HoldlineError('HOLDLINE_BAD_LOG', `the stream ${stream} cannot be read: ${reason}`);
    }
    if (!this.#isClosed) this.#opened.watch.lookLater();
  }

  /** Of requests before this server was started. */
  async #readReceipts({ past }: Opened): Promise<void> {
    const fromMs = this.#options.clock.wallMs() - IDEMPOTENCY_MS;
    const reading = await past.since(fromMs, NATS_RECEIPTS_READ_MAX);
    try {
      for (;;) {
        const messages = await reading.next(Infinity, 0);
        if (messages.length === 0) return;
        for (const message of messages) this.#keepReceipt(message);
      }
    } finally {
      reading.end();
    }
  }

  #keepReceipt(message: Arrived): void {
    const receipt = receiptOf(message);
    if (receipt !== undefined && this.#options.clock.wallMs() - message.wallMs < IDEMPOTENCY_MS)
      this.#receipts.keep(receipt.key, receipt.kept);
  }

  get isOpen(): boolean {
    return this.#opened !== undefined;
  }

  get state(): LogState {
    const opened = this.#opened;
    if (opened === undefined) return down('the log is not open');
    if (this.#fault !== '') return down(this.#fault);
    if (!opened.connection.isUp) return down(opened.connection.problem);
    if (opened.watch.isSilent) return down(opened.watch.problem);
    if (opened.tail.isAhead) return down(AHEAD);
    return opened.tail.isLive ? LOG_UP : down('the stream cannot be read');
  }

  get history(): History | undefined {
    return this.#opened?.history;
  }

  get rows(): LogRows | undefined {
    return this.#opened?.rows;
  }

  get figures(): LogFigures | undefined {
    const state = this.#opened?.watch.state;
    return state === undefined ? undefined : { events: state.messages, bytes: state.bytes };
  }

  /**
   * Ordered, but not atomic: entries of others may lie between, and when it fails part of it may be
   * kept, which the error says. The same request again adds what is missing. Rejects with
   * HOLDLINE_IDEMPOTENCY_MISMATCH when another server has used the key for another request.
   */
  async append(
    entries: readonly NewEntry[],
    request?: RequestKey & { readonly subscribers: number },
  ): Promise<readonly number[]> {
    const { appends, tail } = this.#takingEntries();
    if (entries.length === 0) return [];
    const before = tail.lastId;
    const { ids, isRepeat, mayBeOld } = await appends.append(entries, request);
    const lastId = Math.max(...ids);
    if (!isRepeat && mayBeOld !== true && lastId <= before) {
      this.#behind();
      throw new HoldlineError('HOLDLINE_OUTCOME_UNKNOWN', REPLACED);
    }
    // What is committed is told, even if this server has not seen it in time.
    await this.#arrivals.of(lastId, NATS_TAIL_WAIT_MS_MAX);
    const hasReceipt = request !== undefined && this.#receipts.get(request.key) !== undefined;
    return isRepeat && hasReceipt ? [] : ids;
  }

  /** Of requests that this server has seen in the stream, whichever server took them. */
  async kept(key: string): Promise<KeptReceipt | undefined> {
    await this.#receiptsRead;
    return this.#receipts.get(key);
  }

  tail(take: (entries: readonly LoggedEntry[]) => void, lose?: LoseIds): () => void {
    this.#take = take;
    this.#lose = lose;
    return () => {
      this.#take = undefined;
      this.#lose = undefined;
    };
  }

  lastId(): number {
    return this.#opened?.tail.lastId ?? this.#floor;
  }

  floor(): number {
    return this.#floor;
  }

  /** Waits for NATS_TAIL_WAIT_MS_MAX at the most. */
  async reach(id: number): Promise<boolean> {
    if (id <= this.lastId()) return true;
    const { watch } = this.#takingEntries();
    if ((await watch.newest()) < id) return false;
    if (await this.#arrivals.of(id, NATS_TAIL_WAIT_MS_MAX)) return true;
    throw unavailable('this server is behind the stream');
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const opened = this.#opened;
    if (opened === undefined) return;
    opened.watch.close();
    const { clock } = this.#options;
    const untilMs = clock.nowMs() + NATS_SILENT_MS_MAX;
    while (!(opened.publisher.isIdle && this.#arrivals.isEmpty) && clock.nowMs() < untilMs)
      await pause(clock, 10);
    opened.publisher.close();
    opened.tail.close();
    opened.rows.close();
    opened.past.close();
    this.#take = undefined;
    this.#lose = undefined;
    await opened.connection.close().catch(() => {});
  }

  #assemble(
    connection: Connection,
    manager: JetStreamManager,
    info: StreamInfo,
    lastId: number,
  ): Opened {
    const { stream, clock, counters, check } = this.#options;
    const { nats } = connection;
    const isConnected = (): boolean => connection.isUp;
    const subjects = this.#subjects;
    const marks = new Marks(manager, stream, subjects);
    const seenIds = new SeenIds(lastId);
    const publisher = new Publisher(nats, clock, {
      isConnected,
      silent: () => watch.failed(SILENT),
      nobody: (problem) => watch.failed(problem),
    });
    const tail = new Tail(nats, manager, stream, lastId, clock, {
      isConnected,
      arrived: (messages) => this.#arrived(messages),
      lost: (throughId) => this.#lost(throughId),
      streamMissing: () => this.#makeAgain(manager),
      streamIsBehind: () => this.#behind(),
    });
    const watch = new StreamWatch(manager, info, clock, {
      isConnected,
      looked: (firstId, newestId) => {
        tail.compare(firstId, newestId);
        void this.#catchUp(rows);
      },
    });
    const rows = new NatsRows(nats, manager, this.#options, clock);
    const past = new Past(nats, manager, stream, clock);
    this.#arrivals.arrived(lastId);
    return {
      connection,
      marks,
      seenIds,
      past,
      rows,
      publisher,
      appends: new Appends(publisher, manager, stream, subjects),
      tail,
      watch,
      history: new NatsHistory({
        past,
        marks,
        subjects,
        check,
        counters,
        floor: () => this.#floor,
        // What is above its tail may be of any channel.
        lostOf: (channel, forgottenThrough) =>
          forgottenThrough > tail.lastId
            ? forgottenThrough
            : seenIds.lostThrough(channel, forgottenThrough),
        seenThrough: () => tail.lastId,
        problem: () => (connection.isUp ? this.#fault : connection.problem),
      }),
    };
  }

  /** Throws HOLDLINE_LOG_UNAVAILABLE at once when it is known that nothing would be taken. */
  #takingEntries(): Opened {
    const opened = this.#opened;
    const { isUp, problem } = this.state;
    if (opened === undefined || this.#isClosed) throw unavailable('the log is not open');
    const { downMs } = opened.connection;
    // A connection that was just lost is mostly back at once, by another server.
    const isBrief = downMs > 0 && downMs < NATS_SILENT_MS_MAX && this.#fault === '';
    const isRefused =
      this.#fault !== '' || opened.watch.isSilent || opened.tail.isAhead || downMs > 0;
    if (!isUp && !isBrief && isRefused)
      throw unavailable(`${problem}; nothing was published; try again after Retry-After`);
    return opened;
  }

  #arrived(messages: readonly Arrived[]): void {
    const { check, counters } = this.#options;
    const entries: LoggedEntry[] = [];
    const handOver = (): void => {
      if (entries.length > 0) this.#take?.(entries.splice(0));
    };
    for (const message of messages) {
      const meaning = meaningOf(message, this.#subjects, check);
      if (meaning === undefined) continue;
      const { channel, entry, problem } = meaning;
      if (channel !== undefined) this.#opened?.seenIds.seen(channel, message.id);
      if (entry === undefined) {
        counters.log_records_refused_total++;
        this.#report(`a record of the stream was skipped (id ${message.id}): ${problem}`);
        handOver();
        if (channel !== undefined) this.#lose?.(message.id, channel);
        continue;
      }
      if (isDeletion(entry)) this.#opened?.marks.seen(entry.channel, entry.id);
      entries.push(entry);
      this.#keepReceipt(message);
    }
    handOver();
    this.#arrivals.arrived((messages.at(-1) as Arrived).id);
  }

  #lost(throughId: number): void {
    const { counters } = this.#options;
    counters.log_losses_total++;
    this.#opened?.seenIds.missed(throughId);
    this.#report(
      `the stream forgot records before this server had read them (up to id ${throughId}): all lines are told of a gap`,
    );
    this.#lose?.(throughId, undefined);
    this.#arrivals.arrived(throughId);
  }

  #back(): void {
    const opened = this.#opened;
    if (opened === undefined) return;
    opened.watch.back();
    opened.publisher.resend();
    void opened.tail.restart();
  }

  /** With each look at the stream: so it is tried again, and soon when NATS is back. */
  async #catchUp(rows: NatsRows): Promise<void> {
    try {
      await rows.catchUp();
      this.#areRowsBehind = false;
    } catch (error) {
      if (!this.#areRowsBehind && !this.#isClosed)
        this.#report(
          `what other servers have revoked cannot be read, and is tried again: ${asError(error).message}`,
        );
      this.#areRowsBehind = true;
    }
  }

  /** Somebody deleted the stream: a new one starts above all ids that were given. */
  async #makeAgain(manager: JetStreamManager): Promise<void> {
    const { clock, stream } = this.#options;
    const words = `the stream ${stream} is gone, with all that it kept; it is made again`;
    this.#options.report(new LogLoss(words));
    this.#opened?.marks.forget();
    const firstId = Math.max(firstIdAt(clock.wallMs()), this.lastId() + 1);
    const info = await openStream(manager, this.#options, firstId, clock);
    this.#floor = Math.max(this.#floor, floorOf(info));
  }

  #behind(): void {
    if (this.#fault !== '') return;
    this.#fault = REPLACED;
    this.#report(`${this.#fault}; start this server again to use it`);
  }

  #report(text: string): void {
    this.#options.report(new HoldlineError('HOLDLINE_LOG_UNAVAILABLE', text));
  }
}
