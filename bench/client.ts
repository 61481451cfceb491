/**
 * The load client: a process that holds N lines through one shared read buffer, reads a share of
 * them in full and counts the bytes of the rest. Beside the C reader (line-client.ts) it holds the
 * lines that are read in full, and no others.
 */
import { Socket } from 'node:net';
import { answerRunner } from './child.js';
import { nowUs, sleepMs, sleepUntilUs } from './clock.js';
import { type CheckedLine, Ledger, createLatencyHistogram } from './checked-line.js';
import { CheckedSse } from './checked-sse.js';
import { CheckedWebSocket, FrameReader, PONG } from './checked-websocket.js';
import { SHORT_BY_BYTES, requestOf } from './line-request.js';
import { nap } from './nap.js';
import { type Latency, latencyMs } from './statistics.js';

export interface OpenOrder {
  port: number;
  path: string;
  transport: 'sse' | 'websocket';
  lines: number;
  /** At least one line is checked in full, whatever the share. */
  checkedShare: number;
  connectsAtOnce: number;
  /**
   * The visit's own hundred of loopback addresses, so that ports of earlier visits never run out.
   */
  addressBase: number;
  /** Sequences that will be published at most: the size of the book of every checked line. */
  sequenceLimit: number;
  lastEventId?: number;
  /**
   * With a replay a line is complete when this many bytes of body have come; without one when its
   * head has.
   */
  replayBytes?: number;
  /**
   * Each connect waits for its `step`: somebody else connects lines of the same server, and these
   * are to lie evenly between them.
   */
  paced?: boolean;
  /** The time of connecting is what is measured. */
  timed?: boolean;
  deadlineMs: number;
}

export interface Opened {
  lines: number;
  checkedLines: number;
  /** From the first connect to the last complete line. */
  elapsedMs: number;
  firstConnectUs: number;
  lastCompleteUs: number;
  headMs: Latency;
  completeMs: Latency;
  /** Body bytes a line, framing included; the spread says whether any line was given less. */
  lineBytes: ByteSpread;
}

export interface ByteSpread {
  min: number;
  max: number;
}

export interface WindowOrder {
  startUs: number;
  endUs: number;
}

export interface WindowSeen {
  seconds: number;
  /** Events delivered on all lines: bytes of all lines ÷ bytes per event of the checked ones. */
  deliveries: number;
  wireBytes: number;
  wireBytesPerEvent: number;
  reads: number;
  cpuSeconds: number;
}

export interface SettleOrder {
  /** Sequences the server answered with 200, their ids, and the microsecond of each answer. */
  accepted: { sequences: Float64Array; ids: Float64Array; answeredUs: Float64Array };
  windowStartUs: number;
  windowEndUs: number;
  deadlineMs: number;
}

export interface Settled {
  settledMs: number;
  latencyMs: Latency;
  acceptToDeliverMs: Latency;
  check: Check;
  /** Body bytes of the checked line that has had the fewest. */
  leastCheckedBytes: number;
}

export interface Check {
  checkedLines: number;
  expected: number;
  delivered: number;
  /** Accepted, not delivered, though something later was: a hole. */
  lost: number;
  /** Accepted and still on its way when the deadline came. */
  undelivered: number;
  doubled: number;
  outOfOrder: number;
  /** Delivered under another id than the publisher was told. */
  idMismatches: number;
  gapEvents: number;
  endEvents: number;
  damaged: number;
  closedLines: number;
  /**
   * Lines that are read by the byte only, yet have more than one frame less than every checked
   * line.
   */
  shortLines: number;
}

/**
 * An address has 28,232 ephemeral ports, of which a bind() tries a quarter first: from about 7,000
 * lines an address on, the kernel's search for a free one takes longer than everything else in a
 * connect.
 */
const LINES_PER_ADDRESS = 1_000;
const READ_BUFFER_BYTES = 256 * 1024;
const HEAD_END = '\r\n\r\n';
const STATUS_OK = { sse: 'HTTP/1.1 200 ', websocket: 'HTTP/1.1 101 ' };

const CONNECTING = 0;
const WAITING_FOR_REPLAY = 1;
const COMPLETE = 2;
const CLOSED = 3;

const readBuffer = Buffer.allocUnsafe(READ_BUFFER_BYTES);

