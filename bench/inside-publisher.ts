/**
 * A publisher inside the server: what becomes due is published from the server's own loop, so that
 * no request is read and none answered. What is left is the sweep. The runner has the events' books
 * as if it had published them itself.
 */
import { eventData, stampEvent } from '../dist/tools/load/clients/event.js';
import { recordUs } from '../dist/tools/load/books/histogram.js';
import { dueAtUs, Publisher, type PublisherOptions } from '../dist/tools/load/run/publisher.js';
import { nowUs, sleepMs, sleepUntilUs } from './clock.js';

/** What a server is asked to publish. */
export interface Series {
  run: string;
  sizeBytes: number;
  startUs: number;
  ratePerSecond: number;
  events: number;
}

/** What became of each event of a series: 0 µs for an answer that never came. */
export interface SeriesPublished {
  sentUs: Float64Array;
  answeredUs: Float64Array;
  /** As HTTP would have it: 200, and 503 for what was refused for now. */
  statuses: Uint16Array;
  ids: Float64Array;
}

/** How a server takes an event from within: its id, or undefined when there is no room. */
export type PublishInside = (data: Buffer) => Promise<number | undefined>;

/** A series ends when its last event is due; what waits for room then has so long. */
const ANSWERS_WITHIN_MS = 5_000;

/** In the server: an open loop, as the publisher of the load tool. */
export async function publishSeries(
  { run, sizeBytes, startUs, ratePerSecond, events }: Series,
  publish: PublishInside,
): Promise<SeriesPublished> {
  const published: SeriesPublished = {
    sentUs: new Float64Array(events),
    answeredUs: new Float64Array(events),
    statuses: new Uint16Array(events),
    ids: new Float64Array(events).fill(Number.NaN),
  };
  const data = eventData(run, sizeBytes);
  const dueUs = (sequence: number): number => dueAtUs(startUs, ratePerSecond, sequence);
  let unanswered = events;
  const publishOne = async (sequence: number): Promise<void> => {
    stampEvent(data, 0, sequence, dueUs(sequence));
    published.sentUs[sequence] = nowUs();
    const id = await publish(Buffer.from(data));
    published.answeredUs[sequence] = nowUs();
    published.statuses[sequence] = id === undefined ? 503 : 200;
    published.ids[sequence] = id ?? Number.NaN;
    unanswered--;
  };
  let failure: { readonly error: unknown } | undefined;
  for (let due = 0; due < events && failure === undefined;) {
    for (const now = nowUs(); due < events && dueUs(due) <= now; due++)
      publishOne(due).catch((error: unknown) => (failure ??= { error }));
    await sleepUntilUs(dueUs(due));
  }
  const untilUs = nowUs() + ANSWERS_WITHIN_MS * 1000;
  while (unanswered > 0 && failure === undefined && nowUs() < untilUs) await sleepMs(10);
  if (failure !== undefined) throw failure.error;
  return published;
}

/** In the runner: has the server publish, and books it. */
export class InsidePublisher extends Publisher {
  readonly #ask: (series: Series) => Promise<SeriesPublished>;

  constructor(options: PublisherOptions, ask: (series: Series) => Promise<SeriesPublished>) {
    super(options);
    this.#ask = ask;
  }

  override open(): void {}

  override async publish(startUs: number): Promise<void> {
    this.startUs = startUs;
    const { run, sizeBytes, ratePerSecond, events } = this.options;
    const { sentUs, answeredUs, statuses, ids } = await this.#ask({
      run,
      sizeBytes,
      startUs,
      ratePerSecond,
      events,
    });
    this.published.sentUs.set(sentUs);
    this.published.answeredUs.set(answeredUs);
    this.published.statuses.set(statuses);
    for (let sequence = 0; sequence < events; sequence++) {
      recordUs(this.latenessUs, Math.max(0, sentUs[sequence]! - this.dueUs(sequence)));
      if (statuses[sequence] !== 0) this.answered++;
      if (statuses[sequence] === 200) this.published.add(sequence, ids[sequence]!);
    }
  }
}
