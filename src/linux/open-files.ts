/** How many files this process has open. */
import { readdirSync, statSync } from 'node:fs';

const FOLDER = '/proc/self/fd';

/**
 * The number that the kernel keeps: from Linux 6.2 on the size of the folder, read in one call
 * (proc_pid_fd(5)); 0 or undefined where there is none.
 */
function countKept(): number | undefined {
  try {
    return statSync(FOLDER).size;
  } catch {
    return undefined;
  }
}

/** The number of entries, which takes milliseconds for thousands; undefined without /proc. */
function countListed(): number | undefined {
  try {
    // The folder itself is open while it is read.
    return readdirSync(FOLDER).length - 1;
  } catch {
    return undefined;
  }
}

/** Counts open files without listing thousands of sockets. */
export class OpenFiles {
  readonly #kept: () => number | undefined;
  readonly #openSockets: () => number;
  /** Files that are no sockets of clients, when it was made. */
  readonly #others: number | undefined;

  /** To be made while few sockets are open. `openSockets` counts those of clients. */
  constructor(openSockets: () => number, kept = countKept, listed = countListed) {
    this.#kept = kept;
    this.#openSockets = openSockets;
    const all = listed();
    this.#others = all === undefined ? undefined : all - openSockets();
  }

  /** Exact from Linux 6.2 on; before, what was open at the start and the sockets of clients. */
  get count(): number | undefined {
    const kept = this.#kept();
    if (kept !== undefined && kept > 0) return kept;
    return this.#others === undefined ? undefined : this.#others + this.#openSockets();
  }
}
