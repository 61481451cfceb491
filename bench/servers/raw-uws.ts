/**
 * The raw uWebSockets.js floor: one frame built per POST, and nothing kept, replayed or caught up.
 * Streams get one corked write per line and event, WebSockets uWebSockets.js's own publish(),
 * waiting polls one corked answer each.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { ndjsonEvent } from '../event.js';
import { answerPublish, beginStream, receiveBody, serve, uws } from './uws-app.js';

const TOPIC = 'bench';
/** A poll may be this many events behind; an older one waits. */
const ANSWERS_KEPT = 1024;

interface Line {
  res: HttpResponse;
  /** It refused a write and has not been writable since; its buffer would grow without bound. */
  stalled: boolean;
}

const lines: Line[] = [];
let waiters: HttpResponse[] = [];
const answers: Buffer[] = [];
let webSockets = 0;
let lastId = 0;
let skippedWrites = 0;
let refusedWrites = 0;
let droppedMessages = 0;

// One callback for the process; cork passes no arguments, so it reads these two.
let writtenRes: HttpResponse;
let writtenFrame: Buffer;
let writeTaken = true;
const writeFrame = (): void => {
  writeTaken = writtenRes.write(writtenFrame);
};
const drain = (): void => {};

/** Counts the events that stalled lines lose: there is no ring to catch up from. */
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

let answeredId = 0;
const writeAnswer = (): void => answer(writtenRes, answeredId);

function answerWaiters(id: number): void {
  const waiting = waiters;
  waiters = [];
  answeredId = id;
  for (const res of waiting) {
    writtenRes = res;
    res.cork(writeAnswer);
  }
}

/** Headers as in Holdline's answers to polls. */
function answer(res: HttpResponse, id: number): void {
  res.writeHeader('Content-Type', 'application/json');
  res.writeHeader('Cache-Control', 'no-store');
  res.writeHeader('X-Content-Type-Options', 'nosniff');
  res.writeHeader('Holdline-Position', String(id));
  res.end(answers[id % ANSWERS_KEPT]);
}

/** The first poll of a client has no position: it asks for one. */
function poll(res: HttpResponse, position: string | undefined): void {
  if (position === undefined) {
    res.writeStatus('204 No Content');
    res.writeHeader('Holdline-Position', String(lastId));
    res.endWithoutBody();
    return;
  }
  const since = Number(position);
  if (since < lastId && since >= lastId - ANSWERS_KEPT) {
    answer(res, since + 1);
    return;
  }
  res.onAborted(() => {
    const row = waiters.indexOf(res);
    const last = waiters.pop()!;
    if (last !== res) waiters[row] = last;
  });
  waiters.push(res);
}

function subscribe(res: HttpResponse, req: HttpRequest): void {
  if (req.getQuery('wait') !== undefined) {
    poll(res, req.getQuery('since'));
    return;
  }
  const line: Line = { res, stalled: false };
  res.onAborted(() => {
    const row = lines.indexOf(line);
    const last = lines.pop()!;
    if (last !== line) lines[row] = last;
  });
  // With a writable handler uWS drains only in a cork, and ignores the return value.
  res.onWritable(() => {
    res.cork(drain);
    line.stalled = false;
    return true;
  });
  beginStream(res);
  lines.push(line);
}

function publish(res: HttpResponse, _req: HttpRequest): void {
  receiveBody(res, (data) => {
    const id = ++lastId;
    if (lines.length > 0)
      setImmediate(
        fanOut,
        Buffer.concat([Buffer.from(`id: ${id}\ndata: `), data, Buffer.from('\n\n')]),
      );
    const object = ndjsonEvent(id, data);
    answers[id % ANSWERS_KEPT] = Buffer.concat([Buffer.from('['), object, Buffer.from(']')]);
    if (webSockets > 0)
      app.publish(TOPIC, Buffer.concat([object, Buffer.from('\n')]), false, false);
    if (waiters.length > 0) setImmediate(answerWaiters, id);
    answerPublish(res, id, held());
  });
}

function held(): number {
  return lines.length + webSockets + waiters.length;
}

const app = uws.App();
app.get('/*', subscribe);
app.post('/*', publish);
app.ws('/*', {
  open: (socket) => {
    webSockets++;
    socket.subscribe(TOPIC);
  },
  close: () => {
    webSockets--;
  },
  dropped: () => {
    droppedMessages++;
  },
});
serve(app, {
  held,
  counters: () => ({ events: lastId, skippedWrites, refusedWrites, droppedMessages }),
});
