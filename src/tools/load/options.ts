/**
 * The options of `holdline load`: one table, from which its settings, its checks and its help
 * follow.
 */

import {
  flagOf,
  optionLines,
  parseOptions,
  type Surroundings,
  type ValuesOf,
} from '../../options/command-line.js';
import { OPTIONS, type OptionRow } from '../../options/table.js';
import { HoldlineError } from '../../errors.js';
import { choice, integer, size, textMatching, time, yesOrNo } from '../../options/kinds.js';
import { SUBSCRIBE_KEY } from '../keys.js';
import { CLIENT_KINDS, normalIn, type Mix } from './clients/mix.js';
import { gzipOrNot, perSecond, share, sharePerMinute, slowReaders, streamUrl } from './kinds.js';

const MiB = 1024 * 1024;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** The smallest event: the fields of clients/event.ts and a few letters of padding. */
const SMALLEST_EVENT_BYTES = 64;

/** Open files of a client process beside the connections of its clients. */
const PROCESS_FILES = 64;

/**
 * The most the books may take: a bit for each client and event, and for each event its id and a
 * bit.
 */
const BOOK_BYTES = 1024 * MiB;
const EVENT_BYTES = 9;

const LOAD_OPTIONS = {
  url: {
    flag: 'url',
    kind: streamUrl('a URL of plain HTTP with a path, such as http://127.0.0.1:8080/load'),
    default: 'http://127.0.0.1:8080/load',
    help: 'the channel to subscribe to and to publish to',
  },
  publishUrl: {
    flag: 'publish-url',
    kind: streamUrl(
      'a URL of plain HTTP with a path, such as http://127.0.0.1:8080/publish?id=load',
    ),
    default: undefined,
    defaultMeans: 'the same as --url',
    help: 'where to publish on other servers: each event is the body of a POST there, one after the other',
  },
  transport: {
    flag: 'transport',
    kind: choice('NAME', CLIENT_KINDS),
    default: 'sse',
    help: 'transport of the clients',
  },
  compress: {
    flag: 'compress',
    kind: gzipOrNot(),
    default: false,
    help: 'ask for gzip on event streams and NDJSON, and read it; shows what it saves',
  },
  connections: {
    flag: 'connections',
    kind: integer(1, 1_000_000),
    default: 100,
    help: 'clients, each with a connection of its own',
  },
  ratePerSecond: {
    flag: 'rate',
    kind: integer(1, 100_000),
    default: 10,
    help: 'events published per second',
  },
  sizeBytes: {
    flag: 'size',
    kind: size(SMALLEST_EVENT_BYTES, MiB),
    default: 256,
    help: 'bytes of data in an event',
  },
  durationMs: {
    flag: 'duration',
    kind: time(100, 24 * HOUR),
    default: 10 * SECOND,
    help: 'how long events are published',
  },
  pollIntervalMs: {
    flag: 'poll-interval',
    kind: time(10, 10 * MINUTE),
    default: 2 * SECOND,
    help: 'time between two requests of each short-poll client',
  },
  processes: {
    flag: 'processes',
    kind: integer(1, 256),
    default: 1,
    help: 'number of processes among which the clients are divided',
  },
  rampPerSecond: {
    flag: 'ramp',
    kind: perSecond(1, 1_000_000),
    default: undefined,
    defaultMeans: 'as fast as the server answers',
    help: 'clients that connect per second',
  },
  checkedShare: {
    flag: 'check',
    kind: share(),
    default: 1,
    help: 'share of the clients whose every event is checked; of the others only bytes are counted, which is much less work',
  },
  stalledShare: {
    flag: 'stalled',
    kind: share(),
    default: 0,
    help: 'share of the clients that read nothing once they are subscribed',
  },
  slowReaders: {
    flag: 'slow-readers',
    kind: slowReaders(),
    default: undefined,
    defaultMeans: 'none',
    help: 'share of the clients that read slowly, and how fast',
  },
  reconnectsPerMinute: {
    flag: 'reconnect',
    kind: sharePerMinute(),
    default: 0,
    help: 'share of the other clients that drop their connection every minute, reconnect and resume where they left off',
  },
  herdAtMs: {
    flag: 'herd',
    kind: time(0, 24 * HOUR),
    default: undefined,
    defaultMeans: 'none',
    help: 'when, after the first event, all of them drop their connections and reconnect at once',
  },
  publishKey: {
    ...OPTIONS.publishKey,
    defaultMeans: 'none, for a server with --open-publish',
    help: 'key to publish with',
  },
  subscribeKey: {
    ...SUBSCRIBE_KEY,
    help: 'key or token that the clients send as Authorization: Bearer',
  },
  serverPid: {
    flag: 'server-pid',
    kind: integer(1, 4_194_304),
    default: undefined,
    defaultMeans: 'the process that listens there, where it is on this machine',
    help: "process whose memory and processor time are shown as the server's",
  },
  htmlFile: {
    flag: 'html',
    kind: textMatching('FILE', /^[^\0]+$/s, 'the path of a file to write'),
    default: undefined,
    defaultMeans: 'none',
    help: 'write a report with plots there, as one self-contained page',
  },
  outFile: {
    flag: 'out',
    kind: textMatching('FILE', /^[^\0]+$/s, 'the path of a file to write'),
    default: undefined,
    defaultMeans: 'none',
    help: 'write the figures there as one JSON object',
  },
  json: {
    flag: 'json',
    kind: yesOrNo(),
    default: false,
    help: 'print the figures as one JSON object instead of a table',
  },
  quiet: { flag: 'quiet', kind: yesOrNo(), default: false, help: 'show no progress on stderr' },
} as const satisfies Record<string, OptionRow>;

