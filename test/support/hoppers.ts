/**
 * Publishers that repeat until they are acknowledged and readers that hop from one node to another,
 * while something kills the nodes; and what each reader must have in the end.
 */
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseBlock, type Gap } from './line.js';
import { Random } from './random.js';

/** How long a publisher and a poll wait for an answer before they turn to another node. */
const PATIENCE_MS = 3_000;
/** How long everyone may take when all is healed. */
const SETTLE_MS = 40_000;

export interface Answered {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** One request on a connection of its own. Rejects when no whole answer came in time. */
export function ask(port: number, path: string, asked: Asked = {}): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const sent = open(port, path, asked);
    const timer = setTimeout(() => sent.destroy(new Error('no answer in time')), PATIENCE_MS);
    const settled = (error: Error | undefined, answer?: Answered): void => {
      clearTimeout(timer);
      if (error === undefined && answer !== undefined) resolve(answer);
      else reject(error ?? new Error('cut off'));
    };
    sent.on('error', (error) => settled(error));
    sent.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
      response.on('error', (error) => settled(error));
      response.on('close', () => {
        const { statusCode: status = 0, headers, complete } = response;
        settled(undefined, complete ? { status, headers, text } : undefined);
      });
    });
  });
}

function open(port: number, path: string, { method = 'GET', headers, body }: Asked): ClientRequest {
  const options = { host: '127.0.0.1', port, path, method, agent: false, headers: { ...headers } };
  return httpRequest(options).end(body);
}

/** A publish that was acknowledged, to be repeated. */
export interface Acknowledged {
  readonly channel: string;
  readonly key: string;
  readonly body: string;
  readonly type: string;
  readonly texts: readonly string[];
  readonly firstId: number;
  readonly lastId: number;
}

/** What every event that was seen is called, and every fault. */
export class Truth {
  readonly acknowledged: Acknowledged[] = [];
  readonly faults: string[] = [];
  readonly #idOf = new Map<string, number>();
  readonly #textOf = new Map<number, string>();

  fault(words: string): void {
    if (this.faults.length < 20) this.faults.push(words);
  }

  idOf(text: string): number | undefined {
    return this.#idOf.get(text);
  }

  /** Somebody was told that this event has this id. */
  seen(who: string, id: number, text: string): void {
    const known = this.#textOf.get(id);
    if (known !== undefined && known !== text)
      this.fault(`${who}: id ${id} names ${known} and ${text}`);
    const before = this.#idOf.get(text);
    if (before !== undefined && before !== id)
      this.fault(`${who}: ${text} has the ids ${before} and ${id}`);
    this.#textOf.set(id, text);
    this.#idOf.set(text, id);
  }

  acknowledgedOn(channels: readonly string[]): readonly Acknowledged[] {
    return this.acknowledged.filter(({ channel }) => channels.includes(channel));
  }
}

/** Publishes one request after another, each until it is acknowledged. */
export class Publisher {
  readonly #name: string;
  readonly #truth: Truth;
  readonly #ports: readonly number[];
  readonly #random: Random;
  #isOver = false;
  #count = 0;
  readonly #running: Promise<void>;
  repeats = 0;

  constructor(
    name: string,
    channels: readonly string[],
    truth: Truth,
    ports: readonly number[],
    seed: number,
  ) {
    this.#name = name;
    this.#truth = truth;
    this.#ports = ports;
    this.#random = new Random(seed);
    this.#running = this.#run(channels);
  }

