/** Which events of a round the server took, and the ids that it gave them. */

/**
 * The publisher notes what is answered; the round adds what clients were given although the answer
 * never came.
 */
export class Published {
  /** Events that the server took. */
  count = 0;
  /** A bit for each event. */
  readonly bits: Uint8Array;
  /** The id of each event; NaN where none is known. */
  readonly ids: Float64Array;
  /**
   * When each event was sent and answered, µs, and the status of the answer; 0 for never. Empty
   * unless the times are kept.
   */
  readonly sentUs: Float64Array;
  readonly answeredUs: Float64Array;
  readonly statuses: Uint16Array;

  constructor(events: number, keepsTimes = false) {
    this.bits = new Uint8Array(Math.ceil(events / 8));
    this.ids = new Float64Array(events).fill(Number.NaN);
    const times = keepsTimes ? events : 0;
    this.sentUs = new Float64Array(times);
    this.answeredUs = new Float64Array(times);
    this.statuses = new Uint16Array(times);
  }

  /** The server took the event. */
  add(sequence: number, id: number): void {
    if (!Number.isNaN(id)) this.ids[sequence] = id;
    const bit = 1 << (sequence & 7);
    if ((this.bits[sequence >> 3]! & bit) !== 0) return;
    this.bits[sequence >> 3]! |= bit;
    this.count++;
  }

  has(sequence: number): boolean {
    return (this.bits[sequence >> 3]! & (1 << (sequence & 7))) !== 0;
  }

  /** Adds the events whose bits are set. */
  addBits(bits: Uint8Array): void {
    for (const [at, byte] of bits.entries()) {
      const fresh = byte & ~this.bits[at]!;
      for (let nth = 0; nth < 8; nth++)
        if ((fresh & (1 << nth)) !== 0) this.add(at * 8 + nth, Number.NaN);
    }
  }
}