let transport: OpenOrder['transport'] = 'sse';
let sockets: Socket[] = [];
let checkedLines: CheckedLine[] = [];
let checkedRows = new Map<number, CheckedLine>();
let rowState = new Uint8Array(0);
let rowBytes = new Float64Array(0);
let headParts = new Map<number, string>();
let ledger = new Ledger(0);
let headBytesWanted = 0;
let firstConnectUs = 0;
let lastCompleteUs = 0;
/** Connects that may have begun by now. */
let stepsGiven = 0;
let completeLines = 0;
let closedLines = 0;
let refusal: Error | undefined;
let onProgress = (): void => {};
let headHistogram = createLatencyHistogram();
let completeHistogram = createLatencyHistogram();

const total = { bytes: 0, reads: 0, checkedBytes: 0 };

/** True = read on; `net` pauses the socket on false. */
function onBytes(row: number, byteCount: number): boolean {
  total.bytes += byteCount;
  total.reads++;
  rowBytes[row]! += byteCount;
  if (rowState[row] !== COMPLETE) advance(row, byteCount);
  return true;
}

/** A WebSocket line that is not checked: its pings have to be answered all the same. */
function onFramedBytes(row: number, frames: FrameReader, byteCount: number): boolean {
  const headPending = rowState[row] === CONNECTING;
  onBytes(row, byteCount);
  if (rowState[row] === CONNECTING) return true;
  frames.feed(readBuffer, headPending ? byteCount - rowBytes[row]! : 0, byteCount);
  return true;
}

function pong(row: number): void {
  sockets[row]?.write(PONG);
}

/** Damage is for the checked lines to find. */
function skipMessages(row: number): FrameReader {
  return new FrameReader({
    text: () => {},
    ping: () => pong(row),
    close: () => {},
    damaged: () => {},
  });
}

function onCheckedBytes(row: number, line: CheckedLine, byteCount: number): boolean {
  line.feed(readBuffer, byteCount, nowUs());
  total.checkedBytes += byteCount;
  return onBytes(row, byteCount);
}

/**
 * Follows a line from its connect to its last byte of replay; never runs again once it is complete.
 */
function advance(row: number, byteCount: number): void {
  if (rowState[row] === CONNECTING && !readHead(row, byteCount)) return;
  if (rowBytes[row]! < headBytesWanted) return;
  rowState[row] = COMPLETE;
  completeLines++;
  lastCompleteUs = nowUs();
  completeHistogram.record(Math.max(1, Math.round(lastCompleteUs - firstConnectUs)));
  onProgress();
}

function readHead(row: number, byteCount: number): boolean {
  const before = headParts.get(row) ?? '';
  const text = before + readBuffer.toString('latin1', 0, Math.min(byteCount, 4096));
  const end = text.indexOf(HEAD_END);
  if (end === -1) {
    headParts.set(row, text);
    return false;
  }
  headParts.delete(row);
  if (!text.startsWith(STATUS_OK[transport]))
    refusal ??= new Error(`line ${row} was answered ${JSON.stringify(text.slice(0, 300))}`);
  rowState[row] = WAITING_FOR_REPLAY;
  // From here on the row counts body bytes only: heads differ in length between servers.
  rowBytes[row] = before.length + byteCount - (end + HEAD_END.length);
  headHistogram.record(Math.max(1, Math.round(nowUs() - firstConnectUs)));
  onProgress();
  return true;
}

function connect(row: number, order: OpenOrder, request: string, done: () => void): void {
  const checked = checkedRows.get(row);
  let callback = (byteCount: number): boolean => onBytes(row, byteCount);
  if (checked !== undefined) callback = (byteCount) => onCheckedBytes(row, checked, byteCount);
  else if (order.transport === 'websocket') {
    const frames = skipMessages(row);
    callback = (byteCount) => onFramedBytes(row, frames, byteCount);
  }
  const onread = { buffer: readBuffer, callback };
  // The option is in Node's documentation of `new net.Socket()`'s connect, and missing in the types
  // of the constructor.
  const socket = new Socket({ onread } as object);
  let settled = false;
  const settle = (): void => {
    if (settled) return;
    settled = true;
    done();
  };
  socket.on('error', (error) => {
    refusal ??= new Error(`line ${row}: ${error.message}`);
  });
  socket.on('close', () => {
    if (rowState[row] !== CLOSED) {
      rowState[row] = CLOSED;
      closedLines++;
      onProgress();
    }
    settle();
  });
  socket.connect(
    {
      port: order.port,
      host: '127.0.0.1',
      localAddress: `127.0.${order.addressBase}.${1 + Math.floor(row / LINES_PER_ADDRESS)}`,
    },
    () => {
      socket.write(request, 'latin1');
      settle();
    },
  );
  sockets[row] = socket;
}

