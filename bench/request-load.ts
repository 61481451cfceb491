/**
 * The closed-loop client: keeps every connection's requests in flight and counts answers, as
 * cheaply as a Node process can.
 */
import { Socket } from 'node:net';
import { answerRunner } from './child.js';
import { nowUs, sleepMs } from './clock.js';

export interface RequestLoadOrder {
  port: number;
  /** The bytes of one request, the same each time. */
  request: Uint8Array;
  connections: number;
  /** Requests written to a connection in one go; more than one is HTTP pipelining. */
  pipelined: number;
  warmUpSeconds: number;
  windowSeconds: number;
}

export interface RequestLoaded {
  seconds: number;
  /** 200 and 204. */
  answered2xx: number;
  answered503: number;
  otherAnswers: number;
  /** The first answer that was neither, in its words. */
  firstRefusal: string;
  /** Connections the server closed; a server that does not bear pipelining closes them all. */
  closedConnections: number;
  cpuSeconds: number;
}

const READ_BUFFER_BYTES = 256 * 1024;
const readBuffer = Buffer.allocUnsafe(READ_BUFFER_BYTES);

const STATUS_LINE = Buffer.from('HTTP/1.1 ');
const HEAD_END = Buffer.from('\r\n\r\n');

let answered2xx = 0;
let answered503 = 0;
let otherAnswers = 0;
let closedConnections = 0;
let firstRefusal = '';
let stopping = false;

/**
 * Answers are counted by their status lines; their lengths are of no interest, for nothing else in
 * them can hold "HTTP/1.1 ". An answer cut by a read is counted with the read that has its whole
 * status line.
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
      const next = headEnd === -1 ? Infinity : answerEnd(bytes, start, headEnd);
      if (next > bytes.length) {
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
  // A 204 may do without.
  return headEnd + HEAD_END.length + Number(match?.[1] ?? 0);
}

function count(bytes: Buffer, start: number, end: number): void {
  const status = bytes.toString('latin1', start + 9, start + 12);
  if (status === '200' || status === '204') answered2xx++;
  else {
    if (status === '503') answered503++;
    else otherAnswers++;
    if (firstRefusal === '') firstRefusal = bytes.toString('latin1', start, end);
  }
}

function connect(order: RequestLoadOrder, burst: Buffer): Promise<Socket> {
  const counter = new AnswerCounter();
  let outstanding = 0;
  return new Promise((resolve, reject) => {
    const onread = {
      buffer: readBuffer,
      callback: (byteCount: number): boolean => {
        outstanding -= counter.feed(byteCount);
        // The next burst goes when the last is answered in full: requests stay in groups, and so do
        // their writes.
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

async function run(order: RequestLoadOrder): Promise<RequestLoaded> {
  const burst = Buffer.concat(Array.from({ length: order.pipelined }, () => order.request));
  const sockets: Socket[] = [];
  for (let index = 0; index < order.connections; index++) sockets.push(await connect(order, burst));
  await sleepMs(order.warmUpSeconds * 1000);
  const before = { answered2xx, answered503, otherAnswers, atUs: nowUs(), cpu: process.cpuUsage() };
  await sleepMs(order.windowSeconds * 1000);
  const cpu = process.cpuUsage(before.cpu);
  const loaded: RequestLoaded = {
    seconds: (nowUs() - before.atUs) / 1e6,
    answered2xx: answered2xx - before.answered2xx,
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