  async #run(channels: readonly string[]): Promise<void> {
    while (!this.#isOver) {
      await this.publish(this.#random.pick(channels), this.#random.chance(0.15) ? 5 : 1);
      await sleep(this.#random.between(5, 40));
    }
  }

  async publish(channel: string, count: number): Promise<Acknowledged> {
    const key = `${this.#name}.${this.#count++}`;
    const texts = Array.from({ length: count }, (_none, i) => `<${channel}.${key}.${i}>`);
    const type = count === 1 ? 'text/plain' : 'application/x-ndjson';
    const body =
      count === 1 ? texts[0]! : texts.map((data) => JSON.stringify({ data })).join('\n');
    for (const untilMs = performance.now() + SETTLE_MS * 2; ; this.repeats++) {
      const ids = await this.#try(channel, key, body, type);
      if (ids !== undefined) {
        const acknowledged = { channel, key, body, type, texts, ...ids };
        this.#truth.acknowledged.push(acknowledged);
        this.#truth.seen(this.#name, ids.firstId, texts[0]!);
        this.#truth.seen(this.#name, ids.lastId, texts.at(-1)!);
        return acknowledged;
      }
      if (performance.now() > untilMs) {
        this.#truth.fault(`${key} was never acknowledged`);
        throw new Error(`${key} was never acknowledged`);
      }
      await sleep(this.#random.between(20, 200));
    }
  }

  /** Undefined when it is to be tried again. */
  async #try(
    channel: string,
    key: string,
    body: string,
    type: string,
  ): Promise<Ids | undefined> {
    const headers = { 'Content-Type': type, 'Idempotency-Key': key };
    const port = this.#random.pick(this.#ports);
    const answer = await ask(port, `/${channel}`, { method: 'POST', headers, body }).catch(
      () => undefined,
    );
    if (answer?.status === 200) return idsOf(answer);
    if (answer !== undefined && answer.status !== 503 && answer.status !== 504)
      this.#truth.fault(`${key}: ${answer.status} ${answer.text}`);
    return undefined;
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }
}

/** Ids of the first event and of the last one; in NATS those of others may lie between. */
interface Ids {
  readonly firstId: number;
  readonly lastId: number;
}

export function idsOf({ text }: Answered): Ids {
  const answer = JSON.parse(text) as { readonly id: number } | { first: number; last: number };
  return 'id' in answer
    ? { firstId: answer.id, lastId: answer.id }
    : { firstId: answer.first, lastId: answer.last };
}

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
    const timer = setTimeout(() => sent.destroy(), this.#random.between(50, 2_000));
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
    for (const untilMs = performance.now() + SETTLE_MS; performance.now() < untilMs; await sleep(20))
      if (texts.every((text) => this.texts.has(text))) return true;
    return false;
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  #isTold({ firstId, lastId }: Acknowledged, text: string): boolean {
    // Nobody may know the ids within a batch.
    const id = this.#truth.idOf(text);
    const [low, high] = id === undefined ? [firstId, lastId] : [id, id];
    return this.gaps.some(
      ({ after, before }) => (after ?? 0) < high && low < (before ?? Infinity),
    );
  }

  /**
   * What is missing without a gap that says so, and gaps that are false: that begin where everything
   * behind is still kept (above `lostThrough`).
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
      if (!known.has(text)) this.#truth.fault(`${this.name}: has ${text}, which nobody was told of`);
  }
}

interface PolledEvent {
  readonly id: number;
  readonly data: string;
  readonly gap?: Gap;
}

/** Publishers and readers of some channels on these ports, all from one seed. */
export class Crowd {
  readonly truth = new Truth();
  readonly #ports: readonly number[];
  readonly #seed: number;
  readonly #publishers: Publisher[] = [];
  readonly readers: Reader[] = [];

  constructor(ports: readonly number[], seed: number) {
    this.#ports = ports;
    this.#seed = seed;
  }

  /** `position` is one of before the first event. */
  begin(position: number, publishers: number, readersOfAKind: number): void {
    const sets = [['a'], ['b'], ['a', 'b'], ['a', 'b', 'c']];
    for (let i = 0; i < publishers; i++)
      this.#publishers.push(
        new Publisher(`p${i}`, ['a', 'b', 'c'], this.truth, this.#ports, this.#seed * 1000 + i),
      );
    for (let i = 0; i < readersOfAKind; i++) {
      for (const [k, kind] of (['sse', 'sse', 'poll'] as const).entries()) {
        const seed = this.#seed * 1000 + 100 + i * 10 + k;
        const channels = sets[(i + k) % sets.length]!;
        this.readers.push(new Reader(kind, channels, position, this.truth, this.#ports, seed));
      }
    }
  }

  /**
   * Everything is healed: all publishers come to their end, and all readers to the last event.
   * `lostThrough` is what the log has forgotten by then.
   */
  async end(lostThrough: () => Promise<number>): Promise<readonly string[]> {
    const { truth, readers } = this;
    await Promise.all(this.#publishers.map((publisher) => publisher.end()));
    const last = new Map<string, string>();
    for (const channel of ['a', 'b', 'c'])
      last.set(channel, (await this.#publishers[0]!.publish(channel, 1)).texts[0]!);
    const reached = await Promise.all(
      readers.map((reader) => reader.has(reader.channels.map((channel) => last.get(channel)!))),
    );
    for (const [i, reader] of readers.entries())
      if (!reached[i]) truth.fault(`${reader.name}: did not come to the end`);
    await Promise.all(readers.map((reader) => reader.end()));
    const lost = await lostThrough();
    for (const reader of readers) reader.check(lost);
    return truth.faults;
  }

  get figures(): string {
    const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
    const refusals = new Map<number, number>();
    for (const reader of this.readers)
      for (const [status, count] of reader.refusals)
        refusals.set(status, (refusals.get(status) ?? 0) + count);
    const repeats = sum(this.#publishers.map((publisher) => publisher.repeats));
    const hops = sum(this.readers.map((reader) => reader.hops));
    const read = sum(this.readers.map((reader) => reader.ids.length));
    const gaps = sum(this.readers.map((reader) => reader.gaps.length));
    return `seed ${this.#seed}: ${this.truth.acknowledged.length} publishes acknowledged after ${repeats} repeats; ${this.readers.length} readers hopped ${hops} times, read ${read} events, ${gaps} gaps, refused ${JSON.stringify([...refusals])}`;
  }
}
