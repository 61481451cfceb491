/** The arguments of `holdline log`: what is to be done, with which log, and how NATS is entered. */
import { HoldlineError } from '../../errors.js';
import {
  optionLines,
  parseOptions,
  type Surroundings,
  type ValuesOf,
} from '../../options/command-line.js';
import { placeOf } from '../../options/log-kinds.js';
import { checkLog } from '../../options/log-settings.js';
import { badOption, show } from '../../options/refusals.js';
import { OPTIONS, type OptionRow } from '../../options/table.js';
import { nearestName } from '../../spelling.js';

const OF_COPY = {
  natsStream: OPTIONS.natsStream,
  natsPrefix: OPTIONS.natsPrefix,
  natsReplicas: OPTIONS.natsReplicas,
  natsCreds: OPTIONS.natsCreds,
  natsUser: OPTIONS.natsUser,
  natsPassword: OPTIONS.natsPassword,
  natsToken: OPTIONS.natsToken,
  natsTlsCa: OPTIONS.natsTlsCa,
  logEvents: OPTIONS.logEvents,
  logBytes: OPTIONS.logBytes,
  logAgeMs: OPTIONS.logAgeMs,
} as const satisfies Record<string, OptionRow>;

export type CopySettings = ValuesOf<typeof OF_COPY>;

/** What each action takes, as its help shows it. */
const ACTIONS = {
  backup: ['DIR', 'TARGET'],
  restore: ['TARGET', 'DIR'],
  upgrade: ['DIR'],
  copy: ['lmdb:DIR', 'nats://HOST:PORT'],
} as const;

export type LogCommand =
  | { readonly action: 'backup'; readonly from: string; readonly to: string }
  | { readonly action: 'restore'; readonly from: string; readonly to: string }
  | { readonly action: 'upgrade'; readonly directory: string }
  | {
      readonly action: 'copy';
      readonly directory: string;
      readonly servers: readonly string[];
      readonly settings: CopySettings;
    };

/** Reads the arguments after `log`. Throws HOLDLINE_BAD_OPTION. */
export function parseLogCommand(
  args: readonly string[],
  { env, readFile }: Pick<Surroundings, 'env' | 'readFile'>,
): { readonly command: LogCommand; readonly warnings: readonly string[] } {
  const [action = '', ...rest] = args;
  if (!isAction(action)) throw bad(unknownAction(action));
  const flagsFrom = rest.findIndex((arg) => arg.startsWith('-'));
  const places = flagsFrom < 0 ? rest : rest.slice(0, flagsFrom);
  const flags = flagsFrom < 0 ? [] : rest.slice(flagsFrom);
  const wanted = ACTIONS[action];
  if (places.length !== wanted.length) throw bad(`give holdline log ${action} ${wanted.join(' ')}`);
  const [first = '', second = ''] = places;
  const options = action === 'copy' ? OF_COPY : {};
  const { values, given, warnings } = parseOptions('log', options, flags, env, readFile);
  if (action === 'upgrade') return { command: { action, directory: directoryOf(first) }, warnings };
  if (action !== 'copy') {
    const [from, to] = [directoryOf(first), directoryOf(second)];
    return { command: { action, from, to }, warnings };
  }
  const target = placeOf(second);
  if (target.kind !== 'nats')
    throw badOption('what a log is copied to', second, 'nats://HOST:PORT, without user and path');
  const { servers } = target;
  const settings = values as CopySettings;
  checkLog(settings, namesIn(given));
  return { command: { action, directory: directoryOf(first), servers, settings }, warnings };
}

/** What the options of a copy are called where they were given. */
function namesIn(given: ReadonlyMap<string, string>): Record<keyof CopySettings, string> {
  const names = Object.entries(OF_COPY).map(([setting, { flag }]) => [
    setting,
    given.get(setting) ?? `--${flag}`,
  ]);
  return Object.fromEntries(names) as Record<keyof CopySettings, string>;
}

function isAction(text: string): text is keyof typeof ACTIONS {
  return Object.hasOwn(ACTIONS, text);
}

/** With or without the `lmdb:` of `--log`. */
function directoryOf(text: string): string {
  const directory = text.replace(/^lmdb:/, '');
  // Not shown: a URL may have a password.
  if (directory === '' || /\0|:\/\//.test(directory)) throw bad('give the directory of a log');
  return directory;
}

function unknownAction(text: string): string {
  const all = Object.keys(ACTIONS);
  if (text === '' || text.startsWith('-')) return `holdline log needs one of ${all.join(', ')}`;
  const nearest = nearestName(text, all);
  return `${show(text)} is not one of ${all.join(', ')}${nearest === undefined ? '' : `; did you mean ${nearest}?`}`;
}

function bad(words: string): HoldlineError {
  return new HoldlineError('HOLDLINE_BAD_OPTION', words);
}

/** What `holdline log --help` prints. */
export function logHelp(): string {
  return [
    'Usage: holdline log backup  DIR TARGET',
    '       holdline log restore TARGET DIR',
    '       holdline log upgrade DIR',
    '       holdline log copy    lmdb:DIR nats://HOST:PORT [options]',
    '',
    'Looks after the log of a server with --log lmdb:DIR.',
    '',
    '  backup   copy the log to TARGET, an empty directory, as it is now; the server may run',
    '  restore  make a log in DIR, an empty directory, from such a copy; what was published after',
    '           the copy was made is lost, and its ids are not given again',
    '  upgrade  bring the log to the schema of this version; the server must not run',
    '  copy     move events and revocations to a new stream of NATS, in their order; the server',
    '           must not run. Receipts of Idempotency-Keys stay behind: they last two minutes',
    '',
    ...optionLines(Object.values(OF_COPY), 'Options of copy:'),
    '',
  ].join('\n');
}
