/**
 * Requests in a closed loop: each connection sends the next as soon as the last is answered.
 * Answers are counted and not read, as cheaply as a Node process can, so that the server reaches
 * its limit before this process does.
 */

import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { nowUs } from '../books/clock.js';
import { cpuSeconds } from '../books/slicer.js';
import { openConnection, type ConnectionSink, type Target } from '../clients/connection.js';

/** What to send, and for how long. */
export interface RequestOrder {
  readonly target: Target;
  /** The bytes of one request, the same each time. */
  readonly request: Uint8Array;
  readonly connections: number;
  /** Requests written to a connection in one go; more than one is HTTP pipelining. */
  readonly pipelined: number;
  readonly warmUpSeconds: number;
  readonly windowSeconds: number;
}

/** What came back within the window. */
export interface RequestsAnswered {
  readonly seconds: number;
  /** 200 and 204. */
  readonly answered2xx: number;
  readonly answered503: number;
  readonly otherAnswers: number;
  /** The first answer that was neither 200 nor 204, as it came. */
  readonly firstRefusal: string;
  /**
   * Connections that the server closed again and again without an answer, as one does that does not
   * support pipelining. Others that it closes are opened again.
   */
  readonly closedConnections: number;
  readonly cpuSeconds: number;
}

/** A connection is given up when it was closed without an answer so many times in a row. */
const CLOSES_MAX = 5;

const REFUSAL_CHARACTERS = 500;

const STATUS_LINE = Buffer.from('HTTP/1.1 ');
const HEAD_END = Buffer.from('\r\n\r\n');

/** What all connections have counted. */
interface Answers {
  answered2xx: number;
  answered503: number;
  otherAnswers: number;
  firstRefusal: string;
  closedConnections: number;
  isStopping: boolean;
}

/** Sends requests over all connections, and counts the answers of the window. */
export async function loopRequests(order: RequestOrder): Promise<RequestsAnswered> {
  const { target, request, pipelined, connections, warmUpSeconds, windowSeconds } = order;
  const burst = Buffer.concat(Array.from({ length: pipelined }, () => request));
  const answers: Answers = {
    answered2xx: 0,
    answered503: 0,
    otherAnswers: 0,
    firstRefusal: '',
    closedConnections: 0,
    isStopping: false,
  };
  const loops = Array.from(
    { length: connections },
    () => new RequestLoop(target, burst, pipelined, answers),
  );
  await sleep(warmUpSeconds * 1000);
  const before = { ...answers, atUs: nowUs(), cpuSeconds: cpuSeconds() };
  await sleep(windowSeconds * 1000);
  const used = cpuSeconds() - before.cpuSeconds;
  const seconds = (nowUs() - before.atUs) / 1e6;
  answers.isStopping = true;
  for (const loop of loops) loop.drop();
  return {
    seconds,
    answered2xx: answers.answered2xx - before.answered2xx,
    answered503: answers.answered503 - before.answered503,
    otherAnswers: answers.otherAnswers - before.otherAnswers,
    firstRefusal: answers.firstRefusal.slice(0, REFUSAL_CHARACTERS),
    closedConnections: answers.closedConnections,
    cpuSeconds: used,
  };
}

/** One connection with a burst of requests under way. */
class RequestLoop implements ConnectionSink {
  readonly #burst: Buffer;
  readonly #target: Target;
  readonly #pipelined: number;
  readonly #answers: Answers;
  #socket: Socket;
  /** The beginning of an answer whose end has not come. */
  #held: Buffer | undefined;
  #underWay = 0;
  /** How often it was closed since the last answer. */
  #closes = 0;

  constructor(target: Target, burst: Buffer, pipelined: number, answers: Answers) {
    this.#target = target;
    this.#burst = burst;
    this.#pipelined = pipelined;
    this.#answers = answers;
    this.#socket = openConnection(target, 0, this);
  }

  opened(): void {
    this.#send();
  }

  bytes(buffer: Buffer, byteCount: number): boolean {
    const ended = this.#count(buffer.subarray(0, byteCount));
    this.#underWay -= ended;
    if (ended > 0) this.#closes = 0;
    // The next burst leaves when the last is answered in full: requests stay in groups.
    if (this.#underWay <= 0 && !this.#answers.isStopping) this.#send();
    return true;
  }

  closed(): void {
    if (this.#answers.isStopping) return;
    if (++this.#closes === CLOSES_MAX) {
      this.#answers.closedConnections++;
      return;
    }
    this.#held = undefined;
    this.#socket = openConnection(this.#target, 0, this);
  }

  drop(): void {
    this.#socket.resetAndDestroy();
  }

  #send(): void {
    this.#underWay = this.#pipelined;
    this.#socket.write(this.#burst);
  }

  /**
   * How many answers end in these bytes. Nothing in an answer but its first line has "HTTP/1.1 ".
   */
  #count(fresh: Buffer): number {
    const bytes = this.#held === undefined ? fresh : Buffer.concat([this.#held, fresh]);
    this.#held = undefined;
    let ended = 0;
    for (let at = bytes.indexOf(STATUS_LINE); at >= 0; at = bytes.indexOf(STATUS_LINE, at)) {
      const end = endOfAnswer(bytes, at);
      if (end > bytes.length) {
        this.#held = Buffer.from(bytes.subarray(at));
        break;
      }
      this.#book(bytes, at, end);
      ended++;
      at = end;
    }
    return ended;
  }

  #book(bytes: Buffer, start: number, end: number): void {
    const answers = this.#answers;
    const status = bytes.toString('latin1', start + 9, start + 12);
    if (status === '200' || status === '204') {
      answers.answered2xx++;
      return;
    }
    if (status === '503') answers.answered503++;
    else answers.otherAnswers++;
    if (answers.firstRefusal === '') answers.firstRefusal = bytes.toString('latin1', start, end);
  }
}

/** Where the answer that begins here ends; `Infinity` while its head is not whole. */
function endOfAnswer(bytes: Buffer, start: number): number {
  const headEnd = bytes.indexOf(HEAD_END, start);
  if (headEnd < 0) return Infinity;
  // A 204 may do without a length.
  const length = /content-length: *(\d+)/i.exec(bytes.toString('latin1', start, headEnd))?.[1];
  return headEnd + HEAD_END.length + Number(length ?? 0);
}
