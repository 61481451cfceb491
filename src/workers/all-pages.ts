/**
 * Pages under `/-/` that show figures, over all workers: whichever is asked asks every one, and
 * adds up what they answer. `workers` in the answer says who did not answer in time.
 */
import type { LineFigures, LineOrder } from '../core/line-ranking.js';
import { withRatio } from '../core/channel-compression.js';
import {
  comparePlaces,
  type ChannelDetails,
  type ChannelOrder,
  type ChannelUsers,
  type ListedChannel,
  type ListPlace,
} from '../core/channel-listing.js';
import { HoldlineError } from '../errors.js';
import { limitOf } from '../http/request.js';
import {
  CHANNELS_IN_METRICS_MAX,
  LISTED_OVER_WORKERS_MAX,
  LISTED_USERS_MAX,
  RANKED_LINES_DEFAULT,
} from '../limits.js';
import { listingOf, nextOf } from '../ops/channel-pages.js';
import type { MemoryClass, MemoryReport } from '../ops/memory/report.js';
import { METRICS_CONTENT_TYPE } from '../ops/metrics.js';
import {
  jsonAnswer,
  type OpsAnswer,
  type OpsPage,
  type OpsPages,
  type OpsRequest,
} from '../ops/page.js';
import type { Stats } from '../ops/stats.js';
import { sumMetrics } from './metric-sums.js';
import { sumOf, type Rules } from './sums.js';
import type { NamedChannels, Question, WorkerAnswer, WorkersReport } from './talk.js';
import { workersMetrics } from './workers-rows.js';

/** What these pages ask of the supervisor. */
export interface Everyone {
  askEveryone(
    question: Question,
  ): Promise<{ readonly answers: readonly WorkerAnswer[]; readonly report: WorkersReport }>;
}

/** What was answered by those who did, with what is shown of all. */
interface Answers {
  readonly given: readonly (WorkerAnswer & { readonly text: string })[];
  readonly report: WorkersReport;
  readonly workers: object;
}

/** How the figures of several workers become one where they do not add up. */
const STATS_RULES: Rules = {
  uptimeMs: 'max',
  head: 'max',
  floor: 'max',
  'lines.cap': 'max',
  'sockets.options': 'first',
  'channels.known': 'max',
  'channels.rings': 'max',
  'memory.budgetBytes': 'first',
  'memory.budgetUsedBytes': 'max',
  loopDelay: 'max',
  log: 'first',
};

const MEMORY_RULES: Rules = {
  'classes.native.bytesPerLine': 'first',
  'classes.native.spreadLines': 'max',
  // The port is the same for all.
  kernel: 'first',
  'budget.bytes': 'first',
  'budget.usedBytes': 'max',
};

const CHANNEL_RULES: Rules = {
  linesInAll: 'max',
  newestId: 'max',
  heldEvents: 'max',
  heldBytes: 'max',
  // The same events wait in the queue of each.
  queuedEvents: 'max',
  eventsPerSecond: 'max',
  bytesPerSecond: 'max',
  recentEvents: 'max',
};

/** The pages with those that are summed; the others are the same in every worker. */
export function pagesOfAll(pages: OpsPages, everyone: Everyone): OpsPages {
  const all: Readonly<Record<string, OpsPage['answer']>> = {
    stats: async (request) => {
      const { given, report, workers } = await ask(everyone, 'stats', request);
      const each = parsed(given) as readonly Pick<Stats, 'log'>[];
      const sum = sumOf(each, STATS_RULES) as Pick<Stats, 'counters' | 'log'>;
      // Over NATS each has a log of its own: one that is down is what an operator has to see.
      const { log } = each.find((one) => !one.log.up) ?? sum;
      const { gone, own } = report;
      const counters = sumOf([sum.counters, gone.counters ?? null, own.counters ?? null]);
      return jsonAnswer({ ...sum, log, counters, workers });
    },
    memory: async (request) => {
      const { given, report, workers } = await ask(everyone, 'memory', request);
      const sum = withShares(sumOf(parsed(given), MEMORY_RULES) as MemoryReport);
      return jsonAnswer({ ...sum, supervisorRssBytes: report.supervisorRssBytes, workers });
    },
    metrics: async (request) => {
      // Each tells of the same channels, or a sum would fall when a channel is busy elsewhere only.
      const { names: channels } = await namesOfAll(everyone, 'lines', CHANNELS_IN_METRICS_MAX);
      const { given, report } = await ask(everyone, 'metrics', { ...request, channels });
      const { gone, own } = report;
      const texts = [...given.map(({ text }) => text), gone.metrics ?? '', own.metrics ?? ''];
      const sum = sumMetrics(texts, CHANNELS_IN_METRICS_MAX);
      const body = `${sum}\n${workersMetrics(report, given.length)}`;
      return { contentType: METRICS_CONTENT_TYPE, body };
    },
    connections: async (request) => {
      const { given, workers } = await ask(everyone, 'connections', request);
      const pagesGiven = given.map(({ text, spawn }) => ({
        ...(JSON.parse(text) as { readonly sort: LineOrder; readonly connections: LineFigures[] }),
        spawn,
      }));
      const sort = pagesGiven[0]?.sort ?? 'lag';
      const connections = pagesGiven
        .flatMap((page) =>
          page.connections.map((one) => ({ ...one, id: idOfAll(one.id, page.spawn) })),
        )
        .sort((one, other) => keyOf(other, sort) - keyOf(one, sort))
        .slice(0, limitOf(request.query) || RANKED_LINES_DEFAULT);
      return jsonAnswer({ sort, connections, workers });
    },
    channels: (request) => listOfAll(everyone, request),
    'channels/': async (request) => {
      const { given, workers } = await ask(everyone, 'channels/', request);
      const found = parsed(given) as readonly (ChannelDetails & Partial<ChannelUsers>)[];
      // Unknown to all: the page of this worker says so.
      if (found.length === 0) return pages.get('channels/')!.answer(request);
      const sum = channelOfAll(found);
      return jsonAnswer({ ...sum, ...usersOfAll(found), workers });
    },
  };
  const summed = [...pages].map(([name, page]): [string, OpsPage] => {
    const answer = Object.hasOwn(all, name) ? all[name] : undefined;
    if (answer === undefined) return [name, page];
    const checked: OpsPage['answer'] = async (request) => {
      page.check?.(request);
      return answer(request);
    };
    return [name, { ...page, answer: checked }];
  });
  return new Map(summed);
}

