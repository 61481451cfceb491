/** The events of a run: data with the run, the event's number and its due time at fixed places. */

import { randomBytes } from 'node:crypto';

/**
 * Digits of the sequence number and of the due time; fixed, so that both are written and read in
 * place.
 */
const SEQUENCE_DIGITS = 10;
const DUE_DIGITS = 16;

/** Characters of the token that the events of one run share. */
const RUN_CHARACTERS = 8;

/** `<run> <sequence> <due> `: offsets in the data. Padding follows. */
const SEQUENCE_AT = RUN_CHARACTERS + 1;
const DUE_AT = SEQUENCE_AT + SEQUENCE_DIGITS + 1;

/** Bytes of data before the padding. */
export const STAMP_BYTES = DUE_AT + DUE_DIGITS + 1;

const ZERO = 0x30;
const LETTER_A = 0x61;

/**
 * Data for the events of a run: `sizeBytes` of letters, digits and spaces, which JSON does not
 * escape. The padding is not one repeated letter, so that nothing on the way compresses it well.
 */
export function eventData(run: string, sizeBytes: number): Buffer {
  const data = Buffer.alloc(sizeBytes, ' ');
  data.write(run, 0, RUN_CHARACTERS, 'latin1');
  for (let at = STAMP_BYTES; at < sizeBytes; at++) data[at] = LETTER_A + ((at * 7) % 26);
  stampEvent(data, 0, 0, 0);
  return data;
}

/** Writes the event's number and its due time into the data at `offset`. */
export function stampEvent(target: Buffer, offset: number, sequence: number, dueUs: number): void {
  writeDigits(target, offset + SEQUENCE_AT, SEQUENCE_DIGITS, sequence);
  writeDigits(target, offset + DUE_AT, DUE_DIGITS, Math.round(dueUs));
}

/** A token for a run. */
export function newRun(): string {
  return randomBytes(RUN_CHARACTERS / 2).toString('hex');
}

/** True when the data at `offset` begins with the run's token. */
export function isOfRun(source: Buffer, offset: number, run: string): boolean {
  for (let at = 0; at < RUN_CHARACTERS; at++)
    if (source[offset + at] !== run.charCodeAt(at)) return false;
  return true;
}

/** The event's number in the data at `offset`; NaN when it is no such data. */
export function sequenceOf(source: Buffer, offset: number): number {
  return readDigits(source, offset + SEQUENCE_AT, SEQUENCE_DIGITS);
}

/** When the event was due, in µs of clock.ts; NaN when it is no such data. */
export function dueUsOf(source: Buffer, offset: number): number {
  return readDigits(source, offset + DUE_AT, DUE_DIGITS);
}

function writeDigits(target: Buffer, offset: number, width: number, value: number): void {
  let rest = value;
  for (let at = offset + width - 1; at >= offset; at--) {
    const next = Math.floor(rest / 10);
    target[at] = ZERO + (rest - next * 10);
    rest = next;
  }
}

function readDigits(source: Buffer, offset: number, width: number): number {
  let value = 0;
  for (let at = offset; at < offset + width; at++) {
    const digit = source[at]! - ZERO;
    if (!(digit >= 0 && digit <= 9)) return Number.NaN;
    value = value * 10 + digit;
  }
  return value;
}
