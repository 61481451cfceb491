/** How far a server has come in its log. */
import type { ChannelSet } from './channel-set.js';
import type { EventLog } from './event-log.js';

export class Progress {
  readonly #log: Pick<EventLog, 'lastId'>;
  /** Id of the newest entry that the log has handed over. Written by core/entrance.ts. */
  tailedId: number;
  /** Id of the newest entry that entered. Written by core/hub.ts. */
  head: number;

  constructor(log: Pick<EventLog, 'lastId'>) {
    this.#log = log;
    this.tailedId = log.lastId();
    this.head = this.tailedId;
  }

  /** The id that the log gave last. */
  get lastId(): number {
    return this.#log.lastId();
  }

  /**
   * Id up to which every entry of the channels can be read or has been dropped: whoever was given
   * what there is has been given everything up to it.
   */
  through(set: ChannelSet): number {
    return set.through(this.tailedId);
  }
}
