/**
 * The server around one mechanism of bench/alternatives/: streams, publishing, and a pump that
 * writes in slices of time from `setImmediate`. It has no replay and no gap notices, so that only
 * the mechanism is compared.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { SSE } from '../../src/core/frame.js';
import { SWEEP_SLICE_MS } from '../../src/limits.js';
import { MECHANISMS, type MechanismName } from '../alternatives/mechanisms.js';
import { loadUws } from '../../src/native/load.js';
import { serveRunner } from './agent.js';

const { App, us_listen_socket_close, us_socket_local_port } = (await loadUws()).uws;

/** Settings, as JSON in the environment. */
export interface AlternativeSettings {
  mechanism: MechanismName;
}

const PRELUDE = 'retry: 3000\nid: 0\n\n';
const CHANNEL = 'bench';

const settings = JSON.parse(process.env['BENCH_SETTINGS'] ?? '') as AlternativeSettings;
const mechanism = MECHANISMS[settings.mechanism].make();
let lastId = 0;
let scheduled = false;

function wake(): void {
  if (scheduled) return;
  scheduled = true;
  setImmediate(run);
}

function run(): void {
  scheduled = false;
  if (!mechanism.sweep(performance.now() + SWEEP_SLICE_MS)) wake();
}

const drain = (): void => {};

function subscribe(res: HttpResponse, _req: HttpRequest): void {
  res.writeHeader('Content-Type', 'text/event-stream');
  res.writeHeader('Cache-Control', 'no-cache, no-transform');
  res.writeHeader('X-Accel-Buffering', 'no');
  res.write(PRELUDE);
  const callback = makeCallback(res, mechanism.join(res));
  res.onAborted(callback);
  res.onWritable(callback);
}

/**
 * One closure for both callbacks, in every mechanism, and without a name, as in src/native/uws.ts.
 */
function makeCallback(res: HttpResponse, line: unknown): (offset?: number) => boolean {
  return (offset) => {
    if (offset === undefined) {
      mechanism.left(line);
    } else {
      res.cork(drain);
      mechanism.drained(line);
      wake();
    }
    return true;
  };
}

function publish(res: HttpResponse, _req: HttpRequest): void {
  const parts: Buffer[] = [];
  res.onAborted(() => {});
  res.onData((chunk, isLast) => {
    // The bytes are valid only until this returns.
    parts.push(Buffer.from(Buffer.from(chunk)));
    if (!isLast) return;
    const id = ++lastId;
    const frame = SSE.encode({
      id,
      channel: CHANNEL,
      type: undefined,
      data: Buffer.concat(parts),
      json: false,
    });
    mechanism.append(id, frame, frame.length);
    wake();
    res.writeHeader('Content-Type', 'application/json');
    res.end(`{"id":${id},"subscribers":${mechanism.lineCount}}`);
  });
}

const app = App();
app.get('/*', subscribe);
app.post('/*', publish);
app.listen('127.0.0.1', 0, (listenSocket) => {
  if (!listenSocket) throw new Error('could not listen');
  serveRunner({
    port: us_socket_local_port(listenSocket),
    held: () => mechanism.lineCount,
    counters: () => ({ events: lastId, writes_total: mechanism.writes }),
    stop: () => us_listen_socket_close(listenSocket),
  });
});
