/** The page of the comparison: whole, and made from the figures it is given. */
import { expect, test } from 'vitest';
import { comparisonPage } from './compare-page.js';
import { type CompareFigures, type CompareParameters, TRANSPORTS } from './comparison.js';
import type { Machine } from './machine.js';

const PARAMETERS: CompareParameters = {
  connections: 2000,
  ratePerSecond: 1,
  seconds: 30,
  pollIntervalSeconds: 2,
  eventBytes: 256,
  ways: [...TRANSPORTS],
  heldConnections: 5000,
  startSettleSeconds: 15,
  heldSettleSeconds: 5,
};

const MACHINE: Machine = {
  cpu: 'A & B <C>',
  cores: 2,
  memoryGiB: 4,
  kernel: '6.1',
  glibc: '2.36',
  node: 'v20',
  uWebSockets: 'uws@1',
  commit: 'abc',
  dirty: false,
  openFiles: '20000',
  pinned: 'pinned',
  sendBuffer: 'kernel default',
};

function figures(way: CompareFigures['way'], index: number): CompareFigures {
  return {
    way,
    p50Ms: 8 * (index + 1),
    p99Ms: 20 * (index + 1),
    p999Ms: 30 * (index + 1),
    serverCpuShare: 0.01,
    serverCpuUsPerDelivery: 6 + index,
    rssBytesPerClient: 1024 * (index + 1),
    kernelBytesPerClient: 10_240,
    requestsPerClientMinute: 0,
    emptyShare: 0,
    bytesPerClientMinute: 1000,
    delivered: 60_000,
    faults: 0,
    clientLimited: false,
    strangerCpuShare: 0,
  };
}

function drawingIn(page: string): { data: (number | null)[][]; series: { label: string }[] } {
  const json = /<script type="application\/json">(.*?)<\/script>/s.exec(page)![1]!;
  return JSON.parse(json) as { data: (number | null)[][]; series: { label: string }[] };
}

const TITLES = ['SSE', 'NDJSON stream', 'WebSocket', 'long-poll', 'short-poll, 2 s'];

test('has a column and a curve for each transport, with its figures', () => {
  const page = comparisonPage(PARAMETERS, TRANSPORTS.map(figures), ['a remark'], MACHINE);
  for (const title of TITLES) expect(page).toContain(`>${title}</th>`);
  const cells = [...page.matchAll(/<td[^>]*>\s*<span>([^<]*)<\/span>/g)].map(([, cell]) => cell);
  for (const figure of ['8.0 ms', '40 ms', '30 ms', '150 ms', '6.0 µs', '10.0 µs'])
    expect(cells).toContain(figure);
  for (const figure of ['1.0 KiB', '5.0 KiB', '10.0 KiB']) expect(cells).toContain(figure);
  const { data, series } = drawingIn(page);
  expect(series.map(({ label }) => label)).toEqual(TITLES);
  expect(data[0]).toEqual([50, 99, 99.9]);
  expect(data[1]).toEqual([8, 20, 30]);
  expect(page).toContain('a remark');
  expect(page).toContain('A &amp; B &lt;C&gt;');
});

test('has no latency for a transport by which nothing arrived', () => {
  const dead: CompareFigures = { ...figures('sse', 0), p50Ms: null, p99Ms: null, p999Ms: null };
  const page = comparisonPage(PARAMETERS, [dead, figures('ws', 1)], [], MACHINE);
  expect(drawingIn(page).data[1]).toEqual([null, null, null]);
  expect(page).not.toMatch(/>NaN|>Infinity/);
});
