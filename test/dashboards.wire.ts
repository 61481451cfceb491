/**
 * The dashboard and the alerts of scripts/deploy/: every metric, label and value that they ask for
 * is in the scrape of a running server.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WORKERS_METRICS } from '../src/workers/workers-rows.js';
import { SseLine } from './support/line.js';
import { readMetrics } from './support/prometheus.js';
import { sharedHosted } from './support/hosted.js';

const shared = sharedHosted();

function deployFile(path: string): string {
  return readFileSync(new URL(`../scripts/deploy/${path}`, import.meta.url), 'utf8');
}

/** The queries of a dashboard: those of its panels and of its variables. */
function dashboardQueries(text: string): string[] {
  const dashboard = JSON.parse(text) as {
    panels: { title: string; targets?: { expr: string }[] }[];
    templating: { list: { name: string; definition?: string }[] };
  };
  const variables = dashboard.templating.list.flatMap(({ definition = '' }) =>
    [...definition.matchAll(/^label_values\((.+), \w+\)$/g)].map(([, query]) => query!),
  );
  return [
    ...variables,
    ...dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
  ];
}

/** The queries of a file of alerts: `expr:` with its text on the same line or in a block below. */
function alertQueries(text: string): string[] {
  return [...text.matchAll(/^ {8}expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)/gm)].map(
    ([, block, line]) => block ?? line!,
  );
}

/** What a query asks for. */
interface Asked {
  /** Names of samples. */
  readonly names: readonly string[];
  /** Names of labels, and the values that a matcher wants; none for `by (label)` or a variable. */
  readonly labels: readonly { readonly label: string; readonly values: readonly string[] }[];
}

const WORDS = new Set(['and', 'or', 'unless', 'bool', 'offset']);

/** Takes a query of PromQL apart, as far as dashboards and alerts need it. */
function askedBy(query: string): Asked {
  const labels: { label: string; values: string[] }[] = [];
  const rest = query
    .replaceAll(/\{([^}]*)\}/g, (_all, matchers: string) => {
      for (const [, label, value] of matchers.matchAll(/(\w+)\s*(?:=|!=|=~|!~)\s*"([^"]*)"/g))
        labels.push({ label: label!, values: value!.startsWith('$') ? [] : value!.split('|') });
      return ' ';
    })
    .replaceAll(/\[[^\]]*\]/g, ' ')
    .replaceAll(/\b(?:by|without|on|ignoring)\s*\(([^)]*)\)/g, (_all, names: string) => {
      for (const name of names.split(',')) labels.push({ label: name.trim(), values: [] });
      return ' ';
    });
  const names = [...rest.matchAll(/[a-z_][\w:]*(?![\w:]*\s*\()/gi)]
    .map(([name]) => name)
    .filter((name) => !WORDS.has(name));
  return { names, labels };
}

/** The samples of a scrape by name, with the values of each label. */
async function scraped(): Promise<Map<string, Map<string, Set<string>>>> {
  const server = shared();
  const line = await SseLine.open(server.port, '/seen');
  onTestFinished(() => line.close());
  await line.waitForEvents(0);
  const answer = await server.request('GET', '/-/metrics', { headers: server.opsHeaders });
  const byName = new Map<string, Map<string, Set<string>>>();
  for (const [name, { samples, type }] of readMetrics(answer.text)) {
    // A gauge of what is not there, such as a budget, has a name and no sample.
    if (type !== 'histogram') byName.set(name, new Map());
    for (const key of samples.keys()) {
      const suffix = type === 'histogram' ? /^_\w+/.exec(key)![0] : '';
      const labels = byName.get(name + suffix) ?? new Map<string, Set<string>>();
      for (const [, label, value] of key.matchAll(/(\w+)="([^"]*)"/g))
        labels.set(label!, (labels.get(label!) ?? new Set()).add(value!));
      byName.set(name + suffix, labels);
    }
  }
  // What a server has with --workers alone.
  for (const name of Object.keys(WORKERS_METRICS)) byName.set(name, new Map());
  // What Prometheus itself adds.
  byName.set('up', new Map());
  return byName;
}

const OF_PROMETHEUS = new Map([
  ['job', new Set(['holdline'])],
  ['instance', new Set<string>()],
]);

/** What a query asks for that is not there. */
function missing(query: string, found: Awaited<ReturnType<typeof scraped>>): string[] {
  const { names, labels } = askedBy(query);
  const unknown = names.filter((name) => !found.has(name));
  const known = new Map([
    ...OF_PROMETHEUS,
    ...names.flatMap((name) => [...(found.get(name) ?? [])]),
  ]);
  const strange = labels.flatMap(({ label, values }) => {
    const there = known.get(label);
    if (there === undefined) return [label];
    return values.filter((value) => !there.has(value)).map((value) => `${label}="${value}"`);
  });
  return [...unknown, ...strange];
}

describe.each([
  ['grafana/holdline.json', dashboardQueries, 30],
  ['prometheus/alerts.yml', alertQueries, 10],
])('%s', (path, queriesOf, count) => {
  const queries = queriesOf(deployFile(path));

  test('has its queries found', () => {
    expect(queries.length).toBeGreaterThanOrEqual(count);
    for (const query of queries) expect(askedBy(query).names.length).toBeGreaterThan(0);
  });

  test('asks for nothing that a server does not have', async () => {
    const found = await scraped();
    for (const query of queries)
      expect({ query, missing: missing(query, found) }).toEqual({ query, missing: [] });
  });
});

test('panels of the dashboard lie side by side, each with a title of its own', () => {
  const { panels } = JSON.parse(deployFile('grafana/holdline.json')) as {
    panels: {
      id: number;
      title: string;
      gridPos: { x: number; y: number; w: number; h: number };
    }[];
  };
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
  const places = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
  );
  expect(new Set(places).size).toBe(places.length);
});

test('the scrape names the page, the job that the alerts ask for, and no key', () => {
  const text = deployFile('prometheus/prometheus.yml');
  expect(text).toContain('metrics_path: /-/metrics\n');
  expect(text).toContain('job_name: holdline\n');
  expect(text).toMatch(/authorization:\n +credentials_file: /);
  expect(text).not.toMatch(/credentials:/);
});

test('what is wrong with a query is found: name, label, value', async () => {
  const found = await scraped();
  expect(missing('rate(holdline_nothing_total[5m]) > 0', found)).toEqual([
    'holdline_nothing_total',
  ]);
  expect(missing('sum by (colour) (holdline_lines{job="holdline"})', found)).toEqual(['colour']);
  expect(missing('holdline_lines{transport="fax|sse"} and up', found)).toEqual(['transport="fax"']);
  expect(missing('holdline_delivery_seconds', found)).toEqual(['holdline_delivery_seconds']);
  expect(
    askedBy('histogram_quantile(0.9, sum by (le) (rate(a_bucket{b=~"$c"}[$__rate_interval])))'),
  ).toEqual({
    names: ['a_bucket'],
    labels: [
      { label: 'b', values: [] },
      { label: 'le', values: [] },
    ],
  });
});
