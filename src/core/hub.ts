/**
 * The hub: groups and lines on them. Lets events in through the intake, wakes the pump, opens and
 * ends lines, and answers polls. Knows no socket: lines are whatever their way's port writes to.
 */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { asError, ENDS, HoldlineError, type EndCode } from '../errors.js';
import { makeHeldBytes, type HeldBytes } from './held-bytes.js';
import {
  CHANNELS_MAX,
  CORK_WRITE_BYTES_MAX,
  DEADLINE_STEP_MS,
  DELETED_ENDS_PER_TURN_MAX,
  OPENING_BYTES_MAX,
  REPLAY_OPENING_BYTES_MAX,
  POLL_WAIT_JITTER,
  POLL_WAIT_SECONDS_MAX,
  READER_CHANNELS_MAX,
} from '../limits.js';
import type { EventLog, RequestKey } from './event-log.js';
import { lossesSoFar, type Channel, type RingMemory } from './channel.js';
import { ChannelSet, type Member } from './channel-set.js';
import { Channels, type ChannelsOptions } from './channels.js';
import { Deadlines } from './deadlines.js';
import { isDeletion, type LoggedEntry, type LoggedEvent, type NewEntry } from './event.js';
import { Group } from './group.js';
import { Heartbeat } from './heartbeat.js';
import {
  Intake,
  queuedBytesOf,
  type IntakeOwner,
  type Published,
  type Submission,
} from './intake.js';
import {
  rankLines,
  unsentBytesOf,
  type LineFigures,
  type LineOrder,
  type RowTimes,
} from './line-ranking.js';
import { HEALTHY, Lines, STALLED } from './lines.js';
import type { DeliveryMode, Transport } from './ports.js';
import { gapBefore, PollAnswers, type OwedGap, type PollAnswer } from './poll.js';
import type { Position } from './position.js';
import { PublishMemory, Reservation } from './publish-memory.js';
import { Pump, type SlowPolicy } from './pump.js';
import { SliceCache } from './slice-cache.js';
import { emptyPosition, startOf, type Progress, type Start } from './start.js';

export interface HubOptions extends ChannelsOptions {
  readonly heartbeatMs: number;
  readonly flushIntervalMs: number;
  readonly slow: SlowPolicy;
}

/** A line that was just opened. */
export interface Joined {
  readonly handle: number;
  /** The position after which it continues. */
  readonly continuesAfter: number;
  /**
   * What the socket is given first: a stream's prelude, a gap if there is one, and replay. Valid
   * until the next join.
   */
  readonly opening: Buffer;
}

/** What is found for a poll: an answer, or where to wait for one. */
export interface Polled {
  readonly answer: PollAnswer | undefined;
  readonly start: Start;
  /** The position that the answer tells, with events or without. */
  readonly position: number;
}

/** What the hub's own data takes, bytes, without what stands on the heap. */
export interface HubMemory {
  /**
   * Rows of the groups, rows by handle, the wheel of deadlines, and what is remembered of channels
   * that were forgotten.
   */
  readonly tables: {
    readonly groupBytes: number;
    readonly handleBytes: number;
    readonly deadlineBytes: number;
    readonly lossBytes: number;
  };
  readonly rings: Readonly<RingMemory>;
}

/** A publish finds no place for a new name. */
function channelsFull(): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_CHANNELS_FULL',
    `${CHANNELS_MAX} channels have lines already; use one of them or try again later`,
  );
}

/** A line finds none. */
function readerChannelsFull(): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_CHANNELS_FULL',
    `${READER_CHANNELS_MAX} channels have lines and no events already; ask for one that was published to or try again later`,
  );
}

export class Hub<Socket> implements IntakeOwner<Group<Socket>>, Progress {
  readonly lines = new Lines<Socket, Group<Socket>>();

