/**
 * Three nodes on one NATS stream: readers hop between them while nodes and NATS are killed, started
 * again, frozen and cut off. Each has in the end everything that was acknowledged, once and in
 * order, or a gap that says what retention took. CHAOS_SECONDS and CHAOS_SEED: longer, and others.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import type { CuttingProxy } from '../bench/cutting-proxy.js';
import { ask } from './support/asking.js';
import { Crowd } from './support/crowd.js';
import { idsOf } from './support/insistent-publisher.js';
import { KeptUp } from './support/kept-up.js';
import { NatsServer } from './support/nats.js';
import { Random } from './support/random.js';
import type { Flags } from './support/server.js';

const SECONDS = Number(process.env['CHAOS_SECONDS'] ?? 1.2);
const SEED = Number(process.env['CHAOS_SEED'] ?? 1);
const IS_LONG = process.env['CHAOS_SECONDS'] !== undefined;
/** Events that the log keeps where it forgets. */
const KEPT = IS_LONG ? 60 : 20;

interface Node {
  readonly kept: KeptUp;
  readonly proxy: CuttingProxy;
}

/** Does one thing after another to nodes and to NATS, each healed by itself. */
class Havoc {
  readonly #nodes: readonly Node[];
  readonly #nats: NatsServer;
  readonly #random: Random;
  readonly #running = new Set<Promise<unknown>>();
  readonly #busy = new Set<unknown>();
  readonly done = new Map<string, number>();

  constructor(nodes: readonly Node[], nats: NatsServer, seed: number) {
    this.#nodes = nodes;
    this.#nats = nats;
    this.#random = new Random(seed);
  }

  /** Longer than a heartbeat that is missed, now and then; mostly short. */
  #time(): Promise<void> {
    const mostMs = IS_LONG && this.#random.chance(0.25) ? 6_000 : 800;
    return sleep(this.#random.between(20, mostMs));
  }

  async run(seconds: number): Promise<void> {
    // A cut, a node and NATS that are killed: in the shortest run, too.
    const first = [0.5, 0.1, 0.85];
    for (const untilMs = performance.now() + seconds * 1000; performance.now() < untilMs;) {
      this.#one(first.shift() ?? this.#random.next());
      await sleep(this.#random.between(50, IS_LONG ? 700 : 250));
    }
    await Promise.all(this.#running);
  }

  #one(chance: number): void {
    const node = this.#random.pick(this.#nodes);
    if (chance < 0.3) this.#do('node killed', node.kept, () => node.kept.again('SIGKILL'));
    else if (chance < 0.35) this.#do('node drained', node.kept, () => node.kept.again('SIGTERM'));
    else if (chance < 0.45) this.#do('node frozen', node.kept, () => this.#freeze(node.kept));
    else if (chance < 0.65) this.#do('cut', node.proxy, () => this.#part(node.proxy, 'cut'));
    else if (chance < 0.8) this.#do('silence', node.proxy, () => this.#part(node.proxy, 'silence'));
    else if (chance < 0.9) this.#do('NATS killed', this.#nats, () => this.#killNats());
    else this.#do('NATS frozen', this.#nats, () => this.#freezeNats());
  }

  #do(name: string, target: unknown, act: () => Promise<void>): void {
    if (this.#busy.has(target)) return;
    this.#busy.add(target);
    this.done.set(name, (this.done.get(name) ?? 0) + 1);
    const running = act().finally(() => {
      this.#busy.delete(target);
      this.#running.delete(running);
    });
    this.#running.add(running);
  }

  async #part(proxy: CuttingProxy, how: 'cut' | 'silence'): Promise<void> {
    proxy[how]();
    await this.#time();
    proxy.heal();
  }

  async #freeze(kept: KeptUp): Promise<void> {
    const server = kept.server;
    server?.signal('SIGSTOP');
    await this.#time();
    server?.signal('SIGCONT');
  }

  async #killNats(): Promise<void> {
    await this.#nats.kill();
    await this.#time();
    await this.#nats.startAgain();
  }

  async #freezeNats(): Promise<void> {
    await this.#nats.freeze();
    await this.#time();
    this.#nats.thaw();
  }
}

async function hop(flags: Flags): Promise<{ readonly crowd: Crowd; readonly kept: number }> {
  const nats = await NatsServer.start();
  const nodes = await Promise.all(
    Array.from({ length: 3 }, async (): Promise<Node> => {
      const proxy = await nats.behindProxy();
      const log = `nats://${proxy.url}`;
      const kept = await KeptUp.start({ log, 'replay-events': 20, 'ops-key': 'ops', ...flags });
      return { kept, proxy };
    }),
  );
  const ports = nodes.map(({ kept }) => kept.port);
  const first = await ask(ports[0]!, '/a', { method: 'POST', body: 'first' });
  const crowd = new Crowd(ports, SEED);
  crowd.begin(idsOf(first).firstId, 4, 3);
  const havoc = new Havoc(nodes, nats, SEED);
  await havoc.run(SECONDS);
  await Promise.all(nodes.map(({ kept }) => kept.up()));
  let kept = 0;
  const faults = await crowd.end(async () => {
    const manager = await jetstreamManager(await nats.client());
    const { state } = await manager.streams.info('HOLDLINE');
    kept = state.messages;
    return state.first_seq - 1;
  });
  const failures = nodes.flatMap((node) => node.kept.failures);
  if (IS_LONG) console.log(crowd.figures, JSON.stringify([...havoc.done]), failures);
  expect(faults).toEqual([]);
  expect(crowd.truth.acknowledged.length).toBeGreaterThan(5);
  return { crowd, kept };
}

const TIMEOUT_MS = SECONDS * 1_000 + 180_000;

test(
  'readers that hop while everything is killed and cut have every event, once, in order',
  async () => {
    const { crowd } = await hop({});
    expect(crowd.readers.flatMap(({ gaps }) => gaps)).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'with a log that forgets, what a reader misses is told by a gap, and no gap is false',
  async () => {
    const { kept } = await hop({ 'log-events': KEPT });
    expect(kept).toBeLessThanOrEqual(KEPT);
  },
  TIMEOUT_MS,
);
