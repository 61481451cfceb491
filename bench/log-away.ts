/**
 * A node that was away: cut off from NATS while others publish, and how long after the cut is
 * healed a line on it has everything.
 */
import { type IncomingMessage, get } from 'node:http';
import { nowUs, sleepMs } from './clock.js';
import { CuttingProxy } from './cutting-proxy.js';
import { ANY_DATA, PATH } from './event.js';
import { NatsServer } from './nats-server.js';
import { startTarget } from './targets.js';

export interface AwayRound {
  round: number;
  /** Published while the node was away. */
  published: number;
  /** From the end of the cut until the line had the newest event; reconnecting is part of it. */
  caughtUpMs: number;
  /** Of those published, what the line was given, once each. */
  delivered: number;
  doubled: number;
  outOfOrder: number;
  gaps: number;
}

const BATCH_EVENTS = 100;
const BATCHES_AT_ONCE = 8;
const DELIVERY_DEADLINE_MS = 10_000;
const CATCH_UP_DEADLINE_MS = 60_000;
const LOOK_MS = 1;

/** A line of this process: it reads ids, and nothing else. */
class IdReader {
  readonly ids: number[] = [];
  gaps = 0;
  #rest = '';
  #why: string | undefined;

  private constructor(answer: IncomingMessage) {
    answer.setEncoding('latin1');
    answer.on('data', (text: string) => this.#take(text));
    answer.on('error', (error) => (this.#why = error.message));
    answer.on('close', () => (this.#why ??= 'the server closed it'));
    this.close = () => answer.destroy();
  }

  readonly close: () => void;

  static open(port: number): Promise<IdReader> {
    return new Promise((resolve, reject) => {
      const headers = { Accept: 'text/event-stream' };
      const request = get({ host: '127.0.0.1', port, path: PATH, headers, agent: false });
      request.on('error', reject);
      request.on('response', (answer) => {
        if (answer.statusCode === 200) resolve(new IdReader(answer));
        else reject(new Error(`the line was answered ${answer.statusCode}`));
      });
    });
  }

  async has(id: number, deadlineMs: number): Promise<void> {
    const untilMs = performance.now() + deadlineMs;
    while ((this.ids.at(-1) ?? 0) < id) {
      if (this.#why !== undefined) throw new Error(`the line ended: ${this.#why}`);
      if (performance.now() > untilMs)
        throw new Error(
          `after ${deadlineMs} ms the line had ${this.ids.length} events and ${this.gaps} gaps, the newest ${this.ids.at(-1)} of ${id}`,
        );
      await sleepMs(LOOK_MS);
    }
  }

  #take(text: string): void {
    const rows = (this.#rest + text).split('\n');
    this.#rest = rows.pop()!;
    for (const row of rows) {
      if (row.startsWith('id: ')) this.ids.push(Number(row.slice('id: '.length)));
      else if (row === 'event: gap') this.gaps++;
    }
  }
}

export async function measureAway(round: number, events: number): Promise<AwayRound> {
  const ends: (() => Promise<void> | void)[] = [];
  try {
    const nats = await NatsServer.start();
    ends.push(() => nats.remove());
    const proxy = await CuttingProxy.start(nats.port);
    ends.push(() => proxy.end());
    const other = await startTarget('holdline-nats', { log: `nats:127.0.0.1:${nats.port}` });
    ends.push(() => other.stop());
    const node = await startTarget('holdline-nats', { log: `nats:127.0.0.1:${proxy.port}` });
    ends.push(() => node.stop());
    const line = await IdReader.open(node.port);
    ends.push(() => line.close());
    const before = await publishBatch(other.port, 1);
    await line.has(before, DELIVERY_DEADLINE_MS);
    proxy.cut();
    const last = await publish(other.port, events);
    const had = line.ids.length;
    if (line.ids.at(-1)! > before) throw new Error('the node was not away');
    proxy.heal();
    const fromUs = nowUs();
    await line.has(last, CATCH_UP_DEADLINE_MS);
    const caughtUpMs = (nowUs() - fromUs) / 1000;
    const ids = line.ids.slice(had);
    const distinct = new Set(ids).size;
    return {
      round,
      published: events,
      caughtUpMs,
      delivered: distinct,
      doubled: ids.length - distinct,
      outOfOrder: ids.filter((id, index) => index > 0 && id < ids[index - 1]!).length,
      gaps: line.gaps,
    };
  } finally {
    // The newest first.
    while (ends.length > 0) await ends.pop()!();
  }
}

/** Publishes at least so many events; resolves with the newest id. */
async function publish(port: number, events: number): Promise<number> {
  let left = Math.ceil(events / BATCH_EVENTS);
  let last = 0;
  const publishOn = async (): Promise<void> => {
    while (left-- > 0) last = Math.max(last, await publishBatch(port, BATCH_EVENTS));
  };
  await Promise.all(Array.from({ length: BATCHES_AT_ONCE }, publishOn));
  return last;
}

/** Resolves with the id of the last event. */
async function publishBatch(port: number, events: number): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${port}${PATH}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-ndjson' },
    body: `${JSON.stringify({ data: ANY_DATA.toString('latin1') })}\n`.repeat(events),
  });
  const text = await answer.text();
  if (answer.status !== 200)
    throw new Error(`a batch was answered ${answer.status}: ${text.slice(0, 200)}`);
  return (JSON.parse(text) as { last: number }).last;
}
