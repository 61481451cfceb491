/**
 * The client of the polls: a process that holds N requests that wait, reads every answer, and asks
 * again when it is told to.
 */
import { Socket } from 'node:net';
import type { RecordableHistogram } from 'node:perf_hooks';
import { createLatencyHistogram } from './checked-line.js';
import { answerRunner } from './child.js';
import { nowUs, sleepMs, sleepUntilUs } from './clock.js';
import { nap } from './nap.js';
import { makePollAnswer, readPollAnswer } from './poll-answer.js';
import { type Latency, latencyMs } from './statistics.js';

export interface PollOpenOrder {
  port: number;
  path: string;
  /** Polls that wait when all are open; those that wait already are among them. */
  polls: number;
  /** The position the new ones ask behind. */
  since: number;
  waitSeconds: number;
  /**
   * A connection that the kernel has not made yet counts; the answer cannot, for there is none
   * before there is an event.
   */
  connectsAtOnce: number;
  addressBase: number;
  deadlineMs: number;
}

export interface ShotOrder {
  deadlineMs: number;
}

/** One event and everyone's answer to it. */
export interface Shot {
  answers: number;
  latencyMs: Latency;
  /**
   * Of the client's time between the first answer and the last, the share it was on a CPU: near 1,
   * it was the limit.
   */
  clientBusyShare: number;
}

export interface PollWindowOrder {
  startUs: number;
  endUs: number;
}

export interface PollWindow {
  seconds: number;
  answers: number;
  cpuSeconds: number;
}

export interface PollSettleOrder {
  /** The id of the newest event; every poll has to get there. */
  lastId: number;
  deadlineMs: number;
}

export interface PollSettled {
  settledMs: number;
  /** Of the events that were due inside the window. */
  latencyMs: Latency;
  check: PollCheck;
}

/**
 * What must be zero on a server that keeps its promises, but for the empty answers and the
 * reconnects.
 */
export interface PollCheck {
  /** Ids that were passed over, on all polls. */
  lost: number;
  /** Ids at or below the position that was asked for. */
  doubled: number;
  gaps: number;
  damaged: number;
  /** Polls that had not been given the newest event when the deadline came. */
  behind: number;
  /** 204. */
  empty: number;
  /** Connections that the server closed, and that were made anew. */
  reconnects: number;
}

/** As in client.ts: so many that the kernel's search for a port costs nothing. */
const POLLS_PER_ADDRESS = 1_000;
/** One in so many has its headers compared with the body. */
const CHECKED_EVERY = 100;
const READ_BUFFER_BYTES = 256 * 1024;
/** Connects go out in portions, so that no accept queue overflows though nobody is answered. */
const CONNECTS_A_STEP = 64;
const STEP_MS = 10;

const STATUS_NOTHING = 204;

const CONNECTING = 0;
const WAITING = 1;
const ANSWERED = 2;
const CLOSED = 3;

const readBuffer = Buffer.allocUnsafe(READ_BUFFER_BYTES);
const answer = makePollAnswer();

let target: PollOpenOrder;
let sockets: Socket[] = [];
let rowState = new Uint8Array(0);
let rowPosition = new Float64Array(0);
/** Of an answer that has not come in full. */
let rowParts = new Map<number, Buffer>();
let connecting = 0;
let waitingOrAnswered = 0;
let asksAgain = false;
let toAsk: number[] = [];
let failure: Error | undefined;

let windowStartUs = -Infinity;
let windowEndUs = Infinity;
let latencyUs: RecordableHistogram = createLatencyHistogram();
let answers = 0;
let onAnswer = (): void => {};
const check: PollCheck = {
  lost: 0,
  doubled: 0,
  gaps: 0,
  damaged: 0,
  behind: 0,
  empty: 0,
  reconnects: 0,
};

let requestPosition = -1;
let request = Buffer.alloc(0);

