/**
 * The published channels by use: whose rings are dropped first, and which one is forgotten for
 * another. A channel is in one of three orders, or in none:
 *
 *   ringless   hold nothing any more, by when they came to hold nothing; the first to be forgotten
 *   passed     hold events, and had lines when a search passed them; older than all in `published`
 *   published  hold events, by last publish
 *   none       set aside by a search, until `released`, `putBack` or `used` puts them back
 *
 * So what puts a channel back pays for the step of the search that set it aside: every operation is
 * O(1), and a search takes at most CHANNELS_CHECKED_MAX steps.
 */
import { CHANNELS_CHECKED_MAX } from '../limits.js';
import type { Channel } from './channel.js';
import type { Group } from './group.js';
import { Order } from './order.js';

/** Channels with a publish under way that a search for one to forget passes over. */
const BUSY_CHANNELS_MAX = 64;

export class ChannelOrders {
  readonly #ringless = new Order<Channel<Group>>();
  readonly #passed = new Order<Channel<Group>>();
  readonly #published = new Order<Channel<Group>>();

  /** An event has entered it. */
  used(channel: Channel<Group>): void {
    this.#published.append(channel);
  }

  /** It holds nothing any more, or nothing yet. */
  emptied(channel: Channel<Group>): void {
    this.#ringless.append(channel);
  }

  /** It holds events and was set aside. */
  putBack(channel: Channel<Group>): void {
    this.#published.prepend(channel);
  }

  /** Its lines have left. A publish may be under way there. */
  released(channel: Channel<Group>): void {
    if (channel.order === undefined || channel.order === this.#passed)
      (channel.rings === undefined ? this.#ringless : this.#published).prepend(channel);
  }

  /** Of those that hold events, the one that was published to longest ago. */
  get oldestWithRings(): Channel<Group> | undefined {
    return this.#passed.oldest ?? this.#published.oldest;
  }

  /**
   * A channel that nobody holds: one without events if there is one, otherwise the least recently
   * published. Undefined when none is found.
   */
  findUnheld(): Channel<Group> | undefined {
    let busy = 0;
    for (let checked = 0; checked < CHANNELS_CHECKED_MAX; checked++) {
      const ringless = busy < BUSY_CHANNELS_MAX ? this.#ringless.oldest : undefined;
      const channel = ringless ?? this.#published.oldest;
      if (channel === undefined || !channel.isHeld) return channel;
      const { rings, lineCount } = channel;
      if (lineCount === 0) {
        // A publish is under way there. It is over soon, and nothing reports that.
        busy++;
        (rings === undefined ? this.#ringless : this.#published).append(channel);
      } else if (rings === undefined) this.#ringless.remove(channel);
      else this.#passed.append(channel);
    }
    return undefined;
  }
}
