/** How a line is asked for, and how far behind it may be: the same for every client of lines. */
import type { OpenOrder } from './client.js';

/**
 * How each transport is asked for. The key is any 16 bytes: the answer to it is not checked here.
 */
const WAY = {
  sse: 'Accept: text/event-stream\r\n',
  websocket:
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n',
};

export function requestOf({ path, port, transport, lastEventId }: OpenOrder): string {
  const position = lastEventId === undefined ? '' : `Last-Event-ID: ${lastEventId}\r\n`;
  return `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${WAY[transport]}${position}\r\n`;
}

/**
 * A frame's worth of slack, in any transport: batches are cut differently from line to line, and
 * each has a few bytes of framing.
 */
export const SHORT_BY_BYTES = 320;
