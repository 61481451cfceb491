/**
 * The options of `holdline doctor`: one table, from which its settings, its checks and its help
 * follow.
 */

import { optionLines, parseOptions, type ValuesOf } from '../../options/command-line.js';
import { OPTIONS, type OptionRow } from '../../options/table.js';
import { httpUrl, integer, time, yesOrNo } from '../../options/kinds.js';

const SECOND = 1000;
const HOUR = 3600 * SECOND;

const DOCTOR_OPTIONS = {
  lines: {
    flag: 'lines',
    kind: integer(1, 1_000_000),
    default: 10_000,
    help: 'lines that the machine is to hold at once',
  },
  through: {
    flag: 'through',
    kind: httpUrl(
      /\/[A-Za-z0-9._~-]{1,128}$/,
      'an http or https URL of a channel as clients ask for it, such as https://events.example/doctor',
      'https?',
    ),
    default: undefined,
    defaultMeans: 'none, to look at the machine only',
    help: 'look also at what stands in front of a server: subscribes to this channel and publishes a few events to it',
  },
  throughIdleMs: {
    flag: 'through-idle',
    kind: time(SECOND, HOUR),
    default: 30 * SECOND,
    help: 'how long the stream through the proxy is left without an event',
  },
  publishKey: {
    ...OPTIONS.publishKey,
    defaultMeans: 'none, for a server with --open-publish',
    help: 'key to publish with',
  },
  socketSendBufferBytes: {
    ...OPTIONS.socketSendBufferBytes,
    help: 'as the server has it: what a reader may hold that does not read',
  },
  deadPeerTimeoutMs: {
    ...OPTIONS.deadPeerTimeoutMs,
    help: 'as the server has it: within this a peer that vanished is gone',
  },
  replayTotalBytes: {
    ...OPTIONS.replayTotalBytes,
    help: 'as the server has it: bytes that all channels keep together',
  },
  json: {
    flag: 'json',
    kind: yesOrNo(),
    default: false,
    help: 'print the findings as one JSON object instead of text',
  },
} as const satisfies Record<string, OptionRow>;

/** What the doctor is told, see the table. */
export type DoctorSettings = ValuesOf<typeof DOCTOR_OPTIONS>;

/** Reads the arguments after `doctor`. Throws HOLDLINE_BAD_OPTION. */
export function parseDoctorOptions(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): { readonly values: DoctorSettings; readonly warnings: readonly string[] } {
  return parseOptions('doctor', DOCTOR_OPTIONS, args, env);
}

/** What `holdline doctor --help` prints. */
export function doctorHelp(): string {
  return [
    'Usage: holdline doctor [options]',
    '',
    'Looks at the limits of this machine for so many lines, and at what a proxy makes of streams: each finding with its value, why it',
    'matters, and the command that mends it. Nothing is changed.',
    '',
    ...optionLines(Object.values(DOCTOR_OPTIONS)),
    '',
    'SIZE is a number of bytes, or one with KiB, MiB or GiB: 4096, 64KiB. TIME has a unit, ms, s, min or h: 250ms, 15s.',
    'Every option is also a variable (--through-idle is HOLDLINE_THROUGH_IDLE); a flag beats it. A flag is seen by everyone who can',
    'list processes: give the key as a variable. The events that --through publishes are of the type holdline-doctor, which nobody',
    'listens for; a channel of its own keeps them apart all the same.',
    'Exit code: 0 when nothing is a problem, 1 otherwise, 2 when the options were wrong.',
    '',
  ].join('\n');
}
