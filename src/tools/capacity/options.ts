/**
 * The options of `holdline capacity`: one table, from which its settings, its checks and its help
 * follow.
 */

import { optionLines, parseOptions, type ValuesOf } from '../../options/command-line.js';
import { OPTIONS, type OptionRow } from '../../options/table.js';
import { HoldlineError } from '../../errors.js';
import { RESERVED_FILES, SPARE_SOCKETS_MAX } from '../../limits.js';
import { choice, form, integer, size, textMatching, time, yesOrNo } from '../../options/kinds.js';

const MiB = 1024 * 1024;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Lines that are measured where files allow: more of them take longer and tell little more. */
const USUAL_LINES = 10_000;

const LEAST_RATE = 0.001;
const MOST_RATE = 100_000;

const file = (): ReturnType<typeof textMatching> =>
  textMatching('FILE', /^[^\0]+$/s, 'the path of a file');

const CAPACITY_OPTIONS = {
  subscribers: {
    flag: 'subscribers',
    kind: integer(1, 100_000_000),
    default: undefined,
    defaultMeans: 'what the file limit lets one process hold',
    help: 'lines to plan for',
  },
  eventsPerSecond: {
    flag: 'rate',
    kind: form(
      'N',
      `events a second from ${LEAST_RATE} to ${MOST_RATE}, such as 10 or 0.5`,
      readRate,
    ),
    default: 10,
    help: 'events that each of them is sent in a second',
  },
  eventBytes: { flag: 'size', kind: size(1, MiB), default: 256, help: 'bytes of data in an event' },
  p99Ms: {
    flag: 'p99',
    kind: time(1, HOUR),
    default: 250,
    help: 'latency that 99 of 100 deliveries are to keep',
  },
  transport: {
    flag: 'transport',
    kind: choice('NAME', ['sse', 'ndjson', 'ws']),
    default: 'sse',
    help: 'how the lines that are measured are served',
  },
  lines: {
    flag: 'lines',
    kind: integer(100, 1_000_000),
    default: undefined,
    defaultMeans: `${USUAL_LINES}, or what the file limit carries`,
    help: 'lines that are measured, at the most',
  },
  budgetMs: {
    flag: 'budget',
    kind: time(10 * SECOND, 10 * MINUTE),
    default: 60 * SECOND,
    help: 'time that the measuring may take',
  },
  socketSendBufferBytes: {
    ...OPTIONS.socketSendBufferBytes,
    help: 'as the server is to have it: what the kernel holds for a reader that does not read',
  },
  profileFile: {
    flag: 'profile',
    kind: file(),
    default: undefined,
    defaultMeans: 'none, so that it measures',
    help: 'plan from what was measured before, and measure nothing',
  },
  saveFile: {
    flag: 'save',
    kind: file(),
    default: undefined,
    help: 'keep what was measured there, for --profile',
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
    help: 'write the plan with plots there, a page that needs nothing else',
  },
  quiet: { flag: 'quiet', kind: yesOrNo(), default: false, help: 'show no progress on stderr' },
} as const satisfies Record<string, OptionRow>;

/** What the planner is told, see the table. */
export type CapacitySettings = ValuesOf<typeof CAPACITY_OPTIONS>;

/** The world that the options are read in; a test brings its own. */
export interface CapacitySurroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Files that this process may have open; undefined where it cannot be read. */
  readonly fileLimit: number | undefined;
}

/** Reads the arguments after `capacity`. Throws HOLDLINE_BAD_OPTION. */
export function parseCapacityOptions(
  args: readonly string[],
  { env, fileLimit }: CapacitySurroundings,
): { readonly values: CapacitySettings; readonly warnings: readonly string[] } {
  const { values, warnings } = parseOptions('capacity', CAPACITY_OPTIONS, args, env);
  if (values.profileFile !== undefined && values.saveFile !== undefined) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      '--save: --profile was given, too, with which nothing is measured that could be kept; give one of them',
    );
  }
  const most = linesUnder(fileLimit);
  if (values.profileFile === undefined && values.lines !== undefined && values.lines > most) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `--lines: ${values.lines} is more than the file limit of ${fileLimit} carries, which is ${most}: raise the file limit ` +
        '(ulimit -n) or measure fewer',
    );
  }
  return { values, warnings };
}

/** Lines that the server which is measured, or the process of its clients, can hold. */
export function linesUnder(fileLimit: number | undefined): number {
  return Math.max(1, (fileLimit ?? Infinity) - RESERVED_FILES - SPARE_SOCKETS_MAX);
}

/** Lines to measure. */
export function linesToMeasure({ lines }: CapacitySettings, fileLimit: number | undefined): number {
  return lines ?? Math.min(USUAL_LINES, linesUnder(fileLimit));
}

function readRate(text: string): number | undefined {
  const rate = /^\d{1,6}(?:\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  return rate >= LEAST_RATE && rate <= MOST_RATE ? rate : undefined;
}

/** What `holdline capacity --help` prints. */
export function capacityHelp(): string {
  return [
    'Usage: holdline capacity [options]',
    '',
    'Says what this machine carries: starts a server and clients on it, measures what lines, writes and bytes cost, and plans for so',
    'many subscribers: processes, machines, memory of the process and of the kernel, CPU, latency, egress, which limit binds first',
    'and what raises it, each figure with how sure it is. Run it on a machine that has nothing else to do.',
    '',
    ...optionLines(Object.values<OptionRow>(CAPACITY_OPTIONS)),
    '',
    'SIZE is a number of bytes, or one with KiB or MiB: 256, 4KiB. TIME has a unit, ms, s, min or h: 250ms, 60s.',
    'Every option is also a variable (--subscribers is HOLDLINE_SUBSCRIBERS); a flag beats it.',
    'Exit code: 0 when a plan was made, 1 when the machine could not be measured, 2 when the options were wrong.',
    '',
  ].join('\n');
}
