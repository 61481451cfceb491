/**
 * A strict poller: every answer must be a 200 with events or a 204, and say the position to poll
 * again with.
 */
import { onTestFinished } from 'vitest';
import { readEvent, type NdjsonEvent } from './ndjson.js';
import type { ServerUnderTest } from './server-under-test.js';
import { DEADLINE_MS, HttpClient, type Answer } from './wire.js';

/** What a poll came back with. */
export interface PollAnswer {
  readonly status: 200 | 204;
  /** `Holdline-Position`. */
  readonly position: number;
  readonly events: readonly NdjsonEvent[];
  /** True when the body was an array. */
  readonly isArray: boolean;
  readonly text: string;
  readonly answer: Answer;
}

/** Reads a poll's answer; whatever breaks the contract throws. */
export function readPoll(answer: Answer): PollAnswer {
  const { status, headers, text } = answer;
  if (status !== 200 && status !== 204)
    throw new Error(`a poll was answered ${answer.raw}: ${text.slice(0, 500)}`);
  const position = headers.get('holdline-position') ?? '';
  if (!/^(?:0|[1-9]\d{0,15})$/.test(position))
    throw new Error(`a poll without a position: ${answer.raw}`);
  const body: unknown = status === 200 ? JSON.parse(text) : [];
  const isArray = status === 200 && Array.isArray(body);
  const events = (Array.isArray(body) ? body : [body]).map(readEvent);
  if (status === 200 && events.length === 0) throw new Error('200 without an event');
  for (const [i, event] of events.entries()) {
    if (i > 0 && event.id <= events[i - 1]!.id)
      throw new Error(`id ${event.id} after ${events[i - 1]!.id}`);
    if (i > 0 && event.gap !== undefined)
      throw new Error(`a gap in the middle of an answer: ${text.slice(0, 500)}`);
  }
  if (events.length > 0 && Number(position) !== events.at(-1)!.id)
    throw new Error(`position ${position} of ${text.slice(0, 500)}`);
  return { status, position: Number(position), events, isArray, text, answer };
}

/** Milliseconds that the query asks to wait. */
function waitMsOf(path: string): number {
  return Number(new URLSearchParams(path.split('?')[1]).get('wait') ?? 25) * 1000;
}

/** Polls one after the other on one connection. */
export class Poller {
  readonly client: HttpClient;

  constructor(client: HttpClient) {
    this.client = client;
  }

  /** Gone when the running test is over. */
  static async open({ port }: Pick<ServerUnderTest, 'port'>): Promise<Poller> {
    const client = await HttpClient.open(port);
    onTestFinished(() => client.close());
    return new Poller(client);
  }

  async poll(path: string, headers: Readonly<Record<string, string>> = {}): Promise<PollAnswer> {
    return readPoll(
      await this.client.request('GET', path, { headers }, waitMsOf(path) + DEADLINE_MS),
    );
  }
}

/** One poll on a connection of its own. */
export async function poll(
  server: Pick<ServerUnderTest, 'port'>,
  path: string,
  headers?: Readonly<Record<string, string>>,
): Promise<PollAnswer> {
  const poller = await Poller.open(server);
  try {
    return await poller.poll(path, headers);
  } finally {
    poller.client.close();
  }
}

/** A poll that the server holds. */
export interface HeldPoll {
  readonly poller: Poller;
  readonly answered: Promise<PollAnswer>;
}

/**
 * Opens a poll at each of the paths and waits until the server holds them, beside those it holds
 * already.
 */
export async function holdPolls(
  server: ServerUnderTest,
  paths: readonly string[],
  headers?: Readonly<Record<string, string>>,
): Promise<HeldPoll[]> {
  const before = (await server.stats()).lines.byTransport.poll;
  let early: Error | undefined;
  const held = await Promise.all(
    paths.map(async (path) => {
      const poller = await Poller.open(server);
      const answered = poller.poll(path, headers);
      answered.then(
        ({ answer }) =>
          (early ??= new Error(`${path} was answered at once: ${answer.raw} ${answer.text}`)),
        (error: unknown) => (early ??= error as Error),
      );
      return { poller, answered };
    }),
  );
  await server.statsUntil(`${paths.length} polls wait`, ({ lines }) => {
    if (early) throw early;
    return lines.byTransport.poll === before + paths.length;
  });
  return held;
}

/** As {@link holdPolls} for one. */
export async function holdPoll(
  server: ServerUnderTest,
  path: string,
  headers?: Readonly<Record<string, string>>,
): Promise<HeldPoll> {
  return (await holdPolls(server, [path], headers))[0]!;
}
