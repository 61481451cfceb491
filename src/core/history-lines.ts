/**
 * Lines behind their rings: what the rings have lost since, or lost before the line came, is read
 * from the log page by page, until the line's cursor is where the rings begin; in that turn it goes
 * on from them.
 *
 * Lines on the same channels stand on one *shelf*, in the order in which they are served. A page is
 * read for the first of them, and given to all to whom it is due; what it is in their encoding is
 * made once. A line that refuses bytes is stalled like any other, and comes back when its socket
 * has drained. While a log does not answer, lines wait and are told nothing but heartbeats.
 *
 * What a line has been told is kept in its row: `losses` is −1 − the id up to which losses have
 * been reported to it, and `cursor` is {@link OLDEST} for one that asked for whatever there is. On
 * several channels that id may be of one that has lost more than the others: what each of them had
 * lost then is kept as well, since the others may lose more below it.
 */
import { backOffMs } from '../back-off.js';
import { pause, type Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import {
  CATCH_UP_CORKS_MAX,
  COMPRESS_BLOCK_BYTES_MAX,
  CORK_WRITE_BYTES_MAX,
  HISTORY_PAGE_BYTES_MAX,
  HISTORY_PAGE_EVENTS_MAX,
  HISTORY_RETRY_MS_MAX,
  HISTORY_RETRY_MS_MIN,
} from '../limits.js';
import type { Compressor } from './compressor.js';
import type { HistoryPage } from './event-log.js';
import type { Encoding } from './frame.js';
import { isSmaller, STORED_EXTRA_BYTES, storedBlocks } from './gzip.js';
import type { Group } from './group.js';
import type { HistoryReads } from './history-reads.js';
import { CATCHING_UP, HEALTHY, OLDEST, READING } from './line-table.js';
import type { Lines } from './lines.js';
import type { LossClock } from './loss-clock.js';
import { PageTurns } from './page-turns.js';
import type { LinePort } from './ports.js';
import type { Pump } from './pump.js';
import { Ring } from './ring.js';

/** Most bytes of a part of a page, stored or not: one cork. */
const PART_BYTES_MAX = CORK_WRITE_BYTES_MAX - STORED_EXTRA_BYTES;

/** The lines on the same channels that are behind their rings. */
interface Shelf {
  readonly key: string;
  readonly names: readonly string[];
  /** Handles, in the order in which they are served; some may be of lines that have left. */
  readonly lines: Set<number>;
  /** Reads that have failed since the last one that did not. */
  failures: number;
}

/** A page that is being given to lines. */
interface Serving {
  readonly shelf: Shelf;
  readonly page: HistoryPage;
  /** What was asked for: everything above `after`, up to `through`. */
  readonly after: number;
  readonly through: number;
  /** Highest id up to there that is lost for good, and that of each channel. */
  readonly lostThrough: number;
  readonly lostByChannel: readonly number[];
  /** The page's frames, by index of the encoding. */
  readonly frames: (Ring | undefined)[];
  /** Parts of those as gzip blocks, by index of the encoding and seq of their first frame. */
  readonly blocks: Map<number, Uint8Array>[];
}

/** The parts of the hub that the lines are read for with. */
interface HistoryParts {
  readonly reads: HistoryReads;
  readonly pump: Pick<Pump, 'stall' | 'step' | 'wakeBehind' | 'write'>;
  readonly lossClock: LossClock;
  readonly lines: Lines<unknown, Group>;
  readonly compressor: Pick<Compressor, 'deflate' | 'hasTime'>;
}

export class HistoryLines {
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #parts: HistoryParts;
  readonly #shelves = new Map<string, Shelf>();
  readonly #turns: PageTurns;
  /** What lines on several channels have been told, by their sockets. */
  readonly #toldByChannel = new WeakMap<object, readonly number[]>();
  #isStopped = false;

  constructor(clock: Clock, counters: Counters, parts: HistoryParts) {
    this.#clock = clock;
    this.#counters = counters;
    this.#parts = parts;
    this.#turns = new PageTurns(clock);
  }

  /** No page is read any more. */
  stop(): void {
    this.#isStopped = true;
  }

  /** A new line starts below what its rings hold. */
  joined(group: Group, row: number): void {
    group.table.losses[row] = -1;
    this.add(group, row);
  }

  /** The rings have moved past the line's cursor. */
  lapped(group: Group, row: number): void {
    const { table } = group;
    table.losses[row] = -1 - (table.cursors[row] as number);
    this.add(group, row);
  }

  /** The line is to be read for, unless it can go on from the rings. */
  add(group: Group, row: number): void {
    const { table } = group;
    if (this.#goesLive(group, row)) return;
    table.setState(row, READING);
    const shelf = this.#shelfOf(group);
    group.shelf = shelf;
    shelf.lines.add(table.handles[row] as number);
    if (this.#shelves.has(shelf.key)) return;
    this.#shelves.set(shelf.key, shelf);
    void this.#readFor(shelf);
  }

  #shelfOf({ channels }: Group): Shelf {
    const names = channels.map(({ name }) => name);
    const key = names.join(',');
    return this.#shelves.get(key) ?? { key, names, lines: new Set(), failures: 0 };
  }

  /** Page after page, until no line is left. Each takes its turn with what others read. */
  async #readFor(shelf: Shelf): Promise<void> {
    const { reads } = this.#parts;
    while (!this.#isStopped && this.#firstOf(shelf) !== undefined) {
      try {
        await reads.inTurn(() => this.#readPage(shelf));
        shelf.failures = 0;
      } catch {
        // The log is away: it says so itself, and its state is shown.
        const ms = backOffMs(shelf.failures++, HISTORY_RETRY_MS_MIN, HISTORY_RETRY_MS_MAX);
        await pause(this.#clock, ms);
      }
    }
    this.#shelves.delete(shelf.key);
  }

  async #readPage(shelf: Shelf): Promise<void> {
    const first = this.#firstOf(shelf);
    if (first === undefined) return;
    const { group, row } = first;
    const after = Math.max(0, group.table.cursors[row] as number);
    const through = group.set.lostThrough;
    const page = await this.#parts.reads.read({
      channels: shelf.names,
      after,
      through,
      eventsMax: HISTORY_PAGE_EVENTS_MAX,
      bytesMax: HISTORY_PAGE_BYTES_MAX,
    });
    // What is lost above is still in the rings.
    const lostThrough = Math.min(page.lostThrough, through);
    const lostByChannel = (page.lostByChannel ?? [lostThrough]).map((id) => Math.min(id, through));
    const lost = { lostThrough, lostByChannel };
    const serving = { shelf, page, after, through, ...lost, frames: [], blocks: [] };
    await this.#turns.give([...shelf.lines], (handle) => this.#visit(serving, handle));
  }

  /** The first line that is to be read for. Those that have left, or are stalled, come off. */
  #firstOf(shelf: Shelf): { readonly group: Group; readonly row: number } | undefined {
    for (const handle of shelf.lines) {
      const row = this.#rowOn(shelf, handle);
      const group = this.#parts.lines.groupAt(handle);
      if (row >= 0 && !this.#goesLive(group, row)) return { group, row };
      shelf.lines.delete(handle);
    }
    return undefined;
  }

  /** The row of a line that stands on the shelf to be read for; −1 if it does not any more. */
  #rowOn(shelf: Shelf, handle: number): number {
    const lines = this.#parts.lines;
    const group = lines.groupAt(handle) as Group | undefined;
    if (group?.shelf !== shelf || group.deletedAt !== undefined) return -1;
    const row = lines.rowOf(handle);
    return group.table.states[row] === READING ? row : -1;
  }

  /** Lets the line go on from the rings, if they hold everything above its cursor. */
  #goesLive(group: Group, row: number): boolean {
    const { table, set } = group;
    const cursor = table.cursors[row] as number;
    if (cursor < set.lostThrough) return false;
    table.losses[row] = this.#parts.lossClock.count;
    const isAtHead = cursor >= set.newestId;
    table.setState(row, isAtHead ? HEALTHY : CATCHING_UP);
    if (!isAtHead) this.#parts.pump.wakeBehind(group);
    return true;
  }

  // ── a page ─────────────────────────────────────────────────────────────────────────────────────

  /** Gives a line a few corks of the page. True when there is more in it for the line. */
  #visit(serving: Serving, handle: number): boolean {
    const { shelf, page, after } = serving;
    const row = this.#rowOn(shelf, handle);
    if (row < 0) {
      shelf.lines.delete(handle);
      return false;
    }
    const group = this.#parts.lines.groupAt(handle);
    const { table } = group;
    const { port } = group.mode;
    const cursor = table.cursors[row] as number;
    if (port.kind === 'poll' || cursor > page.through || Math.max(0, cursor) < after) return false;
    if (!this.#tellLoss(serving, group, row, port)) return false;
    const isRead = this.#write(serving, group, row, port);
    if (isRead === undefined) return true;
    if (!isRead) return false;
    table.advance(row, Math.max(table.cursors[row] as number, page.through));
    table.interrupt(row);
    shelf.lines.delete(handle);
    // Others have their turn before its next page.
    if (!this.#goesLive(group, row)) shelf.lines.add(handle);
    return false;
  }

  /**
   * Tells the line what is lost below the page, if it has not been told. False when the page cannot
   * be given to it now: it refuses bytes, or where the gap ends is not known yet.
   */
  #tellLoss(serving: Serving, group: Group, row: number, port: LinePort): boolean {
    const { table } = group;
    const cursor = table.cursors[row] as number;
    const told = -1 - (table.losses[row] as number);
    if (cursor === OLDEST) {
      table.advance(row, 0);
      this.#told(serving, table, row);
      return true;
    }
    const lost = this.#untold(serving, table, row);
    if (lost <= cursor) return true;
    const before = gapEnd(serving, group, lost);
    if (before === undefined) return false;
    this.#counters.gaps_total++;
    if (told === 0) this.#counters.gaps_at_join_total++;
    else this.#counters.gaps_slow_total++;
    this.#told(serving, table, row);
    table.lastWrites[row] = this.#parts.pump.step;
    table.interrupt(row);
    if (port.write(table.sockets[row], group.encoding.gap(cursor, before))) return true;
    this.#parts.pump.stall(group, row);
    return false;
  }

  /** Highest id that is lost and that the line has not been told of; 0 if there is none. */
  #untold({ lostThrough, lostByChannel }: Serving, table: Group['table'], row: number): number {
    const told = this.#toldByChannel.get(table.sockets[row] as object);
    if (told === undefined)
      return lostThrough > -1 - (table.losses[row] as number) ? lostThrough : 0;
    return Math.max(0, ...lostByChannel.filter((id, i) => id > (told[i] as number)));
  }

  /** The line knows what its channels have lost, or asked for whatever there is. */
  #told({ lostThrough, lostByChannel }: Serving, table: Group['table'], row: number): void {
    table.losses[row] = -1 - lostThrough;
    if (lostByChannel.length > 1)
      this.#toldByChannel.set(table.sockets[row] as object, lostByChannel);
  }

  /** True when the line has been given all of the page, false when it refused; else undefined. */
  #write(serving: Serving, group: Group, row: number, port: LinePort): boolean | undefined {
    const { table, encoding } = group;
    const { pump } = this.#parts;
    const frames = (serving.frames[encoding.index] ??= framesOf(serving.page, encoding));
    let seq = frames.seqAfter(table.cursors[row] as number);
    for (let corks = 0; seq < frames.headSeq; corks++) {
      if (corks === CATCH_UP_CORKS_MAX) return undefined;
      const { bytes: plain, toSeq: end } = frames.cut(seq, frames.headSeq, PART_BYTES_MAX);
      const bytes = encoding.isGzip === true ? this.#blockOf(serving, encoding, seq, plain) : plain;
      group.compressed?.given(plain.length, bytes.length);
      const taken = pump.write(port, table.sockets[row], bytes);
      this.#counters.deliveries_total += end - seq;
      table.advance(row, frames.idAt(end - 1));
      table.interrupt(row);
      table.lastWrites[row] = pump.step;
      if (!taken) {
        pump.stall(group, row);
        return false;
      }
      seq = end;
    }
    return true;
  }

  /** A part of the page as a gzip block, made once for all lines that are there. */
  #blockOf({ blocks }: Serving, { index }: Encoding, seq: number, plain: Uint8Array): Uint8Array {
    const { compressor } = this.#parts;
    const bySeq = (blocks[index] ??= new Map<number, Uint8Array>());
    const known = bySeq.get(seq);
    if (known !== undefined) return known;
    let block: Uint8Array | undefined;
    if (plain.length <= COMPRESS_BLOCK_BYTES_MAX) {
      if (compressor.hasTime) block = compressor.deflate(plain, undefined);
      else this.#counters.compress_refused_total++;
    }
    const made = block !== undefined && isSmaller(block, plain) ? block : storedBlocks(plain);
    bySeq.set(seq, made);
    return made;
  }
}

/**
 * Id of the first event above `lost`; null without one. On several channels it may be in a later
 * page: then it is the first id that is not lost. Undefined when the rings have moved on since.
 */
function gapEnd(
  { page, through }: Serving,
  { set }: Group,
  lost: number,
): number | null | undefined {
  const next = page.events.find(({ id }) => id > lost);
  if (next !== undefined) return next.id;
  if (page.through < through) return lost + 1;
  return set.lostThrough > through ? undefined : (set.firstIdAfter(lost) ?? null);
}

function framesOf({ events }: HistoryPage, encoding: Encoding): Ring {
  const frames = new Ring();
  for (const event of events) frames.append(event.id, encoding.encode(event));
  return frames;
}
