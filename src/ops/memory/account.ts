/**
 * Where the memory of the process is: what is counted one by one (lines, tables, rings, what is
 * held for clients), and what is not.
 */
import type { Transport } from '../../core/transport.js';
import type { HeldBytes } from '../../core/held-bytes.js';
import type { HubMemory } from '../../core/hub-figures.js';
import type { Allocator } from '../../native/allocator.js';
import { LINE_HEAP_BYTES, LineCost, type LineBytes } from './line-cost.js';
import type { ProcessUsage } from './process-usage.js';
import type { MemoryClass, MemoryReport } from './report.js';

/** What is asked of the hub. */
export interface MemoryHub {
  readonly lines: { readonly open: number; readonly openedTotal: number };
  readonly gauges: { readonly linesByTransport: Readonly<Record<Transport, number>> };
  readonly memory: HubMemory;
  readonly unsentBytes: number;
}

/** Bytes on V8's heap, in buffers, and in neither. */
export interface MemoryParts {
  readonly heap: number;
  readonly buffers: number;
  readonly native: number;
}

export class Account {
  readonly hub: MemoryHub;
  readonly usage: () => ProcessUsage;
  readonly #held: Readonly<HeldBytes>;
  readonly #cost = new LineCost();
  /** What the first thread that read the kernel left with the allocator. */
  threadLeftBytes = 0;
  /** Undefined where it cannot be asked. */
  allocator: Pick<Allocator, 'usage'> | undefined;

  constructor(hub: MemoryHub, held: Readonly<HeldBytes>, usage: () => ProcessUsage) {
    this.hub = hub;
    this.usage = usage;
    this.#held = held;
  }

  /** Learns what a line costs from the process as it is now. */
  learn(): void {
    const { open } = this.hub.lines;
    if (!this.#cost.wantsReading(open)) return;
    const usage = this.usage();
    const nativeBytes = this.#nativeBytesOf(usage);
    this.#cost.addReading(open, this.#allocatedBytesOf(usage) ?? nativeBytes, nativeBytes);
  }

  /**
   * The part of the native bytes that is in use. A compiler's thread, for one, leaves 8 MB with the
   * allocator, which are resident until it is trimmed: a whole slope of 2,000 lines.
   */
  #allocatedBytesOf({ externalBytes, compilerBytes }: ProcessUsage): number | undefined {
    if (this.allocator === undefined) return undefined;
    return this.allocator.usage().usedBytes - externalBytes - compilerBytes;
  }

  /** What the socket of a line takes. */
  get lineBytes(): LineBytes {
    return this.#cost.line(this.hub.gauges.linesByTransport);
  }

  /** What is resident and neither V8's nor in a buffer: sockets, program, allocator. */
  get nativeBytes(): number {
    return this.#nativeBytesOf(this.usage());
  }

  #nativeBytesOf({ rssBytes, heapBytes, externalBytes }: ProcessUsage): number {
    const { bufferBytes, touchedBytes } = this.hub.memory.rings;
    return (
      rssBytes - heapBytes - (externalBytes - bufferBytes + touchedBytes) - this.threadLeftBytes
    );
  }

  /** What is counted one by one. */
  get counted(): MemoryParts {
    const { tables, rings, compressedBytes } = this.hub.memory;
    const { answers, messages, publishes } = this.#held;
    const { open } = this.hub.lines;
    return {
      heap: open * LINE_HEAP_BYTES + rings.recordBytes + rings.frameBytes - rings.bufferBytes,
      buffers: tableBytes(tables) + rings.bufferBytes + compressedBytes + publishes,
      native: open * this.lineBytes.bytes + this.hub.unsentBytes + answers + messages,
    };
  }

  /** The resident part of what is counted, as one sum. */
  get countedBytes(): number {
    const { heap, buffers, native } = this.counted;
    const { bufferBytes, touchedBytes } = this.hub.memory.rings;
    return heap + buffers + native - (bufferBytes - touchedBytes) + this.threadLeftBytes;
  }

  /**
   * What closed lines left with the allocator, for the next ones: at most what they took, and at
   * most the native bytes that open lines and their backlog do not need.
   */
  get leftBytes(): number {
    const { open } = this.hub.lines;
    const { bytes } = this.lineBytes;
    const takenBytes = (this.#cost.linesMax - open) * bytes;
    const unneededBytes =
      this.nativeBytes - this.#cost.neededBytes(open, bytes) - this.hub.unsentBytes;
    return Math.max(0, Math.min(takenBytes, unneededBytes));
  }

  /** The report on the process; its classes add up to the resident memory. */
  get report(): Pick<MemoryReport, 'rssBytes' | 'rssBytesPerLine' | 'lines' | 'classes'> {
    const { rssBytes, heapBytes, heapUsedBytes, externalBytes } = this.usage();
    const { tables, rings, compressedBytes } = this.hub.memory;
    const { answers, messages, publishes } = this.#held;
    const lines = this.hub.lines.open;
    const line = this.lineBytes;
    const share = (bytes: number): MemoryClass => ({
      bytes,
      bytesPerLine: lines === 0 ? null : bytes / lines,
    });
    const classes = {
      v8Heap: { ...share(heapBytes), usedBytes: heapUsedBytes },
      native: {
        bytes: line.bytes * lines,
        bytesPerLine: line.bytes,
        source: line.source,
        spreadLines: this.#cost.spreadLines,
      },
      tables: { ...share(tableBytes(tables)), ...tables },
      rings: {
        ...share(rings.touchedBytes),
        recordBytes: rings.recordBytes,
        frameBytes: rings.frameBytes,
        heldBytes: rings.heldBytes,
      },
      compressed: share(compressedBytes),
      backlog: share(this.hub.unsentBytes),
      held: { ...share(answers + messages + publishes), answers, messages, publishes },
      // Publishes are buffers too, and have a class of their own.
      buffers: share(
        Math.max(
          0,
          externalBytes - tableBytes(tables) - rings.bufferBytes - compressedBytes - publishes,
        ),
      ),
    };
    const knownBytes = Object.values(classes).reduce((sum, { bytes }) => sum + bytes, 0);
    return {
      rssBytes,
      rssBytesPerLine: share(rssBytes).bytesPerLine,
      lines,
      classes: { ...classes, other: share(rssBytes - knownBytes) },
    };
  }
}

function tableBytes(tables: HubMemory['tables']): number {
  const { feedBytes, handleBytes, ownerBytes, deadlineBytes, lossBytes } = tables;
  return feedBytes + handleBytes + ownerBytes + deadlineBytes + lossBytes;
}
