/** A reader that hops from one node to another, and what it must have in the end. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ask, open } from './asking.js';
import { parseBlock, type Gap } from './line.js';
import { Random } from './random.js';
import { SETTLE_MS, type Acknowledged, type Truth } from './truth.js';

/** Reads channels with SSE, or with polls, a while at one node and a while at another. */
export class Reader {
  readonly name: string;
  readonly channels: readonly string[];
  readonly ids: number[] = [];
  readonly texts = new Set<string>();
  readonly gaps: Gap[] = [];
  hops = 0;
  /** Answers other than a stream, by status. */
  readonly refusals = new Map<number, number>();
  readonly #truth: Truth;
  readonly #ports: readonly number[];
  readonly #random: Random;
  #position: number;
  #isOver = false;
  #leave = (): void => {};
  readonly #running: Promise<void>;

  constructor(
    kind: 'sse' | 'poll',
    channels: readonly string[],
    position: number,
    truth: Truth,
    ports: readonly number[],
    seed: number,
  ) {
    this.name = `${kind} ${seed} of ${channels.join()}`;
    this.channels = channels;
    this.#position = position;
    this.#truth = truth;
    this.#ports = ports;
    this.#random = new Random(seed);
    this.#running = this.#run(kind === 'sse' ? () => this.#stream() : () => this.#polls());
  }

  async #run(stay: () => Promise<void>): Promise<void> {
    while (!this.#isOver) {
      this.hops++;
      await stay();
      await sleep(this.#random.chance(0.3) ? this.#random.below(1_000) : this.#random.below(50));
    }
  }

  #stream(): Promise<void> {
    const headers = { Accept: 'text/event-stream', 'Last-Event-ID': String(this.#position) };
    const sent = open(this.#random.pick(this.#ports), `/${this.channels.join()}`, { headers });
    this.#leave = () => void sent.destroy();
    const timer = setTimeout(this.#leave, this.#random.between(50, 2_000));
    return new Promise((resolve) => {
      const over = (): void => {
        clearTimeout(timer);
        resolve();
      };
      sent.on('error', over).on('close', over);
      sent.on('response', (response) => {
        response.on('error', over);
        if (response.statusCode !== 200) this.#refused(response.statusCode ?? 0);
        let rest = '';
        response.setEncoding('utf8').on('data', (piece: string) => {
          if (response.statusCode !== 200) return;
          rest += piece;
          for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
            this.#block(rest.slice(0, end));
            rest = rest.slice(end + 2);
          }
        });
      });
    });
  }

  #block(raw: string): void {
    const { id, event, data } = parseBlock(raw);
    if (event === 'gap') this.gaps.push(JSON.parse(data!) as Gap);
    else if (id !== undefined && data !== undefined) this.#event(id, data);
    this.#at(id);
  }

  async #polls(): Promise<void> {
    const port = this.#random.pick(this.#ports);
    for (let left = this.#random.between(1, 5); left > 0 && !this.#isOver; left--) {
      const path = `/${this.channels.join()}?since=${this.#position}&limit=50&wait=1`;
      const answer = await ask(port, path).catch(() => undefined);
      if (answer === undefined) return;
      if (answer.status !== 200 && answer.status !== 204) return this.#refused(answer.status);
      const events = answer.status === 204 ? [] : (JSON.parse(answer.text) as PolledEvent[]);
      for (const { id, data, gap } of events) {
        if (gap !== undefined) this.gaps.push(gap);
        this.#event(id, data);
      }
      this.#at(Number(answer.headers['holdline-position']));
    }
  }

  #refused(status: number): void {
    this.refusals.set(status, (this.refusals.get(status) ?? 0) + 1);
    if (status !== 503 && status !== 504) this.#truth.fault(`${this.name}: status ${status}`);
  }

  #event(id: number, data: string): void {
    const text = /<.*>/.exec(data)?.[0] ?? data;
    if (id <= (this.ids.at(-1) ?? 0))
      this.#truth.fault(`${this.name}: id ${id} (${text}) after ${this.ids.at(-1)}`);
    this.#truth.seen(this.name, id, text);
    this.ids.push(id);
    this.texts.add(text);
  }

  #at(id: number | undefined): void {
    if (id === undefined) return;
    if (id < this.#position)
      this.#truth.fault(`${this.name}: position ${id} after ${this.#position}`);
    this.#position = id;
  }

  async has(texts: readonly string[]): Promise<boolean> {
    for (
      const untilMs = performance.now() + SETTLE_MS;
      performance.now() < untilMs;
      await sleep(20)
    )
      if (texts.every((text) => this.texts.has(text))) return true;
    return false;
  }

  async end(): Promise<void> {
    this.#isOver = true;
    this.#leave();
    await this.#running;
  }

  #isTold({ firstId, lastId }: Acknowledged, text: string): boolean {
    // Nobody may know the ids within a batch.
    const id = this.#truth.idOf(text);
    const [low, high] = id === undefined ? [firstId, lastId] : [id, id];
    return this.gaps.some(({ after, before }) => (after ?? 0) < high && low < (before ?? Infinity));
  }

  /**
   * What is missing without a gap that says so, and gaps that are false: those that begin where
   * everything behind is still kept (above `lostThrough`).
   */
  check(lostThrough: number): void {
    for (const { after, before } of this.gaps)
      if (after === null || after >= lostThrough)
        this.#truth.fault(
          `${this.name}: a false gap after ${after} before ${before}; lost through ${lostThrough}`,
        );
    const wanted = this.#truth.acknowledgedOn(this.channels);
    for (const request of wanted)
      for (const text of request.texts)
        if (!this.texts.has(text) && !this.#isTold(request, text))
          this.#truth.fault(
            `${this.name}: misses ${text} of ${request.firstId}–${request.lastId} without a gap; gaps ${JSON.stringify(this.gaps)}; lost through ${lostThrough}`,
          );
    const known = new Set(wanted.flatMap(({ texts }) => texts));
    for (const text of this.texts)
      if (!known.has(text))
        this.#truth.fault(`${this.name}: has ${text}, which nobody was told of`);
  }
}

interface PolledEvent {
  readonly id: number;
  readonly data: string;
  readonly gap?: Gap;
}
