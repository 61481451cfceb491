/** Where option values come from: flags, environment variables and a config file. */

import { parseArgs } from 'node:util';
import { HoldlineError } from '../errors.js';
import { OPTION_FILE_BYTES_MAX } from '../limits.js';
import { textMatching } from './kinds.js';
import { badOption, show, unknownOption } from './refusals.js';
import type { Given } from './settings.js';
import { nearestName } from '../spelling.js';
import type { OptionRow } from './table.js';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface ConfigFile {
  readonly path: string;
  /** By the names of the flags. */
  readonly values: Readonly<Record<string, unknown>>;
}

/** A given value and its source; undefined where only the default is left. */
interface Found extends Given {
  readonly source: string;
}

/** The environment variable of an option. */
export function variableOf(row: OptionRow): string {
  return `HOLDLINE_${row.flag.toUpperCase().replaceAll('-', '_')}`;
}

/** The texts of the flags by name: of a repeated flag the last one, or all of them for a list. */
export function readFlags(
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
  // Not strict: the messages of parseArgs name neither what is accepted nor a similar name.
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
        `${show(token.value)} is not an option; options start with -- ` +
          `and holdline ${command} takes nothing else`,
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
      const follows = followedByFlag ? token.value : 'nothing';
      throw new HoldlineError(
        'HOLDLINE_BAD_OPTION',
        `--${row.flag} needs a value: ${row.kind.accepted} (${follows} follows)`,
      );
    }
    const before = row.kind.repeatable ? flags.get(row.flag) : undefined;
    const given = token.value ?? 'true';
    flags.set(row.flag, before === undefined ? given : `${before},${given}`);
  }
  return flags;
}

export function takesValue(row: OptionRow): boolean {
  return row.kind.placeholder !== '';
}

/** Reads a file with a JSON object whose keys are all `known`. Throws HOLDLINE_BAD_OPTION. */
export function readConfigFile(
  path: string,
  readFile: ReadFile,
  known: readonly string[],
): ConfigFile {
  const refuse = (reason: string): HoldlineError =>
    new HoldlineError('HOLDLINE_BAD_OPTION', `--config: "${path}" ${reason}`);
  const example = 'an object such as {"port": 8080, "heartbeat": "15s"}';
  let content: string;
  try {
    content = readFile(path);
  } catch (error) {
    throw refuse(`cannot be read (${(error as Error).message})`);
  }
  let values: unknown;
  try {
    // Editors on Windows begin a file with a byte order mark.
    values = JSON.parse(content.replace(/^\uFEFF/, ''));
  } catch (error) {
    // Only the line: V8's message quotes the text around it, which may be a secret.
    const position = /at position (\d+)/.exec((error as Error).message)?.[1];
    const line =
      position === undefined
        ? ''
        : ` (line ${content.slice(0, Number(position)).split('\n').length})`;
    throw refuse(`is not JSON${line}; it must be ${example}`);
  }
  if (typeof values !== 'object' || values === null || Array.isArray(values)) {
    throw refuse(`is not a JSON object; it must be ${example}`);
  }
  const unknown = Object.keys(values).find((key) => !known.includes(key));
  if (unknown !== undefined)
    throw unknownOption(
      unknown,
      known,
      `the keys are ${known.join(', ')}`,
      `"${unknown}" in ${path}`,
    );
  return { path, values: values as Record<string, unknown> };
}

/** Reads a file as text; throws when that fails. */
export type ReadFile = (path: string) => string;

const FILE = textMatching('FILE', /^[^\0]+$/s, 'the path of a file');

/** The option that gives the file of another option; undefined where that takes none. */
export function fileRowOf(row: OptionRow): OptionRow | undefined {
  if (row.secret !== true && row.mayBeFile !== true) return undefined;
  const help = `file with the value of --${row.flag}`;
  return { flag: `${row.flag}-file`, kind: FILE, default: undefined, help };
}

/** What one source gives: as it is written, its name there, and the source. */
interface Written {
  readonly given: unknown;
  readonly name: string;
  readonly source: string;
  readonly isText: boolean;
}

