/**
 * A progress bar on the last line of a terminal. It changes no mode of the terminal (cursor, line
 * wrapping, colours), so that not even a kill leaves one behind, and clears its line however else
 * the process ends.
 */

import process from 'node:process';
import { percent } from './words.js';

const BAR_WIDTH = 24;

/** Columns of a terminal that does not tell. */
const DEFAULT_COLUMNS = 80;

const TO_LINE_START = '\r';
const CLEAR_TO_LINE_END = '\u001B[K';

/** A stream to a terminal. */
export type Terminal = Pick<NodeJS.WriteStream, 'write' | 'columns'>;

/** The bar. It is on the terminal from its first `show` until `hide`. */
export class ProgressBar {
  readonly #terminal: Terminal;
  #shown = '';

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Shows so much of the whole between two texts, as much of it as fits into one line. */
  show(share: number, before: string, after: string): void {
    const done = Math.round(Math.min(1, Math.max(0, share)) * BAR_WIDTH);
    const bar = '='.repeat(done) + '-'.repeat(BAR_WIDTH - done);
    const line = `${before} [${bar}] ${percent(share, 0)}${after}`;
    // With its last column a terminal may begin a new line.
    const text = line.slice(0, (this.#terminal.columns || DEFAULT_COLUMNS) - 1);
    if (text === this.#shown) return;
    if (this.#shown === '') process.once('exit', this.#onExit);
    this.#shown = text;
    this.#terminal.write(TO_LINE_START + text + CLEAR_TO_LINE_END);
  }

  /** Leaves an empty line, with the cursor at its start. */
  hide(): void {
    if (this.#shown === '') return;
    process.off('exit', this.#onExit);
    this.#shown = '';
    this.#terminal.write(TO_LINE_START + CLEAR_TO_LINE_END);
  }

  readonly #onExit = (): void => this.hide();
}
