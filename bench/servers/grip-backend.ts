/**
 * The backend behind pushpin: it answers a GET with the head of an event stream, which pushpin then
 * holds, and publishes the body of a POST through pushpin's control port.
 */
import { Agent, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serveRunner } from './agent.js';
import { BACKLOG, readBody } from './node-request.js';

/** Settings, as JSON in the environment. */
export interface GripBackendSettings {
  controlPort: number;
}

const CHANNEL = 'bench';
/** Of one POST to the control port, which takes a megabyte. */
const EVENTS_PER_POST_MAX = 500;

const { controlPort } = JSON.parse(process.env['BENCH_SETTINGS'] ?? '') as GripBackendSettings;

interface Waiting {
  readonly id: number;
  readonly frame: string;
  readonly done: (error?: Error) => void;
}

// One connection, so that pushpin gets events in the order of their ids; what comes while a post is
// under way leaves with the next one.
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const waiting: Waiting[] = [];
let isPosting = false;
let lastId = 0;
let posts = 0;

function publish(data: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const id = ++lastId;
    const done = (error?: Error): void => (error === undefined ? resolve(id) : reject(error));
    waiting.push({ id, frame: `id: ${id}\ndata: ${data}\n\n`, done });
    if (!isPosting) post();
  });
}

function post(): void {
  const batch = waiting.splice(0, EVENTS_PER_POST_MAX);
  isPosting = batch.length > 0;
  if (!isPosting) return;
  posts++;
  const items = batch.map(({ frame }) => ({
    channel: CHANNEL,
    formats: { 'http-stream': { content: frame } },
  }));
  const finish = (error?: Error): void => {
    for (const { done } of batch) done(error);
    post();
  };
  const asked = request(
    { host: '127.0.0.1', port: controlPort, path: '/publish/', method: 'POST', agent },
    (answer) => {
      answer.resume();
      answer.on('end', () =>
        finish(answer.statusCode === 200 ? undefined : new Error(`HTTP ${answer.statusCode}`)),
      );
    },
  );
  asked.on('error', finish);
  asked.end(JSON.stringify({ items }));
}

const server = createServer((req, res) => {
  if (req.method === 'POST') {
    readBody(req)
      .then(publish)
      .then((id) => {
        res.setHeader('Content-Type', 'application/json');
        res.end(`{"id":${id}}`);
      })
      .catch(() => res.destroy());
    return;
  }
  // Without a body, of whose delivery condure would report: more lines would be lost on their way
  // to pushpin-handler (bench/pushpin-target.ts).
  res.writeHead(200, {
    'Content-Type': 'text/event-stream',
    'Grip-Hold': 'stream',
    'Grip-Channel': CHANNEL,
  });
  res.end();
});
server.listen({ port: 0, host: '127.0.0.1', backlog: BACKLOG }, () => {
  serveRunner({
    port: (server.address() as AddressInfo).port,
    held: () => 0,
    counters: () => ({ events: lastId, posts }),
    stop: () => {
      server.close();
    },
  });
});
