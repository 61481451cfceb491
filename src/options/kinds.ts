/**
 * The kinds of option value: how each is read from text, from JSON and from the library's caller,
 * what it accepts in words, and how it is written. options/table.ts gives each option its kind.
 */

import { WORKERS_MAX } from '../limits.js';

/** One kind of value with its bounds. All sources are checked by {@link Kind.read}. */
export interface Kind<V> {
  /** Stands for the value in help: `--port N`. Empty for a flag without a value. */
  readonly placeholder: string;
  /** What is accepted as text; completes "--port must be". */
  readonly accepted: string;
  /** The same for the library's caller, who gives sizes and times as numbers. */
  readonly acceptedValue: string;
  /** The bounds alone, for help; empty where there are none. */
  readonly range: string;
  /** A repeated flag adds to the value instead of replacing it. */
  readonly repeatable: boolean;
  /** From the library's caller. Undefined, here and below, when it is not accepted. */
  read(this: void, value: unknown): V | undefined;
  /** From a flag or an environment variable. */
  readText(this: void, text: string): V | undefined;
  /** From a config file. */
  readJson(this: void, value: unknown): V | undefined;
  /** As a flag would give it. */
  toText(this: void, value: V): string;
}

/** The parts of a kind that differ; the rest follows from them. */
interface KindParts<V> {
  readonly placeholder: string;
  readonly accepted: string;
  readonly acceptedValue?: string;
  readonly range?: string;
  readonly repeatable?: boolean;
  read(this: void, value: unknown): V | undefined;
  readText(this: void, text: string): V | undefined;
  readJson?(this: void, value: unknown): V | undefined;
  toText?(this: void, value: V): string;
}

function kind<V>(parts: KindParts<V>): Kind<V> {
  const {
    placeholder,
    accepted,
    acceptedValue = accepted,
    range = '',
    repeatable = false,
    read,
    readText,
    toText = String,
  } = parts;
  const readJson =
    parts.readJson ??
    ((value: unknown) => (typeof value === 'string' ? readText(value) : read(value)));
  return {
    placeholder,
    accepted,
    acceptedValue,
    range,
    repeatable,
    read,
    readText,
    readJson,
    toText,
  };
}

function wholeNumberWithin(
  min: number,
  max: number,
  orZero = false,
): (value: unknown) => number | undefined {
  return (value) =>
    Number.isSafeInteger(value) &&
    (((value as number) >= min && (value as number) <= max) || (orZero && value === 0))
      ? (value as number)
      : undefined;
}

/** Whether 0 is accepted beside the range. */
interface RangeOptions {
  readonly orZero?: boolean;
}

/** A whole number in decimal digits. */
export function integer(min: number, max: number): Kind<number> {
  const read = wholeNumberWithin(min, max);
  const range = `${min} to ${max}`;
  return kind({
    placeholder: 'N',
    accepted: `an integer from ${range}`,
    range,
    read,
    readText: (text) => (/^-?\d{1,16}$/.test(text) ? read(Number(text)) : undefined),
  });
}

/** How many processes: a number, or as many as the machine has cores for this one. */
export function workerCount(): Kind<number | 'auto'> {
  const isCount = wholeNumberWithin(1, WORKERS_MAX);
  const read = (value: unknown): number | 'auto' | undefined =>
    value === 'auto' ? value : isCount(value);
  const range = `auto or 1 to ${WORKERS_MAX}`;
  return kind({
    placeholder: 'N',
    accepted: `auto or an integer from 1 to ${WORKERS_MAX}`,
    range,
    read,
    readText: (text) => read(/^\d{1,4}$/.test(text) ? Number(text) : text),
  });
}

/** Units of one quantity, smallest first; values are in the first one. */
type Units = readonly (readonly [name: string, factor: number])[];

const SIZE_UNITS: Units = [
  ['B', 1],
  ['KiB', 1024],
  ['MiB', 1024 ** 2],
  ['GiB', 1024 ** 3],
];

const TIME_UNITS: Units = [
  ['ms', 1],
  ['s', 1000],
  ['min', 60_000],
  ['h', 3_600_000],
];
/** A day is read and never written, since operators say 24 h as well. */
const READ_TIME_UNITS: Units = [...TIME_UNITS, ['d', 86_400_000]];

/** "64KiB", "1.5s": a number with a unit. NaN for anything else and for parts of the first unit. */
function readQuantity(text: string, units: Units): number {
  const parts = /^(\d{1,16}(?:\.\d{1,6})?)([A-Za-z]+)$/.exec(text);
  const unit = units.find(([name]) => name === parts?.[2]);
  // A decimal fraction times a unit may miss its whole number by a rounding error: 0.07s is 70ms.
  const value = unit === undefined ? Number.NaN : Number((Number(parts![1]) * unit[1]).toFixed(6));
  return Number.isInteger(value) ? value : Number.NaN;
}

/** In the largest unit that leaves a whole number. */
function writeQuantity(value: number, units: Units): string {
  const [name, factor] =
    (value === 0 ? undefined : units.findLast((unit) => value % unit[1] === 0)) ?? units[0]!;
  return `${value / factor}${name}`;
}

