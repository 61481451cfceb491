/**
 * One visit to one server: its own fresh process, fresh clients of the load tool, and all of them
 * ended whatever happens.
 */
import type { Target } from '../dist/tools/load/clients/connection.js';
import { ClientProcess } from '../dist/tools/load/processes/client-process.js';
import { Fleet, type FleetOpened, type OpenOptions } from '../dist/tools/load/processes/fleet.js';
import type { RequestOrder, RequestsAnswered } from '../dist/tools/load/processes/request-loop.js';
import { Round, type RoundOptions } from '../dist/tools/load/run/round.js';
import { CLIENT_CORE, moveRunner, pinning } from './child.js';
import { sleepMs } from './clock.js';
import { compiled, hasCompiler } from './compile.js';
import { CHANNEL, DATA_BYTES, PATH } from './event.js';
import {
  type Running,
  type TargetName,
  asksForGzip,
  clientKindOf,
  startTarget,
} from './targets.js';

export const CHECKED_SHARE = 0.01;

const BYTE_COUNTER = '../src/tools/load/processes/byte-counter.c';

const CLIENT_CORES = pinning ? [CLIENT_CORE] : undefined;

/** Longer than the slowest server here needs to accept a line; a hung one fails the run. */
const OPEN_DEADLINE_BASE_MS = 10_000;
const OPEN_DEADLINE_MS_PER_LINE = 2;
/** Where few connect at the same time. */
const OPEN_SLOWLY_DEADLINE_MS_PER_LINE = 5;

/** An open loop: answers may take seconds before an event has to wait for a connection. */
const PUBLISH_CONNECTIONS = 2_048;

/** What lines took to connect. */
export interface Opened {
  lines: number;
  /** From the first connect to the last complete line. */
  elapsedMs: number;
  firstConnectUs: number;
  lastCompleteUs: number;
}

/** A subject may need more of `Server` than this. */
export class Visit<
  Server extends Pick<
    Running,
    'name' | 'port' | 'stop' | 'publishPort' | 'linePath' | 'opensAtOnce'
  > = Running,
> {
  readonly server: Server;
  readonly target: Target;
  /** Where events are published; the same server, but for a subject of several nodes. */
  readonly publishTarget: Target;
  readonly #fleets: Fleet[] = [];
  readonly #processes: ClientProcess[] = [];

  /** `key`: what clients show as Authorization: Bearer. */
  constructor(server: Server, key?: string, publishPort = server.publishPort ?? server.port) {
    this.server = server;
    const { port } = server;
    const path = server.linePath ?? PATH;
    this.target = { address: '127.0.0.1', port, authority: `127.0.0.1:${port}`, path, key };
    this.publishTarget = {
      ...this.target,
      path: PATH,
      port: publishPort,
      authority: `127.0.0.1:${publishPort}`,
    };
    // This process publishes.
    moveRunner(CLIENT_CORES);
  }

  /**
   * The clients of a subject. Where they must not be the limit, a process in C counts the bytes of
   * all lines that are not checked. Without gcc a Node process does, which reaches its limit
   * sooner.
   */
  async startFleet({
    countsInC = false,
    processes = 1,
    checkedShare = CHECKED_SHARE,
  } = {}): Promise<Fleet> {
    const fleet = await Fleet.start({
      target: this.target,
      transport: clientKindOf(this.server.name),
      compress: asksForGzip(this.server.name),
      processes,
      checkedShare,
      cores: CLIENT_CORES,
      byteCounter: countsInC && hasCompiler ? compiled(BYTE_COUNTER) : undefined,
    });
    this.#fleets.push(fleet);
    return fleet;
  }

  /** Grows to so many lines. Throws when they are not all subscribed in time. */
  async open(fleet: Fleet, lines: number, options: OpenOptions = {}): Promise<Opened> {
    const { opensAtOnce = lines } = this.server;
    const deadlineMs =
      OPEN_DEADLINE_BASE_MS +
      lines * (opensAtOnce < lines ? OPEN_SLOWLY_DEADLINE_MS_PER_LINE : OPEN_DEADLINE_MS_PER_LINE);
    const timer = setTimeout(() => void fleet.halt().catch(() => {}), deadlineMs);
    let step = Math.min(opensAtOnce, lines);
    let opened: FleetOpened;
    let firstConnectUs: number | undefined;
    try {
      for (;;) {
        opened = await fleet.open(step, options);
        firstConnectUs ??= opened.firstConnectUs;
        if (opened.lines < step || step === lines) break;
        step = Math.min(step + opensAtOnce, lines);
      }
    } finally {
      clearTimeout(timer);
    }
    if (opened.lines < lines) {
      const [why = `no more in ${deadlineMs} ms`] = opened.failed.keys();
      throw new Error(`${opened.lines} of ${lines} lines were complete: ${why}`);
    }
    const { lastJoinUs } = opened;
    return {
      lines,
      elapsedMs: (lastJoinUs - firstConnectUs) / 1000,
      firstConnectUs,
      lastCompleteUs: lastJoinUs,
    };
  }

  /** Events to publish from this process. */
  round(
    fleet: Fleet,
    options: Pick<RoundOptions, 'ratePerSecond' | 'events' | 'window' | 'settleMs' | 'body'> &
      Partial<Pick<RoundOptions, 'makePublisher' | 'sizeBytes'>>,
  ): Round {
    return new Round(fleet, {
      target: this.publishTarget,
      channel: CHANNEL,
      sizeBytes: DATA_BYTES,
      publishKey: undefined,
      connections: PUBLISH_CONNECTIONS,
      ...options,
    });
  }

  /** Sends requests in a closed loop, from a process of its own. */
  loopRequests(order: Omit<RequestOrder, 'target'>): Promise<RequestsAnswered> {
    const client = new ClientProcess(CLIENT_CORES?.[0]);
    this.#processes.push(client);
    return client.ask('requests', { target: this.target, ...order });
  }

  async end(): Promise<void> {
    await Promise.all([...this.#fleets, ...this.#processes].map((one) => one.close()));
    await this.server.stop();
    moveRunner(undefined);
  }
}

export async function visit<T>(
  target: TargetName,
  settings: object,
  measure: (visit: Visit) => Promise<T>,
  key?: string,
): Promise<T> {
  const here = new Visit(await startTarget(target, settings), key);
  try {
    return await measure(here);
  } finally {
    await here.end();
  }
}

const HELD_CHECK_MS = 50;

/** Only the server knows that a poll waits: its client has no answer yet. */
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
    await sleepMs(HELD_CHECK_MS);
  }
}
