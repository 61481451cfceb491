/** How far a server has come in its log. */
import type { ChannelSet } from './channel-set.js';
import type { EventLog } from './event-log.js';

export class Progress {
  readonly #log: Pick<EventLog, 'isOpen' | 'lastId'>;
  /** Id of the newest entry that the log has handed over. Written by core/entrance.ts. */
  tailedId = 0;
  /** Id of the newest entry that entered. Written by core/hub.ts. */
  head = 0;

  /**
   * What the log keeps begins above this id, the log's floor; undefined where it keeps nothing.
   * Written by core/hub.ts.
   */
  keptFrom: number | undefined;

  constructor(log: Pick<EventLog, 'isOpen' | 'lastId'>) {
    this.#log = log;
  }

  /** The log is open: what it gave before is not handed over any more. */
  begin(): void {
    this.tailedId = this.#log.lastId();
    this.head = this.tailedId;
  }

  /** The id that the log gave last; 0 before it is open. */
  get lastId(): number {
    return this.#log.isOpen ? this.#log.lastId() : 0;
  }

  /**
   * Id up to which every entry of the channels can be read or has been dropped: whoever was given
   * what there is has been given everything up to it.
   */
  through(set: ChannelSet): number {
    return set.through(this.tailedId);
  }
}
