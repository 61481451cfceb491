/** Reads the answer to one poll: status, position, and the event of ours in it. */
import { ndjsonData, ndjsonEnd, readDueUs, readNdjsonId, readSequence } from './event.js';

export interface PollAnswer {
  status: number;
  /**
   * To poll again with: that of the header, or the event's id where nobody looks at the header. −1
   * = told nowhere.
   */
  position: number;
  /** −1 = no event. */
  id: number;
  dueUs: number;
  sequence: number;
  hasGap: boolean;
  /** Something no server here should send. */
  damaged: boolean;
}

const HEAD_END = '\r\n\r\n';
const STATUS_AT = 9;
const STATUS_EVENT = 200;
const STATUS_NOTHING = 204;
const LENGTH_HEADER = /^content-length: *(\d+)\r?$/im;
const POSITION_HEADER = /^holdline-position: *(\d+)\r?$/im;

export function makePollAnswer(): PollAnswer {
  return {
    status: 0,
    position: -1,
    id: -1,
    dueUs: Number.NaN,
    sequence: -1,
    hasGap: false,
    damaged: false,
  };
}

/**
 * Fills `into` with the answer in the first `end` bytes; false when it is not all there. An answer
 * is the only thing on its way, for the next request is sent when it has come. `isChecked`: compare
 * the headers with the body, too.
 */
export function readPollAnswer(
  buffer: Buffer,
  end: number,
  isChecked: boolean,
  into: PollAnswer,
): boolean {
  const headEnd = buffer.indexOf(HEAD_END, 0, 'latin1');
  if (headEnd === -1 || headEnd + HEAD_END.length > end) return false;
  const start = headEnd + HEAD_END.length;
  into.status = readStatus(buffer);
  into.position = -1;
  into.id = -1;
  into.hasGap = false;
  into.damaged = false;
  const data = into.status === STATUS_EVENT ? ndjsonData(buffer, start, end) : -1;
  if (data === -1) return readOther(buffer, headEnd, start, end, into);
  into.id = readNdjsonId(buffer, start);
  into.dueUs = readDueUs(buffer, data);
  into.sequence = readSequence(buffer, data);
  into.position = into.id;
  into.damaged = ndjsonEnd(data) !== end || Number.isNaN(into.dueUs);
  if (isChecked) {
    const head = buffer.toString('latin1', 0, headEnd);
    if (header(head, POSITION_HEADER) !== into.id || header(head, LENGTH_HEADER) !== end - start)
      into.damaged = true;
  }
  return true;
}

/** Nothing new, a gap, a refusal, or an answer that has not come in full. */
function readOther(
  buffer: Buffer,
  headEnd: number,
  start: number,
  end: number,
  into: PollAnswer,
): boolean {
  const head = buffer.toString('latin1', 0, headEnd);
  const length = into.status === STATUS_NOTHING ? 0 : header(head, LENGTH_HEADER);
  if (end - start < length) return false;
  into.position = header(head, POSITION_HEADER);
  into.damaged = end - start > length || into.position === -1;
  if (into.status === STATUS_NOTHING) return true;
  into.hasGap = buffer.toString('latin1', start, start + 7) === '{"gap":';
  if (!into.hasGap) into.damaged = true;
  return true;
}

/** −1 when it is not there. */
function header(head: string, name: RegExp): number {
  return Number(name.exec(head)?.[1] ?? -1);
}

function readStatus(buffer: Buffer): number {
  let status = 0;
  for (let at = STATUS_AT; at < STATUS_AT + 3; at++) status = status * 10 + buffer[at]! - 48;
  return status;
}
