/**
 * Delivery times: from the moment an event is accepted until every healthy line of its channel has
 * been given it, waiting in the channel's queue and the flush interval included. One event a
 * channel is timed at once, the next one that comes when nothing is, and of a batch its last; so a
 * busy channel gives about one sample a sweep, an event costs a comparison, and a line nothing.
 */
import type { Clock } from '../clock.js';
import { DELIVERY_SECONDS_BOUNDS } from '../limits.js';
import type { Channel } from './channel.js';
import type { Group } from './group.js';
import { Histogram } from './histogram.js';

export class DeliveryTimes {
  /** Seconds. */
  readonly histogram = new Histogram(DELIVERY_SECONDS_BOUNDS);
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The log has committed an event of the channel, which has not entered yet. */
  accepted(channel: Channel<Group>, id: number): void {
    const { length } = channel.groups;
    if (length === 0) return;
    const timed = (channel.timed ??= { id: 0, acceptedMs: 0, groupsLeft: 0 });
    if (timed.id !== 0) return;
    timed.id = id;
    timed.acceptedMs = this.#clock.nowMs();
    timed.groupsLeft = length;
  }

  /** A sweep over one of the channel's groups is complete. */
  swept({ timed, groups }: Channel<Group>): void {
    if (timed === undefined || timed.id === 0) return;
    // A group that is past the event stays past it, so each is asked once. When one goes, those
    // behind it move down, and some are asked again.
    let left = Math.min(timed.groupsLeft, groups.length);
    while (left > 0 && (groups[left - 1] as Group).sweptThrough >= timed.id) left--;
    timed.groupsLeft = left;
    if (left > 0) return;
    this.histogram.observe((this.#clock.nowMs() - timed.acceptedMs) / 1000);
    timed.id = 0;
  }
}
