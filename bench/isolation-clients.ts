/** The lines and the publishers of the channels that are the trouble in the isolation subject. */
import type { Socket } from 'node:net';
import {
  type ConnectionSink,
  type Target,
  openConnection,
} from '../dist/tools/load/clients/connection.js';
import type { LoadReport } from './isolation-orders.js';
import { buildRequest } from './publish.js';

/** Longer than the beginning of a row, so that none is missed between two reads. */
const CARRIED_BYTES = 64;
/** In so many bytes at the end of what has come stands an id, whatever was cut off. */
const TAIL_BYTES = 1024;
const SUBSCRIBED = Buffer.from('HTTP/1.1 200');
const GAP_EVENT = Buffer.from('event: gap');
const LAST_IN_BATCH = /"last": *(\d+)/;

/** A line that reads all, without keeping it, or nothing once it is subscribed. */
export class LoadLine implements ConnectionSink {
  readonly #socket: Socket;
  readonly #head: string;
  readonly #reads: boolean;
  readonly #until: number;
  readonly #report: LoadReport;
  #carried = Buffer.alloc(0);
  isOpen = false;
  isOver = false;

  /** Resolves when it has the event of that id; 0 never. */
  constructor(
    target: Target,
    report: LoadReport,
    { reads = true, after = '', until = 0 }: { reads?: boolean; after?: string; until?: number },
  ) {
    const position = after === '' ? '' : `Last-Event-ID: ${after}\r\n`;
    this.#head =
      `GET ${target.path} HTTP/1.1\r\nHost: ${target.authority}\r\n` +
      `Accept: text/event-stream\r\n${position}\r\n`;
    this.#reads = reads;
    this.#until = until;
    this.#report = report;
    this.#socket = openConnection(target, 0, this);
  }

  opened(): void {
    this.#socket.write(this.#head);
  }

  bytes(buffer: Buffer, byteCount: number): boolean {
    if (!this.isOpen && !buffer.subarray(0, byteCount).includes(SUBSCRIBED))
      this.#report.refusedLines++;
    this.isOpen = true;
    this.#report.readBytes += byteCount;
    if (this.#until > 0) this.#look(buffer.subarray(0, byteCount));
    return this.#reads;
  }

  closed(): void {
    if (!this.isOver) this.#report.closedLines++;
    this.isOver = true;
    this.isOpen = true;
  }

  drop(): void {
    this.isOver = true;
    this.#socket.resetAndDestroy();
  }

  /** Gap notices come first, and the newest id stands at the end. */
  #look(bytes: Buffer): void {
    const begin = Buffer.concat([this.#carried, bytes.subarray(0, TAIL_BYTES)]);
    if (begin.includes(GAP_EVENT)) this.#report.gaps++;
    const tail = bytes.length <= TAIL_BYTES ? begin : bytes.subarray(bytes.length - TAIL_BYTES);
    this.#carried = Buffer.from(tail.subarray(-CARRIED_BYTES));
    if (tail.includes(`id: ${this.#until}\n`)) this.drop();
  }
}

/** Batches over kept connections, one at a time on each. */
export class BatchPublisher {
  readonly #free: BatchConnection[];
  readonly #all: BatchConnection[];
  /** The newest id that an answer has named. */
  last = 0;

  constructor(target: Target, batchEvents: number, connections: number, report: LoadReport) {
    const request = buildRequest(target.port, batchEvents, target.path);
    this.#all = Array.from({ length: connections }, () => {
      const connection: BatchConnection = new BatchConnection(target, request, (answer) => {
        const status = answer.slice('HTTP/1.1 '.length, 'HTTP/1.1 200'.length);
        const last = LAST_IN_BATCH.exec(answer)?.[1];
        if (status === '200') {
          report.published += batchEvents;
          this.last = Math.max(this.last, Number(last ?? 0));
        } else {
          report.refused++;
          if (report.firstRefusal === '') report.firstRefusal = answer.slice(0, 500);
        }
        this.#free.push(connection);
      });
      return connection;
    });
    this.#free = [...this.#all];
  }

  get pending(): number {
    return this.#all.length - this.#free.length;
  }

  /** False when every connection still waits for an answer. */
  publish(): boolean {
    const connection = this.#free.shift();
    connection?.send();
    return connection !== undefined;
  }

  drop(): void {
    for (const connection of this.#all) connection.drop();
  }
}

/** One connection; an answer is small and comes in one piece or two. */
class BatchConnection implements ConnectionSink {
  readonly #request: Buffer;
  readonly #answered: (answer: string) => void;
  readonly #socket: Socket;
  #answer = '';

  constructor(target: Target, request: Buffer, answered: (answer: string) => void) {
    this.#request = request;
    this.#answered = answered;
    this.#socket = openConnection(target, 0, this);
  }

  send(): void {
    this.#socket.write(this.#request);
  }

  opened(): void {}

  bytes(buffer: Buffer, byteCount: number): boolean {
    this.#answer += buffer.toString('latin1', 0, byteCount);
    const headEnd = this.#answer.indexOf('\r\n\r\n');
    const length = Number(/content-length: *(\d+)/i.exec(this.#answer)?.[1] ?? 0);
    if (headEnd < 0 || this.#answer.length < headEnd + 4 + length) return true;
    const answer = this.#answer;
    this.#answer = '';
    this.#answered(answer);
    return true;
  }

  closed(): void {}

  drop(): void {
    this.#socket.resetAndDestroy();
  }
}
