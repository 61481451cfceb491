/** A client on an event stream, or on a stream of NDJSON. */

import { SSE } from './encoding.js';
import { authorizationField, type Target } from './connection.js';
import { refusalText, type Head } from './http.js';
import { LineClient } from './line-client.js';

/** What a stream may call itself. Servers of other makes have several names for rows of JSON. */
const SSE_TYPE = /^text\/event-stream\b/i;
const JSON_TYPE = /json/i;

/** The request for a stream. */
export function streamRequest(
  { path, authority, key }: Target,
  isSse: boolean,
  after: string | undefined,
  compress = false,
): string {
  const accepted = isSse ? 'text/event-stream' : 'application/x-ndjson';
  const position = after === undefined ? '' : `Last-Event-ID: ${after}\r\n`;
  const coding = compress ? 'Accept-Encoding: gzip\r\n' : '';
  return `GET ${path} HTTP/1.1\r\nHost: ${authority}\r\nAccept: ${accepted}\r\n${coding}${authorizationField(key)}${position}\r\n`;
}

/**
 * Reads until the server ends the stream. It does not come back then, so that the run counts what
 * it misses.
 */
export class StreamClient extends LineClient {
  opened(): void {
    const { target, format, compress } = this.shared;
    this.send(streamRequest(target, format.encoding === SSE, this.continuesAfter, compress));
  }

  head({ status, headers }: Head): boolean {
    if (status !== 200) return false;
    const type = headers.get('content-type');
    const isSse = this.shared.format.encoding === SSE;
    if (type !== undefined && !(isSse ? SSE_TYPE : JSON_TYPE).test(type))
      throw new Error(`Content-Type: ${type}, where a stream was asked for`);
    const position = headers.get('holdline-position');
    if (position !== undefined) this.position(position);
    this.answeredIn(headers.get('content-encoding'));
    // A refusal of an event stream has the same head, and ends in the same bytes.
    this.answered();
    return true;
  }

  piece(bytes: Buffer, start: number, end: number, endsChunk: boolean): void {
    if (this.isGzip) this.readGzip(bytes, start, end, endsChunk);
    else this.read(bytes, start, end);
  }

  complete(head: Head, body: Buffer): void {
    if (head.status !== 200) this.fail(`refused: ${refusalText(head, body)}`);
    else if (this.endCode !== undefined) this.fail(`the server ended the stream: ${this.endCode}`);
    else if (this.isJoined) this.fail('the server ended the stream');
    else
      this.fail(
        'refused for now: the stream has no position and ended at once; the server is full or draining',
      );
  }
}
