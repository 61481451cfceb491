/**
 * The groups of a hub: found by what their lines are owed, made with their first line, and gone
 * with their last one. Those of a deleted channel are taken out at once, and their lines are ended
 * over several turns of the loop.
 */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { HoldlineError } from '../errors.js';
import { DELETED_ENDS_PER_TURN_MAX, READER_CHANNELS_MAX } from '../limits.js';
import type { Channel } from './channel.js';
import type { Channels } from './channels.js';
import { CompressedSlices } from './compressed-slices.js';
import type { Compressor } from './compressor.js';
import { Group } from './group.js';
import type { DeliveryMode } from './ports.js';
import type { Progress } from './progress.js';
import { noLines } from './transport.js';

/** What the groups ask of the hub. */
interface GroupsOwner {
  /** The group is out of reach of events: no line of it is in grace any more. */
  detached(group: Group): void;
  /** Ends a line of a deleted channel, which removes its row. */
  endDeleted(group: Group, row: number): void;
}

export class Groups {
  readonly #channels: Channels;
  readonly #progress: Progress;
  readonly #clock: Clock;
  readonly #owner: GroupsOwner;
  readonly #makeSlices: (channel: Channel<Group>) => CompressedSlices;
  readonly #byKey = new Map<string, Group>();
  #made = 0;
  /** Groups of deleted channels whose lines are being ended. */
  readonly #ending: Group[] = [];
  /** They go on being ended in the next turn of the loop. */
  #endsSoon = false;

  constructor(
    channels: Channels,
    progress: Progress,
    clock: Clock,
    owner: GroupsOwner,
    compressor: Compressor,
    counters: Counters,
  ) {
    this.#channels = channels;
    this.#progress = progress;
    this.#clock = clock;
    this.#owner = owner;
    this.#makeSlices = (channel) =>
      new CompressedSlices(compressor, counters, (channel.given ??= { plainBytes: 0, bytes: 0 }));
  }

  /** The groups that events reach. */
  [Symbol.iterator](): IterableIterator<Group> {
    return this.#byKey.values();
  }

  /** All groups with lines, those of deleted channels among them. */
  get all(): Group[] {
    return [...this.#byKey.values(), ...this.#ending];
  }

  /** Counts of lines, for `/-/stats`. Walks all groups. */
  get gauges() {
    let linesStalled = 0;
    let linesReading = 0;
    const linesByTransport = noLines();
    for (const { table, mode } of this.all) {
      linesStalled += table.stalledCount;
      linesReading += table.readingCount;
      linesByTransport[mode.transport] += table.count;
    }
    return { linesStalled, linesReading, linesByTransport };
  }

  /** Bytes of all tables' typed arrays. Walks all groups. */
  get memoryBytes(): number {
    return this.all.reduce((bytes, { table }) => bytes + table.memoryBytes, 0);
  }

  /**
   * The group of `names` (distinct), made on first need: of one name where lines are given gzip
   * blocks. Throws HOLDLINE_CHANNELS_FULL.
   */
  of(names: readonly string[], mode: DeliveryMode): Group {
    const sorted = names.length === 1 ? names : names.toSorted();
    const key = `${mode.transport} ${mode.encoding.name} ${mode.limit ?? ''} ${sorted.join(',')}`;
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const isGzip = mode.encoding.isGzip === true;
    if (isGzip && names.length > 1)
      throw new HoldlineError('HOLDLINE_INTERNAL', 'lines on several channels are not compressed');
    const channels = this.#place(sorted);
    const slices = isGzip ? this.#makeSlices(channels[0] as Channel<Group>) : undefined;
    const group = new Group(key, channels, mode, this.#made++, slices);
    group.sweptThrough = this.#progress.through(group.set);
    this.#byKey.set(key, group);
    for (const channel of group.channels) channel.addGroup(group);
    return group;
  }

  #place(names: readonly string[]): Channel<Group>[] {
    const channels: Channel<Group>[] = [];
    for (const name of names) {
      const channel = this.#channels.placeForLine(name);
      if (channel === undefined) {
        for (const placed of channels) this.#channels.released(placed);
        throw channelsFull();
      }
      channels.push(channel);
    }
    return channels;
  }

  /** Throws HOLDLINE_CHANNELS_FULL where a group of `names` (distinct) could not be made. */
  checkPlaces(names: readonly string[]): void {
    if (!this.#channels.hasPlaceForLine(names)) throw channelsFull();
  }

  /** Takes the group out of reach of events; nothing happens if it is out already. */
  detach(group: Group): void {
    if (this.#byKey.get(group.key) !== group) return;
    this.#byKey.delete(group.key);
    group.compressed?.clear();
    group.countSaved(1);
    this.#owner.detached(group);
    for (const channel of group.channels) {
      channel.removeGroup(group);
      this.#channels.rings.recount(channel);
    }
  }

  /**
   * The channel was deleted at `id`: the lines on it alone are to end. Their groups are detached at
   * once, so that later events and new lines go to other groups.
   */
  deleted(channel: Channel<Group>, id: number): void {
    for (const group of channel.groups.filter(({ channels }) => channels.length === 1)) {
      this.detach(group);
      group.deletedAt = id;
      this.#ending.push(group);
    }
    this.#endSoon();
  }

  /** One turn is asked for at a time, however many channels are deleted. */
  #endSoon(): void {
    if (this.#endsSoon || this.#ending.length === 0) return;
    this.#endsSoon = true;
    this.#clock.soon(this.#endInTurn);
  }

  readonly #endInTurn = (): void => {
    this.#endsSoon = false;
    let left = DELETED_ENDS_PER_TURN_MAX;
    for (let group = this.#ending[0]; group !== undefined; group = this.#ending[0]) {
      for (; left > 0 && group.table.count > 0; left--)
        this.#owner.endDeleted(group, group.table.count - 1);
      if (left === 0) {
        this.#endSoon();
        return;
      }
      this.#ending.shift();
    }
  };
}

function channelsFull(): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_CHANNELS_FULL',
    `${READER_CHANNELS_MAX} channels already have lines and no events; subscribe to a channel with events or try again later`,
  );
}
