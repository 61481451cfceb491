/** Revocations as rows of a log: they outlive the process, and reach the servers that share it. */
import type { Revocation, RevocationStore } from '../auth/revocations.js';
import type { LogRow, LogRows } from '../core/event-log.js';

const KIND = 'revocation';

export class KeptRevocations implements RevocationStore {
  readonly #rows: LogRows;

  /** `onRevoked` is called with what another server has put. */
  constructor(rows: LogRows, onRevoked: (revocation: Revocation) => void) {
    this.#rows = rows;
    rows.onChange = (row) => {
      const revocation = row.kind === KIND ? revocationOf(row) : undefined;
      if (revocation !== undefined) onRevoked(revocation);
    };
  }

  async load(): Promise<readonly Revocation[]> {
    return (await this.#rows.load(KIND)).flatMap((row) => revocationOf(row) ?? []);
  }

  put({ user, notBeforeMs }: Revocation, untilMs: number): Promise<void> {
    return this.#rows.put(KIND, user, String(notBeforeMs), untilMs);
  }
}

/** Undefined for what no version of this file has written. */
function revocationOf({ key, value }: LogRow): Revocation | undefined {
  return /^\d{1,16}$/.test(value) ? { user: key, notBeforeMs: Number(value) } : undefined;
}
