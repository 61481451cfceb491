/**
 * Heap: where the bytes of an idle line are. User memory by owner, as slopes over three counts of
 * lines, and V8's objects by kind, from two heap snapshots.
 */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fitLinear } from '../src/tools/capacity/least-squares.js';
import { temporaryDirectory } from './compile.js';
import { type HeapShare, type HeapSnapshot, growthOf, sharesOf } from './heap-snapshot.js';
import { settled, stable } from './memory.js';
import type { Measured, RunOptions } from './results.js';
import type { NativeUsage, Usage } from './servers/agent.js';
import { median } from './statistics.js';
import { drawTable } from './table.js';
import { absence } from './targets.js';
import { type Visit, untilHeld, visit } from './visit.js';

export interface HeapParameters {
  /** Just below powers of two: the packed arrays double, and are full at these counts. */
  linesAtPoints: number[];
  rounds: number;
  leastBytesPerLine: number;
}

/** Bytes of the server's process at one count of lines. */
export interface HeapPoint {
  lines: number;
  rssBytes: number;
  heapUsedBytes: number;
  /** Pages of V8's heap that are in memory, full or not. */
  heapPhysicalBytes: number;
  arrayBufferBytes: number;
  /**
   * What malloc has handed out and not got back, including array buffers; null where malloc has no
   * statistics.
   */
  mallocInUseBytes: number | null;
  /** What malloc has from the system. */
  mallocHeldBytes: number | null;
  /** Resident bytes by mapping (/proc/PID/smaps). */
  mappings: Mappings;
}

export interface Mappings {
  /** Below the break: small blocks of malloc. */
  breakBytes: number;
  /** Without a name: V8's pages, and large blocks of malloc. */
  anonymousBytes: number;
  /** Files, libraries, stacks. */
  otherBytes: number;
}

export interface HeapRound {
  round: number;
  points: HeapPoint[];
}

/** Bytes for each line, medians of the rounds' slopes. */
export interface HeapFigures {
  rss: number;
  v8Used: number;
  /** Of V8's objects, the largest first. */
  v8Objects: HeapShare[];
  /** Packed arrays: rows and handles. */
  arrayBuffers: number;
  /** In use by native code: uWebSockets' socket, its response, and V8's handles on it. */
  native: number | null;
  /** In V8's pages, but unused: room for young objects. */
  v8Unused: number;
  /** Held by malloc, but not in use: rounding, and freed blocks. */
  mallocUnused: number | null;
  mappings: Mappings;
}

const POINTS = [4_000, 8_000, 16_000];
const QUICK_POINTS = [500, 1_000, 2_000];
const ROUNDS = 3;
const LEAST_BYTES_PER_LINE = 1;
const SNAPSHOT_DEADLINE_MS = 60_000;
const HELD_DEADLINE_MS = 10_000;

export async function measureHeap(
  options: RunOptions,
): Promise<Measured<HeapParameters, HeapRound, HeapFigures>> {
  const why = absence('holdline');
  if (why !== undefined) throw new Error(why);
  const parameters: HeapParameters = {
    linesAtPoints: options.quick ? QUICK_POINTS : POINTS,
    rounds: options.rounds ?? (options.quick ? 1 : ROUNDS),
    leastBytesPerLine: LEAST_BYTES_PER_LINE,
  };
  const rounds: HeapRound[] = [];
  for (let round = 1; round <= parameters.rounds; round++) {
    const points = await visit('holdline', {}, (here) =>
      measurePoints(here, parameters, options.quick),
    );
    rounds.push({ round, points });
    options.say(`round ${round}/${parameters.rounds}: ${points.map(describePoint).join(' · ')}`);
  }
  // In its own process: a snapshot takes memory that is not returned.
  const objects = await visit('holdline', {}, (here) => compareSnapshots(here, parameters));
  const summary = figuresOf(rounds, objects);
  const remarks = [
    'user memory only: what the kernel holds for a socket is not in RSS',
    ...(summary.native === null
      ? ['malloc could not be asked (koffi or mallinfo2 is missing): native memory is in the rest']
      : []),
  ];
  return { parameters, rounds, summary, remarks, table: describe(summary) };
}

async function measurePoints(
  here: Visit,
  parameters: HeapParameters,
  quick: boolean,
): Promise<HeapPoint[]> {
  const fleet = await here.startFleet();
  const points: HeapPoint[] = [];
  await here.server.nativeUsage();
  await stable(() => settled(here.server), quick);
  for (const lines of parameters.linesAtPoints) {
    await here.open(fleet, lines);
    await untilHeld(here.server, lines, HELD_DEADLINE_MS);
    points.push(
      pointOf(lines, await settled(here.server), await here.server.nativeUsage(), here.server.pid),
    );
  }
  return points;
}

function describePoint({ lines, rssBytes, heapUsedBytes }: HeapPoint): string {
  return `${lines} lines ${(rssBytes / 2 ** 20).toFixed(1)} MiB RSS, ${(heapUsedBytes / 2 ** 20).toFixed(1)} MiB V8 heap`;
}

function pointOf(lines: number, usage: Usage, native: NativeUsage, pid: number): HeapPoint {
  return {
    lines,
    rssBytes: usage.rssBytes,
    heapUsedBytes: usage.heapUsedBytes,
    ...native,
    mappings: mappingsIn(readFileSync(`/proc/${pid}/smaps`, 'utf8')),
  };
}