/** The id of a line over all workers, and back: each worker counts its own. */
const SPAWNS = 65_536;

export function idOfAll(id: number, spawn: number): number {
  return id * SPAWNS + (spawn % SPAWNS);
}

/** The id within a worker; undefined for a line of another one. */
export function idWithin(idOverAll: number, spawn: number): number | undefined {
  return idOverAll % SPAWNS === spawn % SPAWNS ? Math.floor(idOverAll / SPAWNS) : undefined;
}

async function ask(
  everyone: Everyone,
  page: string,
  { query, rest, draining, channels }: OpsRequest,
): Promise<Answers> {
  const { answers, report } = await everyone.askEveryone({
    page,
    query: query.text,
    rest,
    draining,
    ...(channels !== undefined && { channels }),
  });
  const given = answers.flatMap((one) =>
    typeof one.answer === 'string' ? [{ ...one, text: one.answer }] : [],
  );
  if (page !== 'metrics') checkAnswered(answers);
  return { given, report, workers: shownOf(answers, report) };
}

/** Throws HOLDLINE_LOG_UNAVAILABLE, as where the supervisor does not answer. */
function checkAnswered(answers: readonly WorkerAnswer[]): void {
  if (!answers.every(({ isSilent }) => isSilent)) return;
  throw new HoldlineError('HOLDLINE_LOG_UNAVAILABLE', 'no worker answered in time; ask again');
}

/** What is shown of all workers beside their sum. */
function shownOf(answers: readonly WorkerAnswer[], report: WorkersReport): object {
  const silent = answers.filter(({ isSilent }) => isSilent).map(({ place }) => place);
  const { workers, serving, restarts, supervisorPid } = report;
  const pids = answers.map(({ pid }) => pid);
  return { wanted: workers, serving, restarts, silent, pids, supervisorPid };
}

function parsed(given: Answers['given']): readonly unknown[] {
  return given.map(({ text }) => JSON.parse(text) as unknown);
}

/** A sum with what one line takes of each class, which does not add up. */
function withShares(sum: MemoryReport): MemoryReport {
  const { lines, rssBytes, classes } = sum;
  const share = (bytes: number): number | null => (lines === 0 ? null : bytes / lines);
  const shares = Object.entries(classes).map(([name, one]: [string, MemoryClass]) => [
    name,
    // What a socket takes is known without lines, too.
    { ...one, bytesPerLine: share(one.bytes) ?? (name === 'native' ? one.bytesPerLine : null) },
  ]);
  return {
    ...sum,
    rssBytesPerLine: share(rssBytes),
    classes: Object.fromEntries(shares) as MemoryReport['classes'],
  };
}

function keyOf(line: LineFigures, order: LineOrder): number {
  if (order === 'age') return line.ageMs;
  return order === 'lag' ? line.lagEvents : line.lagBytes + line.unsentBytes;
}

// ── channels ─────────────────────────────────────────────────────────────────────────────────────

/** A channel of one worker, or of all, with what each order goes by. */
type Counted = ListedChannel & { readonly linesInAll: number; readonly recentEvents: number };

/**
 * A page of all channels. Each worker names those that stand first there behind the place where the
 * page begins, by what it knows of all workers; then every worker is asked of all that were named.
 */