  readonly #log: EventLog;
  readonly #clock: Clock;
  readonly #beganMs: number;
  readonly #counters: Counters;
  readonly #pump: Pump<Socket>;
  readonly #heartbeat: Heartbeat<Socket>;
  readonly #channels: Channels<Group<Socket>>;
  readonly #publishMemory: PublishMemory;
  readonly #intake: Intake<Group<Socket>>;
  readonly #deadlines: Deadlines;
  readonly pollAnswers = new PollAnswers();
  readonly #groups = new Map<string, Group<Socket>>();
  #groupsMade = 0;
  /** Id of the newest entry that entered. */
  #head: number;
  /** Gaps that waiting polls are to be told, by handle. */
  readonly #owedGaps = new Map<number, OwedGap>();
  /** Groups of deleted channels whose lines are being ended. */
  readonly #ending: Group<Socket>[] = [];
  readonly #opening = Buffer.allocUnsafeSlow(CORK_WRITE_BYTES_MAX);
  /** What a line is given in its opening beside prelude and gap. */
  readonly #replays = new SliceCache<Socket>(REPLAY_OPENING_BYTES_MAX, false);
  /**
   * Told of the channels of every line that opens or closes, once; maybe in the middle of a sweep,
   * so they only take note.
   */
  onJoin: ((channels: readonly string[]) => void) | undefined;
  onLeave: ((channels: readonly string[]) => void) | undefined;

