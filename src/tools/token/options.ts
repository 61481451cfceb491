/** The options of `holdline token`: one table gives its settings, their checks and its help. */

import { compilePattern } from '../../auth/pattern.js';
import { isUserName } from '../../auth/rights.js';
import { PATTERNS_PER_ACTION_MAX } from '../../limits.js';
import {
  optionLines,
  parseOptions,
  type Surroundings,
  type ValuesOf,
} from '../../options/command-line.js';
import { form, list, time, type Kind } from '../../options/kinds.js';
import { OPTIONS, type OptionRow } from '../../options/table.js';

const SECOND = 1000;
const HOUR = 3600 * SECOND;

const patterns: Kind<readonly string[]> = list(
  'PATTERN',
  PATTERNS_PER_ACTION_MAX,
  'channels or patterns such as a, tick-* or org/**',
  (item) => (compilePattern(item) === undefined ? undefined : item),
);

function right(flag: string, help: string) {
  return { flag, kind: patterns, default: [], help } as const;
}

const TOKEN_OPTIONS = {
  jwtSecret: {
    ...OPTIONS.jwtSecret,
    defaultMeans: 'none; it must be given',
    help: 'secret to sign with (HS256), the same as of the server',
  },
  subscribe: right('subscribe', 'channels that it may read'),
  publish: right('publish', 'channels that it may publish to'),
  delete: right('delete', 'channels that it may delete'),
  watch: right('watch', 'channels whose lines it may count'),
  user: {
    flag: 'user',
    kind: form('USER', '1 to 128 characters that can be shown', (text) =>
      isUserName(text) ? text : undefined,
    ),
    default: undefined,
    defaultMeans: 'none',
    help: 'whom it stands for (sub)',
  },
  expiresInMs: {
    flag: 'expires',
    kind: time(SECOND, 24 * HOUR),
    default: HOUR,
    help: 'how long it counts',
  },
  jwtAudience: { ...OPTIONS.jwtAudience, help: 'for whom it is (aud)' },
  jwtIssuer: { ...OPTIONS.jwtIssuer, help: 'whose it is (iss)' },
} as const satisfies Record<string, OptionRow>;

/** The settings, see the table. */
export type TokenSettings = ValuesOf<typeof TOKEN_OPTIONS>;

/** Reads the arguments after `token`. Throws HOLDLINE_BAD_OPTION. */
export function parseTokenOptions(
  args: readonly string[],
  { env, readFile }: Pick<Surroundings, 'env' | 'readFile'>,
): { readonly values: TokenSettings; readonly warnings: readonly string[] } {
  return parseOptions('token', TOKEN_OPTIONS, args, env, readFile);
}

/** What `holdline token --help` prints. */
export function tokenHelp(): string {
  return [
    'Usage: holdline token [options]',
    '',
    'Prints a token (JWT, HS256) for a server with the same --jwt-secret: to try things with, for',
    'scripts, and as an example of what your login hands out. It asks no server.',
    '',
    ...optionLines(Object.values(TOKEN_OPTIONS)),
    '',
    'A PATTERN is a channel in which * stands for the rest of a segment, and ** for any rest.',
    'TIME has a unit, ms, s, min, h or d: 5min, 1h. Give the secret in a file',
    '(--jwt-secret-file FILE) or as a variable: everyone who can list processes sees flags.',
    '',
  ].join('\n');
}
