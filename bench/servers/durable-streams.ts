/**
 * A rival: the reference server of Durable Streams on `node:http`, with one stream in memory, read
 * live as SSE. Its events have no ids: an offset follows them in a control event.
 */
import { createRequire } from 'node:module';
import { serveRunner } from './agent.js';

const PACKAGE = '@durable-streams/server';

/** What is used here of the package's only class. */
interface DurableStreamTestServer {
  start(): Promise<string>;
  stop(): Promise<void>;
}
interface DurableStreamsModule {
  DurableStreamTestServer: new (options: {
    port: number;
    host: string;
    compression: boolean;
  }) => DurableStreamTestServer;
}

const STREAM = '/bench';

// The bench runs without the package; its CommonJS build is the same code.
const module = createRequire(import.meta.url)(PACKAGE) as DurableStreamsModule;
// In memory, without files. Compression is of answers that end, and costs a look at each request.
const server = new module.DurableStreamTestServer({
  port: 0,
  host: '127.0.0.1',
  compression: false,
});
const url = await server.start();
// A stream of text: others are sent as base64.
const made = await fetch(`${url}${STREAM}`, {
  method: 'PUT',
  headers: { 'Content-Type': 'text/plain' },
});
if (!made.ok) throw new Error(`the stream could not be made: ${made.status}`);

serveRunner({
  port: Number(new URL(url).port),
  held: () => 0,
  counters: () => ({}),
  stop: () => {
    // Its stop() waits for connections that are held.
    void server.stop();
  },
});
