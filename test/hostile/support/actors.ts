/** Everything that can be started in a process of its own, by name. */
import { controlLine } from './control-line.js';
import { lines } from './lines.js';
import { publishers } from './publishers.js';
import { sockets } from './sockets.js';

export const ACTORS = { controlLine, lines, publishers, sockets };

export type ActorName = keyof typeof ACTORS;
export type ParametersOf<Name extends ActorName> = Parameters<(typeof ACTORS)[Name]>[1];

/** What the process is asked. */
export type Question =
  | {
      readonly ask: number;
      readonly begin: ActorName;
      readonly port: number;
      readonly parameters: unknown;
    }
  | { readonly ask: number; readonly look: number }
  | { readonly ask: number; readonly stop: number };

/** What it answers; `value` is figures, or the number of what was begun. */
export interface Answer {
  readonly ask: number;
  readonly value?: unknown;
  readonly error?: string;
}
