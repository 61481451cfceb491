/** What the doctor says about one thing. */

import type { Machine, Plan } from './machine.js';

/**
 * `ok`: nothing to do. `advice`: it works and could be better. `problem`: lines will be refused,
 * cut, or served late.
 */
export type Level = 'ok' | 'advice' | 'problem';

/** One thing that was checked. */
export interface Finding {
  /** Its name, in lower case with dashes. It never changes, for the sake of programs. */
  readonly name: string;
  readonly level: Level;
  /** What was found. */
  readonly value: string;
  /** Why it matters for so many lines. */
  readonly why: string;
  /** A command, a line of configuration or an option; null where nothing is wrong. */
  readonly mend: string | null;
}

/** Checks one thing; undefined where the machine does not have it. */
export type MachineCheck = (machine: Machine, plan: Plan) => Finding | undefined;

/** A finding, which has a mend only where it is not ok. */
export function found(
  name: string,
  level: Level,
  value: string,
  why: string,
  mend: string,
): Finding {
  return { name, level, value, why, mend: level === 'ok' ? null : mend };
}
