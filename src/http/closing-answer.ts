/** A closing answer: the last one of its connection, which is closed when it has been flushed. */
import type { HttpResponse } from '../native/uws.js';

/** An answer's body: for a HEAD only its length is sent, and for undefined there is none (204). */
export type Body = string | Uint8Array | undefined;

/**
 * Writes the rest of an answer behind its head, and leaves it open as far as uWebSockets knows:
 * anything that follows on the connection then closes it and is never a request. The end of the
 * head, and the body, follow in the value of the last header; the line break that uWebSockets
 * writes after a value is the last of the head or, counted, of the body.
 * native-notes/closing-answers.md
 *
 * `body` is text: the counted line break would follow the end of any other. `connection` is the
 * value of that field, which names `close`.
 *
 * With `isAtOnce` it leaves within the call: bytes that are parsed before the cork is flushed may
 * close the connection, which drops the cork.
 */
export function writeClosing(
  response: HttpResponse,
  body: Body,
  connection: string,
  isHead: boolean,
  isAtOnce: boolean,
): void {
  response.writeHeader('Date', new Date().toUTCString());
  if (body === undefined) {
    response.writeHeader('Connection', `${connection}\r\n`);
    return;
  }
  response.writeHeader('Connection', connection);
  if (isHead) {
    response.writeHeader('Content-Length', `${Buffer.byteLength(body)}\r\n`);
    return;
  }
  const whole = isAtOnce ? textOf(body) + PADDING : textOf(body);
  const length = Buffer.byteLength(whole) + END_OF_LINE.length;
  response.writeHeader('Content-Length', `${length}\r\n\r\n${whole}`);
}

/**
 * Makes an answer larger than the cork, so that it leaves within the call: blanks behind JSON mean
 * nothing. native-notes/cork-size.md
 */
const PADDING = ' '.repeat(16 * 1024);

const END_OF_LINE = '\r\n';

/** The body of a closing answer is UTF-8. */
function textOf(body: string | Uint8Array): string {
  return typeof body === 'string'
    ? body
    : Buffer.from(body.buffer, body.byteOffset, body.length).toString();
}
