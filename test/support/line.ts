/**
 * Strict readers of one stream, SSE or NDJSON, as the server wrote it: ids, gaps, end; whatever
 * breaks the wire contract fails the next wait.
 */
import { onTestFinished } from 'vitest';
import { NdjsonReader, type Gap, type NdjsonEvent } from './ndjson.js';
import type { ServerUnderTest } from './server-under-test.js';
import { RawConnection, requestBytes, ResponseReader, Watched, type ResponseHead } from './wire.js';

export type { Gap };

/** One block of the stream, with its fields; `raw` is without the blank line that ends it. */
export interface Block {
  readonly raw: string;
  readonly id: number | undefined;
  readonly event: string | undefined;
  /** Data lines joined with LF, as a client sees them; undefined where there is none. */
  readonly data: string | undefined;
  readonly retry: number | undefined;
  readonly comment: string | undefined;
}

/** An event as a client sees it. */
export type EventBlock = Block & { readonly id: number; readonly data: string };

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Reads one block; anything that is not a field the server is documented to write throws. */
export function parseBlock(raw: string): Block {
  let id: number | undefined;
  let event: string | undefined;
  let data: string[] | undefined;
  let retry: number | undefined;
  let comment: string | undefined;
  for (const line of raw.split('\n')) {
    const match = line === ':' ? [line, '', ''] : /^(id|event|data|retry|): (.*)$/s.exec(line);
    if (!match || line.includes('\r'))
      throw new Error(`not a line of the documented stream: ${JSON.stringify(line)}`);
    const value = match[2]!;
    if (match[1] === 'data') (data ??= []).push(value);
    else if (match[1] === 'event') event = value;
    else if (match[1] === '') comment = value;
    else if (!/^\d+$/.test(value)) throw new Error(`not a number: ${JSON.stringify(line)}`);
    else if (match[1] === 'id') id = Number(value);
    else retry = Number(value);
  }
  return { raw, id, event, data: data?.join('\n'), retry, comment };
}

/** How a line is opened. */
export interface LineOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * Take nothing from the socket until `resume`: a stalled reader. The head is then not waited for.
   */
  readonly paused?: boolean;
  /** Keep the blocks (the default); a line that meets 100 MB only counts. */
  readonly keep?: boolean;
  readonly onBlock?: (block: Block) => void;
}

/** The response side of a held line, whatever its encoding. */
abstract class HeldLine extends Watched {
  readonly connection: RawConnection;
  readonly path: string;
  /** Everything received so far, as text in Latin-1; empty where it is not kept. */
  text = '';
  protected readonly keep: boolean;
  readonly #reader: ResponseReader;

  constructor(connection: RawConnection, path: string, { keep = true }: LineOptions) {
    super();
    this.connection = connection;
    this.path = path;
    this.keep = keep;
    this.#reader = new ResponseReader((bytes) => {
      if (this.keep) this.text += bytes.toString('latin1');
      this.take(bytes);
    });
    connection.consume = (bytes) => {
      try {
        this.#reader.feed(bytes);
      } catch (error) {
        this.broken = new Error(`${path}: ${(error as Error).message}`, { cause: error });
      }
      this.changed();
    };
    connection.socket.on('close', () => this.changed());
  }

  /** Takes the next bytes of the body; throws where they break the contract. */
  protected abstract take(bytes: Buffer): void;

  /** Highest id on this stream; where the encoding tells a position, that included. */
  abstract readonly lastId: number;

  abstract readonly eventCount: number;

  /** Asks for the stream and waits for its head, unless it is paused. */
  protected async ask(accept: string, { headers, paused = false }: LineOptions): Promise<void> {
    const { port } = this.connection;
    this.connection.send(
      requestBytes(port, 'GET', this.path, { headers: { Accept: accept, ...headers } }),
    );
    if (!paused)
      await this.waitFor(
        'the head of the response',
        () => this.#reader.head ?? this.#closedEarly(),
      );
  }

  #closedEarly(): false {
    if (this.connection.closed)
      throw new Error(`${this.path}: closed before a head; ${this.connection.describe()}`);
    return false;
  }

  get head(): ResponseHead {
    return this.#reader.head!;
  }

  /** The response came to the end that its framing announces. */
  get complete(): boolean {
    return this.#reader.complete;
  }

  get closed(): boolean {
    return this.connection.closed;
  }

  /** Waits for the event with this id. */
  waitForId(id: number, deadlineMs?: number): Promise<boolean> {
    return this.waitFor(`id ${id}`, () => this.lastId >= id, deadlineMs);
  }

  waitForEvents(count: number, deadlineMs?: number): Promise<boolean> {
    return this.waitFor(`${count} events`, () => this.eventCount >= count, deadlineMs);
  }

  /** Waits for the end of the response (not of the connection, which may serve another request). */
  waitForEnd(deadlineMs?: number): Promise<boolean> {
    return this.waitFor('the end of the stream', () => this.complete || this.closed, deadlineMs);
  }

  close(): void {
    this.connection.destroy();
  }
}

/**
 * A held SSE line. Ids must rise strictly over events and never fall over heartbeats; that is
 * checked on every block.
 */
export class SseLine extends HeldLine {
  readonly blocks: Block[] = [];
  readonly gaps: Gap[] = [];
  /** The `code` of the end event, once it came. */
  endCode: string | undefined;
  eventCount = 0;
  /** Highest id on this stream, prelude and heartbeats included. */
  lastId = -1;
  readonly #onBlock: ((block: Block) => void) | undefined;
  #rest: Buffer = Buffer.alloc(0);

