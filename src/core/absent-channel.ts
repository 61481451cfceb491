/**
 * A channel that is not known, as a member of a set: it holds nothing, and has lost what is
 * remembered of its name.
 */
import type { Member } from './channel-set.js';

export class AbsentChannel implements Member {
  readonly newestId = 0;
  readonly newestCommittedId = 0;
  readonly lostAt = 0;
  readonly version = 0;
  readonly queueVersion = 0;
  readonly lostThrough: number;

  constructor(lostThrough: number) {
    this.lostThrough = lostThrough;
  }

  seqAfter(): number {
    return 0;
  }

  endSeq(): number {
    return 0;
  }

  eventsFrom(): number {
    return 0;
  }

  idAt(): number {
    return 0;
  }

  isDeletionAt(): boolean {
    return false;
  }

  eventAt(): undefined {
    return undefined;
  }

  frameAt(): undefined {
    return undefined;
  }

  through(tailedId: number): number {
    return tailedId;
  }
}
