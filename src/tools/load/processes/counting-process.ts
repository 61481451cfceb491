/**
 * The process in C that holds most lines of a run and counts their bytes, and the events of lines
 * in gzip (byte-counter.c), as the fleet sees it: beside the client processes, which read their
 * lines in full.
 */

import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { createInterface } from 'node:readline';
import { NO_CHECKED, type Part } from '../books/books.js';
import { createHistogram, packHistogram } from '../books/histogram.js';
import { emptyTally } from '../clients/tally.js';
import { RunFailure, type Target } from '../clients/connection.js';
import type { EventShape } from '../clients/encoding.js';
import { encodingOf } from '../clients/make-client.js';
import type { ClientKind } from '../clients/mix.js';
import { streamRequest } from '../clients/stream-client.js';
import { webSocketRequest } from '../clients/websocket-client.js';
import type { Counts, Joined, Replay } from './messages.js';

/** Lines that connect at the same time: fewer than uWebSockets.js's accept queue of 512. */
export const CONNECTS_AT_ONCE = 256;

/** Any 16 bytes: the answer to the key is not checked. */
const WEBSOCKET_KEY = 'AAAAAAAAAAAAAAAAAAAAAA==';

/**
 * A line is short when its bytes are so many events behind those of every checked line. The slack
 * is for framing: each batch has a few bytes of it, and batches differ from line to line.
 */
const SLACK_EVENTS = 1.1;

/** What byte-counter.c calls what is asked for. */
const STREAM = 0;
const WEBSOCKET = 1;
const GZIP_SSE = 2;
const GZIP_NDJSON = 3;

/** Lines to connect. */
export interface CountedLines {
  readonly firstRow: number;
  readonly count: number;
  readonly replay: Replay | undefined;
  readonly stallMs: number;
}

/** Bytes of the body that came to the line with the fewest and to the one with the most. */
export interface LineBytes {
  readonly min: number;
  readonly max: number;
}

/** So many numbers. */
type Tuple<Length extends number, Numbers extends number[] = []> = Numbers['length'] extends Length
  ? Numbers
  : Tuple<Length, [...Numbers, number]>;

/** One process. It ends when this one does, however that ends. */
export class CountingProcess {
  /** Its newest answer. */
  counts: Counts | undefined;
  lineBytes: LineBytes = { min: 0, max: 0 };
  closedLines = 0;
  /** Rejects with a {@link RunFailure} when it has ended. */
  readonly gone: Promise<never>;
  readonly #target: Target;
  readonly #kind: ClientKind;
  readonly #compress: boolean;
  /** Events of lines in gzip when the round began. */
  #eventsBefore = 0;
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;
  /** Commands are answered one after the other. */
  #last: Promise<unknown> = Promise.resolve();
  #isEnded = false;

