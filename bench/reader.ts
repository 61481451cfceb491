/**
 * The bulk of the lines: a C process that counts what comes on each (reader.c), behind the
 * questions it answers.
 */
import { CLIENT_CORE, Child, type TextLines } from './child.js';
import { compiled } from './compile.js';

export interface ReaderOrder {
  port: number;
  addressBase: number;
  websocket: boolean;
  lines: number;
  connectsAtOnce: number;
  /** Body bytes that make a line complete. */
  bodyBytes: number;
  /** Told each time that many connects have begun; 0 = never. */
  tellEvery: number;
  onTell: () => void;
  request: string;
  deadlineMs: number;
}

export interface ReaderOpened {
  firstConnectUs: number;
  lastCompleteUs: number;
}

export interface ReaderTotals {
  atUs: number;
  bytes: number;
  reads: number;
  cpuSeconds: number;
  closedLines: number;
  /** Body bytes of the line that has had the fewest and of the one that has had the most. */
  lineBytes: { min: number; max: number };
}

const START_DEADLINE_MS = 5_000;
const ANSWER_DEADLINE_MS = 10_000;

export class Reader {
  readonly #child: Child;
  readonly #answers: TextLines;

  private constructor(child: Child) {
    this.#child = child;
    this.#answers = child.textLines();
  }

  static async start(name: string): Promise<Reader> {
    const child = new Child({
      name,
      command: compiled('reader.c'),
      args: [],
      core: CLIENT_CORE,
      ipc: false,
    });
    const reader = new Reader(child);
    await reader.#answers.next(START_DEADLINE_MS);
    return reader;
  }

  /**
   * Opens lines beside those that are open; throws in words when one is refused or not complete in
   * time.
   */
  async open(order: ReaderOrder): Promise<ReaderOpened> {
    const {
      port,
      addressBase,
      websocket,
      lines,
      connectsAtOnce,
      bodyBytes,
      tellEvery,
      request,
      deadlineMs,
    } = order;
    const numbers = [
      port,
      addressBase,
      Number(websocket),
      lines,
      connectsAtOnce,
      bodyBytes,
      tellEvery,
      deadlineMs,
      request.length,
    ];
    this.#child.write(`open ${numbers.join(' ')}\n${request}`);
    for (;;) {
      const told = await this.#answers.next(deadlineMs + ANSWER_DEADLINE_MS);
      if (told.startsWith('at ')) {
        order.onTell();
        continue;
      }
      const [first, last] = numbersOf(told, 'opened') as [number, number];
      return { firstConnectUs: first, lastCompleteUs: last };
    }
  }

  nap(ms: number): void {
    this.#child.write(`nap ${Math.round(ms * 1000)}\n`);
  }

  async totals(): Promise<ReaderTotals> {
    this.#child.write('totals\n');
    const told = numbersOf(await this.#answers.next(ANSWER_DEADLINE_MS), 'totals');
    const [atUs, bytes, reads, cpuUs, closedLines, min, max] = told as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    return { atUs, bytes, reads, cpuSeconds: cpuUs / 1e6, closedLines, lineBytes: { min, max } };
  }

  /** Lines that have had fewer body bytes than that. */
  async shortLines(bytes: number): Promise<number> {
    this.#child.write(`short ${Math.max(0, Math.ceil(bytes))}\n`);
    return numbersOf(await this.#answers.next(ANSWER_DEADLINE_MS), 'short')[0]!;
  }

  async close(): Promise<void> {
    this.#child.write('close\n');
    numbersOf(await this.#answers.next(ANSWER_DEADLINE_MS), 'closed');
  }

  kill(): Promise<void> {
    return this.#child.kill();
  }
}

function numbersOf(told: string, wanted: string): number[] {
  const [name, ...rest] = told.split(' ');
  if (name === 'failed') throw new Error(rest.join(' '));
  if (name !== wanted) throw new Error(`the reader, asked for "${wanted}", told: ${told}`);
  return rest.map(Number);
}
