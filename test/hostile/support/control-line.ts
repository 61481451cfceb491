/**
 * The control line as an actor: one event stream and a publisher of its own, twenty events a
 * second. Each event that was acknowledged must come once, in order, on the one connection; how
 * long that took is measured from the moment an event was due.
 */
import { RawConnection, requestBytes, ResponseReader } from '../../support/wire.js';
import { pause, percentile, type Acting, type Actor, type Figures } from './actor.js';

export interface ControlLineParameters {
  readonly channel: string;
  readonly ratePerSecond: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * How long a publisher waits for an answer before it gives up, ms: longer than any that the server
 * may keep it waiting.
 */
const GIVE_UP_MS = 5_000;
/** How long a look waits for what was published before it, ms. */
const SETTLE_MS = 7_000;

/** One publish and what became of it; times on this process's clock, ms. */
interface Sent {
  readonly index: number;
  readonly dueMs: number;
  answeredMs: number | undefined;
  deliveredMs: number | undefined;
  status: number | undefined;
  id: number | undefined;
  /** Without an answer. */
  failed: boolean;
}

/** Keep-alive connections with one request at a time on each. */
class Publisher {
  readonly #port: number;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #idle: RawConnection[] = [];

  constructor(port: number, headers: Readonly<Record<string, string>>) {
    this.#port = port;
    this.#headers = headers;
  }

  async publish(channel: string, body: string): Promise<{ status: number; text: string }> {
    const connection =
      this.#connectionOf(this.#idle.pop()) ?? (await RawConnection.open(this.#port));
    const pieces: Buffer[] = [];
    const reader = new ResponseReader((piece) => void pieces.push(piece));
    connection.consume = (bytes) => reader.feed(bytes);
    connection.send(
      requestBytes(this.#port, 'POST', `/${channel}`, { headers: this.#headers, body }),
    );
    try {
      const isAnswered = (): boolean => {
        if (connection.closed && !reader.complete) throw new Error('closed without an answer');
        return reader.complete;
      };
      await connection.waitFor('an answer', isAnswered, GIVE_UP_MS);
    } catch (error) {
      connection.destroy();
      throw error;
    }
    this.#idle.push(connection);
    return { status: reader.head!.status, text: Buffer.concat(pieces).toString() };
  }

  /**
   * Closes those that were opened while the server was slow: they would be taken for what an attack
   * left behind.
   */
  trim(): void {
    for (const connection of this.#idle.splice(1)) connection.destroy();
  }

  close(): void {
    for (const connection of this.#idle) connection.destroy();
  }

  #connectionOf(idle: RawConnection | undefined): RawConnection | undefined {
    return idle === undefined || idle.closed || idle.ended ? undefined : idle;
  }
}

export const controlLine: Actor<ControlLineParameters> = async (
  port,
  { channel, ratePerSecond, headers = {} },
) => {
  let sent: Sent[] = [];
  const byIndex = new Map<number, Sent>();
  const seenIndices = new Set<number>();
  let faults = 0;
  let gaps = 0;
  let lastId = -1;
  let started = false;

  const stream = await RawConnection.open(port);
  const block = (text: string): void => {
    const id = /^id: (\d+)$/m.exec(text)?.[1];
    const data = /^data: (\d+)$/m.exec(text)?.[1];
    if (text.includes('event: gap')) gaps++;
    else if (text.includes('event: end')) faults++;
    if (id === undefined || data === undefined) {
      started ||= id !== undefined;
      return;
    }
    const event = byIndex.get(Number(data));
    if (event === undefined || seenIndices.has(Number(data)) || Number(id) <= lastId) {
      faults++;
      return;
    }
    if (event.id !== undefined && event.id !== Number(id)) faults++;
    seenIndices.add(event.index);
    lastId = Number(id);
    event.id = lastId;
    event.deliveredMs = performance.now();
  };
  let rest = '';
  const reader = new ResponseReader((bytes) => {
    const blocks = (rest + bytes.toString('latin1')).split('\n\n');
    rest = blocks.pop() as string;
    for (const text of blocks) block(text);
  });
  stream.consume = (bytes) => reader.feed(bytes);
  stream.send(
    requestBytes(port, 'GET', `/${channel}`, { headers: { Accept: 'text/event-stream' } }),
  );
  await stream.waitFor('the prelude', () => started);

  const publisher = new Publisher(port, headers);
  const startMs = performance.now();
  let next = 0;
  const send = async (event: Sent): Promise<void> => {
    try {
      const { status, text } = await publisher.publish(channel, String(event.index));
      event.answeredMs = performance.now();
      event.status = status;
      if (status !== 200) return;
      const { id } = JSON.parse(text) as { id: number };
      if (event.id !== undefined && event.id !== id) faults++;
      event.id = id;
    } catch {
      event.failed = true;
    }
  };
  const sendWhatIsDue = (): void => {
    for (;;) {
      const dueMs = startMs + (next * 1000) / ratePerSecond;
      if (dueMs > performance.now()) return;
      const event: Sent = {
        index: next++,
        dueMs,
        answeredMs: undefined,
        deliveredMs: undefined,
        status: undefined,
        id: undefined,
        failed: false,
      };
      sent.push(event);
      byIndex.set(event.index, event);
      void send(event);
    }
  };
  const timer = setInterval(sendWhatIsDue, 5);

  const isSettled = (event: Sent): boolean =>
    event.failed ||
    (event.status !== undefined && (event.status !== 200 || event.deliveredMs !== undefined));

  async function look(): Promise<Figures> {
    const phase = sent;
    sent = [];
    const deadlineMs = performance.now() + SETTLE_MS;
    while (!phase.every(isSettled) && !stream.closed && performance.now() < deadlineMs)
      await pause(5);
    publisher.trim();
    const answered = phase.filter(({ status }) => status === 200);
    const delivered = answered.filter(({ deliveredMs }) => deliveredMs !== undefined);
    const publishMs = phase.flatMap(({ answeredMs, dueMs }) =>
      answeredMs === undefined ? [GIVE_UP_MS] : [answeredMs - dueMs],
    );
    const deliverMs = delivered.map((event) => Math.max(0, event.deliveredMs! - event.answeredMs!));
    const throughMs = delivered.map((event) => event.deliveredMs! - event.dueMs);
    return {
      published: phase.length,
      refused: phase.filter(({ status }) => status !== undefined && status !== 200).length,
      unanswered: phase.filter(({ status }) => status === undefined).length,
      undelivered: answered.length - delivered.length,
      faults: faults + (stream.broken === undefined ? 0 : 1) + (stream.closed ? 1 : 0),
      gaps,
      publishP50Ms: percentile(publishMs, 0.5),
      publishP99Ms: percentile(publishMs, 0.99),
      publishMaxMs: percentile(publishMs, 1),
      deliverP99Ms: percentile(deliverMs, 0.99),
      throughP50Ms: percentile(throughMs, 0.5),
      throughP99Ms: percentile(throughMs, 0.99),
      throughMaxMs: percentile(throughMs, 1),
    };
  }

  const acting: Acting = {
    look,
    async stop() {
      clearInterval(timer);
      const figures = await look();
      stream.destroy();
      publisher.close();
      return figures;
    },
  };
  return acting;
};