/** Of the text of /proc/PID/smaps (proc(5)). */
export function mappingsIn(smaps: string): Mappings {
  const mappings: Mappings = { breakBytes: 0, anonymousBytes: 0, otherBytes: 0 };
  let kind: keyof Mappings = 'otherBytes';
  for (const line of smaps.split('\n')) {
    // address perms offset dev inode [path]
    const head = /^[\da-f]+-[\da-f]+ \S+ \S+ \S+ \d+\s*(.*)$/.exec(line);
    if (head !== null)
      kind = head[1] === '' ? 'anonymousBytes' : head[1] === '[heap]' ? 'breakBytes' : 'otherBytes';
    const rss = /^Rss:\s+(\d+) kB$/.exec(line);
    if (rss !== null) mappings[kind] += Number(rss[1]) * 1024;
  }
  return mappings;
}

async function compareSnapshots(here: Visit, parameters: HeapParameters): Promise<HeapShare[]> {
  const fleet = await here.startFleet();
  const [from, to] = [parameters.linesAtPoints[0]!, parameters.linesAtPoints.at(-1)!];
  await here.open(fleet, from);
  const before = sharesOf(await takeSnapshot(here));
  await here.open(fleet, to);
  const grown = growthOf(
    before,
    sharesOf(await takeSnapshot(here)),
    to - from,
    parameters.leastBytesPerLine,
  );
  // Array buffers are in the snapshot but not in V8's heap; they are counted separately.
  return grown.filter(({ name }) => !name.startsWith('native '));
}

async function takeSnapshot({ server }: Visit): Promise<HeapSnapshot> {
  await server.gc();
  const file = join(temporaryDirectory(), 'server.heapsnapshot');
  await server.writeHeapSnapshot(file, SNAPSHOT_DEADLINE_MS);
  const snapshot = JSON.parse(readFileSync(file, 'utf8')) as HeapSnapshot;
  rmSync(file);
  return snapshot;
}

function figuresOf(rounds: HeapRound[], v8Objects: HeapShare[]): HeapFigures {
  const slope = (pick: (point: HeapPoint) => number): number =>
    median(
      rounds.map(
        ({ points }) =>
          fitLinear(points.map((point) => ({ x: point.lines, y: pick(point) }))).slope,
      ),
    );
  const hasMalloc = rounds.every(({ points }) =>
    points.every(({ mallocInUseBytes }) => mallocInUseBytes !== null),
  );
  const ofMalloc = (pick: (point: HeapPoint) => number): number | null =>
    hasMalloc ? slope(pick) : null;
  return {
    rss: slope(({ rssBytes }) => rssBytes),
    v8Used: slope(({ heapUsedBytes }) => heapUsedBytes),
    v8Objects,
    arrayBuffers: slope(({ arrayBufferBytes }) => arrayBufferBytes),
    native: ofMalloc(
      ({ mallocInUseBytes, arrayBufferBytes }) => mallocInUseBytes! - arrayBufferBytes,
    ),
    v8Unused: slope(({ heapPhysicalBytes, heapUsedBytes }) => heapPhysicalBytes - heapUsedBytes),
    mallocUnused: ofMalloc(
      ({ mallocHeldBytes, mallocInUseBytes }) => mallocHeldBytes! - mallocInUseBytes!,
    ),
    mappings: {
      breakBytes: slope(({ mappings }) => mappings.breakBytes),
      anonymousBytes: slope(({ mappings }) => mappings.anonymousBytes),
      otherBytes: slope(({ mappings }) => mappings.otherBytes),
    },
  };
}

export interface HeapRow {
  what: string;
  /** Undefined: unknown. */
  bytesPerLine: number | undefined;
  count?: number;
  isPart?: boolean;
}

/** The bytes of a line, from the parts to the whole. */
export function heapRows(figures: HeapFigures): HeapRow[] {
  const { rss, v8Used, v8Objects, arrayBuffers, native, v8Unused, mallocUnused } = figures;
  const known = v8Used + arrayBuffers + (native ?? 0) + v8Unused + (mallocUnused ?? 0);
  return [
    { what: 'native: the socket, its response, V8’s handles', bytesPerLine: native ?? undefined },
    { what: 'V8’s objects', bytesPerLine: v8Used },
    // `object uWS.HttpResponse`, `object system / Context`: the class alone says it.
    ...v8Objects.map(({ name, count, bytes }) => ({
      what: name.replace(/^object (?:system \/ )?/, ''),
      bytesPerLine: bytes,
      count,
      isPart: true,
    })),
    { what: 'packed arrays: rows and handles', bytesPerLine: arrayBuffers },
    { what: 'V8’s pages, unused', bytesPerLine: v8Unused },
    { what: 'malloc, not in use', bytesPerLine: mallocUnused ?? undefined },
    { what: 'not accounted for, or counted and not in memory', bytesPerLine: rss - known },
    { what: 'RSS', bytesPerLine: rss },
  ];
}

function describe(figures: HeapFigures): string {
  return drawTable(
    ['bytes a line', '', 'objects a line'],
    heapRows(figures).map(({ what, bytesPerLine, count, isPart }) => [
      isPart === true ? `  ${what}` : what,
      bytesPerLine === undefined ? '–' : bytesPerLine.toFixed(0),
      count === undefined ? '' : count.toFixed(2),
    ]),
  );
}