  constructor(connection: RawConnection, path: string, options: LineOptions) {
    super(connection, path, options);
    this.#onBlock = options.onBlock;
  }

  /** Asks for the stream and waits for its head. */
  static async open(port: number, path: string, options: LineOptions = {}): Promise<SseLine> {
    const connection = await RawConnection.open(port, { paused: options.paused ?? false });
    return SseLine.over(connection, path, options);
  }

  /** The same over a connection that is open: one with TLS, or to a unix socket. */
  static async over(
    connection: RawConnection,
    path: string,
    options: LineOptions = {},
  ): Promise<SseLine> {
    const line = new SseLine(connection, path, options);
    await line.ask('text/event-stream', options);
    return line;
  }

  describe(): string {
    const last = this.blocks.slice(-3).map((block) => block.raw.slice(0, 200));
    return `${this.path}: ${this.eventCount} events, ${this.gaps.length} gaps, last id ${this.lastId}, ${this.connection.describe()}, last blocks ${JSON.stringify(last)}`;
  }

  /** Events, without gap and end, which carry no id. */
  get events(): EventBlock[] {
    return this.blocks.filter(
      (block): block is EventBlock => block.id !== undefined && block.data !== undefined,
    );
  }

  get ids(): number[] {
    return this.events.map((event) => event.id);
  }

  waitForBlocks(count: number, deadlineMs?: number): Promise<boolean> {
    return this.waitFor(`${count} blocks`, () => this.blocks.length >= count, deadlineMs);
  }

  protected take(bytes: Buffer): void {
    let rest = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
      this.#block(parseBlock(utf8.decode(rest.subarray(0, end))));
      rest = rest.subarray(end + 2);
    }
    this.#rest = rest;
  }

  #block(block: Block): void {
    if (this.endCode !== undefined) throw new Error(`a block after the end event: ${block.raw}`);
    const isEvent = block.data !== undefined;
    if (block.event === 'gap' || block.event === 'end') {
      if (block.id !== undefined || !isEvent)
        throw new Error(`not a documented ${block.event} event: ${block.raw}`);
      if (block.event === 'gap') this.gaps.push(JSON.parse(block.data) as Gap);
      else this.endCode = (JSON.parse(block.data) as { code: string }).code;
    } else if (isEvent) {
      if (block.id === undefined)
        throw new Error(`an event without id: ${block.raw.slice(0, 200)}`);
      if (block.id <= this.lastId) throw new Error(`id ${block.id} after ${this.lastId}`);
      this.eventCount++;
    } else if (block.id !== undefined && block.id < this.lastId) {
      throw new Error(`position ${block.id} after ${this.lastId}`);
    }
    if (block.id !== undefined) this.lastId = block.id;
    if (this.keep) this.blocks.push(block);
    this.#onBlock?.(block);
  }
}

/** A held NDJSON line, checked line by line by {@link NdjsonReader}. */
export class NdjsonLine extends HeldLine {
  readonly reader = new NdjsonReader();
  #rest: Buffer = Buffer.alloc(0);

  /** Asks for the stream and waits for its head. */
  static async open(port: number, path: string, options: LineOptions = {}): Promise<NdjsonLine> {
    const connection = await RawConnection.open(port, { paused: options.paused ?? false });
    const line = new NdjsonLine(connection, path, options);
    await line.ask('application/x-ndjson', options);
    return line;
  }

  describe(): string {
    return `${this.path}: ${this.reader.describe()}, ${this.connection.describe()}`;
  }

  get lastId(): number {
    return this.reader.lastId;
  }

  get eventCount(): number {
    return this.reader.events.length;
  }

  get events(): readonly NdjsonEvent[] {
    return this.reader.events;
  }

  get ids(): number[] {
    return this.events.map((event) => event.id);
  }

  get gaps(): readonly Gap[] {
    return this.reader.gaps;
  }

  /** The `code` of the end line, once it came. */
  get endCode(): string | undefined {
    return this.reader.end?.code;
  }

  /** `Holdline-Position` of the head: where the line continues. */
  get position(): number {
    return Number(this.head.headers.get('holdline-position') ?? Number.NaN);
  }

  /** Waits until this many empty lines have come, the one that opens the stream included. */
  waitForHeartbeats(count: number, deadlineMs?: number): Promise<boolean> {
    return this.waitFor(`${count} empty lines`, () => this.reader.emptyLines >= count, deadlineMs);
  }

  protected take(bytes: Buffer): void {
    let rest = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    for (let end = rest.indexOf(0x0a); end >= 0; end = rest.indexOf(0x0a)) {
      this.reader.line(utf8.decode(rest.subarray(0, end)));
      rest = rest.subarray(end + 1);
    }
    this.#rest = rest;
  }
}

/**
 * A line that stalls with a gap as the last word may find, when it has drained, that more is lost:
 * it is told a wider one then.
 */
export function withoutOutdated(gaps: readonly Gap[]): Gap[] {
  return gaps.filter((gap, index) => gap.after !== gaps[index + 1]?.after);
}

/**
 * A line on a channel of its own that takes nothing any more, so that the server cannot finish
 * before its drain time.
 */
export async function stalledLine(server: ServerUnderTest): Promise<SseLine> {
  const line = await SseLine.open(server.port, '/stalled');
  onTestFinished(() => line.close());
  line.connection.pause();
  const events = Array.from({ length: 1000 }, () => ({ data: 'x'.repeat(1000) }));
  for (let stalled = 0; stalled === 0; stalled = (await server.stats()).lines.stalled)
    await server.publishBatch('stalled', events);
  return line;
}
