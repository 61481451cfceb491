/**
 * `DELETE /-/connections?id=|channel=|user=`: an operator ends lines. By id or channel their
 * clients may come back; a user is revoked: credentials that were issued until now are worth
 * nothing.
 */
import { isUserName } from '../auth/rights.js';
import type { Hub } from '../core/hub.js';
import type { WhichLines } from '../core/line-ends.js';
import type { Counters } from '../counters.js';
import { HoldlineError } from '../errors.js';
import { andThen } from '../http/credentials.js';
import type { Exchange } from '../http/exchange.js';
import type { Guard } from '../http/guard.js';
import type { Head } from '../http/head.js';
import { badParameter, Query } from '../http/query.js';
import { checkChannelName } from '../http/request.js';
import type { Everyone } from '../workers/all-pages.js';
import type { Question } from '../workers/talk.js';

/** What ending lines takes of the server. */
export interface ConnectionParts {
  readonly guard: Pick<Guard, 'mayOperate' | 'revoke'>;
  readonly hub: Pick<Hub<never>, 'disconnect'>;
  readonly counters: Counters;
  /** All workers, where there are several: lines end in each of them. */
  readonly everyone: Everyone | undefined;
}

/**
 * Ends the lines, in slices of time from the next turn of the loop on, and answers `{"ended":N}`
 * with how many there are, and what was named; a revocation when the log has it. Throws or rejects
 * with HOLDLINE_UNAUTHORIZED, HOLDLINE_FORBIDDEN, HOLDLINE_BAD_QUERY, HOLDLINE_BAD_CHANNEL and
 * HOLDLINE_REVOCATIONS_FULL; then nothing has ended. Rejects with HOLDLINE_LOG_UNAVAILABLE when a
 * user is revoked here, and the log could not keep that.
 */
export function endConnections(
  { guard, hub, counters, everyone }: ConnectionParts,
  exchange: Exchange,
  head: Head,
): Promise<void> | undefined {
  const ended = andThen(guard.mayOperate(head), () => {
    const which = whichOf(new Query(head.query));
    let code: 'disconnected' | 'revoked' = 'disconnected';
    let kept: Promise<void> | undefined;
    let notBeforeMs: number | undefined;
    if ('user' in which) {
      notBeforeMs = Date.now();
      kept = guard.revoke(which.user, notBeforeMs);
      counters.revocations_total++;
      code = 'revoked';
    }
    // At once: an end that waited for the log would not come while that is down.
    const lines =
      everyone === undefined
        ? hub.disconnect(which, code)
        : endEverywhere(everyone, { disconnect: which, code, notBeforeMs });
    // With the name as it was read: a `+` in a query is a blank.
    const answer = (count: number): void =>
      exchange.answerJson(JSON.stringify({ ended: count, ...which }));
    if (kept !== undefined || lines instanceof Promise)
      return Promise.all([lines, kept]).then(([count]) => answer(count));
    answer(lines);
    return undefined;
  });
  if (!(ended instanceof Promise)) return undefined;
  exchange.watch();
  return ended;
}

async function endEverywhere(
  everyone: Everyone,
  question: Extract<Question, { readonly disconnect: unknown }>,
): Promise<number> {
  const { answers } = await everyone.askEveryone(question);
  return answers.reduce((sum, { answer }) => sum + (typeof answer === 'number' ? answer : 0), 0);
}

/** The lines that the query names. Throws HOLDLINE_BAD_QUERY unless it is exactly one of three. */
function whichOf(query: Query): WhichLines {
  query.checkNamesAmong(['id', 'channel', 'user']);
  const id = query.get('id');
  const channel = query.get('channel');
  const user = query.get('user');
  const given = [id, channel, user].filter((one) => one !== undefined).length;
  if (given !== 1) {
    throw new HoldlineError(
      'HOLDLINE_BAD_QUERY',
      `the query must have one of id, channel and user (got ${given === 0 ? 'none' : given})`,
    );
  }
  if (channel !== undefined) return { channel: checkChannelName(channel) };
  if (user !== undefined) {
    if (isUserName(user)) return { user };
    throw badParameter('user', '1 to 128 characters that can be printed', user);
  }
  if (/^[1-9]\d{0,15}$/.test(id as string)) return { id: Number(id) };
  throw badParameter('id', 'the id of a line, as /-/connections shows it', id as string);
}
