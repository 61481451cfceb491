/** What this worker answers when every worker is asked (workers/all-pages.ts). */
import type { Revocation } from '../auth/revocations.js';
import type { Hub } from '../core/hub.js';
import type { HubFigures } from '../core/hub-figures.js';
import type { WhichLines } from '../core/line-ends.js';
import { HoldlineError } from '../errors.js';
import { Query } from '../http/query.js';
import type { OpsPages } from '../ops/page.js';
import { idWithin } from './all-pages.js';
import type { NamedChannels, Question } from './talk.js';

export interface QuestionParts {
  /** Those of this worker alone. */
  readonly pages: OpsPages;
  readonly hub: Pick<Hub<never>, 'disconnect'> & {
    readonly figures: Pick<
      HubFigures,
      'channelDetails' | 'linesInAll' | 'listChannels' | 'recentEvents'
    >;
  };
  readonly spawn: number;
  /** A user is revoked, whether the log can keep that or not. */
  readonly revoke: (revocation: Revocation) => void;
}

export function answersOf({
  pages,
  hub,
  spawn,
  revoke,
}: QuestionParts): (question: Question) => unknown {
  return (question) => {
    if ('page' in question) return bodyOf(pages, question);
    if ('disconnect' in question) {
      const which = within(question.disconnect as WhichLines, spawn);
      if (which === undefined) return 0;
      const { code, notBeforeMs } = question;
      if ('user' in which && notBeforeMs !== undefined) revoke({ user: which.user, notBeforeMs });
      return hub.disconnect(which, code);
    }
    if ('list' in question) {
      const { list, count, after } = question;
      const { channels, next } = hub.figures.listChannels(list, count, after);
      const names = channels.map(({ name }) => name);
      return { names, end: next ?? null } satisfies NamedChannels;
    }
    return question.channels.flatMap((name) => {
      const details = hub.figures.channelDetails(name);
      if (details === undefined) return [];
      const {
        linesByTransport: _byTransport,
        queuedEvents: _queued,
        isDeleted: _deleted,
        ...listed
      } = details;
      const linesInAll = hub.figures.linesInAll(name);
      return [{ ...listed, linesInAll, recentEvents: hub.figures.recentEvents(name) }];
    });
  };
}

/** The body of a page; null for a channel that is not known here. */
async function bodyOf(
  pages: OpsPages,
  { page, query, rest, ...request }: Extract<Question, { page: string }>,
): Promise<string | null> {
  try {
    const answer = await pages.get(page)!.answer({ query: new Query(query), rest, ...request });
    return String(answer.body);
  } catch (error) {
    if (error instanceof HoldlineError && error.code === 'HOLDLINE_NOT_FOUND') return null;
    throw error;
  }
}

function within(which: WhichLines, spawn: number): WhichLines | undefined {
  if (!('id' in which)) return which;
  const id = idWithin(which.id, spawn);
  return id === undefined ? undefined : { id };
}
