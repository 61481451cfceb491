/** A client on an event stream or on NDJSON lines over HTTP. */

import { Client, type Crew } from './client.js';
import { EventReader, SSE, type EventFormat } from './dialect.js';
import { refusalText, type Head } from './http.js';

/** Reads until the server ends the stream; it does not come back, since what it then misses is what a run is to find. */
export class StreamClient extends Client {
  readonly #format: EventFormat;
  readonly #reader: EventReader;

  constructor(row: number, crew: Crew, format: EventFormat) {
    super(row, crew);
    this.#format = format;
    this.#reader = new EventReader(format, this);
  }

  opened(): void {
    const { path, authority } = this.crew.target;
    const accepted = this.#format.dialect === SSE ? 'text/event-stream' : 'application/x-ndjson';
    this.send(`GET ${path} HTTP/1.1\r\nHost: ${authority}\r\nAccept: ${accepted}\r\n\r\n`);
  }

  head({ status }: Head): boolean {
    // An event stream that is refused for now has the same head; its first block tells.
    if (status === 200 && this.#format.dialect !== SSE) this.join();
    return status === 200;
  }

  piece(bytes: Buffer, start: number, end: number): void {
    this.#reader.feed(bytes, start, end);
  }

  override position(): void {
    this.join();
  }

  complete(head: Head, body: Buffer): void {
    if (head.status !== 200) this.fail(`refused: ${refusalText(head, body)}`);
    else if (this.endCode !== undefined) this.fail(`the server ended the stream: ${this.endCode}`);
    else if (this.isJoined) this.fail('the server ended the stream');
    else this.fail('refused for now, by a stream without a position that ended at once: the server is full or draining');
  }
}
