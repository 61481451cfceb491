/**
 * The load client of a fan-out as one thing: a process that reads a share of the lines in full
 * (client.ts) and, where there is a C compiler, one that only counts the bytes of the rest
 * (reader.ts). Without it the first holds all of them, and is sooner at its limit.
 */
import type { Child } from './child.js';
import type { OpenOrder, Opened, SettleOrder, Settled, WindowOrder, WindowSeen } from './client.js';
import type { Sightings } from './checked-line.js';
import { nowUs, sleepMs, sleepUntilUs } from './clock.js';
import { SHORT_BY_BYTES, requestOf } from './line-request.js';
import type { Reader, ReaderOpened, ReaderOrder, ReaderTotals } from './reader.js';

export interface LinesSeen extends Sightings {
  closedLines: number;
  lineBytes: { min: number; max: number };
}

const ASK_DEADLINE_MS = 10_000;
const WINDOW_MARGIN_MS = 10_000;
const SETTLE_MARGIN_MS = 20_000;
/** Bytes that have not moved for so long have all come. */
const QUIET_MS = 200;

export class LineClient {
  readonly #checker: Child;
  readonly #reader: Reader | undefined;

  constructor(checker: Child, reader: Reader | undefined) {
    this.#checker = checker;
    this.#reader = reader;
  }

