/** Clients of each kind, and the encoding of what they read. */

import type { Client, SharedContext } from './client.js';
import { NDJSON, POLL, SSE, type Encoding } from './encoding.js';
import type { ClientKind, Role } from './mix.js';
import { PollClient } from './poll-client.js';
import { StreamClient } from './stream-client.js';
import { WebSocketClient } from './websocket-client.js';

const ENCODINGS: Readonly<Record<ClientKind, Encoding>> = {
  sse: SSE,
  ndjson: NDJSON,
  ws: NDJSON,
  'long-poll': POLL,
  'short-poll': POLL,
};

export function encodingOf(kind: ClientKind): Encoding {
  return ENCODINGS[kind];
}

export function makeClient(
  kind: ClientKind,
  row: number,
  role: Role,
  shared: SharedContext,
): Client {
  if (kind === 'ws') return new WebSocketClient(row, role, shared);
  if (kind === 'sse' || kind === 'ndjson') return new StreamClient(row, role, shared);
  return new PollClient(row, role, shared, kind === 'long-poll');
}
