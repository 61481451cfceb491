/** The chart of the comparison: well-formed, whole, and drawn from the figures it is given. */
import { createRequire } from 'node:module';
import { expect, test } from 'vitest';
import { drawComparison } from './compare-chart.js';
import { type CompareFigures, type CompareParameters, WAYS } from './comparison.js';
import type { Machine } from './machine.js';

const PARAMETERS: CompareParameters = {
  connections: 2000,
  ratePerSecond: 1,
  seconds: 30,
  pollIntervalSeconds: 2,
  eventBytes: 256,
  ways: [...WAYS],
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

interface Node {
  textContent: string;
  getAttribute(name: string): string | null;
}

const { createDocument } = createRequire(import.meta.url)('@mixmark-io/domino') as {
  createDocument: (html: string) => { querySelectorAll(selector: string): ArrayLike<Node> };
};

test('has a row for each transport, with its figures, on a background of its own', () => {
  const svg = drawComparison(PARAMETERS, WAYS.map(figures), MACHINE);
  const document = createDocument(svg);
  // One svg and no style: a plot inside another would be given a size of its own by its style.
  expect(document.querySelectorAll('svg')).toHaveLength(1);
  expect(document.querySelectorAll('style')).toHaveLength(0);
  expect(document.querySelectorAll('rect')[0]?.getAttribute('fill')).toBe('#ffffff');
  const words = Array.from(document.querySelectorAll('text'), ({ textContent }) => textContent);
  for (const title of ['SSE', 'NDJSON stream', 'WebSocket', 'long-poll', 'short-poll, 2 s'])
    expect(words).toContain(title);
  for (const figure of [
    '8 ms',
    '40 ms',
    '30 ms',
    '150 ms',
    '6.0 µs',
    '10 µs',
    '1.0 + 10.0',
    '5.0 + 10.0',
  ])
    expect(words).toContain(figure);
  expect(words.at(-1)).toContain('A & B <C>');
});

test('a transport of which nothing arrived has no latency, and the chart is still drawn', () => {
  const dead: CompareFigures = { ...figures('sse', 0), p50Ms: null, p99Ms: null, p999Ms: null };
  const svg = drawComparison(PARAMETERS, [dead, figures('ws', 1)], MACHINE);
  expect(svg).not.toContain('NaN');
  expect(svg).not.toContain('Infinity');
});
