/**
 * What a command was told: every option from the first of flag, environment variable, config file
 * and default that gives one, and where each came from. Also the help, which is the same table read
 * aloud. `serve` reads all four, other commands no file.
 */

import { parseArgs } from 'node:util';
import { HoldlineError } from '../errors.js';
import { choice, textMatching, yesOrNo, type Kind } from './kinds.js';
import { badOption, unknownOption } from './refusals.js';
import { settle, type Given } from './settings.js';
import { nearestName } from './spelling.js';
import { OPTIONS, type OptionRow, type SettingName, type Settings } from './table.js';

/**
 * Options of the command that are no business of a server: they have a variable, and the log level
 * a key in the file too.
 */
const LOG_LEVEL = {
  flag: 'log-level',
  kind: choice('LEVEL', ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
  default: 'info',
  help: 'least level that is logged on stdout',
} as const satisfies OptionRow;

const CONFIG_FILE = {
  flag: 'config',
  kind: textMatching('FILE', /^[^\0]+$/s, 'the path of a JSON file'),
  default: undefined,
  help: 'JSON object with options by the names of their flags, without the dashes',
} as const satisfies OptionRow;

const PRINT_CONFIG = {
  flag: 'print-config',
  kind: yesOrNo(),
  default: false,
  help: 'print every option, its value and where it comes from, and exit',
} as const satisfies OptionRow;

const FILE_ROWS: readonly OptionRow[] = [...Object.values<OptionRow>(OPTIONS), LOG_LEVEL];
const VARIABLE_ROWS: readonly OptionRow[] = [...FILE_ROWS, CONFIG_FILE];
const FLAG_ROWS: readonly OptionRow[] = [...VARIABLE_ROWS, PRINT_CONFIG];

/** Name of the variable that gives an option. */
export function variableOf(row: OptionRow): string {
  return `HOLDLINE_${row.flag.toUpperCase().replaceAll('-', '_')}`;
}

/** One option as it turned out; `value` is the text for people, with secrets masked. */
export interface ConfigEntry {
  readonly name: string;
  readonly value: string;
  /** `flag`, `environment`, `file PATH` or `default`. */
  readonly source: string;
}

/** What a command line comes to. */
export interface CommandLine {
  readonly settings: Settings;
  readonly logLevel: string;
  readonly printConfig: boolean;
  readonly entries: readonly ConfigEntry[];
  /** What is odd but no reason not to start, a sentence each. */
  readonly warnings: readonly string[];
}

/** The world that a command line is read in; a test brings its own. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly fileLimit: number | undefined;
  /** Throws when the file cannot be read. */
  readFile(this: void, path: string): string;
}

/**
 * A value that one of the sources gave, or undefined from the default, and the names of the place.
 */
interface Found extends Given {
  readonly source: string;
}

/** Reads the arguments after `serve`. Throws HOLDLINE_BAD_OPTION. */
export function parseCommandLine(args: readonly string[], surroundings: Surroundings): CommandLine {
  const { env, fileLimit, readFile } = surroundings;
  const flags = readFlags('serve', FLAG_ROWS, args);
  const path = find(CONFIG_FILE, flags, env, undefined).value as string | undefined;
  const file = path === undefined ? undefined : { path, values: readConfigFile(path, readFile) };

  const found = new Map(FILE_ROWS.map((row) => [row, find(row, flags, env, file)]));
  const settings = settle((setting: SettingName) => found.get(OPTIONS[setting])!, fileLimit);
  const logLevel = (found.get(LOG_LEVEL)!.value as string | undefined) ?? LOG_LEVEL.default;

  const resolved = new Map<OptionRow, unknown>([[LOG_LEVEL, logLevel]]);
  for (const [setting, row] of Object.entries(OPTIONS))
    resolved.set(row, settings[setting as SettingName]);
  const entries = FILE_ROWS.map((row) => ({
    name: row.flag,
    value: maskedText(row, resolved.get(row)),
    source: found.get(row)!.source,
  }));
  return {
    settings,
    logLevel,
    printConfig: find(PRINT_CONFIG, flags, {}, undefined).value === true,
    entries,
    warnings: unknownVariables(env, VARIABLE_ROWS),
  };
}

/**
 * The values of a table of options: each of its kind, or undefined where nobody gave one and the
 * row has no default.
 */
export type ValuesOf<Rows extends Readonly<Record<string, OptionRow>>> = {
  readonly [Name in keyof Rows]: Rows[Name]['kind'] extends Kind<infer Value>
    ? Value | Extract<Rows[Name]['default'], undefined>
    : never;
};

