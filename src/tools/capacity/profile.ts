/**
 * What was measured on a machine, as it is kept in a file. Only measurements: what follows from
 * them is worked out when a plan is made (fit.ts, plan.ts), so that a kept profile profits from a
 * better fit.
 */

import { readFileSync } from 'node:fs';
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { HoldlineError } from '../../errors.js';

/** Rises when an older profile cannot be read any more. */
export const PROFILE_SCHEMA = 1;

const Amount = Type.Number({ minimum: 0 });
const Maybe = Type.Union([Amount, Type.Null()]);

/** The server's process and the kernel with so many lines on it and nothing published. */
const MemoryStep = Type.Object({
  lines: Amount,
  /** VmRSS of the server's process. */
  rssBytes: Amount,
  /**
   * TCP buffers and slabs of the whole machine: both ends of each line, and whatever else the
   * kernel holds.
   */
  kernelBytes: Amount,
});

/** Lines that came to an idle server. */
const Accept = Type.Object({
  lines: Amount,
  seconds: Amount,
  serverCpuSeconds: Amount,
});

/**
 * Some seconds of publishing at one rate and size; one with a rate of 0 is a server without events.
 * Shares are of a core.
 */
const Window = Type.Object({
  lines: Amount,
  eventBytes: Amount,
  /** Events that were due in a second. */
  offeredPerSecond: Amount,
  seconds: Amount,
  acceptedPerSecond: Amount,
  /** As the server counts them (counters.ts). */
  deliveriesPerSecond: Amount,
  writesPerSecond: Amount,
  writtenBytesPerSecond: Amount,
  heartbeatsPerSecond: Amount,
  sweepsPerSecond: Amount,
  serverShare: Amount,
  /** The busiest client process. */
  clientShare: Amount,
  /** What other processes of the machine took in all. */
  strangerShare: Amount,
  /** From the moment an event was due; null where none came. */
  p50Ms: Maybe,
  p99Ms: Maybe,
  rssBytes: Amount,
  /** Deliveries that were lost, doubled or out of order. */
  faults: Amount,
  /** The clients or the publisher were measured, not the server. */
  isClientLimited: Type.Boolean(),
});

const Limits = Type.Object({
  cores: Amount,
  memoryBytes: Amount,
  fileLimit: Type.Optional(Amount),
  fileCeiling: Type.Optional(Amount),
  portRange: Type.Optional(Type.Tuple([Amount, Amount])),
  /**
   * Past the second mark the kernel shrinks windows of all connections, past the third it refuses
   * memory.
   */
  tcpMemoryBytes: Type.Optional(Type.Tuple([Amount, Amount, Amount])),
  /** What a send buffer grows to when nobody sets it. */
  sendBufferMostBytes: Type.Optional(Amount),
  /** The slowest network card that has a link and tells its speed. */
  linkBitsPerSecond: Type.Optional(Amount),
});

const Profile = Type.Object({
  schema: Type.Literal(PROFILE_SCHEMA),
  /** ISO 8601. */
  measuredAt: Type.String(),
  /** Machine, kernel and versions in a line. */
  machine: Type.String(),
  limits: Limits,
  transport: Type.Union([Type.Literal('sse'), Type.Literal('ndjson'), Type.Literal('ws')]),
  /** What the kernel granted a line as send buffer; null where it grows by itself. */
  sendBufferBytes: Maybe,
  /** True when server and clients had cores of their own. */
  isPinned: Type.Boolean(),
  /** An idle server, growing. */
  memory: Type.Array(MemoryStep, { minItems: 2 }),
  accepts: Type.Array(Accept, { minItems: 1 }),
  windows: Type.Array(Window, { minItems: 3 }),
  /** What a reader should know of the measuring, a sentence each. */
  remarks: Type.Array(Type.String()),
});

export type MemoryStep = Type.Static<typeof MemoryStep>;
export type Accept = Type.Static<typeof Accept>;
export type Window = Type.Static<typeof Window>;
/** What bounds the lines of this machine; undefined is what it does not tell, or does not bound. */
export type Limits = Type.Static<typeof Limits>;
export type Profile = Type.Static<typeof Profile>;

const validator = Compile(Profile);

/** A profile as the text of a file. */
export function profileText(profile: Profile): string {
  return `${JSON.stringify(profile, undefined, 1)}\n`;
}

/**
 * Reads a profile from a file. Throws HOLDLINE_BAD_OPTION when there is none that this version can
 * read.
 */
export function loadProfile(path: string, readFile: (path: string) => string = readText): Profile {
  const refuse = (reason: string): HoldlineError =>
    new HoldlineError('HOLDLINE_BAD_OPTION', `--profile: "${path}" ${reason}`);
  let text: string;
  try {
    text = readFile(path);
  } catch (error) {
    throw refuse(`cannot be read (${(error as Error).message})`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refuse('is not JSON; make a profile with holdline capacity --save FILE');
  }
  const schema =
    typeof value === 'object' && value !== null
      ? (value as { schema?: unknown }).schema
      : undefined;
  if (schema === undefined)
    throw refuse('is no profile; make one with holdline capacity --save FILE');
  if (schema !== PROFILE_SCHEMA) {
    throw refuse(
      `has schema ${JSON.stringify(schema)}, and this version reads ${PROFILE_SCHEMA}; measure again with holdline capacity --save FILE`,
    );
  }
  if (!validator.Check(value)) {
    const [first] = validator.Errors(value);
    throw refuse(
      `is damaged: ${first?.instancePath || 'the whole'} ${first?.message ?? 'does not fit the schema'}; measure again with holdline capacity --save FILE`,
    );
  }
  return value;
}

function readText(path: string): string {
  return readFileSync(path, 'utf8');
}
