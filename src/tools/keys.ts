/** How tools show a server a key or a token, and the option of one that may read. */

import { textMatching } from '../options/kinds.js';

export const SUBSCRIBE_KEY = {
  flag: 'subscribe-key',
  kind: textMatching('KEY', /^[\x21-\x7e]{1,8192}$/, '1 to 8192 visible ASCII characters'),
  default: undefined,
  defaultMeans: 'none, for a server that everyone may read',
  secret: true,
} as const;

/** The header that shows it; none without one. */
export function bearerOf(key: string | undefined): Readonly<Record<string, string>> {
  return key === undefined ? {} : { Authorization: `Bearer ${key}` };
}