async function listOfAll(everyone: Everyone, { query }: OpsRequest): Promise<OpsAnswer> {
  const { sort, limit, after } = listingOf(query);
  const { names, end, workers } = await namesOfAll(everyone, sort, limit, after);
  const { found, answers, report } = await channelsNamed(everyone, names, workers);
  const isOnPage = (place: ListPlace): boolean =>
    (after === undefined || comparePlaces(place, after) > 0) &&
    (end === undefined || comparePlaces(place, end) <= 0);
  const channels = found
    .filter((one) => isOnPage(placeOf(one, sort)))
    .sort((one, other) => comparePlaces(placeOf(one, sort), placeOf(other, sort)));
  const last = channels.length > limit ? placeOf(channels[limit - 1]!, sort) : end;
  const shown = channels
    .slice(0, limit)
    .map(({ linesInAll: _lines, recentEvents: _events, ...channel }) => channel);
  return jsonAnswer({
    sort,
    channels: shown,
    next: nextOf(last),
    workers: shownOf(answers, report),
  });
}

/**
 * The channels that stand first behind a place in each worker. `end`: the first of the places at
 * which their lists end; a channel that none has named stands behind it. Undefined when all are
 * named.
 */
async function namesOfAll(
  everyone: Everyone,
  list: ChannelOrder,
  count: number,
  after?: ListPlace,
): Promise<{
  readonly names: readonly string[];
  readonly end: ListPlace | undefined;
  readonly workers: number;
}> {
  const { answers } = await everyone.askEveryone({ list, count, after });
  const lists = answers.flatMap(({ answer }) => (answer as NamedChannels | undefined) ?? []);
  return {
    names: [...new Set(lists.flatMap(({ names }) => names))],
    end: lists.flatMap(({ end }) => end ?? []).sort(comparePlaces)[0],
    workers: answers.length,
  };
}

/**
 * These channels over all workers. Every worker is asked of each, and all answers come in one frame
 * from the supervisor: so many at a time that they fit it.
 */
async function channelsNamed(
  everyone: Everyone,
  names: readonly string[],
  workers: number,
): Promise<{
  readonly found: Counted[];
  readonly answers: readonly WorkerAnswer[];
  readonly report: WorkersReport;
}> {
  const most = Math.max(1, Math.floor(LISTED_OVER_WORKERS_MAX / workers));
  const found: Counted[] = [];
  const silent = new Set<number>();
  for (let begin = 0; ; begin += most) {
    const portion = names.slice(begin, begin + most);
    const { answers, report } = await everyone.askEveryone({ channels: portion });
    checkAnswered(answers);
    for (const channel of channelsOf(answers)) found.push(channel);
    for (const { place, isSilent } of answers) if (isSilent) silent.add(place);
    if (begin + most < names.length) continue;
    const told = answers.map((one) => ({ ...one, isSilent: silent.has(one.place) }));
    return { found, answers: told, report };
  }
}

/** The channels that workers answered, each over all of them. */
function channelsOf(answers: readonly WorkerAnswer[]): Counted[] {
  const byName = new Map<string, Counted[]>();
  for (const { answer } of answers) {
    for (const channel of (answer ?? []) as readonly Counted[]) {
      const same = byName.get(channel.name);
      if (same === undefined) byName.set(channel.name, [channel]);
      else same.push(channel);
    }
  }
  return [...byName.values()].map(channelOfAll);
}

/** A channel over all workers. */
export function channelOfAll<Shown extends ListedChannel>(same: readonly Shown[]): Shown {
  const sum = sumOf(same, CHANNEL_RULES) as Shown;
  return { ...sum, compression: sum.compression === null ? null : withRatio(sum.compression) };
}

function placeOf({ name, linesInAll, recentEvents }: Counted, order: ChannelOrder): ListPlace {
  return { value: order === 'lines' ? linesInAll : recentEvents, name };
}

/** A user may have lines in several workers. */
function usersOfAll(
  found: readonly (ChannelDetails & Partial<ChannelUsers>)[],
): Partial<ChannelUsers> {
  if (found[0]?.users === undefined) return {};
  const linesOf = new Map<string, number>();
  let isWhole = true;
  for (const { users = [], usersTotal = 0 } of found) {
    if (usersTotal > users.length) isWhole = false;
    for (const { user, lines } of users) linesOf.set(user, (linesOf.get(user) ?? 0) + lines);
  }
  const users = [...linesOf].map(([user, lines]) => ({ user, lines }));
  users.sort((one, other) => other.lines - one.lines || (one.user < other.user ? -1 : 1));
  // Those that were not listed may be the same in two workers, or not.
  const most = found.reduce((sum, { usersTotal = 0 }) => sum + usersTotal, 0);
  return {
    users: users.slice(0, LISTED_USERS_MAX),
    usersTotal: isWhole ? users.length : most,
  };
}