/** All polls in step ask with the same bytes. */
function requestAfter(position: number): Buffer {
  if (position === requestPosition) return request;
  requestPosition = position;
  const query = `since=${position}&wait=${target.waitSeconds}`;
  request = Buffer.from(
    `GET ${target.path}?${query} HTTP/1.1\r\nHost: 127.0.0.1:${target.port}\r\n\r\n`,
    'latin1',
  );
  return request;
}

function ask(row: number): void {
  rowState[row] = WAITING;
  sockets[row]!.write(requestAfter(rowPosition[row]!));
}

/** True = read on. */
function onBytes(row: number, byteCount: number): boolean {
  const atUs = nowUs();
  const isChecked = row % CHECKED_EVERY === 0;
  const part = rowParts.get(row);
  if (part === undefined) {
    if (!readPollAnswer(readBuffer, byteCount, isChecked, answer)) {
      rowParts.set(row, Buffer.from(readBuffer.subarray(0, byteCount)));
      return true;
    }
  } else {
    const whole = Buffer.concat([part, readBuffer.subarray(0, byteCount)]);
    if (!readPollAnswer(whole, whole.length, isChecked, answer)) {
      rowParts.set(row, whole);
      return true;
    }
    rowParts.delete(row);
  }
  take(row, atUs);
  return true;
}

function take(row: number, atUs: number): void {
  const position = rowPosition[row]!;
  if (rowState[row] !== WAITING || answer.damaged) check.damaged++;
  rowState[row] = ANSWERED;
  if (answer.status === STATUS_NOTHING) check.empty++;
  else {
    answers++;
    if (answer.hasGap) check.gaps++;
    if (answer.position <= position) check.doubled++;
    else check.lost += answer.position - position - 1;
    if (answer.dueUs >= windowStartUs && answer.dueUs < windowEndUs) {
      latencyUs.record(Math.max(1, Math.round(atUs - answer.dueUs)));
    }
  }
  if (answer.position > position) rowPosition[row] = answer.position;
  if (asksAgain || answer.status === STATUS_NOTHING) {
    // After the reads of this turn: what has come is not to be told late because of what is asked
    // next.
    if (toAsk.length === 0) setImmediate(askAll);
    toAsk.push(row);
  }
  onAnswer();
}

function askAll(): void {
  const rows = toAsk;
  toAsk = [];
  for (const row of rows) if (rowState[row] === ANSWERED) ask(row);
}

function connect(row: number): void {
  const onread = {
    buffer: readBuffer,
    callback: (byteCount: number): boolean => onBytes(row, byteCount),
  };
  // The option is in Node's documentation of `new net.Socket()`'s connect, and missing in the types
  // of the constructor.
  const socket = new Socket({ onread } as object);
  connecting++;
  socket.setNoDelay(true);
  socket.on('error', (error) => {
    failure ??= new Error(`poll ${row}: ${error.message}`);
  });
  socket.on('close', () => {
    if (rowState[row] === CLOSED) return;
    // A server may close after an answer; one that waits for none is the server's fault, and shows
    // as a poll that is behind.
    check.reconnects++;
    rowState[row] = CONNECTING;
    waitingOrAnswered--;
    connect(row);
  });
  sockets[row] = socket;
  socket.connect(
    {
      port: target.port,
      host: '127.0.0.1',
      localAddress: `127.0.${target.addressBase}.${1 + Math.floor(row / POLLS_PER_ADDRESS)}`,
    },
    () => {
      connecting--;
      waitingOrAnswered++;
      ask(row);
    },
  );
}

