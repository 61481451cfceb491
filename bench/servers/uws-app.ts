/** What the servers of the bench on raw uWebSockets.js do alike. */
import type { HttpResponse, TemplatedApp } from 'uWebSockets.js';
import { loadUws } from '../../src/native/load.js';
import { type Served, serveRunner } from './agent.js';

export const { uws, build } = await loadUws();

const PRELUDE = 'retry: 3000\nid: 0\n\n';

/** Head and prelude of an event stream. */
export function beginStream(res: HttpResponse): void {
  res.writeHeader('Content-Type', 'text/event-stream');
  res.writeHeader('Cache-Control', 'no-cache, no-transform');
  res.writeHeader('X-Accel-Buffering', 'no');
  res.write(PRELUDE);
}

/** Hands the body of a publish over when all of it has come. */
export function receiveBody(res: HttpResponse, received: (body: Buffer) => void): void {
  const parts: Buffer[] = [];
  res.onAborted(() => {});
  res.onData((chunk, isLast) => {
    // The bytes are valid only until this returns.
    parts.push(Buffer.from(Buffer.from(chunk)));
    if (isLast) received(Buffer.concat(parts));
  });
}

/** Answers a publish as Holdline does. */
export function answerPublish(res: HttpResponse, id: number, subscribers: number): void {
  res.writeHeader('Content-Type', 'application/json');
  res.end(`{"id":${id},"subscribers":${subscribers}}`);
}

/** Listens, and answers the runner. */
export function serve(
  app: TemplatedApp,
  { held, counters, publish }: Pick<Served, 'held' | 'counters' | 'publish'>,
): void {
  app.listen('127.0.0.1', 0, (listenSocket) => {
    if (!listenSocket) throw new Error('could not listen');
    serveRunner({
      port: uws.us_socket_local_port(listenSocket),
      held,
      counters,
      ...(publish === undefined ? {} : { publish }),
      stop: () => uws.us_listen_socket_close(listenSocket),
    });
  });
}
