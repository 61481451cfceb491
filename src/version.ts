/** The package's own package.json, which is beside `src/` as beside `dist/`. */

import { readFileSync } from 'node:fs';

export const MANIFEST = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as {
  readonly version: string;
  readonly peerDependencies: Readonly<Record<string, string>>;
};

export const VERSION = MANIFEST.version;
