/**
 * The open-loop publisher: event k is due at start + k ÷ rate whatever became of the ones before,
 * and is told of in full afterwards.
 */
import { Socket } from 'node:net';
import { AnswerReader } from './answers.js';
import { answerRunner } from './child.js';
import { createLatencyHistogram } from './checked-line.js';
import { nowUs, sleepMs } from './clock.js';
import { DATA_BYTES, writeEventData, writeEventStamp } from './event.js';
import { type Latency, latencyMs } from './statistics.js';

export interface PrepareOrder {
  port: number;
  path: string;
  ratePerSecond: number;
}

export interface PublishOrder {
  startUs: number;
  /** No event is due at or after it. */
  endUs: number;
  windowStartUs: number;
  windowEndUs: number;
  /** How long answers are awaited after the last event was due. */
  graceMs: number;
}

export interface Published {
  /** Of the events due inside the window. */
  offered: number;
  /** 200s that came inside the window, whenever their events were due. */
  acceptedInWindow: number;
  refused503InWindow: number;
  /** Over the whole run. */
  sent: number;
  accepted: number;
  refused503: number;
  otherStatus: Record<string, number>;
  /** Due, but every connection was still waiting for an answer. */
  unsent: number;
  /** Sent, and neither answered in time nor over a connection that lasted. */
  unanswered: number;
  /** How late events left, of those in the window: the publisher's own share of every latency. */
  latenessMs: Latency;
  answerMs: Latency;
  connections: number;
  cpuSeconds: number;
  book: { sequences: Float64Array; ids: Float64Array; answeredUs: Float64Array };
}

/**
 * One second's worth of connections, used in turn: each is used about once a second, far from the
 * server's 10 s idle timeout, and an answer may take a second before a send has to open a new
 * connection.
 */
const CONNECTIONS_LEAST = 16;
const CONNECTIONS_AT_START_MOST = 512;
const CONNECTIONS_MOST = 2_048;

/** nchan answers 201 and 202. */
const STATUS_OK_MOST = 202;
const STATUS_OK = 200;
const STATUS_BUSY = 503;
const READ_BUFFER_BYTES = 64 * 1024;

const readBuffer = Buffer.allocUnsafe(READ_BUFFER_BYTES);

interface Connection {
  socket: Socket;
  request: Buffer;
  /**
   * The sequence in flight, −1 when free. At most one: uWebSockets.js closes on a pipelined request
   * whose answer is asynchronous.
   */
  sequence: number;
}

let target: PrepareOrder;
let head = '';
let connectionCount = 0;
/** First in, first out, so that every connection is used in turn. */
let free: Connection[] = [];

let statusOf = new Uint16Array(0);
let idOf = new Float64Array(0);
let sentUs = new Float64Array(0);
let answeredUs = new Float64Array(0);
let inFlight = 0;

function onAnswer(connection: Connection, status: number, body: string): void {
  const { sequence } = connection;
  if (sequence === -1) return;
  answeredUs[sequence] = nowUs();
  statusOf[sequence] = status;
  // {"id":5,"subscribers":3}; NaN where a rival tells no id.
  idOf[sequence] = body.startsWith('{"id":') ? Number.parseInt(body.slice(6), 10) : Number.NaN;
  connection.sequence = -1;
  inFlight--;
  free.push(connection);
}

/** Hands the connection over once it is connected. */
function openConnection(onOpen: (connection: Connection) => void): void {
  connectionCount++;
  const request = Buffer.alloc(head.length + DATA_BYTES);
  request.write(head, 'latin1');
  writeEventData(request, head.length);
  const reader = new AnswerReader((status, body) => onAnswer(connection, status, body));
  const onread = {
    buffer: readBuffer,
    callback: (byteCount: number): boolean => {
      reader.feed(readBuffer, byteCount);
      return true;
    },
  };
  const connection: Connection = {
    socket: new Socket({ onread } as object),
    request,
    sequence: -1,
  };
  connection.socket.setNoDelay(true);
  connection.socket.on('error', () => {});
  connection.socket.on('close', () => {
    connectionCount--;
    if (connection.sequence === -1) free = free.filter((other) => other !== connection);
    else inFlight--;
  });
  connection.socket.connect({ port: target.port, host: '127.0.0.1' }, () => onOpen(connection));
}

function send(connection: Connection, sequence: number, dueUs: number): void {
  writeEventStamp(connection.request, head.length, dueUs, sequence);
  connection.sequence = sequence;
  inFlight++;
  sentUs[sequence] = nowUs();
  connection.socket.write(connection.request);
}

