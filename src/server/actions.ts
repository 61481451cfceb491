/**
 * What is under `/-/` beside pages: one table of paths and methods. ops/openapi.ts describes each
 * of them.
 */
import type { Action, Actions } from './router.js';

/** What the actions do; each checks rights itself. */
export interface ActionParts {
  /** Publishes a batch over several channels. */
  readonly publish: Action;
  readonly makeTicket: Action;
}

export function makeActions({ publish, makeTicket }: ActionParts): Actions {
  return new Map([
    ['publish', new Map([['POST', publish] as const])],
    ['tickets', new Map([['POST', makeTicket] as const])],
  ]);
}
