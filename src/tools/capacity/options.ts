/** The options of `holdline capacity`: one table gives its settings, their checks and its help. */

import { flagOf, optionLines, parseOptions, type ValuesOf } from '../../options/command-line.js';
import { connectionsUnder, OPTIONS, type OptionRow } from '../../options/table.js';
import { HoldlineError } from '../../errors.js';
import { choice, form, integer, size, textMatching, time, yesOrNo } from '../../options/kinds.js';
import type { Profile } from './profile.js';

const MiB = 1024 * 1024;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Lines to measure where the file limit allows it. More take longer and show little more. */
const DEFAULT_LINES = 10_000;

const EVENTS_PER_SECOND_MIN = 0.001;
const EVENTS_PER_SECOND_MAX = 100_000;

const file = (): ReturnType<typeof textMatching> =>
  textMatching('FILE', /^[^\0]+$/s, 'the path of a file');

const sendBuffer = OPTIONS.socketSendBufferBytes;

const CAPACITY_OPTIONS = {
  subscribers: {
    flag: 'subscribers',
    kind: integer(1, 100_000_000),
    default: undefined,
    defaultMeans: 'as many as the file limit allows one process',
    help: 'subscribers to plan for: open connections (lines)',
  },
  eventsPerSecond: {
    flag: 'rate',
    kind: form(
      'N',
      `events a second from ${EVENTS_PER_SECOND_MIN} to ${EVENTS_PER_SECOND_MAX}, such ` +
        'as 10 or 0.5',
      readRate,
    ),
    default: 10,
    help: 'events a second that each of them receives',
  },
  eventBytes: { flag: 'size', kind: size(1, MiB), default: 256, help: 'bytes of data in an event' },
  p99Ms: {
    flag: 'p99',
    kind: time(1, HOUR),
    default: 250,
    help: 'latency that 99 of 100 deliveries should not exceed',
  },
  transport: {
    flag: 'transport',
    kind: choice('NAME', ['sse', 'ndjson', 'ws']),
    default: 'sse',
    help: 'transport of the measured lines',
  },
  compress: {
    ...OPTIONS.compress,
    help: 'as on the server: plan for this, and say what the other would change',
  },
  sampleFile: {
    flag: 'sample',
    kind: file(),
    default: undefined,
    defaultMeans: 'made-up market ticks',
    help: 'file with the data of an event in each row, by which compression is judged',
  },
  lines: {
    flag: 'lines',
    kind: integer(100, 1_000_000),
    default: undefined,
    defaultMeans: `${DEFAULT_LINES}, or as many as the file limit allows`,
    help: 'lines to measure with, at most',
  },
  budgetMs: {
    flag: 'budget',
    kind: time(30 * SECOND, 10 * MINUTE),
    default: 60 * SECOND,
    help: 'time that the measurement may take',
  },
  socketSendBufferBytes: {
    ...sendBuffer,
    default: undefined,
    defaultMeans: `${sendBuffer.kind.toText(sendBuffer.default)}, or as in --profile`,
    help: 'as on the server: kernel memory that a reader who has stopped may hold',
  },
  profileFile: {
    flag: 'profile',
    kind: file(),
    default: undefined,
    defaultMeans: 'none, which measures this machine',
    help: 'plan from an earlier measurement instead of a new one',
  },
  saveFile: {
    flag: 'save',
    kind: file(),
    default: undefined,
    help: 'save the measurement there, for --profile',
  },
  json: {
    flag: 'json',
    kind: yesOrNo(),
    default: false,
    help: 'print the plan as one JSON object instead of a table',
  },
  htmlFile: {
    flag: 'html',
    kind: file(),
    default: undefined,
    help: 'write the plan there as a page with plots, in one file',
  },
  quiet: { flag: 'quiet', kind: yesOrNo(), default: false, help: 'show no progress on stderr' },
} as const satisfies Record<string, OptionRow>;

/** The settings, see the table. */
export type CapacitySettings = ValuesOf<typeof CAPACITY_OPTIONS>;

/** What only a measurement asks for. */
const OF_MEASURING = ['transport', 'lines', 'budgetMs', 'saveFile'] as const;

