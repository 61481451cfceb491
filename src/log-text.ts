/**
 * A log entry as text for a person at a terminal: time, level, message and fields on one line. The
 * entry is pino's, a line of JSON, so that both forms say the same.
 */
import { inspect } from 'node:util';

/** Names and SGR colours of pino's levels. */
const LEVELS: Readonly<Record<number, readonly [name: string, colour: number]>> = {
  10: ['trace', 90],
  20: ['debug', 90],
  30: ['info', 32],
  40: ['warn', 33],
  50: ['error', 31],
  60: ['fatal', 31],
};
const DIM = 2;
const BOLD = 1;

/** Fields that every entry has, and none that a person needs. */
const UNSHOWN: ReadonlySet<string> = new Set(['level', 'time', 'pid', 'hostname', 'msg']);

/** C0 and C1 controls, line separators, and what turns the direction of text. */
// oxlint-disable-next-line no-control-regex -- these are what it is for
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** An entry of the log as pino writes it. */
type Entry = Readonly<Record<string, unknown>>;

export interface TextOptions {
  readonly colour: boolean;
}

/** True if output to this stream may have colours (https://no-color.org). */
export function mayColour(
  stream: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  return stream.isTTY === true && !env['NO_COLOR'] && env['TERM'] !== 'dumb';
}

/** The text of an entry, with its line break. What is no entry stays as it is. */
export function logText(line: string, { colour }: TextOptions): string {
  let entry: Entry;
  try {
    entry = JSON.parse(line) as Entry;
  } catch {
    return line;
  }
  const paint = (code: number, text: string): string =>
    colour ? `\u001b[${code}m${text}\u001b[0m` : text;
  const [level, levelColour] = LEVELS[Number(entry['level'])] ?? [String(entry['level']), DIM];
  const fields = Object.entries(entry).filter(([name]) => !UNSHOWN.has(name));
  // An address by itself is there to be opened: it gets a line of its own.
  const address =
    fields.length === 1 && fields[0]![0] === 'url' ? String(fields[0]![1]) : undefined;
  const { err, ...others } = Object.fromEntries(fields);
  const words = [
    paint(DIM, timeOf(entry['time'])),
    paint(levelColour, level.padEnd(5)),
    printable(messageOf(entry)),
    ...(address === undefined
      ? Object.entries(others).map(([name, value]) => paint(DIM, `${name}=`) + valueOf(value))
      : []),
  ].join(' ');
  const after = address === undefined ? stackOf(err) : `  ${paint(BOLD, printable(address))}\n`;
  return `${words}\n${after}`;
}

/** Local time of day, to the millisecond. */
function timeOf(time: unknown): string {
  const at = new Date(String(time));
  if (Number.isNaN(at.getTime())) return String(time);
  const two = (n: number): string => String(n).padStart(2, '0');
  const ms = String(at.getMilliseconds()).padStart(3, '0');
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${ms}`;
}

function messageOf(entry: Entry): string {
  return typeof entry['msg'] === 'string' ? entry['msg'] : '';
}

/** A value: text without spaces as it is, all else as JSON. */
function valueOf(value: unknown): string {
  if (typeof value === 'string' && /^[^\s"'=]+$/.test(value)) return printable(value);
  return printable(JSON.stringify(value) ?? inspect(value));
}

/** The stack of an error, a line each, behind the entry. */
function stackOf(err: unknown): string {
  if (err === undefined) return '';
  const { stack } = Object(err) as { stack?: unknown };
  const text = typeof stack === 'string' ? stack : valueOf(err);
  return text
    .split('\n')
    .map((line) => `    ${printable(line)}\n`)
    .join('');
}

/**
 * Shows controls as escapes: a name that a client chose must neither begin a line nor move the
 * cursor.
 */
/** What would move the cursor, or the text around it, as an escape of JSON. */
export function printable(text: string): string {
  return text.replaceAll(
    UNPRINTABLE,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
