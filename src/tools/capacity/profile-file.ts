/** A profile as a file: its text, and reading it back. */

import { readFileSync } from 'node:fs';
import { HoldlineError } from '../../errors.js';
import { faultIn } from './profile-check.js';
import { PROFILE_SCHEMA, type Profile } from './profile.js';

/** A profile as the text of a file. */
export function profileText(profile: Profile): string {
  return `${JSON.stringify(profile, undefined, 1)}\n`;
}

/** Reads a profile. Throws HOLDLINE_BAD_OPTION when this version cannot read the file. */
export function loadProfile(
  path: string,
  readFile: (path: string) => string = (name) => readFileSync(name, 'utf8'),
): Profile {
  const refuse = (reason: string): HoldlineError =>
    new HoldlineError('HOLDLINE_BAD_OPTION', `--profile: "${path}" ${reason}`);
  const remedy = 'measure again with holdline capacity --save FILE';
  let text: string;
  try {
    text = readFile(path);
  } catch (error) {
    throw refuse(`cannot be read (${(error as Error).message})`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refuse('is not JSON; make a profile with holdline capacity --save FILE');
  }
  const schema = (value as { schema?: unknown } | null)?.schema;
  if (schema === undefined)
    throw refuse('is not a profile; make one with holdline capacity --save FILE');
  if (schema !== PROFILE_SCHEMA) {
    const found = JSON.stringify(schema);
    throw refuse(`has schema ${found}, and this version reads ${PROFILE_SCHEMA}; ${remedy}`);
  }
  const fault = faultIn(value);
  if (fault !== undefined) throw refuse(`is damaged: ${fault}; ${remedy}`);
  return value as Profile;
}