  /** Starts the program, on one core where that is given: Linux with `taskset`. */
  constructor(
    program: string,
    target: Target,
    kind: ClientKind,
    core: number | undefined,
    compress = false,
  ) {
    this.#target = target;
    this.#kind = kind;
    this.#compress = compress;
    this.#process =
      core === undefined ? spawn(program) : spawn('taskset', ['-c', String(core), program]);
    this.#process.stderr.pipe(process.stderr);
    this.#process.stdin.on('error', () => {});
    this.#answers = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
    this.gone = new Promise((_resolve, reject) => {
      const over = (how: string): void => {
        this.#isEnded = true;
        reject(new RunFailure(`the process that counts bytes is gone: ${how}`));
      };
      this.#process.on('error', (error) => over(error.message));
      this.#process.on('exit', (code, signal) => over(signal ?? `exit code ${code}`));
    });
    // It also ends when all is done, and then nobody waits for this.
    this.gone.catch(() => {});
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Connects lines. Rejects with a {@link RunFailure} when one is refused, or when all stall. */
  async open({ firstRow, count, replay, stallMs }: CountedLines): Promise<Joined> {
    const isWebSocket = this.#kind === 'ws';
    const after = replay === undefined ? undefined : String(replay.afterId);
    const request = isWebSocket
      ? webSocketRequest(this.#target, WEBSOCKET_KEY, after)
      : streamRequest(this.#target, this.#kind === 'sse', after, this.#compress);
    const numbers = [
      this.#target.port,
      firstRow,
      this.#asked,
      count,
      CONNECTS_AT_ONCE,
      replay?.bytes ?? 0,
      stallMs,
      request.length,
    ];
    const [firstConnectUs, lastJoinUs] = await this.#ask(
      `open ${numbers.join(' ')}\n${request}`,
      'opened',
    );
    return {
      joined: count,
      failed: [],
      hasStalled: false,
      firstConnectUs: firstConnectUs!,
      lastJoinUs: lastJoinUs!,
    };
  }

  /** A round begins: bytes are counted from 0, and of lines in gzip events of that shape. */
  async begin(shape?: EventShape): Promise<void> {
    if (this.#compress && shape !== undefined) {
      const { before, between, after } = encodingOf(this.#kind).layout(shape);
      const texts = [shape.run, before, between, after];
      const lengths = texts.map((text) => Buffer.byteLength(text));
      await this.#ask(
        `shape ${[shape.sizeBytes, ...lengths].join(' ')}\n${texts.join('')}`,
        'shaped',
      );
    }
    await this.#ask('begin\n', 'begun');
    this.#eventsBefore = (await this.readCounts()).tally.countedEvents;
  }

  nap(ms: number): void {
    this.#process.stdin.write(`nap ${Math.round(ms * 1000)}\n`);
  }

  /** Asks for its counts. */
  async readCounts(): Promise<Counts> {
    const totals = (await this.#ask('totals\n', 'totals')) as Tuple<15>;
    const [atUs, bytes, reads, cpuUs, joined, closed, min, max, ...gzip] = totals;
    const [gzipBytes, plainBytes, countedEvents, blocks, inflatedBlocks, damaged, counted] = gzip;
    this.closedLines = closed;
    this.lineBytes = { min, max };
    this.counts = {
      atUs,
      joined,
      returning: 0,
      checkedClients: 0,
      checkedDelivered: 0,
      delivered: countedEvents - this.#eventsBefore,
      sequencesSeen: 0,
      tally: {
        ...emptyTally(),
        bytes,
        reads,
        countedBytes: counted,
        gzipBytes,
        plainBytes,
        countedEvents,
        blocks,
        inflatedBlocks,
        damaged,
      },
      cpuSeconds: cpuUs / 1e6,
    };
    return this.counts;
  }

  /** What its lines were given in this round, judged by what the checked ones were given. */
  async audit(checked: readonly Part['checked'][], published: number): Promise<Part> {
    const own = checked.filter(({ clients }) => clients > 0);
    const sum = (of: (part: Part['checked']) => number): number =>
      own.reduce((total, part) => total + of(part), 0);
    const least = (of: (part: Part['checked']) => number): number =>
      own.length === 0 ? 0 : Math.min(...own.map(of));
    const eventBytes =
      sum(({ wireBytes }) => wireBytes) /
      Math.max(
        1,
        sum(({ delivered, doubled }) => delivered + doubled),
      );
    const leastBytes = Math.max(
      0,
      least(({ leastWireBytes }) => leastWireBytes) - SLACK_EVENTS * eventBytes,
    );
    const events = least(({ leastDelivered }) => leastDelivered);
    const audited = (await this.#ask(
      `audit ${events} ${Math.ceil(leastBytes)} ${Math.max(1, eventBytes)}\n`,
      'audited',
    )) as Tuple<10>;
    const [clients, delivered, losers, leastOfAll, leastEvents, ...rest] = audited;
    const [disordered, gaps, unread, plain, damaged] = rest;
    const leastOfPlain =
      losers === 0 || plain === 0 ? events : Math.floor(leastOfAll / Math.max(1, eventBytes));
    const mostLost = Math.max(0, published - Math.min(leastOfPlain, leastEvents));
    const histogram = createHistogram();
    const packedUs = packHistogram(histogram);
    histogram.destroy();
    return {
      checked: NO_CHECKED,
      counted: {
        clients,
        delivered,
        gapLost: 0,
        losers,
        mostLost,
        unplaced: 0,
        disordered,
        unread,
      },
      uncompressed: plain,
      gaps,
      slow: { clients: 0, delivered: 0, gaps: 0, cutOff: 0 },
      stalled: { clients: 0, cutOff: 0 },
      packedUs,
      packedAcceptToDeliverUs: undefined,
      herd: { clients: 0, back: 0, backAtUs: 0, caughtUpAtUs: 0 },
      lagMs: { p99: 0, max: 0 },
      cutOff: [
        ...(this.closedLines === 0
          ? []
          : [['the server closed the line', this.closedLines] as const]),
        ...(damaged === 0
          ? []
          : [['the server sent gzip that is none, or that is no events', damaged] as const]),
      ],
    };
  }

  /** Resets every line. */
  async leave(): Promise<void> {
    await this.#ask('close\n', 'closed');
  }

  /** Ends the process. */
  async close(): Promise<void> {
    if (this.#isEnded) return;
    await new Promise<void>((resolve) => {
      this.#process.once('exit', () => resolve());
      this.#process.kill('SIGKILL');
    });
  }

  get #asked(): number {
    if (this.#kind === 'ws') return WEBSOCKET;
    if (!this.#compress) return STREAM;
    return this.#kind === 'sse' ? GZIP_SSE : GZIP_NDJSON;
  }

  /** The numbers of an answer. Rejects when the process is gone, or answers that it failed. */
  #ask(command: string, name: string): Promise<readonly number[]> {
    const answer = this.#last.then(async () => {
      this.#process.stdin.write(command);
      const answered = await Promise.race([this.#answers.next(), this.gone]);
      if (answered.done === true) return this.gone;
      const [first, ...rest] = answered.value.split(' ');
      if (first === 'failed') throw new RunFailure(rest.join(' '));
      if (first !== name)
        throw new RunFailure(`the process that counts bytes answered ${answered.value}`);
      return rest.map(Number);
    });
    this.#last = answer.catch(() => {});
    return answer;
  }
}
