/**
 * The hub: publish, join and leave. It puts the parts of the core together and hands each what it
 * may ask of the others. It knows no socket: lines are whatever their port writes to.
 */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { asError, type CloseReason, type EndCode, type LineCloseReason } from '../errors.js';
import type { Channel } from './channel.js';
import { Channels, channelsFull, type ChannelsOptions } from './channels.js';
import { Compressor } from './compressor.js';
import { DeliveryTimes } from './delivery-times.js';
import type { Elsewhere } from './elsewhere.js';
import { Entrance, queuedBytesOf } from './entrance.js';
import { isDeletion, type LoggedEntry, type LoggedEvent, type NewEntry } from './event.js';
import type { EventLog, History, RequestKey } from './event-log.js';
import { RateWindows } from './event-rates.js';
import type { Group } from './group.js';
import { Groups } from './groups.js';
import { Heartbeat } from './heartbeat.js';
import { makeHeldBytes, type HeldBytes } from './held-bytes.js';
import { HistoryLines } from './history-lines.js';
import { HistoryReads } from './history-reads.js';
import { HubFigures } from './hub-figures.js';
import { Intake, type Published, type Submission } from './intake.js';
import { LineEnds, type WhichLines } from './line-ends.js';
import { factsOf, type LineFacts } from './line-facts.js';
import { HEALTHY, STALLED } from './line-table.js';
import type { Lines } from './lines.js';
import { Membership } from './membership.js';
import { NamedBatches } from './named-batches.js';
import { Openings } from './openings.js';
import type { Owner, Owners } from './owners.js';
import { Past } from './past.js';
import type { DeliveryMode } from './ports.js';
import type { Position } from './position.js';
import { Progress } from './progress.js';
import { PublishMemory, Reservation } from './publish-memory.js';
import { Pump } from './pump.js';
import { Refills } from './refills.js';
import type { SlowPolicy } from './slow-policy.js';
import { checkStart, startOf, type Start } from './start.js';
import { Subscribers } from './subscribers.js';
import { WaitingPolls } from './waiting-polls.js';
import { Watchers, type LineCountListener } from './watchers.js';

export interface HubOptions extends ChannelsOptions {
  readonly heartbeatMs: number;
  readonly flushIntervalMs: number;
  readonly slow: SlowPolicy;
  /** Age at which a line is ended at the latest, ms; 0, or absent: no line is ended for its age. */
  readonly maxAgeMs?: number;
  /** Memory of publishes under way; the default is the bound in limits.ts. */
  readonly publishBytes?: number;
}

/** A line that was just opened. */
export interface Joined {
  readonly handle: number;
  /** The position after which it continues. */
  readonly continuesAfter: number;
  /** What the socket is given first (core/openings.ts). Valid until the next join. */
  readonly opening: Buffer;
}

export class Hub<Socket> {
  readonly channels: Channels;
  readonly polls: WaitingPolls;
  /** Makes what lines and polls are given compressed. */
  readonly compressor: Compressor;
  /** Streams that are told how many subscribers each channel has. */
  readonly watchers: Watchers;
  /** Batches over several channels. */
  readonly batches: NamedBatches;
  /** What operators ask. */
  readonly figures: HubFigures;
  /**
   * Called for every line that opens or closes, once, but not for polls. Both may run during a
   * sweep, so they only record and return. Channels are in the order of the request at the first,
   * by name at the second.
   */
  onJoin: ((line: LineFacts) => void) | undefined;
  onLeave: ((line: LineFacts, reason: LineCloseReason) => void) | undefined;

  readonly #progress: Progress;
  readonly #pump: Pump;
  readonly #groups: Groups;
  readonly #membership: Membership;
  readonly #ends: LineEnds;
  readonly #heartbeat: Heartbeat;
  readonly #publishMemory: PublishMemory;
  readonly #entrance: Entrance;
  readonly #intake: Intake;
  readonly #subscribers: Subscribers;
  readonly #openings: Openings;
  readonly #deliveryTimes: DeliveryTimes;
  readonly #log: EventLog;
  readonly #clock: Clock;
  readonly #counters: Counters;
  #hasBegun = false;
  /* Undefined where the log keeps no events. */
  #past: Past | undefined;
  #historyLines: HistoryLines | undefined;

