/**
 * A rival: `node:http` as in most event streams in Node: a Set of responses, and a `write` for each
 * of them and event. It has no replay, and what a reader does not take waits in the response's
 * buffer.
 */
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serveRunner } from './agent.js';
import { BACKLOG, readBody } from './node-request.js';

const PRELUDE = 'retry: 3000\nid: 0\n\n';

const lines = new Set<ServerResponse>();
let lastId = 0;
let refusedWrites = 0;

function subscribe(response: ServerResponse): void {
  response.writeHead(200, {
    'Content-Type': 'text/event-stream',
    'Cache-Control': 'no-cache, no-transform',
    'X-Accel-Buffering': 'no',
  });
  response.write(PRELUDE);
  lines.add(response);
  response.on('close', () => lines.delete(response));
}

async function publish(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const data = await readBody(request);
  const id = ++lastId;
  // Most programs write strings. It is built once, so that building strings is not compared.
  const frame = `id: ${id}\ndata: ${data}\n\n`;
  for (const line of lines) if (!line.write(frame)) refusedWrites++;
  response.setHeader('Content-Type', 'application/json');
  response.end(`{"id":${id},"subscribers":${lines.size}}`);
}

const server = createServer((request, response) => {
  if (request.method === 'POST') publish(request, response).catch(() => response.destroy());
  else subscribe(response);
});
server.listen({ port: 0, host: '127.0.0.1', backlog: BACKLOG }, () => {
  serveRunner({
    port: (server.address() as AddressInfo).port,
    held: () => lines.size,
    counters: () => ({ events: lastId, refusedWrites }),
    stop: () => {
      server.close();
    },
  });
});
