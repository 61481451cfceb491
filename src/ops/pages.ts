/** The pages under `/-/`: one table with who may ask for each, and what it answers. */
import type { EventLog, LogState } from '../core/event-log.js';
import { LINE_ORDERS, type LineFigures, type LineOrder } from '../core/line-ranking.js';
import { RANKED_LINES_DEFAULT } from '../limits.js';
import { limitOf } from '../http/request.js';
import { makeChannelPages, type ChannelSource } from './channel-pages.js';
import { DEMO_PAGES } from './demo.js';
import { badParameter, type Query } from '../http/query.js';
import type { Memory } from './memory/memory.js';
import { figuresNow, METRICS_CONTENT_TYPE, metricsText, type FigureSources } from './metrics.js';
import { OPENAPI } from './openapi.js';
import {
  jsonAnswer as json,
  shownPathOf,
  type OpsAnswer,
  type OpsPage,
  type OpsPages,
} from './page.js';

/** What the pages show. */
export interface PageSources extends FigureSources {
  readonly memory: Pick<Memory, 'report' | 'reportAtOnce'>;
  readonly log: Pick<EventLog, 'state'>;
  readonly hub: FigureSources['hub'] &
    ChannelSource & { rankLines(order: LineOrder, limit: number): LineFigures[] };
}

export function makePages(sources: PageSources, demo: boolean, basePath = ''): OpsPages {
  const { ops, memory, hub, log } = sources;
  const description = json({ ...OPENAPI, servers: [{ url: basePath === '' ? '/' : basePath }] });
  const pages: Readonly<Record<string, OpsPage>> = {
    health: { access: 'open', answer: () => json({ status: 'ok' }) },
    ready: {
      access: 'open',
      answer: ({ draining }) => readiness(draining, log.state),
    },
    'openapi.json': { access: 'open', answer: () => description },
    stats: { access: 'key', answer: ({ draining }) => json(ops.stats(draining)) },
    memory: { access: 'key', answer: async () => json(await memory.report()) },
    connections: {
      access: 'key',
      check: ({ query }) => void rankingOf(query),
      answer({ query }) {
        const { sort, limit } = rankingOf(query);
        return json({ sort, connections: hub.rankLines(sort, limit) });
      },
    },
    ...makeChannelPages(hub),
    metrics: {
      access: 'key',
      answer: ({ draining, channels }) => ({
        contentType: METRICS_CONTENT_TYPE,
        body: metricsText(figuresNow(sources, draining, channels)),
      }),
    },
  };
  return new Map(Object.entries({ ...pages, ...(demo ? DEMO_PAGES : {}) }));
}

/**
 * Whether lines may come here. While the log is down they may: what rings hold is read, and lines
 * are held; another server would have the same trouble, or none of their events.
 */
function readiness(draining: boolean, { isUp, problem }: LogState): OpsAnswer {
  const log = isUp ? 'up' : 'down';
  if (draining) return { ...json({ status: 'draining', log }), status: 503 };
  return json(isUp ? { status: 'ready', log } : { status: 'degraded', log, problem });
}

/** The paths of the pages, for a 404; scripts and styles are left out. The description has all. */
export function pagesInWords(pages: OpsPages, basePath: string): string {
  const names = [...pages.keys()].filter((name) => !name.includes('.') || name === 'openapi.json');
  const paths = names.map((name) => `${basePath}${shownPathOf(name)}`);
  return `${paths.slice(0, -1).join(', ')} and ${paths.at(-1)}`;
}

/** Which lines `/-/connections` is to show. Throws HOLDLINE_BAD_QUERY. */
function rankingOf(query: Query): { readonly sort: LineOrder; readonly limit: number } {
  query.checkNamesAmong(['sort', 'limit']);
  const text = query.get('sort') ?? 'lag';
  const sort = LINE_ORDERS.find((one) => one === text);
  if (sort !== undefined) return { sort, limit: limitOf(query) || RANKED_LINES_DEFAULT };
  throw badParameter('sort', LINE_ORDERS.join(' or '), text);
}
