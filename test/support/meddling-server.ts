/**
 * An HTTP proxy in front of a server that does to single events of single streams what networks and
 * servers do not do, so that a client must notice: loses, doubles, swaps. Everything else passes.
 */

import { createServer, request, type IncomingMessage, type Server } from 'node:http';

/**
 * The blocks that a stream gets for one of its own; `nth` counts the events of that stream, from 1,
 * and `stream` the streams, from 0.
 */
export type Meddle = (block: string, nth: number, stream: number) => readonly string[];

/** What a meddling proxy knows of what passed. */
export interface Meddler {
  readonly server: Server;
  /** Streams that were asked for, with the position they were asked from. */
  readonly streams: (string | undefined)[];
}

/** Makes the proxy; it does not yet listen. Events are the blocks that have data and no type. */
export function meddlingProxy(targetPort: number, meddle: Meddle): Meddler {
  const streams: (string | undefined)[] = [];
  const pass = (incoming: IncomingMessage, stream: number, write: (text: string) => void): void => {
    let rest = '';
    let events = 0;
    incoming.setEncoding('utf8').on('data', (text: string) => {
      const blocks = (rest + text).split('\n\n');
      rest = blocks.pop()!;
      for (const block of blocks) {
        const isEvent = /^data: /m.test(block) && !/^event: /m.test(block);
        for (const given of isEvent ? meddle(block, ++events, stream) : [block])
          write(`${given}\n\n`);
      }
    });
  };
  const server = createServer((asked, answer) => {
    const { method, url, headers } = asked;
    const isStream = headers.accept === 'text/event-stream';
    const stream = isStream ? streams.push(headers['last-event-id'] as string | undefined) - 1 : -1;
    const onward = request(
      { port: targetPort, host: '127.0.0.1', method, path: url, headers },
      (incoming) => {
        answer.writeHead(incoming.statusCode!, incoming.headers);
        if (isStream) {
          pass(incoming, stream, (text) => answer.write(text));
          incoming.on('end', () => answer.end());
        } else {
          incoming.pipe(answer);
        }
      },
    );
    // A side that goes takes the other with it.
    onward.on('error', () => answer.destroy());
    answer.on('close', () => onward.destroy());
    asked.pipe(onward);
  });
  return { server, streams };
}