/**
 * Reads the arguments after a command that has a table of options of its own and no config file.
 * Throws HOLDLINE_BAD_OPTION.
 */
export function parseOptions<const Rows extends Readonly<Record<string, OptionRow>>>(
  command: string,
  rows: Rows,
  args: readonly string[],
  env: Surroundings['env'],
): { readonly values: ValuesOf<Rows>; readonly warnings: readonly string[] } {
  const ownRows = Object.values<OptionRow>(rows);
  const flags = readFlags(command, ownRows, args);
  const values = Object.entries<OptionRow>(rows).map(([name, row]) => [
    name,
    find(row, flags, env, undefined).value ?? row.default,
  ]);
  // What is meant for a server on the same machine is no mistake here.
  const warnings = unknownVariables(env, [...ownRows, ...VARIABLE_ROWS]);
  return { values: Object.fromEntries(values) as ValuesOf<Rows>, warnings };
}

/**
 * The texts of the flags by name, the last one where one is repeated and all of them, with commas
 * between, where that adds up.
 */
function readFlags(
  command: string,
  rows: readonly OptionRow[],
  args: readonly string[],
): ReadonlyMap<string, string> {
  const rowsByFlag = new Map(rows.map((row) => [row.flag, row]));
  const options = Object.fromEntries(
    rows.map((row) => [
      row.flag,
      { type: takesValue(row) ? ('string' as const) : ('boolean' as const) },
    ]),
  );
  // Not strict: parseArgs would stop at the first oddity with words of its own, which name neither
  // what would work nor a near name.
  const { tokens } = parseArgs({
    args: [...args],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const flags = new Map<string, string>();
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue;
    if (token.kind === 'positional') {
      throw new HoldlineError(
        'HOLDLINE_BAD_OPTION',
        `"${token.value}" is not an option; options start with -- and holdline ${command} takes nothing else`,
      );
    }
    const row = rowsByFlag.get(token.name);
    if (row === undefined || token.rawName !== `--${token.name}`) {
      throw unknownOption(
        token.rawName,
        [...rowsByFlag.keys(), 'help'].map((name) => `--${name}`),
        `holdline ${command} --help lists the options`,
      );
    }
    const followedByFlag = token.inlineValue === false && token.value.startsWith('--');
    if (takesValue(row) && (token.value === undefined || followedByFlag)) {
      const instead = followedByFlag ? `${token.value} follows` : 'nothing follows';
      throw new HoldlineError(
        'HOLDLINE_BAD_OPTION',
        `--${row.flag} needs a value and ${instead}; accepted is ${row.kind.accepted}`,
      );
    }
    const before = row.kind.repeatable ? flags.get(row.flag) : undefined;
    const given = token.value ?? 'true';
    flags.set(row.flag, before === undefined ? given : `${before},${given}`);
  }
  return flags;
}

function takesValue(row: OptionRow): boolean {
  return row.kind.placeholder !== '';
}

/** The JSON object in the file, whose keys are all known. */
function readConfigFile(
  path: string,
  readFile: (path: string) => string,
): Readonly<Record<string, unknown>> {
  const refuse = (reason: string): HoldlineError =>
    new HoldlineError('HOLDLINE_BAD_OPTION', `--config: "${path}" ${reason}`);
  let content: string;
  try {
    content = readFile(path);
  } catch (error) {
    throw refuse(`cannot be read (${(error as Error).message})`);
  }
  let values: unknown;
  try {
    values = JSON.parse(content);
  } catch (error) {
    // Only the place: what V8 says quotes the text around it, and that may be a key.
    const position = /at position (\d+)/.exec((error as Error).message)?.[1];
    const line =
      position === undefined
        ? ''
        : ` (line ${content.slice(0, Number(position)).split('\n').length})`;
    throw refuse(
      `is not JSON${line}; wanted is an object such as {"port": 8080, "heartbeat": "15s"}`,
    );
  }
  if (typeof values !== 'object' || values === null || Array.isArray(values)) {
    throw refuse('holds no object; wanted is one such as {"port": 8080, "heartbeat": "15s"}');
  }
  const known = FILE_ROWS.map((row) => row.flag);
  const unknown = Object.keys(values).find((key) => !known.includes(key));
  if (unknown !== undefined)
    throw unknownOption(
      unknown,
      known,
      `the keys are ${known.join(', ')}`,
      `"${unknown}" in ${path}`,
    );
  return values as Record<string, unknown>;
}

/** The first source that gives the option. */
function find(
  row: OptionRow,
  flags: ReadonlyMap<string, string>,
  env: Surroundings['env'],
  file: { readonly path: string; readonly values: Readonly<Record<string, unknown>> } | undefined,
): Found {
  const accept = (value: unknown, given: unknown, name: string, source: string): Found => {
    if (value === undefined) throw badOption(name, given, row.kind.accepted, row.secret);
    return { value, name, source };
  };
  const flagText = flags.get(row.flag);
  if (flagText !== undefined)
    return accept(row.kind.readText(flagText), flagText, `--${row.flag}`, 'flag');
  const variable = variableOf(row);
  const variableText = env[variable];
  if (variableText !== undefined && !isServiceLink(variable, variableText)) {
    return accept(row.kind.readText(variableText), variableText, variable, 'environment');
  }
  if (file !== undefined && Object.hasOwn(file.values, row.flag)) {
    const given = file.values[row.flag];
    return accept(
      row.kind.readJson(given),
      given,
      `"${row.flag}" in ${file.path}`,
      `file ${file.path}`,
    );
  }
  return { value: undefined, name: `--${row.flag}`, source: 'default' };
}

/**
 * Kubernetes gives every pod variables about the services beside it, and a service called
 * "holdline" makes HOLDLINE_PORT a URL: HOLDLINE_SERVICE_HOST=10.0.0.7,
 * HOLDLINE_PORT=tcp://10.0.0.7:80, HOLDLINE_PORT_80_TCP_ADDR=10.0.0.7. None of them is meant for
 * us.
 */
function isServiceLink(variable: string, value: string): boolean {
  if (variable.endsWith('_PORT') && /^(?:tcp|udp|sctp):\/\//.test(value)) return true;
  return /_SERVICE_HOST$|_SERVICE_PORT(?:_[A-Z0-9_]+)?$|_PORT_\d+_(?:TCP|UDP|SCTP)(?:_PROTO|_PORT|_ADDR)?$/.test(
    variable,
  );
}

/**
 * A warning for each HOLDLINE_ variable that is no option. It is no error: unlike flags and file,
 * the environment has many authors.
 */
function unknownVariables(env: Surroundings['env'], rows: readonly OptionRow[]): string[] {
  const known = rows.map(variableOf);
  return Object.entries(env).flatMap(([name, value]) => {
    if (
      !name.startsWith('HOLDLINE_') ||
      known.includes(name) ||
      value === undefined ||
      isServiceLink(name, value)
    )
      return [];
    const nearest = nearestName(
      name.slice('HOLDLINE_'.length),
      known.map((one) => one.slice('HOLDLINE_'.length)),
    );
    return [
      `the environment variable ${name} is not an option and has no effect${nearest === undefined ? '' : `; did you mean HOLDLINE_${nearest}?`}`,
    ];
  });
}

function maskedText(row: OptionRow, value: unknown): string {
  if (value === undefined) return 'none';
  if (row.secret) return '********';
  return row.kind.toText(value) || 'none';
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
    'Holds the line open for everyone who subscribes with GET /channel and pushes each event that is published with POST /channel.',
    '',
    ...optionLines(FLAG_ROWS),
    '',
    'SIZE is a number of bytes, or one with KiB, MiB or GiB: 4096, 64KiB. TIME has a unit, ms, s, min or h: 250ms, 15s.',
    'ORIGIN and allowed HOST may be repeated, or given with commas between.',
    'Every option is also a variable (--replay-events is HOLDLINE_REPLAY_EVENTS) and a key of the config file (replay-events).',
    'A flag beats the environment, the environment beats the file. A flag is seen by everyone who can list processes: give keys',
    'as variables or in the file.',
    '',
  ].join('\n');
}

/** The options of a command for its help: each with what it does, its range and its default. */
export function optionLines(rows: readonly OptionRow[]): string[] {
  const described = rows.map((row) => ({ left: `  --${row.flag} ${row.kind.placeholder}`, row }));
  const width = Math.max(...described.map(({ left }) => left.length)) + 2;
  const lines = described.flatMap(({ left, row }) => {
    const bounds = takesValue(row)
      ? [' '.repeat(width) + [row.kind.range, defaultInWords(row)].filter(Boolean).join('; ')]
      : [];
    return [left.padEnd(width) + row.help, ...bounds];
  });
  return ['Options:', ...lines, '  -h, --help'.padEnd(width) + 'print this and exit'];
}

function defaultInWords(row: OptionRow): string {
  if ('defaultMeans' in row) return `default: ${row.defaultMeans}`;
  return `default: ${row.default === undefined ? 'none' : row.kind.toText(row.default) || 'none'}`;
}
