/** The options of `holdline load`: one table, from which its settings, its checks and its help follow. */

import { optionLines, parseOptions, type ValuesOf } from '../command-line.js';
import { OPTIONS, type OptionRow } from '../config.js';
import { HoldlineError } from '../errors.js';
import { choice, httpUrl, integer, size, time, yesOrNo } from '../option-kinds.js';

const MiB = 1024 * 1024;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Smallest event: what stands at its beginning, see event.ts, and a few letters of padding. */
const SMALLEST_EVENT_BYTES = 64;

/** Files beside the connections of the clients: the publisher's connections, and what the process itself has open. */
const PUBLISHER_FILES = 256;
const PROCESS_FILES = 64;

/** Bytes for the book of what each client was given, a bit for each client and event. */
const BOOK_BYTES = 1024 * MiB;

const LOAD_OPTIONS = {
  url: {
    flag: 'url',
    kind: httpUrl(/^\/[A-Za-z0-9._~-]{1,128}$/, 'a URL of plain HTTP with one channel, such as http://127.0.0.1:8080/load'),
    default: 'http://127.0.0.1:8080/load',
    help: 'the channel to publish to and to subscribe to',
  },
  transport: {
    flag: 'transport',
    kind: choice('NAME', ['sse', 'ndjson', 'ws', 'long-poll', 'short-poll']),
    default: 'sse',
    help: 'how the clients are served',
  },
  connections: {
    flag: 'connections',
    kind: integer(1, 1_000_000),
    default: 100,
    help: 'clients, each with a connection of its own',
  },
  ratePerSecond: { flag: 'rate', kind: integer(1, 100_000), default: 10, help: 'events published in a second' },
  sizeBytes: {
    flag: 'size',
    kind: size(SMALLEST_EVENT_BYTES, MiB),
    default: 256,
    help: 'bytes of data in an event',
  },
  durationMs: { flag: 'duration', kind: time(100, 24 * HOUR), default: 10 * SECOND, help: 'how long events are published' },
  pollIntervalMs: {
    flag: 'poll-interval',
    kind: time(10, 10 * MINUTE),
    default: 2 * SECOND,
    help: 'how often each client of short-poll asks',
  },
  publishKey: { ...OPTIONS.publishKey, defaultMeans: 'none, for a server with --open-publish', help: 'key to publish with' },
  json: { flag: 'json', kind: yesOrNo(), default: false, help: 'print the figures as one JSON object instead of a table' },
  quiet: { flag: 'quiet', kind: yesOrNo(), default: false, help: 'show no progress on stderr' },
} as const satisfies Record<string, OptionRow>;

/** What a run is told, see the table. */
export type LoadSettings = ValuesOf<typeof LOAD_OPTIONS>;

/** Name of a way to be served. */
export type Transport = LoadSettings['transport'];

/** The world that the options are read in; a test brings its own. */
export interface LoadSurroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Files that this process may have open; undefined where it cannot be read. */
  readonly fileLimit: number | undefined;
}

/** Events that a run publishes. */
export function eventsOf({ ratePerSecond, durationMs }: LoadSettings): number {
  return Math.max(1, Math.round((ratePerSecond * durationMs) / SECOND));
}

/** Reads the arguments after `load`. Throws HOLDLINE_BAD_OPTION. */
export function parseLoadOptions(
  args: readonly string[],
  { env, fileLimit }: LoadSurroundings,
): { readonly values: LoadSettings; readonly warnings: readonly string[] } {
  const { values, warnings } = parseOptions('load', LOAD_OPTIONS, args, env);
  const { connections } = values;
  const files = connections + PUBLISHER_FILES + PROCESS_FILES;
  if (fileLimit !== undefined && files > fileLimit) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `--connections: ${connections} is more than the file limit of ${fileLimit} carries, which is ` +
        `${Math.max(fileLimit - PUBLISHER_FILES - PROCESS_FILES, 0)}: raise the file limit (ulimit -n) or ask for fewer`,
    );
  }
  if ((connections * eventsOf(values)) / 8 > BOOK_BYTES) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `--connections ${connections}: with ${eventsOf(values)} events (--rate, --duration) the book of what each client was given ` +
        `takes more than ${BOOK_BYTES} bytes, a bit each; ask for fewer connections or fewer events`,
    );
  }
  return { values, warnings };
}

/** What `holdline load --help` prints. */
export function loadHelp(): string {
  return [
    'Usage: holdline load [options]',
    '',
    'Drives a server: holds clients that subscribe to a channel, publishes to it at a fixed rate, and measures what arrives, when, and',
    'whether anything was lost, doubled or out of order. Latency counts from the moment an event was due, not from when it was sent.',
    '',
    ...optionLines(Object.values(LOAD_OPTIONS)),
    '',
    'SIZE is a number of bytes, or one with KiB or MiB: 256, 4KiB. TIME has a unit, ms, s, min or h: 250ms, 15s.',
    'Every option is also a variable (--poll-interval is HOLDLINE_POLL_INTERVAL); a flag beats it. A flag is seen by everyone who can',
    'list processes: give the key as a variable.',
    'Exit code: 0 when every event arrived once and in order, 1 otherwise, 2 when the options were wrong. Ctrl-C ends a run early.',
    '',
  ].join('\n');
}
