/** A server under test, wherever it runs, and what a test asks of it. */
import type { Stats } from '../../src/ops/stats.js';
import { DEADLINE_MS, jsonOf, request, Watched, type Answer, type RequestParts } from './wire.js';

export type { Stats };

/** The answer to a batch. */
export interface BatchAnswer {
  readonly first: number;
  readonly last: number;
  readonly count: number;
  readonly subscribers: number;
}

/** An event to publish in a batch. */
export interface BatchEvent {
  readonly event?: string;
  readonly data: unknown;
}

/** A server that is asked over the network, and whose log is read. */
export abstract class ServerUnderTest extends Watched {
  readonly logs: Record<string, unknown>[] = [];
  /** Ids the server gave to this test's publishes, by channel, in order. */
  readonly published = new Map<string, number[]>();
  port = 0;
  opsKey = '';
  publishKey: string | undefined;
  /** What its process has written to stderr. */
  abstract readonly errorOutput: string;

  /** Takes a line of its log. */
  protected logged(line: string): void {
    this.logs.push(
      line.startsWith('{') ? (JSON.parse(line) as Record<string, unknown>) : { text: line },
    );
    this.changed();
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get opsHeaders(): Record<string, string> {
    return { Authorization: `Bearer ${this.opsKey}` };
  }

  /** One request on a connection of its own. */
  request(method: string, path: string, parts: RequestParts = {}): Promise<Answer> {
    return request(this.port, method, path, parts);
  }

  /**
   * Publishes whatever body this is and gives the answer, which may be a refusal; ids that were
   * given are noted.
   */
  async post(
    channel: string,
    body: string | Uint8Array,
    { query = '', headers = {} }: { query?: string; headers?: Record<string, string> } = {},
  ): Promise<Answer> {
    const key: Record<string, string> =
      this.publishKey === undefined ? {} : { Authorization: `Bearer ${this.publishKey}` };
    const answer = await this.request('POST', `/${channel}${query}`, {
      headers: { ...key, ...headers },
      body,
    });
    if (answer.status === 200) this.#note(channel, jsonOf(answer) as { id: number } | BatchAnswer);
    return answer;
  }

  #note(channel: string, answer: { id: number } | BatchAnswer): void {
    const [first, last] = 'id' in answer ? [answer.id, answer.id] : [answer.first, answer.last];
    const ids = this.published.get(channel) ?? [];
    for (let id = first; id <= last; id++) ids.push(id);
    this.published.set(channel, ids);
  }

  /** Publishes one text event and gives its id. */
  async publish(channel: string, data: string | Uint8Array, event?: string): Promise<number> {
    const answer = await this.post(channel, data, {
      query: event === undefined ? '' : `?event=${encodeURIComponent(event)}`,
      headers: { 'Content-Type': 'text/plain; charset=utf-8' },
    });
    if (answer.status !== 200) throw new Error(`publish: ${answer.status} ${answer.text}`);
    return (jsonOf(answer) as { id: number }).id;
  }

  /** Publishes a batch, all or nothing. */
  async publishBatch(channel: string, events: readonly BatchEvent[]): Promise<BatchAnswer> {
    const answer = await this.post(
      channel,
      events.map((event) => JSON.stringify(event)).join('\n'),
      {
        headers: { 'Content-Type': 'application/x-ndjson' },
      },
    );
    if (answer.status !== 200) throw new Error(`publishBatch: ${answer.status} ${answer.text}`);
    return jsonOf(answer) as BatchAnswer;
  }

  /**
   * Deletes a channel with the ops key and gives the id of the deletion, and how many lines were on
   * the channel.
   */
  async deleteChannel(
    channel: string,
  ): Promise<{ readonly id: number; readonly subscribers: number }> {
    const answer = await this.request('DELETE', `/${channel}`, { headers: this.opsHeaders });
    if (answer.status !== 200) throw new Error(`deleteChannel: ${answer.status} ${answer.text}`);
    return jsonOf(answer) as { id: number; subscribers: number };
  }

  async stats(): Promise<Stats> {
    const answer = await this.request('GET', '/-/stats', { headers: this.opsHeaders });
    if (answer.status !== 200) throw new Error(`stats: ${answer.status} ${answer.text}`);
    return jsonOf(answer) as Stats;
  }

  /** Asks for the stats until the condition holds. */
  async statsUntil(
    what: string,
    condition: (stats: Stats) => boolean,
    deadlineMs = DEADLINE_MS,
  ): Promise<Stats> {
    const deadline = performance.now() + deadlineMs;
    for (;;) {
      const stats = await this.stats();
      if (condition(stats)) return stats;
      if (performance.now() > deadline)
        throw new Error(`not within ${deadlineMs} ms: ${what}; stats ${JSON.stringify(stats)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