  constructor(
    log: EventLog,
    clock: Clock,
    counters: Counters,
    options: HubOptions,
    held: HeldBytes = makeHeldBytes(),
  ) {
    const progress = new Progress(log);
    const rateWindows = new RateWindows(clock);
    const channels = new Channels(counters, options, 0, clock, rateWindows);
    const pump = new Pump(
      {
        isAnswerAwaited: () => this.#intake.isAnswerAwaited,
        swept: (group) => this.#swept(group),
        nearlySwept: (group) => this.#nearlySwept(group),
        endSlow: (group, row) => membership.end(group, row, 'slow'),
        answerPoll: (group, row) => void polls.answer(group, row),
      },
      progress,
      channels.lossClock,
      clock,
      counters,
      options,
    );
    const compressor = new Compressor(clock, counters);
    const groups = new Groups(
      channels,
      progress,
      clock,
      {
        detached: (group) => pump.grace.end(group),
        endDeleted: (group, row) => membership.end(group, row, 'deleted'),
      },
      compressor,
      counters,
    );
    const membership = new Membership(
      clock,
      counters,
      { channels, groups, pump, progress },
      {
        answerEmpty: (group, row, reason) => polls.answerEmpty(group, row, reason),
        removed: (group, handle, reason) => this.#removed(group, handle, reason),
      },
    );
    const ends = new LineEnds(clock, channels, membership, options.maxAgeMs ?? 0);
    const polls = new WaitingPolls(clock, counters, progress, {
      channels,
      groups,
      membership,
      ends,
    });
    this.#log = log;
    this.#clock = clock;
    this.#counters = counters;
    this.#progress = progress;
    this.channels = channels;
    this.compressor = compressor;
    this.#pump = pump;
    this.#groups = groups;
    this.#membership = membership;
    this.#ends = ends;
    this.polls = polls;
    const subscribers = new Subscribers(channels, membership);
    this.#subscribers = subscribers;
    const listen = (listener: LineCountListener | undefined): void => subscribers.listen(listener);
    const watched = { channels: subscribers, listen };
    this.watchers = new Watchers(clock, counters, watched, options.heartbeatMs);
    this.#openings = new Openings(counters);
    this.#heartbeat = new Heartbeat(
      pump,
      clock,
      counters,
      { groups, lines: membership.lines },
      progress,
      options.heartbeatMs,
    );
    this.#heartbeat.onStep = () => rateWindows.passed();
    membership.onMoved = (group, row) => this.#heartbeat.moved(group, row);
    this.#heartbeat.start();
    this.#publishMemory = new PublishMemory(held, options.publishBytes);
    const deliveryTimes = new DeliveryTimes(clock);
    this.#deliveryTimes = deliveryTimes;
    this.#entrance = new Entrance(
      {
        placeOf: (entry) => channels.placeOf(entry),
        accepted: (channel, id) => deliveryTimes.accepted(channel, id),
        queued: (channel) => this.#queued(channel),
        enter: (channel, entry) => this.#enter(channel, entry),
        missed: (throughId, name) => this.#missed(throughId, name),
        known: (name) => channels.known(name),
        passBy: (channel, entries) => this.#passBy(channel, entries),
        flush: () => pump.flush(),
        proceed: (channel) => this.#intake.proceed(channel),
      },
      log,
      progress,
      clock,
      this.#publishMemory,
    );
    const flush = (): void => pump.flush();
    this.#intake = new Intake(this.#entrance, log, clock, counters, flush);
    this.batches = new NamedBatches(
      { channels, intake: this.#intake, memory: this.#publishMemory, flush },
      log,
      clock,
      counters,
      held,
    );
    this.figures = new HubFigures({
      progress,
      channels,
      subscribers,
      groups,
      membership,
      heartbeat: this.#heartbeat,
      polls,
      watchers: this.watchers,
      intake: this.#intake,
      batches: this.batches,
      rateWindows,
      deliveryTimes,
      compressor,
    });
    if (log.isOpen) this.begin();
  }

  /**
   * The log has been opened: events are accepted and handed over from now on. A hub on a log that
   * is open from the start has begun when it is made; for others it is to be called once, before
   * anything else is asked of the hub. What the log kept before is in no ring.
   */
  begin(): void {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    const { history } = this.#log;
    this.#progress.begin();
    this.channels.begin(this.#progress.tailedId, history !== undefined);
    if (history !== undefined) this.#keep(history);
    this.#entrance.begin();
  }

  /** The log keeps events: what the rings have lost is read from there. */
  #keep(history: History): void {
    const progress = this.#progress;
    const { channels } = this;
    progress.keptFrom = this.#log.floor();
    this.#entrance.isKept = true;
    const reads = new HistoryReads(history, this.#clock, this.#counters);
    const refills = new Refills(channels, reads);
    const log = this.#log;
    const reach = log.reach === undefined ? undefined : (id: number) => log.reach!(id);
    const isUp = (): boolean => log.state.isUp;
    this.#past = new Past(this.#clock, { channels, refills, reads, progress, reach, isUp });
    this.polls.past = this.#past;
    this.#historyLines = new HistoryLines(this.#clock, this.#counters, {
      reads,
      pump: this.#pump,
      lossClock: channels.lossClock,
      lines: this.lines,
      compressor: this.compressor,
    });
    this.#pump.history = this.#historyLines;
  }

  /**
   * Counts the lines of other processes of this server for publishers and watchers. `report` hears
   * of every change here.
   */
  countElsewhere(elsewhere: Elsewhere, report: LineCountListener): void {
    this.#intake.elsewhere = elsewhere;
    this.#subscribers.countElsewhere(elsewhere, report);
  }

  /** Takes no more events, and stops the timers. */
  stop(): void {
    this.#heartbeat.stop();
    this.#ends.stop();
    this.polls.stop();
    this.watchers.stop();
    this.#entrance.stop();
    this.#historyLines?.stop();
  }

  // ── events in ──────────────────────────────────────────────────────────────────────────────────

  /**
   * Reserves memory for a publish before its body is received; it grows as the body arrives. Makes
   * the channel, so that a publisher is refused before anything is accepted. Throws
   * HOLDLINE_CHANNELS_FULL, and HOLDLINE_PUBLISH_BUSY when the admission queue is full.
   */
  reserve(name: string): Reservation {
    const channel = this.channels.place(name);
    if (channel === undefined) throw channelsFull();
    this.#intake.checkPlace(channel);
    return new Reservation(this.#publishMemory, channel.share);
  }

  /**
   * Reserves memory for a body that is received while it is not known whether its sender may
   * publish: that makes no channel, for which another would be forgotten. {@link admit} follows.
   */
  reserveAhead(): Reservation {
    return new Reservation(this.#publishMemory, this.#publishMemory.unverified);
  }

  /** The sender may publish to the channel. Throws as {@link reserve} does. */
  admit(name: string, reservation: Reservation): void {
    const channel = this.channels.place(name);
    if (channel === undefined) throw channelsFull();
    this.#intake.checkPlace(channel);
    reservation.moveTo(channel.share);
  }

  /**
   * Publishes what a submission reads, all or nothing, when the channel has room for it; resolves
   * once ids are assigned. With `requestKey` the log keeps the receipt. Rejects with what `read`
   * throws, with HOLDLINE_PUBLISH_BUSY when there is still no room after PUBLISH_WAIT_MS_MAX, and
   * with HOLDLINE_CHANNELS_FULL.
   */
  submit(name: string, submission: Submission, requestKey?: RequestKey): Promise<Published> {
    const channel = this.channels.place(name);
    if (channel !== undefined) return this.#intake.submit(channel, submission, requestKey);
    submission.reservation.release();
    return Promise.reject(channelsFull());
  }

  /**
   * Publishes entries that have been read, as {@link submit} does. `check` is asked last, since
   * they may have waited for room; what it throws refuses them.
   */
  publish(
    name: string,
    entries: readonly NewEntry[],
    requestKey?: RequestKey,
    check?: () => void,
  ): Promise<Published> {
    const read = (): readonly NewEntry[] => {
      check?.();
      return entries;
    };
    try {
      const reservation = this.reserve(name);
      reservation.grow(entries.reduce((bytes, entry) => bytes + queuedBytesOf(entry), 0));
      return this.submit(name, { reservation, isRead: true, read }, requestKey);
    } catch (error) {
      return Promise.reject(asError(error));
    }
  }

  /**
   * Ends the channel's history: publishes a deletion, which enters when healthy lines have been
   * given everything before it. `check` as in {@link publish}.
   */
  deleteChannel(name: string, check?: () => void): Promise<Published> {
    return this.publish(name, [{ channel: name, isDeletion: true }], undefined, check);
  }

  /** Drops what the channel holds, unless lines still need it: older positions become gaps. */
  dropChannel(name: string): void {
    const channel = this.channels.get(name);
    if (channel?.isSwept === true) this.channels.rings.drop(channel);
  }

  /** True from the deletion of the only channel asked for until something is published to it. */
  isDeleted(names: readonly string[]): boolean {
    return names.length === 1 && this.channels.isDeleted(names[0] as string);
  }

  /**
   * True when everything accepted has been given to every line that takes bytes. Asking ends a
   * flush interval early.
   */
  get isSettled(): boolean {
    this.#pump.flush();
    return this.#intake.isEmpty && this.batches.underWay === 0 && this.#pump.isIdle;
  }

  /** An entry waits in the channel's queue: wakes the groups that read queues. */
  #queued(channel: Channel<Group>): void {
    for (const group of channel.groups) if (group.readsQueues) this.#pump.wake(group);
  }

  #enter(channel: Channel<Group> | undefined, entry: LoggedEntry): void {
    this.#progress.head = Math.max(this.#progress.head, entry.id);
    this.channels.enter(channel, entry);
    if (channel === undefined) return;
    if (isDeletion(entry)) this.#groups.deleted(channel, entry.id);
    else for (const group of channel.groups) this.#pump.wake(group);
  }

  /** Lines are given what the log has of it, and told of the rest. */
  #missed(throughId: number, name: string | undefined): void {
    this.#progress.head = Math.max(this.#progress.head, throughId);
    for (const channel of this.channels.missed(throughId, name))
      for (const group of channel.groups) this.#pump.wake(group);
  }

  /**
   * Entries pass the channel by. Deletions are carried out, though lines may not have been given
   * all that came before: the log does not keep that any more.
   */
  #passBy(channel: Channel<Group>, entries: readonly LoggedEntry[]): void {
    this.#counters.queues_given_up_total++;
    let events: LoggedEvent[] = [];
    for (const entry of entries) {
      if (!isDeletion(entry)) {
        events.push(entry);
        continue;
      }
      this.channels.passBy(channel, events);
      events = [];
      this.#enter(channel, entry);
    }
    this.channels.passBy(channel, events);
    this.#progress.head = Math.max(this.#progress.head, entries.at(-1)?.id ?? 0);
    for (const group of channel.groups) this.#pump.wake(group);
    this.#pump.flush();
  }

  #swept(group: Group): void {
    for (const channel of group.channels) this.#deliveryTimes.swept(channel);
    for (const channel of group.channels) this.channels.rings.evict(channel);
    for (const channel of group.channels) this.#intake.proceed(channel);
  }

  #nearlySwept(group: Group): void {
    if (!this.#entrance.isKept) return;
    for (const channel of group.channels) this.#intake.proceed(channel);
  }

  // ── lines ──────────────────────────────────────────────────────────────────────────────────────

  /** Open lines, waiting polls among them. */
  get lines(): Lines<unknown, Group> {
    return this.#membership.lines;
  }

  /** Whose the open lines and waiting polls are. */
  get owners(): Owners {
    return this.#membership.owners;
  }

  /**
   * Opens a line on `names` (distinct) in one turn of the loop, so nothing is lost or repeated
   * between its replay and live events. The caller must write `opening`, if it is not empty, to the
   * socket at once. Where the log keeps events, {@link ready} comes before. Throws
   * HOLDLINE_CHANNELS_FULL, and HOLDLINE_BAD_POSITION for a time where the log keeps none.
   */
  join(
    socket: Socket,
    names: readonly string[],
    mode: DeliveryMode<Socket>,
    position: Position,
    retryMs: number,
    owner: Owner,
  ): Joined {
    // Before a group is made, which would stay without a line.
    checkStart(position);
    this.channels.expire(names);
    const group = this.#groups.of(names, mode);
    const start = startOf(group.set, position, this.#progress);
    const cursor = this.#openings.make(group, start, retryMs);
    const handle = this.#membership.add(group, socket, cursor, owner);
    // A line of the program itself has no other process to come back to.
    this.#ends.opened(handle, owner, mode.transport !== 'library');
    this.onJoin?.(factsOf(this.owners, handle, names, mode.transport));
    const row = this.lines.rowOf(handle);
    group.table.interrupt(row, this.#openings.clean);
    if (start.isBehind === true) this.#historyLines?.joined(group, row);
    else if (cursor >= group.set.newestId) group.table.setState(row, HEALTHY);
    else this.#pump.wakeBehind(group);
    return { handle, continuesAfter: start.continuesAfter, opening: this.#openings.bytes };
  }

  /**
   * Reads what the log keeps and a line or a poll on `names` needs before it starts at `position`;
   * resolves to the position that it then starts at. Undefined when it may start at once: always
   * where the log keeps no events. With `asksDeleted` what {@link isDeleted} answers is read as
   * well. Rejects with HOLDLINE_LOG_UNAVAILABLE.
   */
  ready(
    names: readonly string[],
    position: Position,
    asksDeleted = false,
  ): Promise<Position> | undefined {
    return this.#past?.ready(names, position, asksDeleted);
  }

  /** Throws HOLDLINE_CHANNELS_FULL where {@link join} on `names` would. Makes no channel. */
  checkPlaces(names: readonly string[]): void {
    this.#groups.checkPlaces(names);
  }

  /** Where a line on `names` would start now. */
  startOf(names: readonly string[], position: Position): Start {
    return startOf(this.channels.setOf(names), position, this.#progress);
  }

  /** The address that the line's owner is shown by; undefined where none is known. */
  addressOf(handle: number, socket: Socket): string | undefined {
    return this.lines.groupOf(handle, socket) === undefined
      ? undefined
      : this.owners.addressOf(handle);
  }

  /** The names of the line's channels; undefined when it is closed. */
  channelsOf(handle: number, socket: Socket): readonly string[] | undefined {
    return this.lines.groupOf(handle, socket)?.channels.map(({ name }) => name);
  }

  /** The socket did not take all of what was written to the line outside the pump. */
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

  /**
   * The line's socket is gone: its client or the network closed it, or (`refused`) the server did
   * for what the client sent.
   */
  left(handle: number, socket: Socket, by: 'client' | 'refused' = 'client'): void {
    this.#membership.left(handle, socket, by);
  }

  /** All sockets are closed from now on, so lines that leave were open at the end of a drain. */
  closing(): void {
    this.#membership.isClosing = true;
  }

  /**
   * Ends lines and waiting polls: streams and WebSockets with an end event of that code, polls with
   * an empty answer. It happens in slices of time from the next turn of the loop on; nothing that
   * is published from now on reaches a line that is revoked. Returns how many there are, with the
   * streams of a user that watch.
   */
  disconnect(which: WhichLines, code: 'disconnected' | 'revoked'): number {
    const watchers = 'user' in which ? this.watchers.disconnect(which.user, code) : 0;
    return this.#ends.disconnect(which, code) + watchers;
  }

  /** See {@link Membership.endSome}. */
  endSome(count: number, code: EndCode, through = 0, retryMs?: () => number): number {
    this.#pump.flush();
    return this.#membership.endSome(count, code, through, retryMs);
  }

  #removed({ mode, channels }: Group, handle: number, reason: CloseReason): void {
    if (mode.port.kind === 'poll') {
      this.polls.removed(handle);
    } else if (this.onLeave !== undefined) {
      const names = channels.map(({ name }) => name);
      this.onLeave(factsOf(this.owners, handle, names, mode.transport), reason as LineCloseReason);
    }
  }

  /** Id of the newest entry that entered. */
  get head(): number {
    return this.#progress.head;
  }

  /** The id that the log gave last. */
  get lastId(): number {
    return this.#progress.lastId;
  }
}
