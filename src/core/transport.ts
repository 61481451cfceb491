/** The names of the ways to get events. Part of the public types: it needs none of Node's. */

/** How a client asks for its channels. */
export type ClientTransport = 'sse' | 'ndjson' | 'websocket' | 'poll';

/** How a line is held; `library` is one of the program that embeds the server. */
export type Transport = ClientTransport | 'library';

/** A count of lines for each transport, all 0. */
export function noLines(): Record<Transport, number> {
  return { sse: 0, ndjson: 0, websocket: 0, poll: 0, library: 0 };
}