/** The value from the first source that gives the option. Throws HOLDLINE_BAD_OPTION. */
export function find(
  row: OptionRow,
  flags: ReadonlyMap<string, string>,
  env: Environment,
  file: ConfigFile | undefined,
  readFile?: ReadFile,
): Found {
  const fileRow = readFile === undefined ? undefined : fileRowOf(row);
  for (const look of [inFlags(flags), inEnvironment(env), inConfigFile(file)]) {
    const value = look(row);
    const path = fileRow === undefined ? undefined : look(fileRow);
    if (value !== undefined && path !== undefined) {
      throw new HoldlineError(
        'HOLDLINE_BAD_OPTION',
        `${value.name} and ${path.name} exclude each other`,
      );
    }
    if (path !== undefined) return fromFile(row, pathIn(path), path, readFile!);
    if (value === undefined) continue;
    const { given } = value;
    if (row.isFile && readFile !== undefined && typeof given === 'string' && !isPem(given))
      return fromFile(row, pathIn(value), value, readFile);
    const read = value.isText ? row.kind.readText(given as string) : row.kind.readJson(given);
    return accepted(row, read, given, value);
  }
  return { value: undefined, name: `--${row.flag}`, source: 'default' };
}

function accepted(row: OptionRow, value: unknown, given: unknown, where: Written): Found {
  const { name, source } = where;
  if (value === undefined) throw badOption(name, given, row.kind.accepted, row.secret);
  return { value, name, source };
}

function isPem(text: string): boolean {
  return text.startsWith('-----BEGIN ');
}

function pathIn(written: Written): string {
  const path = FILE.read(written.given);
  if (path === undefined) throw badOption(written.name, written.given, FILE.accepted);
  return path;
}

/** Editors and `echo` end a file with a line break, and a list may have a line for each item. */
function fromFile(row: OptionRow, path: string, where: Written, readFile: ReadFile): Found {
  const refuse = (reason: string): HoldlineError =>
    new HoldlineError('HOLDLINE_BAD_OPTION', `${where.name}: "${path}" ${reason}`);
  let content: string;
  try {
    content = readFile(path);
  } catch (error) {
    throw refuse(`cannot be read (${(error as Error).message})`);
  }
  if (content.length > OPTION_FILE_BYTES_MAX)
    throw refuse(`has more than ${OPTION_FILE_BYTES_MAX} bytes`);
  const trimmed = content.replace(/^\uFEFF/, '').replace(/\s+$/, row.isFile ? '\n' : '');
  const text = row.kind.repeatable ? trimmed.replaceAll(/\r?\n/g, ',') : trimmed;
  const value = row.kind.readText(text);
  // Not shown: with a wrong path it may be any file.
  if (value === undefined)
    throw badOption(`${where.name} (in ${path})`, text, row.kind.accepted, true);
  return { value, name: where.name, source: where.source };
}

function inFlags(flags: ReadonlyMap<string, string>): (row: OptionRow) => Written | undefined {
  return ({ flag }) => {
    const given = flags.get(flag);
    return given === undefined
      ? undefined
      : { given, name: `--${flag}`, source: 'flag', isText: true };
  };
}

function inEnvironment(env: Environment): (row: OptionRow) => Written | undefined {
  return (row) => {
    const name = variableOf(row);
    const given = env[name];
    return given === undefined || isServiceLink(name, given)
      ? undefined
      : { given, name, source: 'environment', isText: true };
  };
}

function inConfigFile(file: ConfigFile | undefined): (row: OptionRow) => Written | undefined {
  return ({ flag }) => {
    if (file === undefined || !Object.hasOwn(file.values, flag)) return undefined;
    const { path, values } = file;
    const name = `"${flag}" in ${path}`;
    return { given: values[flag], name, source: `file ${path}`, isText: false };
  };
}

/**
 * Kubernetes sets variables for every service; for one called "holdline"
 * HOLDLINE_SERVICE_HOST=10.0.0.7, HOLDLINE_PORT=tcp://10.0.0.7:80,
 * HOLDLINE_PORT_80_TCP_ADDR=10.0.0.7 and others. They are not options.
 */
function isServiceLink(variable: string, value: string): boolean {
  if (variable.endsWith('_PORT') && /^(?:tcp|udp|sctp):\/\//.test(value)) return true;
  return /_SERVICE_HOST$|_SERVICE_PORT(?:_[A-Z0-9_]+)?$|_PORT_\d+_(?:TCP|UDP|SCTP)(?:_PROTO|_PORT|_ADDR)?$/.test(
    variable,
  );
}

/**
 * A warning for each HOLDLINE_ variable that is no option. It is not an error: unlike flags and
 * file, the environment has many authors.
 */
export function unknownVariables(env: Environment, rows: readonly OptionRow[]): string[] {
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
    const hint = nearest === undefined ? '' : `; did you mean HOLDLINE_${nearest}?`;
    return [`the environment variable ${name} is not an option and has no effect${hint}`];
  });
}