/** A number of bytes: `4096`, `64KiB`. */
export function size(
  minBytes: number,
  maxBytes: number,
  { orZero = false }: RangeOptions = {},
): Kind<number> {
  const read = wholeNumberWithin(minBytes, maxBytes, orZero);
  const range = `${writeQuantity(minBytes, SIZE_UNITS)} to ${writeQuantity(maxBytes, SIZE_UNITS)}`;
  const zero = orZero ? '0 or ' : '';
  return kind({
    placeholder: 'SIZE',
    accepted: `${zero}a size from ${range} in bytes, KiB, MiB or GiB, such as 4096 or 64KiB`,
    acceptedValue: `${zero}an integer from ${minBytes} to ${maxBytes}, in bytes`,
    range: `${zero}${range}`,
    read,
    readText: (text) =>
      read(/^\d{1,16}$/.test(text) ? Number(text) : readQuantity(text, SIZE_UNITS)),
    toText: (bytes) => writeQuantity(bytes, SIZE_UNITS),
  });
}

/** A time, for the library in milliseconds: `250ms`, `15s`. Text and JSON need a unit, except 0. */
export function time(
  minMs: number,
  maxMs: number,
  { orZero = false }: RangeOptions = {},
): Kind<number> {
  const read = wholeNumberWithin(minMs, maxMs, orZero);
  const range = `${writeQuantity(minMs, TIME_UNITS)} to ${writeQuantity(maxMs, TIME_UNITS)}`;
  const zero = orZero ? '0 or ' : '';
  // A bare number is refused: nginx reads "15" as seconds and Node as milliseconds.
  const readText = (text: string): number | undefined =>
    read(text === '0' ? 0 : readQuantity(text, READ_TIME_UNITS));
  return kind({
    placeholder: 'TIME',
    accepted: `${zero}a time from ${range} in ms, s, min, h or d, such as 250ms or 15s`,
    acceptedValue: `${zero}an integer from ${minMs} to ${maxMs}, in milliseconds`,
    range: `${zero}${range}`,
    read,
    readText,
    readJson: (value) =>
      typeof value === 'string' ? readText(value) : value === 0 ? read(0) : undefined,
    toText: (ms) => writeQuantity(ms, TIME_UNITS),
  });
}

/** One word of a few. */
export function choice<const Word extends string>(
  placeholder: string,
  words: readonly Word[],
): Kind<Word> {
  const read = (value: unknown): Word | undefined => words.find((word) => word === value);
  const range = words.join(', ');
  return kind({ placeholder, accepted: `one of ${range}`, range, read, readText: read });
}

/** Yes or no. */
export function yesOrNo(): Kind<boolean> {
  const read = (value: unknown): boolean | undefined =>
    typeof value === 'boolean' ? value : undefined;
  return kind({
    placeholder: '',
    accepted: 'true or false',
    read,
    // A flag alone means "true"; environments use 1 and 0.
    readText: (text) =>
      text === 'true' || text === '1' ? true : text === 'false' || text === '0' ? false : undefined,
  });
}

/** Text that matches a pattern; `accepted` says the pattern in words. */
export function textMatching(placeholder: string, pattern: RegExp, accepted: string): Kind<string> {
  const read = (value: unknown): string | undefined =>
    typeof value === 'string' && pattern.test(value) ? value : undefined;
  return kind({ placeholder, accepted, read, readText: read });
}

/** An HTTP URL whose path matches, without user, query and fragment, as `URL` writes it. */
export function httpUrl(
  path: RegExp,
  accepted: string,
  schemes: 'http' | 'https?' = 'http',
): Kind<string> {
  const whole = new RegExp(`^${schemes}://[^\\s/?#@]{1,255}/[^\\s?#]*$`, 'i');
  const read = (value: unknown): string | undefined => {
    // The pattern first: URL corrects many typing mistakes, and would then lead somewhere else.
    if (typeof value !== 'string' || !whole.test(value) || !URL.canParse(value)) return undefined;
    const url = new URL(value);
    return path.test(url.pathname) ? url.href : undefined;
  };
  return kind({ placeholder: 'URL', accepted, read, readText: read });
}

/** A value written in a form of its own. */
export function form<V>(
  placeholder: string,
  accepted: string,
  readText: (text: string) => V | undefined,
  toText: (value: V) => string = String,
): Kind<V> {
  const read = (value: unknown): V | undefined =>
    typeof value === 'string' ? readText(value) : undefined;
  return kind({ placeholder, accepted, read, readText, toText });
}

/** Several texts: an array, or text with commas. `readItem` normalises an item. */
export function list(
  placeholder: string,
  maxItems: number,
  accepted: string,
  readItem: (item: string) => string | undefined,
): Kind<readonly string[]> {
  const read = (value: unknown): readonly string[] | undefined => {
    if (!Array.isArray(value) || value.length > maxItems) return undefined;
    const items = value.map((item: unknown) =>
      typeof item === 'string' ? readItem(item) : undefined,
    );
    return items.every((item) => item !== undefined) ? [...new Set(items)] : undefined;
  };
  return kind({
    placeholder,
    accepted: `up to ${maxItems} ${accepted}, separated by commas`,
    acceptedValue: `an array of up to ${maxItems} ${accepted}`,
    repeatable: true,
    read,
    readText: (given) => read(given.split(',').map((item) => item.trim())),
    toText: (items) => items.join(','),
  });
}
