/** The closed-loop publisher: keeps every connection's requests in flight and counts answers, as cheaply as a Node process can. */
import { Socket } from 'node:net';
import { answerRunner } from './child.js';
import { nowUs, sleepMs } from './clock.js';
import { DATA_BYTES, writeEventData } from './event.js';

export interface PostLoadOrder {
  port: number;
  path: string;
  connections: number;
  /** Requests written to a connection in one go; more than one is HTTP pipelining. */
  pipelined: number;
  /** 0 = one event as the body stands; otherwise an NDJSON batch of that many. */
  batchEvents: number;
  warmUpSeconds: number;
  windowSeconds: number;
}

export interface PostLoaded {
  seconds: number;
  answered200: number;
  answered503: number;
  otherAnswers: number;
  /** The first answer that was no 200, in its words. */
  firstRefusal: string;
  /** Connections the server closed; a server that does not bear pipelining closes them all. */
  closedConnections: number;
  cpuSeconds: number;
}

const READ_BUFFER_BYTES = 256 * 1024;
const readBuffer = Buffer.allocUnsafe(READ_BUFFER_BYTES);

const STATUS_LINE = Buffer.from('HTTP/1.1 ');
const HEAD_END = Buffer.from('\r\n\r\n');

let answered200 = 0;
let answered503 = 0;
let otherAnswers = 0;
let closedConnections = 0;
let firstRefusal = '';
let stopping = false;

/**
 * Answers are counted by their status lines; their lengths are of no interest, for nothing else in them can hold "HTTP/1.1 ".
 * An answer cut by a read is counted with the read that has its whole status line.
 */
class AnswerCounter {
  #held: Buffer | undefined;

  /** How many answers were finished: as many requests may be sent. */
  feed(byteCount: number): number {
    let bytes = readBuffer.subarray(0, byteCount);
    if (this.#held !== undefined) {
      bytes = Buffer.concat([this.#held, bytes]);
      this.#held = undefined;
    }
    let finished = 0;
    let at = 0;
    for (;;) {
      const start = bytes.indexOf(STATUS_LINE, at);
      if (start === -1) break;
      const headEnd = bytes.indexOf(HEAD_END, start);
      const next = headEnd === -1 ? -1 : answerEnd(bytes, start, headEnd);
      if (next === -1 || next > bytes.length) {
        this.#held = Buffer.from(bytes.subarray(start));
        break;
      }
      count(bytes, start, next);
      finished++;
      at = next;
    }
    return finished;
  }
}

function answerEnd(bytes: Buffer, start: number, headEnd: number): number {
  const match = /content-length: *(\d+)/i.exec(bytes.toString('latin1', start, headEnd));
  return match === null ? -1 : headEnd + HEAD_END.length + Number(match[1]);
}

function count(bytes: Buffer, start: number, end: number): void {
  const status = bytes.toString('latin1', start + 9, start + 12);
  if (status === '200') answered200++;
  else {
    if (status === '503') answered503++;
    else otherAnswers++;
    if (firstRefusal === '') firstRefusal = bytes.toString('latin1', start, end);
  }
}

function connect(order: PostLoadOrder, burst: Buffer): Promise<Socket> {
  const counter = new AnswerCounter();
  let outstanding = 0;
  return new Promise((resolve, reject) => {
    const onread = {
      buffer: readBuffer,
      callback: (byteCount: number): boolean => {
        outstanding -= counter.feed(byteCount);
        // The next burst goes when the last is answered in full: requests stay in groups, and so do their writes.
        if (outstanding <= 0 && !stopping) {
          outstanding = order.pipelined;
          socket.write(burst);
        }
        return true;
      },
    };
    const socket = new Socket({ onread } as object);
    socket.setNoDelay(true);
    socket.on('error', reject);
    socket.on('close', () => {
      if (!stopping) closedConnections++;
    });
    socket.connect({ port: order.port, host: '127.0.0.1' }, () => {
      outstanding = order.pipelined;
      socket.write(burst);
      resolve(socket);
    });
  });
}

function buildRequest(order: PostLoadOrder): Buffer {
  const data = Buffer.alloc(DATA_BYTES);
  writeEventData(data, 0);
  const batch = order.batchEvents > 0;
  const body = batch ? Buffer.from(`${JSON.stringify({ data: data.toString('latin1') })}\n`.repeat(order.batchEvents)) : data;
  const head =
    `POST ${order.path} HTTP/1.1\r\nHost: 127.0.0.1:${order.port}\r\n` +
    `Content-Type: ${batch ? 'application/x-ndjson' : 'text/plain'}\r\nContent-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), body]);
}

async function run(order: PostLoadOrder): Promise<PostLoaded> {
  const request = buildRequest(order);
  const burst = Buffer.concat(Array.from({ length: order.pipelined }, () => request));
  const sockets: Socket[] = [];
  for (let index = 0; index < order.connections; index++) sockets.push(await connect(order, burst));
  await sleepMs(order.warmUpSeconds * 1000);
  const before = { answered200, answered503, otherAnswers, atUs: nowUs(), cpu: process.cpuUsage() };
  await sleepMs(order.windowSeconds * 1000);
  const cpu = process.cpuUsage(before.cpu);
  const loaded: PostLoaded = {
    seconds: (nowUs() - before.atUs) / 1e6,
    answered200: answered200 - before.answered200,
    answered503: answered503 - before.answered503,
    otherAnswers: otherAnswers - before.otherAnswers,
    firstRefusal: firstRefusal.slice(0, 500),
    closedConnections,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
  };
  stopping = true;
  for (const socket of sockets) socket.destroy();
  return loaded;
}

answerRunner({ run });
