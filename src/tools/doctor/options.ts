/** The options of `holdline doctor`: one table gives its settings, their checks and its help. */

import {
  flagOf,
  optionLines,
  parseOptions,
  type Surroundings,
  type ValuesOf,
} from '../../options/command-line.js';
import { HoldlineError } from '../../errors.js';
import { OPTIONS, type OptionRow } from '../../options/table.js';
import { SUBSCRIBE_KEY } from '../keys.js';
import { httpUrl, integer, time, workerCount, yesOrNo } from '../../options/kinds.js';

const SECOND = 1000;
const HOUR = 3600 * SECOND;

/** The URL of a channel. */
const channelUrl = (): ReturnType<typeof httpUrl> =>
  httpUrl(
    /\/[A-Za-z0-9._~:@-]{1,128}$/,
    'an http or https URL of a channel as clients ask for it, such as ' +
      'https://events.example/doctor',
    'https?',
  );

const DOCTOR_OPTIONS = {
  lines: {
    flag: 'lines',
    kind: integer(1, 1_000_000),
    default: 10_000,
    help: 'lines that the machine should hold at once',
  },
  through: {
    flag: 'through',
    kind: channelUrl(),
    default: undefined,
    defaultMeans: 'none, which checks the machine only',
    help:
      'also check the proxy in front of a server: subscribe to this channel and publish a ' +
      'few events to it',
  },
  direct: {
    flag: 'direct',
    kind: channelUrl(),
    default: undefined,
    help:
      'the same channel at the server itself, as the proxy reaches it: with --through, says ' +
      'whether the proxy undoes compression',
  },
  throughIdleMs: {
    flag: 'through-idle',
    kind: time(SECOND, HOUR),
    default: 30 * SECOND,
    help: 'how long the stream through the proxy stays without an event',
  },
  publishKey: {
    ...OPTIONS.publishKey,
    defaultMeans: 'none, for a server with --open-publish',
    help: 'key for publishing',
  },
  subscribeKey: {
    ...SUBSCRIBE_KEY,
    help: 'key or token for reading, for a server that asks for one',
  },
  socketSendBufferBytes: {
    ...OPTIONS.socketSendBufferBytes,
    help: 'as on the server: kernel memory that a reader who has stopped may hold',
  },
  deadPeerTimeoutMs: {
    ...OPTIONS.deadPeerTimeoutMs,
    help: 'as on the server: how long a vanished peer may be held',
  },
  replayTotalBytes: {
    ...OPTIONS.replayTotalBytes,
    help: 'as on the server: bytes that all channels together keep for replay',
  },
  workers: {
    flag: 'workers',
    kind: workerCount(),
    default: 1,
    help: 'as on the server: processes that serve the port together; auto: one for each core',
  },
  json: {
    flag: 'json',
    kind: yesOrNo(),
    default: false,
    help: 'print the findings as one JSON object instead of text',
  },
} as const satisfies Record<string, OptionRow>;

/** What only `--through` asks for. */
const OF_THROUGH = ['throughIdleMs', 'publishKey', 'subscribeKey'] as const;

/** The settings, see the table. */
export type DoctorSettings = ValuesOf<typeof DOCTOR_OPTIONS>;

/** Reads the arguments after `doctor`. Throws HOLDLINE_BAD_OPTION. */
export function parseDoctorOptions(
  args: readonly string[],
  { env, readFile }: Pick<Surroundings, 'env' | 'readFile'>,
): { readonly values: DoctorSettings; readonly warnings: readonly string[] } {
  const { values, given, warnings } = parseOptions('doctor', DOCTOR_OPTIONS, args, env, readFile);
  if (values.through !== undefined) return { values, warnings };
  if (values.direct !== undefined)
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      '--direct: there is nothing to compare it with; give --through, too',
    );
  for (const setting of OF_THROUGH) {
    const flag = flagOf(given, setting);
    if (flag !== undefined)
      throw new HoldlineError(
        'HOLDLINE_BAD_OPTION',
        `${flag}: only what is in front of a server is checked with it; give --through, too`,
      );
  }
  return { values, warnings };
}

/** What `holdline doctor --help` prints. */
export function doctorHelp(): string {
  return [
    'Usage: holdline doctor [options]',
    '',
    'Checks whether this machine can hold so many lines (open connections of subscribers), and',
    'whether a proxy passes streams on.',
    'Each finding has its value, why it matters, and the command that fixes it. The doctor changes',
    'nothing.',
    '',
    ...optionLines(Object.values(DOCTOR_OPTIONS)),
    '',
    'SIZE is a number of bytes, or one with KiB, MiB or GiB: 4096, 64KiB. TIME has a unit, ms, s,',
    'min, h or d: 250ms, 15s. Every option can also be set as a variable (HOLDLINE_THROUGH_IDLE for',
    '--through-idle); a flag overrides it. Everyone who can list processes sees flags, so give keys',
    'in files (--publish-key-file FILE, --subscribe-key-file FILE) or as variables. The events that',
    '--through publishes have the type holdline-doctor, which clients ignore; still, a separate',
    'channel is safest.',
    'Exit code: 0 when nothing is a problem, 1 otherwise, 2 when the options were wrong, 130 when',
    'Ctrl-C or SIGTERM ended it.',
    '',
  ].join('\n');
}
