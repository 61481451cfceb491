/**
 * The options of a command: each from the first of flag, environment variable, config file and
 * default that gives it; and the help. Only `serve` reads a config file.
 */

import { availableParallelism } from 'node:os';
import { choice, textMatching, workerCount, yesOrNo, type Kind } from './kinds.js';
import { settle } from './settings.js';
import {
  fileRowOf,
  find,
  readConfigFile,
  readFlags,
  takesValue,
  unknownVariables,
  type Environment,
  type ReadFile,
} from './sources.js';
import { OPTIONS, type OptionRow, type SettingName, type Settings } from './table.js';

/** Options of the command that are not settings of a server. */
const LOG_LEVEL = {
  flag: 'log-level',
  kind: choice('LEVEL', ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
  default: 'info',
  help: 'lowest level that is logged to stdout',
} as const satisfies OptionRow;

const LOG_FORMAT = {
  flag: 'log-format',
  kind: choice('FORMAT', ['auto', 'text', 'json']),
  default: 'auto',
  help: 'form of the log; auto: text on a terminal, else JSON',
} as const satisfies OptionRow;

const WORKERS = {
  flag: 'workers',
  kind: workerCount(),
  default: 1,
  help: 'processes that serve the port together; auto: one for each core',
} as const satisfies OptionRow;

const CONFIG_FILE = {
  flag: 'config',
  kind: textMatching('FILE', /^[^\0]+$/s, 'the path of a JSON file'),
  default: undefined,
  help: 'JSON file with options; the keys are the names of the flags without dashes',
} as const satisfies OptionRow;

const PRINT_CONFIG = {
  flag: 'print-config',
  kind: yesOrNo(),
  default: false,
  help: 'print every option with its value and source, and exit',
} as const satisfies OptionRow;

const FILE_ROWS: readonly OptionRow[] = [
  ...Object.values<OptionRow>(OPTIONS),
  WORKERS,
  LOG_LEVEL,
  LOG_FORMAT,
];
const VARIABLE_ROWS: readonly OptionRow[] = [...FILE_ROWS, CONFIG_FILE];
const FLAG_ROWS: readonly OptionRow[] = [...VARIABLE_ROWS, PRINT_CONFIG];

/** `--publish-key-file` and the like: the same option, given by a file. */
const FILES_OF_ROWS = FILE_ROWS.flatMap((row) => fileRowOf(row) ?? []);

/** One option with its value as text; secrets are masked. */
export interface ConfigEntry {
  readonly name: string;
  readonly value: string;
  /** `flag`, `environment`, `file PATH` or `default`. */
  readonly source: string;
}

export interface CommandLine {
  readonly settings: Settings;
  /** `--workers`. */
  readonly workers: number | 'auto';
  readonly logLevel: string;
  readonly logFormat: 'auto' | 'text' | 'json';
  readonly printConfig: boolean;
  readonly entries: readonly ConfigEntry[];
  /** Mistakes that do not keep the server from starting, one sentence each. */
  readonly warnings: readonly string[];
}

/** The environment of a command line; tests bring their own. */
export interface Surroundings {
  readonly env: Environment;
  readonly fileLimit: number | undefined;
  /** Throws when the file cannot be read. */
  readFile(this: void, path: string): string;
}

/** How many processes `--workers` asks for on this machine. */
export function workersOf(workers: CommandLine['workers']): number {
  return workers === 'auto' ? availableParallelism() : workers;
}

/** Reads the arguments after `serve`. Throws HOLDLINE_BAD_OPTION. */
export function parseCommandLine(args: readonly string[], surroundings: Surroundings): CommandLine {
  const { env, fileLimit, readFile } = surroundings;
  const flags = readFlags('serve', [...FLAG_ROWS, ...FILES_OF_ROWS], args);
  const path = find(CONFIG_FILE, flags, env, undefined).value as string | undefined;
  const keys = [...FILE_ROWS, ...FILES_OF_ROWS].map((row) => row.flag);
  const file = path === undefined ? undefined : readConfigFile(path, readFile, keys);

  const found = new Map(FILE_ROWS.map((row) => [row, find(row, flags, env, file, readFile)]));
  const workers = (found.get(WORKERS)!.value as CommandLine['workers'] | undefined) ?? 1;
  const settings = settle(
    (setting: SettingName) => found.get(OPTIONS[setting])!,
    fileLimit,
    workersOf(workers),
  );
  const logLevel = (found.get(LOG_LEVEL)!.value as string | undefined) ?? LOG_LEVEL.default;

  const logFormat =
    (found.get(LOG_FORMAT)!.value as CommandLine['logFormat'] | undefined) ?? LOG_FORMAT.default;

  const resolved = new Map<OptionRow, unknown>([
    [WORKERS, workers],
    [LOG_LEVEL, logLevel],
    [LOG_FORMAT, logFormat],
  ]);
  for (const [setting, row] of Object.entries(OPTIONS))
    resolved.set(row, settings[setting as SettingName]);
  const entries = FILE_ROWS.map((row) => ({
    name: row.flag,
    value: maskedText(row, resolved.get(row)),
    source: found.get(row)!.source,
  }));
  return {
    settings,
    workers,
    logLevel,
    logFormat,
    printConfig: find(PRINT_CONFIG, flags, {}, undefined).value === true,
    entries,
    warnings: unknownVariables(env, [...VARIABLE_ROWS, ...FILES_OF_ROWS]),
  };
}

/** The values of a table of options; undefined where none was given and there is no default. */
export type ValuesOf<Rows extends Readonly<Record<string, OptionRow>>> = {
  readonly [Name in keyof Rows]: Rows[Name]['kind'] extends Kind<infer Value>
    ? Value | Extract<Rows[Name]['default'], undefined>
    : never;
};

/**
 * Reads the arguments of a command with its own table of options; with `readFile` secrets may be in
 * files. `given` has what is not a default, each as it was written. Throws HOLDLINE_BAD_OPTION.
 */
export function parseOptions<const Rows extends Readonly<Record<string, OptionRow>>>(
  command: string,
  rows: Rows,
  args: readonly string[],
  env: Environment,
  readFile?: ReadFile,
): {
  readonly values: ValuesOf<Rows>;
  readonly given: ReadonlyMap<keyof Rows, string>;
  readonly warnings: readonly string[];
} {
  const ownRows = Object.values<OptionRow>(rows);
  const files = readFile === undefined ? [] : ownRows.flatMap((row) => fileRowOf(row) ?? []);
  const flags = readFlags(command, [...ownRows, ...files], args);
  const values: Record<string, unknown> = {};
  const given = new Map<keyof Rows, string>();
  for (const [setting, row] of Object.entries<OptionRow>(rows)) {
    const { value, name } = find(row, flags, env, undefined, readFile);
    values[setting] = value ?? row.default;
    if (value !== undefined) given.set(setting, name);
  }
  const known = [...ownRows, ...files, ...VARIABLE_ROWS, ...FILES_OF_ROWS];
  // Variables meant for a server on the same machine are no mistake here.
  return { values: values as ValuesOf<Rows>, given, warnings: unknownVariables(env, known) };
}

/**
 * The flag by which a setting was given; undefined where it was not, or by a variable: that may be
 * there for a server, or for other commands.
 */
export function flagOf<Name>(given: ReadonlyMap<Name, string>, setting: Name): string | undefined {
  const name = given.get(setting);
  return name?.startsWith('--') === true ? name : undefined;
}

function maskedText(row: OptionRow, value: unknown): string {
  if (value === undefined) return 'none';
  const text = row.kind.toText(value) || 'none';
  return row.secret && text !== 'none' ? '********' : text;
}

/** The table that `--print-config` prints. */
export function configTable(entries: readonly ConfigEntry[]): string {
  const rows = [{ name: 'name', value: 'value', source: 'source' }, ...entries];
  const nameWidth = Math.max(...rows.map((row) => row.name.length));
  const valueWidth = Math.max(...rows.map((row) => row.value.length));
  return rows
    .map((row) => `${row.name.padEnd(nameWidth)}  ${row.value.padEnd(valueWidth)}  ${row.source}\n`)
    .join('');
}

/** What `holdline serve --help` prints. */
export function serveHelp(): string {
  return [
    'Usage: holdline serve [options]',
    '',
    'Holds a line open for each subscriber (GET /channel) and pushes every published event',
    '(POST /channel) to all of them at once.',
    '',
    ...optionLines(FLAG_ROWS),
    '',
    'SIZE is in bytes or has a unit, KiB, MiB or GiB: 4096, 64KiB.',
    'TIME has a unit, ms, s, min, h or d: 250ms, 15s.',
    'ORIGIN and allowed HOST may be repeated or separated by commas.',
    'Every option is also a variable (--replay-events is HOLDLINE_REPLAY_EVENTS) and a key of the',
    'config file (replay-events), but --print-config and --help are neither and --config is no key.',
    'Flags override variables, variables override the file. Everyone who can list processes sees',
    'flags: give secrets in files, as variables or in the config file.',
    'These may be in a file of their own, whose name is given by the option with -file behind it',
    '(--publish-key-file FILE, HOLDLINE_PUBLISH_KEY_FILE):',
    `${FILES_OF_ROWS.map(({ flag }) => flag.slice(0, -'-file'.length)).join(', ')}.`,
    'SIGHUP reads all of them again; no line is dropped.',
    '',
  ].join('\n');
}

/** The options of a command for its help, each with its range and default. */
export function optionLines(rows: readonly OptionRow[], title = 'Options:'): string[] {
  const described = rows.map((row) => ({ left: `  --${row.flag} ${row.kind.placeholder}`, row }));
  const width = Math.max(...described.map(({ left }) => left.length)) + 2;
  const lines = described.flatMap(({ left, row }) => {
    const bounds = takesValue(row)
      ? [' '.repeat(width) + [row.kind.range, defaultInWords(row)].filter(Boolean).join('; ')]
      : [];
    return [left.padEnd(width) + row.help, ...bounds];
  });
  return [title, ...lines, '  -h, --help'.padEnd(width) + 'print this and exit'];
}

function defaultInWords(row: OptionRow): string {
  if ('defaultMeans' in row) return `default: ${row.defaultMeans}`;
  return `default: ${row.default === undefined ? 'none' : row.kind.toText(row.default) || 'none'}`;
}
