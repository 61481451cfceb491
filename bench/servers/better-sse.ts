/**
 * A rival: better-sse on `node:http`, with one channel and its defaults, except that ids are
 * numbers, so that their order can be checked.
 */
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createChannel, createSession } from 'better-sse';
import { serveRunner } from './agent.js';
import { BACKLOG, readBody } from './node-request.js';

const channel = createChannel();
let lastId = 0;

async function subscribe(request: IncomingMessage, response: ServerResponse): Promise<void> {
  channel.register(await createSession(request, response));
}

async function publish(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const data = await readBody(request);
  const id = ++lastId;
  channel.broadcast(data, 'message', { eventId: String(id) });
  response.setHeader('Content-Type', 'application/json');
  response.end(`{"id":${id},"subscribers":${channel.sessionCount}}`);
}

const server = createServer((request, response) => {
  const answered =
    request.method === 'POST' ? publish(request, response) : subscribe(request, response);
  // The session of a client that has already left cannot be registered.
  answered.catch(() => response.destroy());
});
server.listen({ port: 0, host: '127.0.0.1', backlog: BACKLOG }, () => {
  serveRunner({
    port: (server.address() as AddressInfo).port,
    held: () => channel.sessionCount,
    counters: () => ({ events: lastId }),
    stop: () => {
      server.close();
    },
  });
});
