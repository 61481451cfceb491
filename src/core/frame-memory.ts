/**
 * The memory of all rings of frames. Past the total the frames that were not used for longest are
 * dropped, which loses nothing: they are made from the records when somebody asks.
 */
import type { Counters } from '../counters.js';
import { CHANNELS_CHECKED_MAX } from '../limits.js';
import type { Channel } from './channel.js';
import type { Group } from './group.js';
import { Order, Place } from './order.js';

export class FrameMemory {
  /** Bytes of all rings of frames. */
  bytes = 0;

  readonly #counters: Counters;
  readonly #bytesMax: number;
  /** Channels with frames by last use, without those whose frames were needed when checked. */
  readonly #framed = new Order<Place<Channel<Group>>>();

  constructor(counters: Counters, bytesMax: number) {
    this.#counters = counters;
    this.#bytesMax = bytesMax;
  }

  /** An event has entered the channel. */
  used({ framesPlace }: Channel<Group>): void {
    if (framesPlace?.order !== undefined) this.#framed.append(framesPlace);
  }

  /** Counts the channel's rings of frames again. If they have grown, others may have to go. */
  recount(channel: Channel<Group>): void {
    const frameBytes = channel.rings?.frameBytes ?? 0;
    const { countedFrameBytes } = channel;
    if (frameBytes === countedFrameBytes && frameBytes === 0) return;
    this.bytes += frameBytes - countedFrameBytes;
    channel.countedFrameBytes = frameBytes;
    const place = (channel.framesPlace ??= new Place(channel));
    if (frameBytes === 0) place.order?.remove(place);
    else if (frameBytes > countedFrameBytes) this.#framed.append(place);
    else if (place.order === undefined) this.#framed.prepend(place);
    if (frameBytes > countedFrameBytes) this.#reclaim(place);
  }

  /** Drops frames, the least recently used first, until the rest fits; never those of `except`. */
  #reclaim(except: Place<Channel<Group>>): void {
    for (let checked = 0; checked < CHANNELS_CHECKED_MAX; checked++) {
      const place = this.#framed.oldest;
      if (place === undefined || place === except || this.bytes <= this.#bytesMax) return;
      this.#framed.remove(place);
      if (place.item.dropFrames() === 0) continue;
      this.#counters.frames_dropped_total++;
      this.recount(place.item);
    }
  }
}