async function openLines(order: OpenOrder): Promise<Opened> {
  transport = order.transport;
  sockets = Array.from({ length: order.lines });
  rowState = new Uint8Array(order.lines);
  rowBytes = new Float64Array(order.lines);
  headParts = new Map();
  ledger = new Ledger(order.sequenceLimit);
  headBytesWanted = order.replayBytes ?? 0;
  completeLines = 0;
  closedLines = 0;
  refusal = undefined;
  headHistogram = createLatencyHistogram();
  completeHistogram = createLatencyHistogram();
  chooseChecked(0, order.lines, order.checkedShare);
  stepsGiven = order.paced === true ? 0 : Infinity;
  firstConnectUs = nowUs();
  await ramp(0, order);
  return {
    lines: order.lines,
    checkedLines: checkedLines.length,
    elapsedMs: completeHistogram.max / 1000,
    firstConnectUs,
    lastCompleteUs,
    headMs: latencyMs(headHistogram),
    completeMs: latencyMs(completeHistogram),
    lineBytes: byteSpread(),
  };
}

/** Evenly over the connect order: the first and the last lines of a sweep are both among them. */
function chooseChecked(from: number, lines: number, share: number): void {
  checkedRows = new Map();
  const count = Math.min(lines - from, Math.max(1, Math.round((lines - from) * share)));
  for (let index = 0; index < count; index++) {
    const row = from + (count === 1 ? 0 : Math.round((index * (lines - from - 1)) / (count - 1)));
    checkedRows.set(
      row,
      transport === 'sse' ? new CheckedSse(ledger) : new CheckedWebSocket(ledger, () => pong(row)),
    );
  }
  checkedLines = [...checkedRows.values()];
}

/**
 * Keeps at most `connectsAtOnce` lines between connect and completion; every line must get there
 * before the deadline.
 */
function ramp(from: number, order: OpenOrder): Promise<void> {
  const request = requestOf(order);
  return new Promise((resolve, reject) => {
    let next = from;
    const finish = (error?: Error): void => {
      clearTimeout(timer);
      onProgress = () => {};
      if (error) reject(error);
      else resolve();
    };
    const timer = setTimeout(() => {
      const waiting = rowState.reduce(
        (sum, state) => sum + (state === WAITING_FOR_REPLAY ? 1 : 0),
        0,
      );
      finish(
        new Error(
          `${completeLines} of ${order.lines} lines were complete after ${order.deadlineMs} ms; ` +
            `${waiting} had a head and not all of ${headBytesWanted} body bytes, ${closedLines} were closed; ${refusal?.message ?? ''}`,
        ),
      );
    }, order.deadlineMs);
    const more = (): void => {
      // Lines that have not answered yet count as being connected: an accept queue must not
      // overflow.
      const limit = Math.min(order.lines, stepsGiven);
      while (next < limit && next - completeLines - closedLines < order.connectsAtOnce)
        connect(next++, order, request, more);
    };
    onProgress = () => {
      if (refusal !== undefined || closedLines > 0)
        finish(refusal ?? new Error(`a line was closed by the server`));
      else if (completeLines === order.lines) finish();
      else more();
    };
    more();
  });
}

/** One connect more may begin. */
function step(): void {
  stepsGiven++;
  onProgress();
}

/** More lines beside those that are open (the memory subject grows in steps). */
async function growLines(order: OpenOrder): Promise<{ lines: number }> {
  const from = sockets.length;
  const grownState = new Uint8Array(order.lines);
  grownState.set(rowState);
  rowState = grownState;
  const grownBytes = new Float64Array(order.lines);
  grownBytes.set(rowBytes);
  rowBytes = grownBytes;
  sockets.length = order.lines;
  chooseChecked(from, order.lines, order.checkedShare);
  await ramp(from, order);
  return { lines: completeLines };
}

async function watchWindow(order: WindowOrder): Promise<WindowSeen> {
  ledger.windowStartUs = order.startUs;
  ledger.windowEndUs = order.endUs;
  await sleepUntilUs(order.startUs);
  const before = { ...total, ...ledger.seen, atUs: nowUs(), cpu: process.cpuUsage() };
  await sleepUntilUs(order.endUs);
  const cpu = process.cpuUsage(before.cpu);
  const wireBytes = total.bytes - before.bytes;
  const checkedEvents = ledger.seen.events - before.events;
  const wireBytesPerEvent =
    checkedEvents === 0 ? 0 : (total.checkedBytes - before.checkedBytes) / checkedEvents;
  return {
    seconds: (nowUs() - before.atUs) / 1e6,
    deliveries: wireBytesPerEvent === 0 ? 0 : wireBytes / wireBytesPerEvent,
    wireBytes,
    wireBytesPerEvent,
    reads: total.reads - before.reads,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
  };
}