/** The values of the options. */
export type LoadSettings = ValuesOf<typeof LOAD_OPTIONS>;

/** Events that a run publishes. */
export function eventsOf({ ratePerSecond, durationMs }: LoadSettings): number {
  return Math.max(1, Math.round((ratePerSecond * durationMs) / SECOND));
}

/** Which clients of a run read slowly, not at all, or come and go. */
export function mixOf({ stalledShare, slowReaders: slow, reconnectsPerMinute }: LoadSettings): Mix {
  return {
    stalledShare,
    slowShare: slow?.share ?? 0,
    slowBytesPerSecond: slow?.bytesPerSecond ?? 0,
    reconnectsPerMinute,
  };
}

/** Reads the arguments after `load`. Throws HOLDLINE_BAD_OPTION. */
export function parseLoadOptions(
  args: readonly string[],
  { env, fileLimit, readFile }: Surroundings,
): { readonly values: LoadSettings; readonly warnings: readonly string[] } {
  const parsed = parseOptions('load', LOAD_OPTIONS, args, env, readFile);
  const { given, warnings } = parsed;
  const { transport } = parsed.values;
  // Its variable is the server's, too, which compresses no others.
  const compress =
    parsed.values.compress && (isStream(transport) || flagOf(given, 'compress') !== undefined);
  const values = { ...parsed.values, compress };
  const problem = problemOf(values, fileLimit);
  if (problem !== undefined) throw new HoldlineError('HOLDLINE_BAD_OPTION', problem);
  return { values, warnings };
}

/** What a server compresses. */
function isStream(transport: LoadSettings['transport']): boolean {
  return transport === 'sse' || transport === 'ndjson';
}

/** What is wrong with the combination of options, in words; undefined when nothing is. */
function problemOf(values: LoadSettings, fileLimit: number | undefined): string | undefined {
  const {
    connections,
    processes,
    checkedShare,
    stalledShare,
    slowReaders: slow,
    transport,
    compress,
    herdAtMs,
    durationMs,
  } = values;
  const events = eventsOf(values);
  if (processes > connections)
    return `--processes: ${processes} is more than there are clients (--connections ${connections})`;
  const filesPerProcess = Math.ceil(connections / processes) + PROCESS_FILES;
  if (fileLimit !== undefined && filesPerProcess > fileLimit) {
    const most = Math.max(fileLimit - PROCESS_FILES, 0) * processes;
    return (
      `--connections: ${connections} is more than ${most}, the most that the file limit of ${fileLimit} per process allows: ` +
      'raise the file limit (ulimit -n), use more processes (--processes) or fewer connections'
    );
  }
  if ((connections * checkedShare * events) / 8 + events * EVENT_BYTES > BOOK_BYTES) {
    return (
      `--connections ${connections}: with ${events} events (--rate, --duration) the record of what arrived, a bit for each client ` +
      `and event, takes more than ${BOOK_BYTES} bytes; use fewer connections or fewer events, or check fewer clients (--check)`
    );
  }
  if (stalledShare + (slow?.share ?? 0) >= 1)
    return '--stalled and --slow-readers: together they are all clients or more, and what those miss does not count, so leave some others';
  if (normalIn(mixOf(values), connections) === 0) {
    return (
      `--connections: with ${connections}, all are those of --stalled and --slow-readers, each of which is at least one, and what ` +
      'those miss does not count; use more connections'
    );
  }
  if (checkedShare === 0) {
    return (
      '--check: with 0% no latency is known, nor what an event takes on a line; any share above it is at least one client in each ' +
      'process'
    );
  }
  const isPoll = transport.endsWith('poll');
  if (isPoll && checkedShare < 1)
    return `--check: every answer to a poll is read anyway, so leave it out with --transport ${transport}`;
  if (isPoll && (stalledShare > 0 || slow !== undefined)) {
    return `--stalled and --slow-readers: a client that polls asks for what it reads, so leave them out with --transport ${transport}`;
  }
  if (compress && !isStream(transport))
    return `--compress: only streams are compressed (--transport sse, ndjson), so leave it out with --transport ${transport}`;
  if (herdAtMs !== undefined && herdAtMs >= durationMs) {
    return `--herd: events are published for ${durationMs} ms (--duration), so ${herdAtMs} ms is too late`;
  }
  return undefined;
}

/** What `holdline load --help` prints. */
export function loadHelp(): string {
  return [
    'Usage: holdline load [options]',
    '',
    'Tests a server under load: opens clients that subscribe to a channel, publishes to it at a fixed rate, and measures what arrives and',
    'how late, and whether anything was lost, duplicated or out of order. Latency counts from the moment an event was due, not from when',
    'it was sent.',
    '',
    ...optionLines(Object.values(LOAD_OPTIONS)),
    '',
    'SIZE is a number of bytes, or one with KiB or MiB: 256, 4KiB. TIME has a unit, ms, s, min, h or d: 250ms, 15s. SHARE is in percent: 1%.',
    'Clients that read slowly or nothing have figures of their own: what they miss does not count as lost. The server of --url may be any',
    'that answers with an event stream. Its ids may be any text; the order of the events is then compared with that of publishing.',
    'Every option can also be set as a variable (HOLDLINE_POLL_INTERVAL for --poll-interval); a flag overrides it. Everyone who can list',
    'processes sees flags, so give keys in files (--publish-key-file FILE, --subscribe-key-file FILE) or as variables.',
    'Ctrl-C ends a run early and prints what was measured until then; a second one also stops waiting for the last events.',
    'Exit code: 0 when every event arrived once and in order, 1 otherwise or when a file could not be written, 2 when the options were',
    'wrong, 130 when Ctrl-C or SIGTERM ended the run before there was a result.',
    '',
  ].join('\n');
}