  constructor(
    log: EventLog,
    clock: Clock,
    counters: Counters,
    options: HubOptions,
    held: HeldBytes = makeHeldBytes(),
  ) {
    this.#log = log;
    this.#clock = clock;
    this.#beganMs = clock.nowMs();
    this.#counters = counters;
    this.#head = log.lastId();
    this.#channels = new Channels(counters, options, log.floor());
    this.#pump = new Pump(this, clock, counters, options);
    this.#deadlines = new Deadlines(clock, POLL_WAIT_SECONDS_MAX * 1000, (handle) =>
      this.#waitedLongEnough(handle),
    );
    this.#publishMemory = new PublishMemory(held);
    this.#intake = new Intake(this, log, clock, counters, this.#publishMemory);
    this.#heartbeat = new Heartbeat(
      this.#pump,
      clock,
      counters,
      this.#groupsView(),
      (group) => this.through(group),
      options.heartbeatMs,
    );
    this.#heartbeat.start();
  }

  /** Takes no more events and beats no more. */
  stop(): void {
    this.#heartbeat.stop();
    this.#deadlines.stop();
    this.#intake.stop();
  }

  /** Id of the newest entry that entered. */
  get head(): number {
    return this.#head;
  }

  /**
   * Id up to which every entry of the channels can be read: whoever was given what there is has
   * been given everything up to it.
   */
  through(set: ChannelSet<Member>): number {
    return set.through(this.#intake.tailedId);
  }

  /** The id that the log gave last. */
  get lastId(): number {
    return this.#log.lastId();
  }

  /** Positions below it may be of a channel of which nothing is remembered. */
  get floor(): number {
    return this.#channels.floor;
  }

  /** A plain picture of what is held, for `/-/stats`. */
  get gauges() {
    let stalled = 0;
    const byTransport: Record<Transport, number> = { sse: 0, ndjson: 0, websocket: 0, poll: 0 };
    for (const { table, mode } of this.#allGroups()) {
      stalled += table.stalledCount;
      byTransport[mode.transport] += table.count;
    }
    return {
      head: this.#head,
      floor: this.floor,
      linesOpen: this.lines.open,
      linesStalled: stalled,
      linesByTransport: byTransport,
      channels: this.#channels.count,
      readerChannels: this.#channels.ofReadersCount,
      rings: this.#channels.ringCount,
      ringBytes: this.#channels.ringBytes,
      ...this.#intake.gauges,
    };
  }

  /** What tables and rings take, for `/-/memory`. Walks all groups and all rings. */
  get memory(): HubMemory {
    let groupBytes = 0;
    for (const { table } of this.#allGroups()) groupBytes += table.memoryBytes;
    const { lossBytes } = this.#channels;
    return {
      tables: {
        groupBytes,
        handleBytes: this.lines.memoryBytes,
        deadlineBytes: this.#deadlines.memoryBytes,
        lossBytes,
      },
      rings: this.#channels.ringMemory,
    };
  }

  /** The first `limit` lines in that order, the largest first, for operators. */
  rankLines(order: LineOrder, limit: number): LineFigures[] {
    return rankLines(this.#allGroups(), order, limit, this.#rowTimes);
  }

  /** Bytes that were written to lines and have not left the process, at most. */
  get unsentBytes(): number {
    return unsentBytesOf(this.#allGroups());
  }

  // ── events in ──────────────────────────────────────────────────────────────────────────────────

  /**
   * Where the memory of a publish to the channel is accounted: asked for before a body is received,
   * grown as it comes. Throws HOLDLINE_CHANNELS_FULL, and HOLDLINE_PUBLISH_BUSY when as many
   * publishes wait as may.
   */
  reserve(channel: string): Reservation {
    // The channel's row is made here: where there is no place for one the publisher hears it before
    // anything is accepted.
    const placed = this.#channels.place(channel);
    if (placed === undefined) throw channelsFull();
    this.#intake.checkPlace(placed);
    return new Reservation(this.#publishMemory, placed.share);
  }

  /**
   * Publishes what a submission reads, all or nothing, when the channel has room for it; resolves
   * when it has its ids. Rejects with what `read` throws, HOLDLINE_PUBLISH_BUSY when there is no
   * room for some time, and HOLDLINE_CHANNELS_FULL. With `requestKey` the log keeps the receipt.
   */
  submit(channel: string, submission: Submission, requestKey?: RequestKey): Promise<Published> {
    const placed = this.#channels.place(channel);
    if (placed !== undefined) return this.#intake.submit(placed, submission, requestKey);
    submission.reservation.release();
    return Promise.reject(channelsFull());
  }

  /** Publishes entries that are there already, as {@link submit} does. */
  publish(
    channel: string,
    entries: readonly NewEntry[],
    requestKey?: RequestKey,
  ): Promise<Published> {
    try {
      const reservation = this.reserve(channel);
      reservation.grow(entries.reduce((bytes, entry) => bytes + queuedBytesOf(entry), 0));
      return this.submit(channel, { reservation, isRead: true, read: () => entries }, requestKey);
    } catch (error) {
      return Promise.reject(asError(error));
    }
  }

  /**
   * Ends the channel's history: a publish of a deletion, which enters when all that was accepted
   * before has gone out.
   */
  deleteChannel(channel: string): Promise<Published> {
    return this.publish(channel, [{ channel, isDeletion: true }]);
  }

  /**
   * Another node may have published to a name that has no place here. Lines that are there are
   * given it all the same.
   */
  placeOf(entry: LoggedEntry): Channel<Group<Socket>> | undefined {
    return this.#channels.get(entry.channel) ?? this.#channels.place(entry.channel);
  }

  queued(channel: Channel<Group<Socket>>): void {
    for (const group of channel.groups) if (group.readsQueues) this.#pump.wake(group);
  }

  enter(channel: Channel<Group<Socket>> | undefined, entry: LoggedEntry): void {
    this.#head = Math.max(this.#head, entry.id);
    if (isDeletion(entry)) {
      this.#counters.deletions_total++;
      if (channel !== undefined) this.#delete(channel, entry.id);
      return;
    }
    this.#counters.events_entered_total++;
    if (channel === undefined) this.#enterNowhere(entry);
    else this.#enterRing(channel, entry);
  }

  flush(): void {
    this.#pump.flush();
  }

  #enterRing(channel: Channel<Group<Socket>>, event: LoggedEvent): void {
    this.#counters.events_evicted_total += channel.enter(event);
    this.#channels.entered(channel);
    for (const group of channel.groups) this.#pump.wake(group);
  }

  /** No place for the event: it is lost, and who asks for it is told. */
  #enterNowhere(event: LoggedEvent): void {
    this.#counters.events_evicted_total++;
    this.#channels.lost(event.channel, event.id);
  }

  /**
   * A sweep over the group is complete: what its lines have been given may be evicted, and what
   * waited may enter.
   */
  swept(group: Group<Socket>): void {
    for (const channel of group.channels) {
      this.#counters.events_evicted_total += channel.evict();
      this.#channels.recount(channel);
    }
    for (const channel of group.channels) this.#intake.proceed(channel);
  }

  /**
   * True when everything accepted has been given to every line that takes it. Asking hurries a
   * flush interval along.
   */
  get isSettled(): boolean {
    this.#pump.flush();
    return this.#intake.isEmpty && this.#pump.isIdle;
  }

  /**
   * Drops what the channel holds, as a retention rule or an operator may: positions below its
   * newest event are gaps from here on.
   */
  dropChannel(name: string): void {
    const channel = this.#channels.get(name);
    if (channel?.isSwept === true) this.#channels.dropRing(channel);
  }

  /** The channel's history is over, and so are the lines on it alone. */
  #delete(channel: Channel<Group<Socket>>, id: number): void {
    this.#channels.delete(channel);
    for (const group of channel.groups.filter(({ channels }) => channels.length === 1)) {
      // Out of reach at once: who comes from now on is on another group, and what is published from
      // now on goes there.
      this.#detach(group);
      group.overAt = id;
      this.#ending.push(group);
    }
    if (this.#ending.length > 0) this.#clock.soon(this.#endDeleted);
  }

  readonly #endDeleted = (): void => {
    let left = DELETED_ENDS_PER_TURN_MAX;
    for (let group = this.#ending[0]; group !== undefined; group = this.#ending[0]) {
      for (; left > 0 && group.table.count > 0; left--)
        this.#end(group, group.table.count - 1, 'deleted');
      if (left === 0) {
        this.#clock.soon(this.#endDeleted);
        return;
      }
      this.#ending.shift();
    }
  };

  /** True from the deletion of the one channel asked for until something is published to it. */
  isDeleted(names: readonly string[]): boolean {
    return names.length === 1 && this.#channels.get(names[0] as string)?.isDeleted === true;
  }

  readonly #rowTimes: RowTimes = {
    sinceWriteMs: (lastWrite) => this.#heartbeat.sinceMs(lastWrite),
    ageMs: (openedSeconds) => this.#clock.nowMs() - this.#beganMs - openedSeconds * 1000,
  };

  // ── lines ──────────────────────────────────────────────────────────────────────────────────────

  /**
   * Opens a line on `names` (distinct) in one turn of the loop: its replay and its place in the
   * live stream fit each other. The caller writes `opening`, if it is not empty, to the socket at
   * once. Throws HOLDLINE_CHANNELS_FULL.
   */
  join(
    socket: Socket,
    names: readonly string[],
    mode: DeliveryMode<Socket>,
    position: Position,
    retryMs: number,
  ): Joined {
    const group = this.#groupOf(names, mode);
    const { encoding } = mode;
    const start = startOf(group, position, this);
    let length = 0;
    if (mode.port.kind === 'stream')
      length = this.#opening.write(encoding.prelude(start.continuesAfter, retryMs), 'latin1');
    if (start.gap !== undefined) {
      this.#countGapAtJoin();
      length += encoding
        .gap(start.gap.after, gapBefore(group, start.cursor, start.gap))
        .copy(this.#opening, length);
    }
    let cursor = start.cursor;
    const replays = this.#replays;
    // A frame too large for the opening is left to the pump, which knows how to cut it.
    while (
      cursor < group.newestId &&
      replays.find(group, cursor) &&
      length + replays.bytes.length <= OPENING_BYTES_MAX
    ) {
      this.#opening.set(replays.bytes, length);
      length += replays.bytes.length;
      cursor = replays.end;
      this.#counters.deliveries_total += replays.events;
    }
    // What followed is gone, and the line has been told.
    if (group.firstIdAfter(cursor) === undefined)
      cursor = Math.max(cursor, group.newestId, group.lostThrough);
    const handle = this.#add(group, socket, cursor);
    this.onJoin?.(names);
    if (cursor >= group.newestId) group.table.setState(this.lines.rowOf(handle), HEALTHY);
    else this.#pump.wakeBehind(group);
    return {
      handle,
      continuesAfter: start.continuesAfter,
      opening: this.#opening.subarray(0, length),
    };
  }

  /** Where a line on `names` would start now. */
  startOf(names: readonly string[], position: Position): Start {
    return startOf(this.#setOf(names), position, this);
  }

  #countGapAtJoin(): void {
    this.#counters.gaps_total++;
    this.#counters.gaps_at_join_total++;
  }

  #add(group: Group<Socket>, socket: Socket, cursor: number): number {
    const openedSecond = Math.floor((this.#clock.nowMs() - this.#beganMs) / 1000);
    const handle = this.lines.add(
      group,
      socket,
      cursor,
      lossesSoFar(),
      this.#pump.step,
      openedSecond,
    );
    for (const channel of group.channels) {
      channel.lineCount++;
      // The first line of an encoding has had its frames made.
      this.#channels.recount(channel);
    }
    this.#counters.lines_opened_total++;
    return handle;
  }

  /** The names of the line's channels, undefined when the line is over. */
  channelsOf(handle: number, socket: Socket): readonly string[] | undefined {
    return this.lines.groupOf(handle, socket)?.channels.map((channel) => channel.name);
  }

  /** What was written to the line outside the pump was refused in part. */
  stalled(handle: number, socket: Socket): void {
    const group = this.lines.groupOf(handle, socket);
    if (group === undefined) return;
    const row = this.lines.rowOf(handle);
    if (group.table.states[row] !== STALLED) this.#pump.stall(group, row);
  }

  /** The line's socket has drained. */
  drained(handle: number, socket: Socket): void {
    const group = this.lines.groupOf(handle, socket);
    if (group !== undefined) this.#pump.drained(group, this.lines.rowOf(handle));
  }

  /** The line's socket is gone. */
  left(handle: number, socket: Socket): void {
    const group = this.lines.groupOf(handle, socket);
    if (group === undefined) return;
    const stalled = group.table.stalledCount;
    this.#remove(handle);
    if (group.table.stalledCount < stalled) this.#counters.lines_closed_stalled_total++;
  }

  /** Ends a line with an end event. */
  endSlow(group: Group<Socket>, row: number): void {
    this.#end(group, row, 'slow');
  }

  /**
   * Ends up to `count` lines that are owed nothing, with an end event. A stalled line is left to
   * read on: once its socket has drained it is caught up, and is owed nothing. Returns how many
   * lines are left.
   */
  endSome(count: number, code: EndCode): number {
    for (const group of this.#groups.values()) {
      const { table, newestId } = group;
      for (let row = table.count - 1; row >= 0 && count > 0; row--) {
        if (table.states[row] === STALLED || (table.cursors[row] as number) < newestId) continue;
        this.#end(group, row, code);
        count--;
      }
    }
    return this.lines.open;
  }

  #end(group: Group<Socket>, row: number, code: EndCode): void {
    const { port } = group.mode;
    if (port.kind === 'poll') {
      this.#answerEmpty(group, row);
      return;
    }
    const socket = group.table.sockets[row] as Socket;
    this.#remove(group.table.handles[row] as number);
    this.#counters.lines_ended_total++;
    port.end(socket, group.encoding.end(code, ENDS[code].reconnect), code);
  }

  #remove(handle: number): void {
    this.#pump.grace.leaves(this.lines.groupAt(handle), this.lines.rowOf(handle));
    const group = this.lines.remove(handle);
    this.#counters.lines_closed_total++;
    for (const channel of group.channels) channel.lineCount--;
    // If it was the last one in grace, the sweep finds out.
    if (group.graceThrough !== Infinity) this.#pump.wakeBehind(group);
    const isPoll = group.mode.port.kind === 'poll';
    if (isPoll) {
      this.#deadlines.remove(handle);
      this.#owedGaps.delete(handle);
    }
    if (group.table.count === 0) this.#detach(group);
    for (const channel of group.channels)
      if (channel.lineCount === 0) this.#channels.released(channel);
    if (!isPoll) this.onLeave?.(group.channels.map((channel) => channel.name));
  }

  // ── polls ──────────────────────────────────────────────────────────────────────────────────────

  /**
   * Looks for an answer to a poll on `names` (distinct): `limit` 0 for one event, else an array of
   * up to so many.
   */
  poll(names: readonly string[], position: Position, limit: number): Polled {
    const set = this.#setOf(names);
    const start = startOf(set, position, this);
    const answer = this.pollAnswers.find(set, start.cursor, limit, start.gap);
    return {
      answer,
      start,
      position: answer?.lastId ?? emptyPosition(set, start, this.through(set)),
    };
  }

  /** A poll was answered at once, with what was found. */
  answered({ answer, start }: Polled): void {
    if (answer === undefined) this.#counters.polls_empty_total++;
    else this.#countAnswer(answer, start.gap);
  }

  /**
   * Lets a poll that found nothing wait for at most `waitMs`; its way says how it will be answered.
   * Throws HOLDLINE_CHANNELS_FULL.
   */
  wait(
    socket: Socket,
    names: readonly string[],
    mode: DeliveryMode<Socket>,
    start: Start,
    waitMs: number,
  ): number {
    const group = this.#groupOf(names, mode);
    const handle = this.#add(
      group,
      socket,
      Math.max(start.cursor, group.newestId, group.lostThrough),
    );
    group.table.setState(this.lines.rowOf(handle), HEALTHY);
    if (start.gap !== undefined) this.#owedGaps.set(handle, start.gap);
    // The wheel may be a step early.
    this.#deadlines.add(
      handle,
      waitMs - Math.random() * Math.max(0, waitMs * POLL_WAIT_JITTER - DEADLINE_STEP_MS),
    );
    this.#counters.polls_waited_total++;
    return handle;
  }

  /** There is something for a poll that waits. False when it is gone again. */
  answerPoll(group: Group<Socket>, row: number): boolean {
    const { table, mode } = group;
    if (mode.port.kind !== 'poll') return false;
    const handle = table.handles[row] as number;
    const cursor = table.cursors[row] as number;
    let gap = this.#owedGaps.get(handle);
    if (gap === undefined && group.hasLost(cursor, table.losses[row] as number))
      gap = { after: cursor, through: group.lostThrough };
    const answer = this.pollAnswers.find(group, cursor, mode.limit ?? 0, gap);
    if (answer === undefined) {
      // The poll waits on, behind it.
      table.cursors[row] = group.newestId;
      if (gap !== undefined) this.#owedGaps.set(handle, gap);
      return false;
    }
    this.#countAnswer(answer, gap);
    const socket = table.sockets[row] as Socket;
    this.#remove(handle);
    mode.port.answer(socket, answer.body, answer.lastId);
    return true;
  }

  #waitedLongEnough(handle: number): void {
    const group = this.lines.groupAt(handle);
    const row = this.lines.rowOf(handle);
    // Something may have come in this very turn.
    if ((group.table.cursors[row] as number) >= group.newestId || !this.answerPoll(group, row))
      this.#answerEmpty(group, row);
  }

  #answerEmpty(group: Group<Socket>, row: number): void {
    const { table, mode } = group;
    if (mode.port.kind !== 'poll') return;
    const handle = table.handles[row] as number;
    // What comes after a deletion is another life of the channel, which this group has not been
    // woken for.
    const start = { cursor: table.cursors[row] as number, gap: this.#owedGaps.get(handle) };
    const position = emptyPosition(group, start, group.overAt ?? this.through(group));
    const socket = table.sockets[row] as Socket;
    this.#remove(handle);
    this.#counters.polls_empty_total++;
    mode.port.answer(socket, undefined, position);
  }

  #countAnswer(answer: PollAnswer, gap: OwedGap | undefined): void {
    if (gap !== undefined) this.#countGapAtJoin();
    this.#counters.polls_answered_total++;
    this.#counters.deliveries_total += answer.events;
  }

  // ── groups ─────────────────────────────────────────────────────────────────────────────────────

  /**
   * The channels of those names; one that is not known holds nothing, and has lost what is
   * remembered.
   */
  #setOf(names: readonly string[]): ChannelSet<Member> {
    const [first] = names;
    const known = names.length === 1 ? this.#channels.get(first as string) : undefined;
    return known?.alone ?? new ChannelSet(names.map((name) => this.#channels.member(name)));
  }

  #groupOf(names: readonly string[], mode: DeliveryMode<Socket>): Group<Socket> {
    const sorted = names.length === 1 ? names : names.toSorted();
    const key = `${mode.transport} ${mode.encoding.name} ${mode.limit ?? ''} ${sorted.join(',')}`;
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    const channels: Channel<Group<Socket>>[] = [];
    for (const name of sorted) {
      const channel = this.#channels.placeForLine(name);
      if (channel === undefined) {
        for (const placed of channels) this.#channels.released(placed);
        throw readerChannelsFull();
      }
      channels.push(channel);
    }
    const group = new Group<Socket>(key, channels, mode, this.#groupsMade++);
    group.sweptThrough = this.through(group);
    this.#groups.set(key, group);
    for (const channel of channels) channel.addGroup(group);
    return group;
  }

  /** Takes the group out of the way of events, if it has not been. */
  #detach(group: Group<Socket>): void {
    if (this.#groups.get(group.key) !== group) return;
    this.#groups.delete(group.key);
    this.#pump.grace.end(group);
    for (const channel of group.channels) {
      channel.removeGroup(group);
      this.#channels.recount(channel);
    }
  }

  /** Those whose lines are being ended are out of the map. */
  #allGroups(): Group<Socket>[] {
    return [...this.#groups.values(), ...this.#ending];
  }

  #groupsView(): Iterable<Group<Socket>> {
    return { [Symbol.iterator]: () => this.#groups.values() };
  }
}
