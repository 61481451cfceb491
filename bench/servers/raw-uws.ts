/** The raw uWebSockets.js floor: lines in an array, one frame built per POST, one corked write per line and event, and nothing else. */
import { App, type HttpRequest, type HttpResponse, us_listen_socket_close, us_socket_local_port } from 'uWebSockets.js';
import { serveRunner } from './agent.js';

const PRELUDE = 'retry: 3000\nid: 0\n\n';

interface Line {
  res: HttpResponse;
  /** Refused a write and has not been writable since: written to again it would grow without bound. */
  stalled: boolean;
}

const lines: Line[] = [];
let lastId = 0;
let skippedWrites = 0;
let refusedWrites = 0;

// One callback for the process: cork hands it nothing, so it reads these two.
let writtenRes: HttpResponse;
let writtenFrame: Buffer;
let writeTaken = true;
const writeFrame = (): void => {
  writeTaken = writtenRes.write(writtenFrame);
};
const drain = (): void => {};

/** A floor that loses events of a stalled line says so: it has no ring to catch up from. */
function fanOut(frame: Buffer): void {
  writtenFrame = frame;
  for (const line of lines) {
    if (line.stalled) {
      skippedWrites++;
      continue;
    }
    writtenRes = line.res;
    line.res.cork(writeFrame);
    if (writeTaken) continue;
    line.stalled = true;
    refusedWrites++;
  }
}

function subscribe(res: HttpResponse): void {
  const line: Line = { res, stalled: false };
  res.onAborted(() => {
    const row = lines.indexOf(line);
    const last = lines.pop()!;
    if (last !== line) lines[row] = last;
  });
  // With a writable handler uWS drains only when it is corked, and the return value is ignored.
  res.onWritable(() => {
    res.cork(drain);
    line.stalled = false;
    return true;
  });
  res.writeHeader('Content-Type', 'text/event-stream');
  res.writeHeader('Cache-Control', 'no-cache, no-transform');
  res.writeHeader('X-Accel-Buffering', 'no');
  res.write(PRELUDE);
  lines.push(line);
}

function publish(res: HttpResponse, _req: HttpRequest): void {
  const parts: Buffer[] = [];
  res.onAborted(() => {});
  res.onData((chunk, isLast) => {
    // uWS takes the bytes back when this returns.
    parts.push(Buffer.from(Buffer.from(chunk)));
    if (!isLast) return;
    const id = ++lastId;
    const frame = Buffer.concat([Buffer.from(`id: ${id}\ndata: `), ...parts, Buffer.from('\n\n')]);
    if (lines.length > 0) setImmediate(fanOut, frame);
    res.writeHeader('Content-Type', 'application/json');
    res.end(`{"id":${id},"subscribers":${lines.length}}`);
  });
}

const app = App();
app.get('/*', subscribe);
app.post('/*', publish);
app.listen('127.0.0.1', 0, (listenSocket) => {
  if (!listenSocket) throw new Error('could not listen');
  serveRunner({
    port: us_socket_local_port(listenSocket),
    counters: () => ({ lines: lines.length, events: lastId, skippedWrites, refusedWrites }),
    stop: () => us_listen_socket_close(listenSocket),
  });
});
