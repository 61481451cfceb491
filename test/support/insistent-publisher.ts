/** A publisher that repeats every request until it is acknowledged. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ask, type Answered } from './asking.js';
import { Random } from './random.js';
import { SETTLE_MS, type Acknowledged, type Truth } from './truth.js';

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
    const body = count === 1 ? texts[0]! : texts.map((data) => JSON.stringify({ data })).join('\n');
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
  async #try(channel: string, key: string, body: string, type: string): Promise<Ids | undefined> {
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
