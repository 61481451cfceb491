/** The shape of a kept profile: finds the first field that is not as it must be. */

import type {
  Accept,
  BlockTime,
  CompressedWindow,
  Limits,
  MemoryStep,
  Profile,
  Window,
} from './profile.js';

/** What is wrong with the value at a path such as /windows/0/lines; undefined when nothing is. */
type Check = (value: unknown, path: string) => string | undefined;

/** A check for each field; other fields are ignored. */
type Shape<T> = Readonly<Record<keyof T, Check>>;

const amount = check('a number of at least 0', (value) => typeof value === 'number' && value >= 0);
const text = check('text', (value) => typeof value === 'string');
const flag = check('true or false', (value) => typeof value === 'boolean');

const MEMORY_STEP: Shape<MemoryStep> = { lines: amount, rssBytes: amount, kernelBytes: amount };

const ACCEPT: Shape<Accept> = { lines: amount, seconds: amount, serverCpuSeconds: amount };

const WINDOW: Shape<Window> = {
  lines: amount,
  eventBytes: amount,
  offeredPerSecond: amount,
  seconds: amount,
  acceptedPerSecond: amount,
  deliveriesPerSecond: amount,
  writesPerSecond: amount,
  writtenBytesPerSecond: amount,
  heartbeatsPerSecond: amount,
  sweepsPerSecond: amount,
  serverShare: amount,
  clientShare: amount,
  strangerShare: amount,
  p50Ms: orNull(amount),
  p99Ms: orNull(amount),
  rssBytes: amount,
  faults: amount,
  undelivered: optional(amount),
  isClientLimited: flag,
};

const COMPRESSED_WINDOW: Shape<CompressedWindow> = {
  ...WINDOW,
  blocksPerSecond: amount,
  compressedPlainBytesPerSecond: amount,
  compressedBytesPerSecond: amount,
  compressorShare: amount,
};

const BLOCK_TIME: Shape<BlockTime> = { plainBytes: amount, us: amount };

const LIMITS: Shape<Limits> = {
  cores: amount,
  memoryBytes: amount,
  fileLimit: optional(amount),
  fileCeiling: optional(amount),
  portRange: optional(list(amount, 2, 2)),
  tcpMemoryBytes: optional(list(amount, 3, 3)),
  sendBufferMostBytes: optional(amount),
  linkBitsPerSecond: optional(amount),
};

const PROFILE: Shape<Omit<Profile, 'schema'>> = {
  measuredAt: text,
  machine: text,
  limits: object(LIMITS),
  transport: check('sse, ndjson or ws', (value) =>
    ['sse', 'ndjson', 'ws'].includes(value as string),
  ),
  sendBufferBytes: orNull(amount),
  isPinned: flag,
  memory: list(object(MEMORY_STEP), 2),
  accepts: list(object(ACCEPT), 1),
  windows: list(object(WINDOW), 3),
  blocks: optional(list(object(BLOCK_TIME), 1)),
  compressed: optional(list(object(COMPRESSED_WINDOW), 1)),
  remarks: list(text, 0),
};

/** What is wrong with a profile, with the path of the field; undefined when nothing is. */
export function faultIn(profile: unknown): string | undefined {
  return object(PROFILE)(profile, '');
}

function check(wanted: string, isRight: (value: unknown) => boolean): Check {
  return (value, path) => (isRight(value) ? undefined : `${path} must be ${wanted}`);
}

function orNull(one: Check): Check {
  return (value, path) => (value === null ? undefined : one(value, path));
}

function optional(one: Check): Check {
  return (value, path) => (value === undefined ? undefined : one(value, path));
}

function list(one: Check, min: number, max = Infinity): Check {
  return (value, path) => {
    if (!Array.isArray(value) || value.length < min || value.length > max)
      return `${path} must be an array of ${min === max ? min : `at least ${min}`}`;
    return firstFault(value.map((item: unknown, index) => one(item, `${path}/${index}`)));
  };
}

function object(shape: Readonly<Record<string, Check>>): Check {
  return (value, path) => {
    if (typeof value !== 'object' || value === null) return `${path} must be an object`;
    const fields = value as Readonly<Record<string, unknown>>;
    return firstFault(
      Object.entries(shape).map(([name, one]) => one(fields[name], `${path}/${name}`)),
    );
  };
}

function firstFault(faults: readonly (string | undefined)[]): string | undefined {
  return faults.find((fault) => fault !== undefined);
}
