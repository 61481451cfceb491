/**
 * How servers write events: as an event stream, as rows of NDJSON, or as the array that a poll is
 * answered with.
 */

import { dueUsOf, isOfRun, sequenceOf } from './event.js';

const LF = 0x0a;
const CR = 0x0d;

/** What a reader reports to its client. */
export interface EventSink {
  /**
   * An event of the run; `dueUs` as in event.ts. `id` is NaN where the server gives none, or none
   * that is a number.
   */
  event(id: number, sequence: number, dueUs: number): void;
  /**
   * The server reports events with ids between the two as lost. An end that it does not know is
   * null.
   */
  gap(after: number | null, before: number | null): void;
  /** The server announces that it ends the line. */
  ended(code: string): void;
  /** The server shows that it is still there. */
  heartbeat(): void;
  /**
   * A position to continue from: one without an event, or the id of the next event where that is no
   * number. An event stream of Holdline begins with one, unless it is a refusal.
   */
  position(id: string): void;
}

/** What identifies the events of a run; `channel` has no slash. */
export interface EventShape {
  readonly run: string;
  readonly channel: string;
  readonly sizeBytes: number;
}

/** How a stream writes events. */
export interface Encoding {
  /**
   * The text before the id of an event of the run, between its id and its data, and after its
   * data.
   */
  layout(
    this: void,
    shape: EventShape,
  ): { readonly before: string; readonly between: string; readonly after: string };
  /**
   * Where the block or row that begins at `start` ends, its separator included; −1 when its end has
   * not come.
   */
  end(this: void, source: Buffer, start: number, end: number): number;
  /** Reads one block or row, with its separator. Throws when it is neither. */
  read(this: void, text: string, shape: EventShape, sink: EventSink): void;
}

/** text/event-stream, HTML Standard 9.2. */
export const SSE: Encoding = {
  layout: () => ({ before: 'id: ', between: '\ndata: ', after: '\n\n' }),
  end: endOfBlock,
  read: readBlock,
};

/** One JSON object in each row; an empty row is a heartbeat. */
export const NDJSON: Encoding = {
  layout: ({ channel }) => ({
    before: '{"id":',
    between: `,"channel":"${channel}","data":"`,
    after: '"}\n',
  }),
  end: (source, start, end) => {
    const at = source.indexOf(LF, start);
    return at < 0 || at >= end ? -1 : at + 1;
  },
  read: (text, shape, sink) => {
    const row = text.slice(0, -1);
    if (row === '') sink.heartbeat();
    else readObject(JSON.parse(row), shape, sink);
  },
};

/** The array that a poll is answered with, read when it is whole; it mostly has one event. */
export const POLL: Encoding = {
  layout: ({ channel }) => ({
    before: '[{"id":',
    between: `,"channel":"${channel}","data":"`,
    after: '"}]',
  }),
  end: (_source, _start, end) => end,
  read: (text, shape, sink) => {
    const objects: unknown = JSON.parse(text);
    if (!Array.isArray(objects))
      throw new Error('a poll with a limit was not answered with an array');
    for (const object of objects) readObject(object, shape, sink);
  },
};

/**
 * A block ends with an empty text line; text lines end with LF or CRLF. (The standard also allows a
 * bare CR, which no server writes.)
 */
function endOfBlock(source: Buffer, start: number, end: number): number {
  let at = start;
  for (;;) {
    if (at < end && source[at] === LF) return at + 1;
    if (at + 1 < end && source[at] === CR && source[at + 1] === LF) return at + 2;
    at = source.indexOf(LF, at) + 1;
    if (at === 0 || at >= end) return -1;
  }
}

function readBlock(text: string, shape: EventShape, sink: EventSink): void {
  // A stream may begin with a byte order mark.
  const block = text.startsWith('\uFEFF') ? text.slice(1) : text;
  if (block.startsWith(':')) sink.heartbeat();
  const fields = new Map<string, string>();
  for (const row of block.split(/\r?\n/)) {
    const colon = row.indexOf(':');
    const name = colon < 0 ? row : row.slice(0, colon);
    if (!['', 'id', 'event', 'data', 'retry'].includes(name))
      throw new Error(`not a field of an event stream: ${JSON.stringify(row)}`);
    const value = row.slice(colon + (row[colon + 1] === ' ' ? 2 : 1));
    const before = name === 'data' ? fields.get(name) : undefined;
    fields.set(name, before === undefined ? value : `${before}\n${value}`);
  }
  const data = fields.get('data');
  const id = fields.get('id');
  const type = fields.get('event');
  if (type === 'gap') readGap(JSON.parse(data ?? '{}') as object, sink);
  else if (type === 'end')
    sink.ended(String((JSON.parse(data ?? '{}') as { code?: unknown }).code));
  else if (data === undefined) {
    if (id !== undefined) sink.position(id);
  } else if (id === undefined || /^\d{1,16}$/.test(id)) {
    readData(id === undefined ? Number.NaN : Number(id), data, shape, sink);
  } else {
    sink.position(id);
    readData(Number.NaN, data, shape, sink);
  }
}

function readGap(
  { after, before }: { readonly after?: unknown; readonly before?: unknown },
  sink: EventSink,
): void {
  sink.gap(typeof after === 'number' ? after : null, typeof before === 'number' ? before : null);
}

/** An object of NDJSON or of a poll. Throws when it is none that a server sends. */
export function readObject(value: unknown, shape: EventShape, sink: EventSink): void {
  const { gap, end, id, data } = value as {
    gap?: object;
    end?: { code?: unknown };
    id?: unknown;
    data?: unknown;
  };
  if (gap === undefined && end === undefined && id === undefined)
    throw new Error(`not an event: ${JSON.stringify(value).slice(0, 200)}`);
  if (gap !== undefined) readGap(gap, sink);
  if (end !== undefined) sink.ended(String(end.code));
  if (id !== undefined) readData(Number(id), data, shape, sink);
}

/** The channel may have other events, too; they are skipped. */
function readData(
  id: number,
  data: unknown,
  { run, sizeBytes }: EventShape,
  sink: EventSink,
): void {
  const text = typeof data === 'string' ? data : '';
  // Some servers write every event's data as JSON.
  const bytes = Buffer.from(text.startsWith(`"${run}`) ? String(JSON.parse(text)) : text);
  if (!isOfRun(bytes, 0, run)) return;
  const sequence = sequenceOf(bytes, 0);
  const dueUs = dueUsOf(bytes, 0);
  if (bytes.length !== sizeBytes || Number.isNaN(sequence + dueUs))
    throw new Error(`a damaged event: ${bytes.toString('utf8', 0, 200)}`);
  sink.event(id, sequence, dueUs);
}