/** Waits until every accepted event has come on every checked line, then compares the two books. */
async function settleBooks(order: SettleOrder): Promise<Settled> {
  const startUs = nowUs();
  const { sequences, ids, answeredUs } = order.accepted;
  const expected = sequences.length * checkedLines.length;
  let delivered = countDelivered(sequences);
  while (delivered < expected && (nowUs() - startUs) / 1000 < order.deadlineMs) {
    await sleepMs(50);
    delivered = countDelivered(sequences);
  }
  // The last event reaches the checked lines before it has reached all: let the bytes of the others
  // come, too.
  for (let bytes = -1; bytes !== total.bytes && (nowUs() - startUs) / 1000 < order.deadlineMs;) {
    bytes = total.bytes;
    await sleepMs(200);
  }
  const acceptToDeliver = createLatencyHistogram();
  let lost = 0;
  let undelivered = 0;
  let idMismatches = 0;
  delivered = 0;
  for (let index = 0; index < sequences.length; index++) {
    const sequence = sequences[index]!;
    const id = ids[index]!;
    const known = ledger.idOfSequence[sequence]!;
    const inWindow =
      answeredUs[index]! >= order.windowStartUs && answeredUs[index]! < order.windowEndUs;
    if (known >= 0 && known !== id && !Number.isNaN(id)) idMismatches++;
    for (const line of checkedLines) {
      const atUs = line.deliveredUs[sequence]!;
      if (atUs !== 0) {
        delivered++;
        // The event may overtake the answer to its own publisher; that is no negative latency but
        // none.
        if (inWindow) acceptToDeliver.record(Math.max(1, Math.round(atUs - answeredUs[index]!)));
      } else if (line.lastId > id) lost++;
      else undelivered++;
    }
  }
  const seen = ledger.seen;
  const leastCheckedBytes = leastBytesOfChecked();
  return {
    leastCheckedBytes,
    settledMs: (nowUs() - startUs) / 1000,
    latencyMs: latencyMs(ledger.latencyUs),
    acceptToDeliverMs: latencyMs(acceptToDeliver),
    check: {
      checkedLines: checkedLines.length,
      expected,
      delivered,
      lost,
      undelivered,
      doubled: seen.doubled,
      outOfOrder: seen.outOfOrder,
      idMismatches: idMismatches + ledger.idConflicts,
      gapEvents: seen.gapEvents,
      endEvents: seen.endEvents,
      damaged: seen.damaged,
      closedLines,
      shortLines: countShort(leastCheckedBytes - SHORT_BY_BYTES),
    },
  };
}

function countDelivered(sequences: Float64Array): number {
  let delivered = 0;
  for (const line of checkedLines) {
    for (const sequence of sequences) if (line.deliveredUs[sequence] !== 0) delivered++;
  }
  return delivered;
}

function leastBytesOfChecked(): number {
  let least = Infinity;
  for (const row of checkedRows.keys()) least = Math.min(least, rowBytes[row]!);
  return least;
}

function countShort(bytesWanted: number): number {
  let short = 0;
  for (const bytes of rowBytes) if (bytes < bytesWanted) short++;
  return short;
}

function byteSpread(): ByteSpread {
  let min = Infinity;
  let max = 0;
  for (const bytes of rowBytes) {
    if (bytes < min) min = bytes;
    if (bytes > max) max = bytes;
  }
  return { min, max };
}

/** Resets every line: a FIN would leave 15,000 ports in TIME_WAIT for a minute. */
function closeLines(): void {
  nap(0);
  for (let row = 0; row < sockets.length; row++) {
    rowState[row] = CLOSED;
    sockets[row]?.resetAndDestroy();
  }
  sockets = [];
}

answerRunner({
  open: openLines,
  grow: growLines,
  step,
  window: watchWindow,
  settle: settleBooks,
  nap,
  close: closeLines,
  cpu: () => {
    const cpu = process.cpuUsage();
    return { cpuSeconds: (cpu.user + cpu.system) / 1e6 };
  },
  seen: () => ({ ...ledger.seen, ...total, closedLines, lineBytes: byteSpread() }),
});
