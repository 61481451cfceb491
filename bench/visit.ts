/**
 * One visit to one server: its own fresh process, a fresh client, and both ended whatever happens.
 */
import { type Child, CLIENT_CORE, startNode } from './child.js';
import type { OpenOrder, Opened } from './client.js';
import { sleepMs } from './clock.js';
import { hasCompiler } from './compile.js';
import { PATH } from './event.js';
import { LineClient } from './line-client.js';
import type { PollOpenOrder } from './poll-client.js';
import { Reader } from './reader.js';
import { type Running, type TargetName, startTarget, transportOf } from './targets.js';

export const CHECKED_SHARE = 0.01;
/** Below uWebSockets.js's accept queue of 512. */
export const CONNECTS_AT_ONCE = 256;

const CLIENT_FILE = new URL('client.ts', import.meta.url);
const POLL_CLIENT_FILE = new URL('poll-client.ts', import.meta.url);
const PUBLISHER_FILE = new URL('publisher.ts', import.meta.url);
const REQUEST_LOAD_FILE = new URL('request-load.ts', import.meta.url);

/** Loopback addresses 127.0.0.x to 127.0.199.x in turn: no visit meets a port of the one before. */
const ADDRESS_BASES = 200;
let visits = 0;

/** Longer than the slowest server here takes to accept a line; a hung one fails the run. */
const OPEN_DEADLINE_BASE_MS = 10_000;
const OPEN_DEADLINE_MS_PER_LINE = 2;
const CLOSE_DEADLINE_MS = 10_000;

/** The most a poll may wait: none of a round is to be answered empty. */
const POLL_WAIT_DEFAULT_SECONDS = 60;

function openDeadlineMs(lines: number): number {
  return OPEN_DEADLINE_BASE_MS + lines * OPEN_DEADLINE_MS_PER_LINE;
}

/** `Server` is more than this wherever a subject asks it for more. */
export class Visit<Server extends Pick<Running, 'name' | 'port' | 'stop'> = Running> {
  readonly server: Server;
  readonly #children: Child[] = [];
  readonly #lineClients: LineClient[] = [];
  readonly #addressBase = visits++ % ADDRESS_BASES;

  constructor(server: Server) {
    this.server = server;
  }

  /** The client of a subject in which it must not be the limit. */
  async startLineClient(): Promise<LineClient> {
    const checker = startNode(`client of ${this.server.name}`, CLIENT_FILE, CLIENT_CORE);
    const reader = hasCompiler ? await Reader.start(`reader of ${this.server.name}`) : undefined;
    const client = new LineClient(checker, reader);
    this.#lineClients.push(client);
    return client;
  }

  startClient(): Child {
    return this.#start('client', CLIENT_FILE);
  }

  startPollClient(): Child {
    return this.#start('client', POLL_CLIENT_FILE);
  }

  startPublisher(): Child {
    return this.#start('publisher', PUBLISHER_FILE);
  }

  startRequestLoad(): Child {
    return this.#start('requests', REQUEST_LOAD_FILE);
  }

  #start(name: string, file: URL): Child {
    const child = startNode(`${name} of ${this.server.name}`, file, CLIENT_CORE);
    this.#children.push(child);
    return child;
  }

  async open(client: Child, lines: number, more: Partial<OpenOrder> = {}): Promise<Opened> {
    const order = this.openOrder(lines, more);
    return client.ask<Opened>('open', order, order.deadlineMs + 1000);
  }

  openOrder(lines: number, more: Partial<OpenOrder>): OpenOrder {
    return {
      port: this.server.port,
      path: PATH,
      transport: transportOf(this.server.name) === 'websocket' ? 'websocket' : 'sse',
      lines,
      checkedShare: CHECKED_SHARE,
      connectsAtOnce: CONNECTS_AT_ONCE,
      addressBase: this.#addressBase,
      sequenceLimit: 0,
      deadlineMs: openDeadlineMs(lines),
      ...more,
    };
  }

  pollOrder(polls: number): PollOpenOrder {
    return {
      port: this.server.port,
      path: PATH,
      polls,
      since: 0,
      waitSeconds: POLL_WAIT_DEFAULT_SECONDS,
      connectsAtOnce: CONNECTS_AT_ONCE,
      addressBase: this.#addressBase,
      deadlineMs: openDeadlineMs(polls),
    };
  }

  async end(): Promise<void> {
    await Promise.all(this.#lineClients.map((client) => client.kill()));
    for (const child of this.#children) {
      if (child.name.startsWith('client'))
        await child.ask('close', null, CLOSE_DEADLINE_MS).catch(() => {});
    }
    await this.server.stop();
    await Promise.all(this.#children.map((child) => child.kill()));
  }
}

export async function visit<T>(
  target: TargetName,
  settings: object,
  measure: (visit: Visit) => Promise<T>,
): Promise<T> {
  const here = new Visit(await startTarget(target, settings));
  try {
    return await measure(here);
  } finally {
    await here.end();
  }
}

const HELD_LOOK_MS = 50;

/** A poll that waits has told its client nothing: only the server knows that it has it. */
export async function untilHeld(
  server: Pick<Running, 'name' | 'usage'>,
  wanted: number,
  deadlineMs: number,
): Promise<void> {
  const untilMs = performance.now() + deadlineMs;
  for (;;) {
    const held = (await server.usage())?.held ?? 0;
    if (held >= wanted) return;
    if (performance.now() > untilMs)
      throw new Error(`${server.name} held ${held} of ${wanted} after ${deadlineMs} ms`);
    await sleepMs(HELD_LOOK_MS);
  }
}
