/**
 * The throw-away loop that Holdline's pump came from, on raw uWebSockets.js: a ring of frames, a
 * cursor for each line, slices of rows from `setImmediate`, and one cork a visit, up to the newest
 * event. It shares no code with the pump, and has no replay, heartbeats, gap notices or probes:
 * what Holdline delivers is a share of what this does.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { answerPublish, beginStream, build, receiveBody, serve, uws } from './uws-app.js';

/**
 * Builds before 20.64 may lose bytes of a larger one.
 * native-notes/oversized-cork-loses-bytes.md
 */
const CORK_BYTES_MAX = 16_376;
/** Where larger writes are safe; together with its framing it fits a send buffer of 64 KiB. */
const LARGE_WRITE_BYTES_MAX = 61_000;

/** Bytes that one visit writes at most: `SLICE_LOOP_BYTES=8000 npm run bench -- fan-out …`. */
const SLICE_BYTES = Number(
  process.env['SLICE_LOOP_BYTES'] ??
    (build.keepsLargeCorks ? LARGE_WRITE_BYTES_MAX : CORK_BYTES_MAX),
);
/** Rows that are visited in one turn of the event loop. */
const SLICE_ROWS = Number(process.env['SLICE_LOOP_ROWS'] ?? 1024);

/** 8 s at 1,000 events a second: a loop that is so far behind has shown its limit. */
const EVENTS_HELD = 8192;
const SLAB_BYTES = 4 * 1024 * 1024;

// The ring: frames one after the other in a slab, found by id.
const slab = Buffer.alloc(SLAB_BYTES);
const starts = new Int32Array(EVENTS_HELD);
const ends = new Int32Array(EVENTS_HELD);
let oldestId = 1;
let newestId = 0;
let slabEnd = 0;

function append(frame: Buffer): void {
  if (slabEnd + frame.length > SLAB_BYTES) {
    // What lies behind the last frame is older than what is overwritten next.
    while (oldestId <= newestId && starts[oldestId % EVENTS_HELD]! >= slabEnd) oldestId++;
    slabEnd = 0;
  }
  const end = slabEnd + frame.length;
  const isInTheWay = (place: number): boolean => starts[place]! < end && ends[place]! > slabEnd;
  while (oldestId <= newestId && isInTheWay(oldestId % EVENTS_HELD)) oldestId++;
  if (newestId - oldestId + 1 === EVENTS_HELD) oldestId++;
  newestId++;
  slab.set(frame, slabEnd);
  starts[newestId % EVENTS_HELD] = slabEnd;
  ends[newestId % EVENTS_HELD] = end;
  slabEnd = end;
  sliceCursor = -1;
}

// The slice after a cursor: lines in step share it.
let sliceCursor = -1;
let slice: Uint8Array = slab;
let sliceEnd = 0;

function cut(cursor: number): void {
  sliceCursor = cursor;
  const start = starts[(cursor + 1) % EVENTS_HELD]!;
  let end = ends[(cursor + 1) % EVENTS_HELD]!;
  sliceEnd = cursor + 1;
  while (sliceEnd < newestId) {
    const place = (sliceEnd + 1) % EVENTS_HELD;
    if (starts[place] !== end || ends[place]! - start > SLICE_BYTES) break;
    end = ends[place]!;
    sliceEnd++;
  }
  slice = slab.subarray(start, end);
}

// The lines, packed.
const sockets: HttpResponse[] = [];
const cursors: number[] = [];
const stalled: boolean[] = [];
const rows: { row: number }[] = [];

let nextRow = 0;
let sweepTo = 0;
let isBehind = false;
let isScheduled = false;
let writes = 0;
let refusedWrites = 0;
let lapped = 0;

let corkedSocket: HttpResponse;
let corkedTaken = true;
const writeCorked = (): void => {
  corkedTaken = corkedSocket.write(slice);
};
const drain = (): void => {};

function wake(): void {
  if (isScheduled) return;
  isScheduled = true;
  setImmediate(run);
}

function run(): void {
  isScheduled = false;
  if (nextRow === 0) {
    sweepTo = newestId;
    isBehind = false;
  }
  const until = Math.min(nextRow + SLICE_ROWS, sockets.length);
  for (let row = nextRow; row < until; row++) if (cursors[row]! < newestId) visit(row);
  nextRow = until < sockets.length ? until : 0;
  if (nextRow > 0 || isBehind || sweepTo < newestId) wake();
}

function visit(row: number): void {
  if (stalled[row]!) return;
  let cursor = cursors[row]!;
  if (cursor < oldestId - 1) {
    lapped++;
    cursor = oldestId - 1;
  }
  if (cursor !== sliceCursor) cut(cursor);
  corkedSocket = sockets[row]!;
  corkedSocket.cork(writeCorked);
  writes++;
  cursors[row] = sliceEnd;
  if (sliceEnd < newestId) isBehind = true;
  if (corkedTaken) return;
  stalled[row] = true;
  refusedWrites++;
}

function subscribe(res: HttpResponse, _req: HttpRequest): void {
  const line = { row: sockets.length };
  res.onAborted(() => {
    const { row } = line;
    const last = rows.pop()!;
    sockets[row] = sockets.at(-1)!;
    cursors[row] = cursors.at(-1)!;
    stalled[row] = stalled.at(-1)!;
    for (const column of [sockets, cursors, stalled]) column.pop();
    last.row = row;
    if (last !== line) rows[row] = last;
  });
  res.onWritable(() => {
    res.cork(drain);
    stalled[line.row] = false;
    wake();
    return true;
  });
  beginStream(res);
  sockets.push(res);
  cursors.push(newestId);
  stalled.push(false);
  rows.push(line);
}

function take(data: Buffer): void {
  append(Buffer.from(`id: ${newestId + 1}\ndata: ${data.toString()}\n\n`));
  wake();
}

function publish(res: HttpResponse, _req: HttpRequest): void {
  receiveBody(res, (data) => {
    take(data);
    answerPublish(res, newestId, sockets.length);
  });
}

const app = uws.App();
app.get('/*', subscribe);
app.post('/*', publish);
serve(app, {
  held: () => sockets.length,
  counters: () => ({ events: newestId, writes_total: writes, refusedWrites, lapped }),
  publish: async (data) => {
    take(data);
    return newestId;
  },
});