  async open(order: OpenOrder): Promise<Opened> {
    const reader = this.#reader;
    const checked = Math.max(1, Math.round(order.lines * order.checkedShare));
    const rest = order.lines - checked;
    if (reader === undefined || rest === 0)
      return this.#askChecker<Opened>('open', order, order.deadlineMs);
    const opening = this.#askChecker<Opened>(
      'open',
      { ...order, lines: checked, checkedShare: 1, paced: true },
      order.deadlineMs,
    );
    opening.catch(() => {});
    const read =
      order.timed === true
        ? await this.#openAtOnce(reader, order, checked, rest)
        : await this.#openInTurn(reader, order, checked, rest);
    const opened = await opening;
    const firstConnectUs = Math.min(read.firstConnectUs, opened.firstConnectUs);
    const lastCompleteUs = Math.max(read.lastCompleteUs, opened.lastCompleteUs);
    const { lineBytes } = await reader.totals();
    return {
      ...opened,
      lines: order.lines,
      firstConnectUs,
      lastCompleteUs,
      elapsedMs: (lastCompleteUs - firstConnectUs) / 1000,
      lineBytes: widest(opened.lineBytes, lineBytes),
    };
  }

  /**
   * Side by side, so that the time of it is that of one client. Checked lines that are slower to
   * begin come late.
   */
  async #openAtOnce(
    reader: Reader,
    order: OpenOrder,
    checked: number,
    rest: number,
  ): Promise<ReaderOpened> {
    let steps = 0;
    const step = (): void => {
      if (steps++ < checked) this.#step().catch(() => {});
    };
    const read = await reader.open({
      ...readerOrder(order),
      lines: rest,
      tellEvery: Math.max(1, Math.floor(rest / checked)),
      onTell: step,
    });
    while (steps < checked) step();
    return read;
  }

  /**
   * A checked line, a few counted ones, and so on: latency is told by the checked lines, and a
   * sweep goes through lines in the order of their connects, or against it.
   */
  async #openInTurn(
    reader: Reader,
    order: OpenOrder,
    checked: number,
    rest: number,
  ): Promise<ReaderOpened> {
    let firstConnectUs = Infinity;
    let lastCompleteUs = 0;
    for (let turn = 0, lines = 0; turn < checked; turn++) {
      await this.#step();
      const upTo = Math.round((rest * (turn + 1)) / checked);
      const read = await reader.open({
        ...readerOrder(order),
        lines: upTo - lines,
        tellEvery: 0,
        onTell: () => {},
      });
      firstConnectUs = Math.min(firstConnectUs, read.firstConnectUs);
      lastCompleteUs = Math.max(lastCompleteUs, read.lastCompleteUs);
      lines = upTo;
    }
    return { firstConnectUs, lastCompleteUs };
  }

  /** One more checked line connects. */
  #step(): Promise<unknown> {
    return this.#checker.ask('step', null, ASK_DEADLINE_MS);
  }

  async nap(ms: number): Promise<void> {
    this.#reader?.nap(ms);
    await this.#askChecker('nap', ms, ASK_DEADLINE_MS);
  }

  async window(order: WindowOrder): Promise<WindowSeen> {
    const waitMs = Math.max(0, (order.endUs - nowUs()) / 1000);
    const watching = this.#askChecker<WindowSeen>('window', order, waitMs + WINDOW_MARGIN_MS);
    watching.catch(() => {});
    const read = this.#reader === undefined ? undefined : await readWindow(this.#reader, order);
    const seen = await watching;
    if (read === undefined) return seen;
    // The two were not asked in the same microsecond: rates are added, not counts.
    const { seconds } = seen;
    const share = seconds / read.seconds;
    const wireBytes = seen.wireBytes + read.bytes * share;
    return {
      seconds,
      wireBytesPerEvent: seen.wireBytesPerEvent,
      wireBytes,
      deliveries: seen.wireBytesPerEvent === 0 ? 0 : wireBytes / seen.wireBytesPerEvent,
      reads: seen.reads + read.reads * share,
      cpuSeconds: seen.cpuSeconds + read.cpuSeconds * share,
    };
  }

  async settle(order: SettleOrder): Promise<Settled> {
    const untilUs = nowUs() + order.deadlineMs * 1000;
    const settled = await this.#askChecker<Settled>(
      'settle',
      order,
      order.deadlineMs + SETTLE_MARGIN_MS,
    );
    if (this.#reader === undefined) return settled;
    for (let bytes = -1; ;) {
      const totals = await this.#reader.totals();
      if (totals.bytes === bytes || nowUs() > untilUs) break;
      bytes = totals.bytes;
      await sleepMs(QUIET_MS);
    }
    const { closedLines } = await this.#reader.totals();
    const shortLines = await this.#reader.shortLines(settled.leastCheckedBytes - SHORT_BY_BYTES);
    const { check } = settled;
    return {
      ...settled,
      check: {
        ...check,
        closedLines: check.closedLines + closedLines,
        shortLines: check.shortLines + shortLines,
      },
    };
  }

  async seen(): Promise<LinesSeen> {
    const seen = await this.#askChecker<LinesSeen>('seen', null, ASK_DEADLINE_MS);
    if (this.#reader === undefined) return seen;
    const read = await this.#reader.totals();
    return {
      ...seen,
      closedLines: seen.closedLines + read.closedLines,
      lineBytes: widest(seen.lineBytes, read.lineBytes),
    };
  }

  async cpuSeconds(): Promise<number> {
    const { cpuSeconds } = await this.#askChecker<{ cpuSeconds: number }>(
      'cpu',
      null,
      ASK_DEADLINE_MS,
    );
    return cpuSeconds + ((await this.#reader?.totals())?.cpuSeconds ?? 0);
  }

  async close(): Promise<void> {
    await Promise.all([this.#askChecker('close', null, ASK_DEADLINE_MS), this.#reader?.close()]);
  }

  /**
   * Ends the processes; a line that is open is reset first, so that no port is left in TIME_WAIT.
   */
  async kill(): Promise<void> {
    await this.close().catch(() => {});
    await Promise.all([this.#checker.kill(), this.#reader?.kill()]);
  }

  #askChecker<T>(name: string, body: unknown, deadlineMs: number): Promise<T> {
    return this.#checker.ask<T>(name, body, deadlineMs + 1000);
  }
}

function readerOrder(order: OpenOrder): Omit<ReaderOrder, 'lines' | 'tellEvery' | 'onTell'> {
  const { port, addressBase, transport, connectsAtOnce, deadlineMs } = order;
  const bodyBytes = order.replayBytes ?? 0;
  return {
    port,
    addressBase,
    websocket: transport === 'websocket',
    connectsAtOnce,
    bodyBytes,
    request: requestOf(order),
    deadlineMs,
  };
}

interface ReadWindow {
  seconds: number;
  bytes: number;
  reads: number;
  cpuSeconds: number;
}

async function readWindow(reader: Reader, { startUs, endUs }: WindowOrder): Promise<ReadWindow> {
  await sleepUntilUs(startUs);
  const from = await reader.totals();
  await sleepUntilUs(endUs);
  const to = await reader.totals();
  const grown = (name: 'atUs' | 'bytes' | 'reads' | 'cpuSeconds'): number => to[name] - from[name];
  return {
    seconds: grown('atUs') / 1e6,
    bytes: grown('bytes'),
    reads: grown('reads'),
    cpuSeconds: grown('cpuSeconds'),
  };
}

type ByteSpread = ReaderTotals['lineBytes'];

function widest(a: ByteSpread, b: ByteSpread): ByteSpread {
  return { min: Math.min(a.min, b.min), max: Math.max(a.max, b.max) };
}
