/** What the doctor has to say of one thing. */

/**
 * `ok`: nothing to do. `advice`: it will do, and could be better. `problem`: lines will be refused,
 * cut, or served late.
 */
export type Level = 'ok' | 'advice' | 'problem';

/** One thing that was looked at. */
export interface Finding {
  /** What it is, in small letters with dashes; stays as it is, for programs. */
  readonly name: string;
  readonly level: Level;
  /** What was found. */
  readonly value: string;
  /** Why that matters to so many lines. */
  readonly why: string;
  /**
   * A command, a line of configuration or an option that mends it; null where there is nothing to
   * mend.
   */
  readonly mend: string | null;
}

/** A number for people: 10,000. */
export function inWords(value: number): string {
  return value === Infinity
    ? 'no limit'
    : value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 1 : 0 });
}

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** Bytes for people: 4 MiB, 1.5 GiB. */
export function bytesInWords(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${inWords(value)} ${BYTE_UNITS[unit]}`;
}

/** A span of time for people: 4 ms, 2.5 s, 15 min. */
export function timeInWords(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 120_000 ? `${inWords(ms / 1000)} s` : `${inWords(ms / 60_000)} min`;
}
