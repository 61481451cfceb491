/** What the runner of the isolation subject and the process of its loads tell each other. */

/** What the quiet channel stands beside, each on a channel of its own. */
export const LOADS = ['stopped lines', 'flood', 'half a flood', 'herd'] as const;
export type LoadName = (typeof LOADS)[number];

export interface LoadOrder {
  load: LoadName;
  /** Of the server that the lines are held by. */
  port: number;
  /** Of the server that is published to: another node of the same log, or the same server. */
  publishPort: number;
  lines: number;
  /** From the first publish on; the herd comes back as often as it can. */
  seconds: number;
  batchEvents: number;
  /** Batches: those in the history of the herd. */
  historyBatches: number;
  /** Of the stopped lines and of half a flood. */
  batchesPerSecond: number;
  /** Of the flood. */
  connections: number;
}

/** What the load has done. */
export interface LoadReport {
  load: LoadName;
  seconds: number;
  /** Events whose batch was answered 200; of the herd those of its history. */
  published: number;
  /** Batches with another answer. */
  refused: number;
  firstRefusal: string;
  /** Batches that were due while every connection waited for its answer. */
  skipped: number;
  /** Of the herd: how often all of its lines came back and had everything. */
  waves: number;
  /** Of the herd: the longest that a line waited for everything; ms. */
  slowestLineMs: number;
  /** What its lines read. */
  readBytes: number;
  /** Gap notices that lines of the herd were told. */
  gaps: number;
  /** Lines that were answered otherwise than with 200. */
  refusedLines: number;
  /** Lines that the server closed, or that could not be opened. */
  closedLines: number;
}
