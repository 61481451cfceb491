/** Where option values come from: flags, environment variables and a config file. */

import { parseArgs } from 'node:util';
import { HoldlineError } from '../errors.js';
import { badOption, unknownOption } from './refusals.js';
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
        `"${token.value}" is not an option; options start with -- ` +
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
  readFile: (path: string) => string,
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

/** The value from the first source that gives the option. Throws HOLDLINE_BAD_OPTION. */
export function find(
  row: OptionRow,
  flags: ReadonlyMap<string, string>,
  env: Environment,
  file: ConfigFile | undefined,
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