async function prepare(order: PrepareOrder): Promise<void> {
  target = order;
  head =
    `POST ${order.path} HTTP/1.1\r\nHost: 127.0.0.1:${order.port}\r\n` +
    `Content-Type: text/plain\r\nContent-Length: ${DATA_BYTES}\r\n\r\n`;
  const count = Math.min(
    CONNECTIONS_AT_START_MOST,
    Math.max(CONNECTIONS_LEAST, order.ratePerSecond),
  );
  for (let opened = 0; opened < count; opened++) {
    await new Promise<void>((resolve) => {
      openConnection((connection) => {
        free.push(connection);
        resolve();
      });
    });
  }
}

async function publish(order: PublishOrder): Promise<Published> {
  const count = Math.floor(((order.endUs - order.startUs) / 1e6) * target.ratePerSecond);
  const intervalUs = 1e6 / target.ratePerSecond;
  statusOf = new Uint16Array(count);
  idOf = new Float64Array(count);
  sentUs = new Float64Array(count);
  answeredUs = new Float64Array(count);
  let unsent = 0;
  let cpuBefore = process.cpuUsage();
  let cpuSeconds = 0;
  let windowBegun = false;
  let windowOver = false;
  for (let next = 0; next < count;) {
    const now = nowUs();
    for (; next < count && order.startUs + next * intervalUs <= now; next++) {
      const dueUs = order.startUs + next * intervalUs;
      const connection = free.shift();
      if (connection !== undefined) send(connection, next, dueUs);
      else if (connectionCount < CONNECTIONS_MOST) {
        const sequence = next;
        openConnection((opened) => send(opened, sequence, dueUs));
      } else unsent++;
    }
    if (!windowBegun && now >= order.windowStartUs) {
      windowBegun = true;
      cpuBefore = process.cpuUsage();
    }
    if (!windowOver && now >= order.windowEndUs) {
      windowOver = true;
      const cpu = process.cpuUsage(cpuBefore);
      cpuSeconds = (cpu.user + cpu.system) / 1e6;
    }
    // Timers are whole milliseconds, and at a thousand a second that is one event; spinning would
    // take the client's core.
    await sleepMs(Math.max(1, (order.startUs + next * intervalUs - nowUs()) / 1000));
  }
  const graceUntilUs = nowUs() + order.graceMs * 1000;
  while (inFlight > 0 && nowUs() < graceUntilUs) await sleepMs(10);
  return summarise(order, count, unsent, cpuSeconds);
}

function summarise(
  order: PublishOrder,
  count: number,
  unsent: number,
  cpuSeconds: number,
): Published {
  const lateness = createLatencyHistogram();
  const answer = createLatencyHistogram();
  const intervalUs = 1e6 / target.ratePerSecond;
  const inWindow = (atUs: number): boolean =>
    atUs >= order.windowStartUs && atUs < order.windowEndUs;
  const published: Published = {
    offered: 0,
    acceptedInWindow: 0,
    refused503InWindow: 0,
    sent: 0,
    accepted: 0,
    refused503: 0,
    otherStatus: {},
    unsent,
    unanswered: 0,
    latenessMs: latencyMs(lateness),
    answerMs: latencyMs(answer),
    connections: connectionCount,
    cpuSeconds,
    book: {
      sequences: new Float64Array(0),
      ids: new Float64Array(0),
      answeredUs: new Float64Array(0),
    },
  };
  const accepted: number[] = [];
  for (let sequence = 0; sequence < count; sequence++) {
    const dueUs = order.startUs + sequence * intervalUs;
    const sent = sentUs[sequence]!;
    const status = statusOf[sequence]!;
    const dueInWindow = inWindow(dueUs);
    if (dueInWindow) published.offered++;
    if (sent === 0) continue;
    published.sent++;
    if (dueInWindow) lateness.record(Math.max(1, Math.round(sent - dueUs)));
    if (status === 0) {
      published.unanswered++;
      continue;
    }
    const at = answeredUs[sequence]!;
    if (dueInWindow) answer.record(Math.max(1, Math.round(at - sent)));
    if (status >= STATUS_OK && status <= STATUS_OK_MOST) {
      accepted.push(sequence);
      if (inWindow(at)) published.acceptedInWindow++;
    } else if (status === STATUS_BUSY) {
      published.refused503++;
      if (inWindow(at)) published.refused503InWindow++;
    } else published.otherStatus[status] = (published.otherStatus[status] ?? 0) + 1;
  }
  published.accepted = accepted.length;
  published.latenessMs = latencyMs(lateness);
  published.answerMs = latencyMs(answer);
  published.book = {
    sequences: Float64Array.from(accepted),
    ids: Float64Array.from(accepted, (sequence) => idOf[sequence]!),
    answeredUs: Float64Array.from(accepted, (sequence) => answeredUs[sequence]!),
  };
  return published;
}

answerRunner({ prepare, publish });
