/** What clients have sent and received, counted. */

/** What all clients of a process have sent and received together. */
export interface Tally {
  /** Bytes received, heads and framing included. */
  bytes: number;
  /** Reads that returned bytes. */
  reads: number;
  /**
   * Events of lines whose every event is read, and the bytes that they took, without what a line
   * begins with.
   */
  checkedEvents: number;
  checkedBytes: number;
  /** Of `bytes`, those of normal clients whose every event is read. */
  checkedWireBytes: number;
  /** Bytes of lines whose events are not read. */
  countedBytes: number;
  /** Of bodies in gzip: their bytes without HTTP's framing, and what they decode to. */
  gzipBytes: number;
  plainBytes: number;
  /** Events of lines that are not checked, where they were read and not derived from bytes. */
  countedEvents: number;
  /** Blocks of gzip on lines that are not checked, and those of them that had to be inflated. */
  blocks: number;
  inflatedBlocks: number;
  /** Heartbeats of normal clients whose every event is read. */
  heartbeats: number;
  /** Lines whose end the server announced. */
  ends: number;
  /** Clients that received what no server should send. */
  damaged: number;
  requests: number;
  answers: number;
  /** Answers to polls without an event. */
  emptyAnswers: number;
  /** Polls that were refused for now and asked again. */
  refusedPolls: number;
  /** Polls whose connection was lost before they were answered. */
  lostPolls: number;
  /** Times that a client dropped its connection and subscribed again where it had left off. */
  returns: number;
  /**
   * Times that a client that came back was refused, or lost its connection again, and tried once
   * more.
   */
  refusedReturns: number;
}

/** Nothing sent and nothing received. */
export function emptyTally(): Tally {
  return {
    bytes: 0,
    reads: 0,
    checkedEvents: 0,
    checkedBytes: 0,
    checkedWireBytes: 0,
    countedBytes: 0,
    gzipBytes: 0,
    plainBytes: 0,
    countedEvents: 0,
    blocks: 0,
    inflatedBlocks: 0,
    heartbeats: 0,
    ends: 0,
    damaged: 0,
    requests: 0,
    answers: 0,
    emptyAnswers: 0,
    refusedPolls: 0,
    lostPolls: 0,
    returns: 0,
    refusedReturns: 0,
  };
}