/** What the options depend on besides the arguments; tests pass their own. */
export interface CapacitySurroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Files that this process may have open; undefined where it cannot be read. */
  readonly fileLimit: number | undefined;
}

/** Reads the arguments after `capacity`. Throws HOLDLINE_BAD_OPTION. */
export function parseCapacityOptions(
  args: readonly string[],
  { env, fileLimit }: CapacitySurroundings,
): {
  readonly values: CapacitySettings;
  readonly given: ReadonlyMap<keyof CapacitySettings, string>;
  readonly warnings: readonly string[];
} {
  const { values, given, warnings } = parseOptions('capacity', CAPACITY_OPTIONS, args, env);
  const { profileFile, transport, lines } = values;
  const unused = OF_MEASURING.flatMap((setting) => flagOf(given, setting) ?? [])[0];
  if (profileFile !== undefined && unused !== undefined) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `${unused}: --profile was given, too, and then nothing is measured; give one of them`,
    );
  }
  const isPlain = profileFile === undefined && transport === 'ws';
  const flag = compressionFlag(values, given);
  if (isPlain && flag !== undefined) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `${flag}: WebSockets are not compressed; measure --transport sse or ndjson`,
    );
  }
  const linesMax = connectionsUnder(fileLimit);
  if (lines !== undefined && fileLimit !== undefined && lines > linesMax) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `--lines: ${lines} is more than the file limit of ${fileLimit} allows, which is ` +
        `${linesMax}: raise the file limit ` +
        '(ulimit -n) or measure fewer',
    );
  }
  return {
    values: {
      ...values,
      ...(isPlain && { compress: 'off' }),
      // A variable may name it. What it holds was measured, and nothing is now.
      ...(profileFile !== undefined && { saveFile: undefined }),
    },
    given,
    warnings,
  };
}

/** The flag that is about compression; undefined without one, or where it asks for none. */
export function compressionFlag(
  { compress }: Pick<CapacitySettings, 'compress'>,
  given: ReadonlyMap<keyof CapacitySettings, string>,
): string | undefined {
  const asked = compress === 'shared' ? flagOf(given, 'compress') : undefined;
  return asked ?? flagOf(given, 'sampleFile');
}

/** The send buffer to measure with. */
export function bufferToMeasure({ socketSendBufferBytes }: CapacitySettings): number {
  return socketSendBufferBytes ?? sendBuffer.default;
}

/** A profile as it would be with the send buffer that was asked for. The kernel doubles it. */
export function withBuffer(profile: Profile, { socketSendBufferBytes }: CapacitySettings): Profile {
  if (socketSendBufferBytes === undefined) return profile;
  return { ...profile, sendBufferBytes: 2 * socketSendBufferBytes || null };
}

export function linesToMeasure({ lines }: CapacitySettings, fileLimit: number | undefined): number {
  return lines ?? Math.min(DEFAULT_LINES, connectionsUnder(fileLimit));
}

function readRate(text: string): number | undefined {
  const rate = /^\d{1,6}(?:\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  return rate >= EVENTS_PER_SECOND_MIN && rate <= EVENTS_PER_SECOND_MAX ? rate : undefined;
}

/** What `holdline capacity --help` prints. */
export function capacityHelp(): string {
  return [
    'Usage: holdline capacity [options]',
    '',
    'Starts a server and clients on this machine, measures what lines, writes and bytes cost,',
    'and makes a plan for so many subscribers: processes, machines, memory of the process and of',
    'the kernel, CPU, latency, bandwidth, the limit that is reached first and what raises it. Each',
    'figure has its margin of error. Run it on a machine that does nothing else.',
    '',
    ...optionLines(Object.values<OptionRow>(CAPACITY_OPTIONS)),
    '',
    'SIZE is a number of bytes, or one with KiB or MiB: 256, 4KiB. TIME has a unit, ms, s, min, h',
    'or d: 250ms, 60s. Every option can also be set as a variable (HOLDLINE_SUBSCRIBERS for',
    '--subscribers); a flag overrides it.',
    'Exit code: 0 when a plan was made, 1 when the machine could not be measured or a file could',
    'not be written, 2 when the options were wrong, 130 when Ctrl-C or SIGTERM ended it.',
    '',
  ].join('\n');
}