async function grow(order: PollOpenOrder): Promise<{ polls: number }> {
  target = order;
  const from = sockets.length;
  const grownState = new Uint8Array(order.polls);
  grownState.set(rowState);
  rowState = grownState;
  const grownPosition = new Float64Array(order.polls).fill(order.since);
  grownPosition.set(rowPosition);
  rowPosition = grownPosition;
  sockets.length = order.polls;
  const untilMs = performance.now() + order.deadlineMs;
  for (let next = from; waitingOrAnswered < order.polls;) {
    for (
      let step = 0;
      step < CONNECTS_A_STEP && next < order.polls && connecting < order.connectsAtOnce;
      step++
    )
      connect(next++);
    await sleepMs(STEP_MS);
    if (failure !== undefined) throw failure;
    if (performance.now() > untilMs)
      throw new Error(
        `${waitingOrAnswered} of ${order.polls} polls were sent after ${order.deadlineMs} ms`,
      );
  }
  return { polls: order.polls };
}

function open(order: PollOpenOrder): Promise<{ polls: number }> {
  sockets = [];
  rowState = new Uint8Array(0);
  rowPosition = new Float64Array(0);
  rowParts = new Map();
  waitingOrAnswered = 0;
  return grow(order);
}

/** Every poll that has its answer asks again, at once. */
function again(): void {
  for (let row = 0; row < sockets.length; row++) if (rowState[row] === ANSWERED) ask(row);
}

/** From now until every poll has had an answer with an event. */
function shoot(order: ShotOrder): Promise<Shot> {
  const wanted = answers + sockets.length;
  windowStartUs = -Infinity;
  windowEndUs = Infinity;
  latencyUs = createLatencyHistogram();
  let firstUs = 0;
  let cpuAtFirst = process.cpuUsage();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      onAnswer = () => {};
      reject(
        new Error(
          `${wanted - answers} of ${sockets.length} polls had no answer after ${order.deadlineMs} ms`,
        ),
      );
    }, order.deadlineMs);
    onAnswer = () => {
      if (firstUs === 0) {
        firstUs = nowUs();
        cpuAtFirst = process.cpuUsage();
      }
      if (answers < wanted) return;
      clearTimeout(timer);
      onAnswer = () => {};
      const cpu = process.cpuUsage(cpuAtFirst);
      resolve({
        answers: latencyUs.count,
        latencyMs: latencyMs(latencyUs),
        clientBusyShare: (cpu.user + cpu.system) / Math.max(1, nowUs() - firstUs),
      });
    };
  });
}

async function watchWindow(order: PollWindowOrder): Promise<PollWindow> {
  asksAgain = true;
  again();
  latencyUs = createLatencyHistogram();
  windowStartUs = order.startUs;
  windowEndUs = order.endUs;
  await sleepUntilUs(order.startUs);
  const before = { answers, atUs: nowUs(), cpu: process.cpuUsage() };
  await sleepUntilUs(order.endUs);
  const cpu = process.cpuUsage(before.cpu);
  return {
    seconds: (nowUs() - before.atUs) / 1e6,
    answers: answers - before.answers,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
  };
}

/** Waits until every poll has been given the newest event. */
async function settle(order: PollSettleOrder): Promise<PollSettled> {
  const startUs = nowUs();
  check.behind = countBehind(order.lastId);
  while (check.behind > 0 && (nowUs() - startUs) / 1000 < order.deadlineMs) {
    await sleepMs(20);
    check.behind = countBehind(order.lastId);
  }
  asksAgain = false;
  return { settledMs: (nowUs() - startUs) / 1000, latencyMs: latencyMs(latencyUs), check };
}

function countBehind(lastId: number): number {
  return rowPosition.reduce((count, position) => count + (position < lastId ? 1 : 0), 0);
}

/** Resets every connection: a FIN would leave 15,000 ports in TIME_WAIT for a minute. */
function close(): void {
  nap(0);
  asksAgain = false;
  for (let row = 0; row < sockets.length; row++) {
    rowState[row] = CLOSED;
    sockets[row]?.resetAndDestroy();
  }
  sockets = [];
}

answerRunner({
  open,
  grow,
  again,
  shoot,
  window: watchWindow,
  settle,
  checks: (): PollCheck => check,
  nap,
  close,
});
