/** A strict reader of one SSE stream, as the server wrote it: blocks, ids, gaps; whatever breaks the wire contract fails the next wait. */
import { RawConnection, requestBytes, ResponseReader, Watched, type ResponseHead } from './wire.js';

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

/** The data of a gap event. */
export interface Gap {
  readonly after: number | null;
  readonly before: number | null;
}

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
    if (!match || line.includes('\r')) throw new Error(`not a line of the documented stream: ${JSON.stringify(line)}`);
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
  /** Take nothing from the socket until `resume`: a stalled reader. The head is then not waited for. */
  readonly paused?: boolean;
  /** Keep the blocks (the default); a line that meets 100 MB only counts. */
  readonly keep?: boolean;
  readonly onBlock?: (block: Block) => void;
}

/** A held line. Ids must rise strictly over events and never fall over heartbeats; that is checked on every block. */
export class SseLine extends Watched {
  readonly connection: RawConnection;
  readonly path: string;
  readonly blocks: Block[] = [];
  readonly gaps: Gap[] = [];
  /** The `code` of the end event, once it came. */
  endCode: string | undefined;
  eventCount = 0;
  /** Highest id on this stream, prelude and heartbeats included. */
  lastId = -1;
  /** Everything received so far, as text; empty where blocks are not kept. */
  text = '';
  readonly #reader: ResponseReader;
  readonly #keep: boolean;
  readonly #onBlock: ((block: Block) => void) | undefined;
  #rest: Buffer = Buffer.alloc(0);

  constructor(connection: RawConnection, path: string, { keep = true, onBlock }: LineOptions) {
    super();
    this.connection = connection;
    this.path = path;
    this.#keep = keep;
    this.#onBlock = onBlock;
    this.#reader = new ResponseReader((bytes) => this.#take(bytes));
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

  /** Asks for the stream and waits for its head. */
  static async open(port: number, path: string, options: LineOptions = {}): Promise<SseLine> {
    const connection = await RawConnection.open(port, { paused: options.paused ?? false });
    const line = new SseLine(connection, path, options);
    connection.send(requestBytes(port, 'GET', path, { headers: { Accept: 'text/event-stream', ...options.headers } }));
    if (!options.paused) await line.waitFor('the head of the response', () => line.#reader.head ?? line.#closedEarly());
    return line;
  }

  #closedEarly(): false {
    if (this.connection.closed) throw new Error(`${this.path}: closed before a head; ${this.connection.describe()}`);
    return false;
  }

  describe(): string {
    const last = this.blocks.slice(-3).map((block) => block.raw.slice(0, 200));
    return `${this.path}: ${this.eventCount} events, ${this.gaps.length} gaps, last id ${this.lastId}, ${this.connection.describe()}, last blocks ${JSON.stringify(last)}`;
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

  /** Events, without gap and end, which carry no id. */
  get events(): EventBlock[] {
    return this.blocks.filter((block): block is EventBlock => block.id !== undefined && block.data !== undefined);
  }

  get ids(): number[] {
    return this.events.map((event) => event.id);
  }

  /** Waits for the event with this id. */
  waitForId(id: number, deadlineMs?: number): Promise<boolean> {
    return this.waitFor(`id ${id}`, () => this.lastId >= id, deadlineMs);
  }

  waitForEvents(count: number, deadlineMs?: number): Promise<boolean> {
    return this.waitFor(`${count} events`, () => this.eventCount >= count, deadlineMs);
  }

  waitForBlocks(count: number, deadlineMs?: number): Promise<boolean> {
    return this.waitFor(`${count} blocks`, () => this.blocks.length >= count, deadlineMs);
  }

  /** Waits for the end of the response (not of the connection, which may serve another request). */
  waitForEnd(deadlineMs?: number): Promise<boolean> {
    return this.waitFor('the end of the stream', () => this.complete || this.closed, deadlineMs);
  }

  close(): void {
    this.connection.destroy();
  }

  #take(bytes: Buffer): void {
    let rest = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    if (this.#keep) this.text += bytes.toString('latin1');
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
      if (block.id !== undefined || !isEvent) throw new Error(`not a documented ${block.event} event: ${block.raw}`);
      if (block.event === 'gap') this.gaps.push(JSON.parse(block.data) as Gap);
      else this.endCode = (JSON.parse(block.data) as { code: string }).code;
    } else if (isEvent) {
      if (block.id === undefined) throw new Error(`an event without id: ${block.raw.slice(0, 200)}`);
      if (block.id <= this.lastId) throw new Error(`id ${block.id} after ${this.lastId}`);
      this.eventCount++;
    } else if (block.id !== undefined && block.id < this.lastId) {
      throw new Error(`position ${block.id} after ${this.lastId}`);
    }
    if (block.id !== undefined) this.lastId = block.id;
    if (this.#keep) this.blocks.push(block);
    this.#onBlock?.(block);
  }
}
