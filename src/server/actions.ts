/**
 * What is under `/-/` beside pages: one table of paths and methods. ops/openapi.ts describes each
 * of them.
 */
import type { Action, Actions } from './router.js';

type Method = 'GET' | 'POST' | 'DELETE';

/** What the actions do; each checks rights itself. */
export interface ActionParts {
  /** Publishes a batch over several channels. */
  readonly publish: Action;
  readonly makeTicket: Action;
  /** Opens a stream of the counts of subscribers. */
  readonly watch: Action;
  /** Ends lines, or revokes a user. */
  readonly endConnections: Action;
}

export function makeActions(parts: ActionParts): Actions {
  return new Map([
    ['publish', one('POST', parts.publish)],
    ['tickets', one('POST', parts.makeTicket)],
    ['watch', one('GET', parts.watch)],
    ['connections', one('DELETE', parts.endConnections)],
  ]);
}

function one(method: Method, action: Action): ReadonlyMap<Method, Action> {
  return new Map([[method, action]]);
}
