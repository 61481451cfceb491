/**
 * What `holdline load` makes of a run: spans of time, percentiles, a verdict, a table, a page and a
 * bar.
 */

import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { htmlReport } from '../src/tools/load/report/html-report.js';
import { parseLoadOptions, type LoadSettings } from '../src/tools/load/options.js';
import type { ProcessMeter, ServerSample } from '../src/tools/load/processes/process-meter.js';
import { showProgress, type Watched } from '../src/tools/load/run/progress.js';
import { checkReportFiles, writeReportFiles } from '../src/tools/load/report/files.js';
import { tableOf } from '../src/tools/load/report/table.js';
import { percentilesFor, serverOf } from '../src/tools/load/report/report.js';
import type { Second } from '../src/tools/load/books/seconds.js';
import { timelineOf } from '../src/tools/load/report/timeline.js';
import { decimal, duration, percent, rough, size } from '../src/tools/report/words.js';
import { momentOf, reportWith } from './support/load-report.js';

function secondWith(parts: Partial<Second> = {}): Second {
  return {
    deliveries: 100,
    bytes: 30_000,
    p50Ms: 1,
    p99Ms: 2,
    maxMs: 3,
    busyShares: [0.5, 0.25],
    ...parts,
  };
}

function sampleAt(seconds: number, parts: Partial<ServerSample> = {}): ServerSample {
  return { atUs: START_US + seconds * 1e6, rssBytes: 50, cpuShare: 0.5, tcpBytes: 10, ...parts };
}

const START_US = 7e9;

describe('the timeline', () => {
  const course = (seconds: readonly Second[]): Parameters<typeof timelineOf>[0] => ({
    startUs: START_US,
    seconds,
    processes: [{}, {}],
  });

  it('lays what clients got and what the server used side by side, from the first look at the server on', () => {
    const { spanSeconds, moments } = timelineOf(
      course([secondWith(), secondWith({ deliveries: 7, p99Ms: null })]),
      [
        sampleAt(-1.2, { cpuShare: null, rssBytes: 40 }),
        sampleAt(-0.7, { cpuShare: 0.1 }),
        sampleAt(0.1, { cpuShare: 0.2, rssBytes: 60, tcpBytes: null }),
        sampleAt(0.6, { cpuShare: 0.4, rssBytes: 55, tcpBytes: null }),
      ],
    );
    const unknown = {
      deliveriesPerSecond: null,
      bytesPerSecond: null,
      p50Ms: null,
      p99Ms: null,
      maxMs: null,
    };
    expect(spanSeconds).toBe(1);
    expect(moments).toEqual([
      {
        atSeconds: -1.5,
        ...unknown,
        clientBusyShares: [null, null],
        serverCpuShare: null,
        serverRssBytes: 40,
        tcpBytes: 10,
      },
      {
        atSeconds: -0.5,
        ...unknown,
        clientBusyShares: [null, null],
        serverCpuShare: 0.1,
        serverRssBytes: 50,
        tcpBytes: 10,
      },
      {
        atSeconds: 0.5,
        deliveriesPerSecond: 100,
        bytesPerSecond: 30_000,
        p50Ms: 1,
        p99Ms: 2,
        maxMs: 3,
        clientBusyShares: [0.5, 0.25],
        serverCpuShare: expect.closeTo(0.3) as number,
        serverRssBytes: 60,
        tcpBytes: null,
      },
      {
        atSeconds: 1.5,
        deliveriesPerSecond: 7,
        bytesPerSecond: 30_000,
        p50Ms: 1,
        p99Ms: null,
        maxMs: 3,
        clientBusyShares: [0.5, 0.25],
        serverCpuShare: null,
        serverRssBytes: null,
        tcpBytes: null,
      },
    ]);
  });

  it('has as many spans for a day as a plot has room for: means of what flows, the worst of what is late', () => {
    const day = 24 * 3600;
    const seconds = Array.from({ length: day }, (_, nth) =>
      secondWith({ deliveries: nth % 2, p99Ms: nth === 1000 ? 500 : 2 }),
    );
    const { spanSeconds, moments } = timelineOf(course(seconds), [
      sampleAt(-3),
      sampleAt(day - 1),
      sampleAt(day + 500),
    ]);
    expect(moments.length).toBeLessThanOrEqual(601);
    expect(moments.length).toBeGreaterThan(500);
    expect(moments.filter(({ p99Ms }) => p99Ms === 500)).toHaveLength(1);
    for (const { deliveriesPerSecond, atSeconds } of moments) {
      if (atSeconds > 0) expect(deliveriesPerSecond).toBeCloseTo(0.5, 1);
      else expect(deliveriesPerSecond).toBeNull();
    }
    const steps = moments
      .slice(1)
      .map(({ atSeconds }, index) => atSeconds - moments[index]!.atSeconds);
    expect(new Set(steps)).toEqual(new Set([spanSeconds]));
  });

  it('is empty where nothing was', () => {
    expect(timelineOf(course([]), []).moments).toEqual([]);
  });
});

describe('the percentiles of a curve', () => {
  it('rise from 0 to 100, the closer the nearer', () => {
    const curve = percentilesFor(1000);
    expect(curve[0]).toBe(0);
    expect(curve.at(-1)).toBe(100);
    expect(curve).toEqual(curve.toSorted((a, b) => a - b));
    expect(new Set(curve).size).toBe(curve.length);
    expect(curve).toEqual(expect.arrayContaining([90, 99, 99.9]));
  });

  it.each([
    [0, []],
    [1, [0, 100]],
    [10, [90, 100]],
    [999, [99.87, 100]],
    [1e9, [99.9999, 100]],
  ])('of %d values tell no more than so many can', (values, ends) => {
    const curve = percentilesFor(values).slice(-2);
    expect(curve).toHaveLength(ends.length);
    for (const [index, end] of ends.entries()) expect(curve[index]).toBeCloseTo(end, 2);
  });
});

describe('words', () => {
  it('keep the digits that matter', () => {
    expect([
      decimal(1234.56789),
      percent(0.12345),
      rough(1_234_567),
      rough(123_456),
      rough(9999),
      rough(1.25),
    ]).toEqual(['1,234.568', '12.3 %', '1.23 million', '123 thousand', '9,999', '1.3']);
    expect([
      duration(0.1234),
      duration(85.25),
      duration(1250),
      duration(90_000),
      duration(7.2e6),
    ]).toEqual(['0.123 ms', '85.3 ms', '1.25 s', '1.5 min', '120 min']);
    expect([size(0), size(1023), size(24.5 * 1024 ** 2), size(1024 ** 5)]).toEqual([
      '0 B',
      '1,023 B',
      '24.5 MiB',
      '1,024 TiB',
    ]);
  });
});

describe('the server', () => {
  it('used what it used while events were published, and not while clients connected', () => {
    const cpuShare = (...samples: readonly ServerSample[]): number | null =>
      serverOf([7], samples, { startUs: START_US, publishEndedUs: START_US + 2e6 })!.cpuShare;
    const before = sampleAt(-0.3, { cpuShare: 1 });
    const across = sampleAt(0.2, { cpuShare: 0.7 });
    expect(cpuShare(before, across, sampleAt(0.7, { cpuShare: 0.1 }), sampleAt(1.2))).toBe(0.3);
    expect(cpuShare(before, sampleAt(0, { cpuShare: 1 }), sampleAt(0.5))).toBe(0.5);
    expect(cpuShare(before, across), 'too short').toBeNull();
    expect(cpuShare(before, across, sampleAt(2.1)), 'too short').toBeNull();
  });
});

/** The page without its program and style. */
function markupOf(parts: Parameters<typeof reportWith>[0]): string {
  return htmlReport(reportWith(parts)).replaceAll(/<(script|style)\b.*?<\/\1>/gs, '');
}

describe('the verdict', () => {
  const verdictOf = (parts: Parameters<typeof reportWith>[0]): string[] =>
    /<p class="verdict (\w+)">(.*?)<\/p>/s.exec(markupOf(parts))!.slice(1);

  it.each([
    [
      {},
      'good',
      'All 100 events reached all 1,000 clients once and in order, 99 % of them within 24 ms of when they were due.',
    ],
    [
      { clientLimited: true },
      'warning',
      /once and in order, .* But this load client was the bottleneck: the server may be able to do more\.$/,
    ],
    // Nothing was lost, but a core without time left is nothing to be green about.
    [
      { server: { ...reportWith().server!, cpuShare: 0.96 } },
      'warning',
      /But the server had no CPU time left: with more load, events will be late\.$/,
    ],
    [
      { server: { ...reportWith().server!, pids: [70, 71], cpuShare: 0.96 } },
      'good',
      /of when they were due\.$/,
    ],
    [{ flawless: false, published: 0 }, 'bad', 'The server accepted no event.'],
    [
      { flawless: false, lost: 3, gapLost: 20, doubled: 1, outOfOrder: 2 },
      'bad',
      'Of 100,000 expected deliveries, 3 were lost (0.003 %), 20 were lost and reported in gap notices, 1 arrived twice, 2 arrived out of order.',
    ],
    [
      { flawless: false, gaveUp: 'publishing is not allowed (401)' },
      'bad',
      'Publishing ended before its time (publishing is not allowed (401)); until then every event arrived once and in order.',
    ],
    [
      { flawless: false, unknownClients: 9 },
      'warning',
      'What 9 clients received is not known; to all others every event arrived once and in order.',
    ],
  ] as const)('for %j is %s', (parts, tone, text) => {
    const verdict = verdictOf(parts);
    expect(verdict[0]).toBe(tone);
    expect(verdict[1]).toEqual(typeof text === 'string' ? text : expect.stringMatching(text));
  });
});

describe('the page', () => {
  it('has deliveries in a second of whole seconds, and of a run that has none over its time', () => {
    const rate = (durationSeconds: number, ...deliveries: number[]): string => {
      const moments = deliveries.map((deliveriesPerSecond, second) =>
        momentOf(second + 0.5, { deliveriesPerSecond }),
      );
      const text = markupOf({ durationSeconds, timeline: { spanSeconds: 1, moments } });
      return /Deliveries per second<\/dt>\s*<dd>(.*?)<\/dd>/s.exec(text)![1]!;
    };
    expect(rate(2, 1000, 1000)).toBe('1,000');
    // The last second has 0.6 s of events, and what came of them while the rest was waited for.
    expect(rate(2.6, 1000, 1000, 600)).toBe('1,000');
    expect(rate(0.5, 500)).toBe('1,000');
    expect(rate(0.1, 100, 0)).toBe('1,000');
  });

  it('shows what there is to show: no plots of a server elsewhere, but why', () => {
    const plots = (parts: Parameters<typeof reportWith>[0]): string[] =>
      [...markupOf(parts).matchAll(/<figcaption>\s*<h3>(.*?)<\/h3>/g)].map(([, title]) => title!);
    expect(plots({})).toEqual([
      'Latency by percentile',
      'Latency over time',
      'Deliveries',
      'CPU',
      'Server memory',
      'TCP buffers',
    ]);
    const elsewhere = {
      server: null,
      serverUnknown: 'the server is at 192.0.2.1, which is not this machine',
    };
    expect(plots(elsewhere)).toEqual([
      'Latency by percentile',
      'Latency over time',
      'Deliveries',
      'CPU',
    ]);
    expect(markupOf(elsewhere)).toContain(
      'not shown: the server is at 192.0.2.1, which is not this machine.',
    );
    expect(plots({ latencyCurve: [] })).toEqual([
      'Deliveries',
      'CPU',
      'Server memory',
      'TCP buffers',
    ]);
  });

  it('tells of clients that are not plain, and of a herd', () => {
    expect(markupOf({})).not.toMatch(/stalled|slow \(|reconnect/i);
    const text = markupOf({
      mix: {
        stalled: { clients: 10, cutOff: 2 },
        slow: { clients: 50, bytesPerSecond: 8192, delivered: 1234, gaps: 5, cutOff: 0 },
        reconnects: { sharePerMinute: 0.02, returns: 31, refusedReturns: 1 },
      },
      herd: {
        clients: 940,
        atSeconds: 5,
        leftSeconds: 0.1,
        backSeconds: 1.5,
        caughtUpSeconds: null,
      },
    });
    expect(text).toMatch(
      /stalled \(read nothing\)<\/th>\s*<td class="right" data-head="clients">\s*<span>10<\/span>\s*<\/td>\s*<td class="right" data-head="disconnected">\s*<span>2</,
    );
    expect(text).toMatch(
      /slow \(read 8 KiB\/s\)<\/th>.*<span>50<.*<span>0<.*data-head="events received">\s*<span>1,234</s,
    );
    expect(text).toMatch(
      /Every minute 2 % of the clients that read normally .*; once all of them did so at the same time: 31 reconnections in all, 1 attempt had to be repeated\./,
    );
    expect(text).toMatch(
      /<p class="note bad">\s*After 5 s all 940 clients .* again after 1.5 s; the last had received what it had missed not by the end of the run\./,
    );
  });

  it('has no table of clients that are apart where there are none', () => {
    const nobody = { clients: 0, cutOff: 0 };
    const text = markupOf({
      mix: {
        stalled: nobody,
        slow: { ...nobody, bytesPerSecond: 0, delivered: 0, gaps: 0 },
        reconnects: { sharePerMinute: 1, returns: 1234, refusedReturns: 0 },
      },
    });
    expect(text).toMatch(/left off: 1,234 reconnections in all, 0 attempts had to be repeated/);
    expect(text).not.toMatch(/disconnected|left out of all other figures/);
  });

  it('gives each of a few client processes a line, and many of them two', () => {
    const labels = (processes: number): string => {
      const { clientProcesses } = reportWith();
      const page = htmlReport(
        reportWith({
          clientProcesses: Array.from({ length: processes }, () => clientProcesses[0]!),
          timeline: {
            spanSeconds: 1,
            moments: [
              momentOf(0.5, {
                clientBusyShares: Array.from({ length: processes }, (_, nth) => nth / 10),
              }),
            ],
          },
        }),
      );
      return /aria-label="(CPU, [^"]*)"/.exec(page)![1]!;
    };
    expect(labels(1)).toBe(
      'CPU, share of one core over time after the first event. server from 40 to 40 %; client from 0 to 0 %.',
    );
    expect(labels(3)).toContain('client 3 from 20 to 20 %');
    expect(labels(6)).toContain(
      'busiest client from 50 to 50 %; mean of 6 clients from 25 to 25 %',
    );
  });

  it('keeps what comes from outside as text', () => {
    const hostile = '<script>alert(1)</script>';
    const page = htmlReport(
      reportWith({ url: `http://h/${hostile}`, remarks: [hostile], serverUnknown: hostile }),
    );
    expect(page).not.toContain('<script>alert');
    expect(page.match(/&lt;script&gt;alert\(1\)/g)!.length).toBeGreaterThanOrEqual(4);
  });
});

describe('the table', () => {
  it('leaves out what says nothing of a run, and has the rest', () => {
    const plain = tableOf(reportWith({ clientProcesses: [], server: null }));
    expect(plain).toMatch(/sse, 1,000 clients, 10 events\/s of 256 B/);
    expect(plain).toMatch(/latency p99\.9 +│ +33 ms/);
    expect(plain).not.toMatch(/herd|stalled|slow|server|reported in|checked|polls/);
    const full = tableOf(
      reportWith({
        checkedClients: 10,
        gapLost: 4,
        herd: {
          clients: 940,
          atSeconds: 5,
          leftSeconds: 0.1,
          backSeconds: 1.5,
          caughtUpSeconds: null,
        },
        mix: {
          stalled: { clients: 10, cutOff: 2 },
          slow: { clients: 50, bytesPerSecond: 8192, delivered: 1234, gaps: 5, cutOff: 0 },
          reconnects: { sharePerMinute: 0.02, returns: 31, refusedReturns: 1 },
        },
      }),
    );
    for (const row of [
      'clients checked for every event +│ +10 ',
      'lost, reported in gap notices +│ +4 ',
      'herd of 940 reconnected within +│ +1.5 s ',
      'herd had received all it missed within +│ +not by the end ',
      'stalled clients +│ +10, 2 disconnected ',
      'received by slow clients +│ +1,234 events, 5 gap notices ',
      'reconnections +│ +31, 1 attempt repeated ',
      'server memory before, and peak +│ +52.5 MiB, 58.2 MiB ',
      'load client CPU, busiest process +│ +30 % of a core ',
    ]) {
      expect(full).toMatch(new RegExp(row));
    }
  });
});

describe('files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdline-report-'));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('are written as asked for, and the page can be made again from the JSON', () => {
    mkdirSync(folder, { recursive: true });
    const files = { htmlFile: join(folder, 'a.html'), outFile: join(folder, 'a.json') };
    const report = reportWith();
    checkReportFiles(files);
    expect(writeReportFiles(files, report)).toEqual([]);
    const json = JSON.parse(readFileSync(files.outFile, 'utf8')) as typeof report;
    expect(json).toEqual(report);
    expect(htmlReport(json)).toBe(readFileSync(files.htmlFile, 'utf8'));
    // They may be there from an earlier run.
    checkReportFiles(files);
  });

  it('that cannot be written are refused before the run', () => {
    mkdirSync(folder, { recursive: true });
    const refusal = (message: RegExp): unknown =>
      expect.objectContaining({
        code: 'HOLDLINE_BAD_OPTION',
        message: expect.stringMatching(message) as string,
      });
    expect(() =>
      checkReportFiles({ htmlFile: join(folder, 'no', 'a.html'), outFile: undefined }),
    ).toThrow(refusal(/^--html: ".*no\/a\.html" cannot be written \(ENOENT: .*no/));
    expect(() => checkReportFiles({ htmlFile: undefined, outFile: folder })).toThrow(
      refusal(/^--out: ".*" cannot be written \(it is a directory\)$/),
    );
    const both = { htmlFile: join(folder, 'a'), outFile: `${folder}/no/../a` };
    expect(() => checkReportFiles(both)).toThrow(
      refusal(/^--out: ".*\/no\/\.\.\/a" is the file of --html, too, and would replace it$/),
    );
  });

  it('that cannot be written after the run are told of, and the others are written', () => {
    mkdirSync(folder, { recursive: true });
    const files = { htmlFile: join(folder, 'gone', 'a.html'), outFile: join(folder, 'a.json') };
    expect(writeReportFiles(files, reportWith())).toEqual([
      expect.stringMatching(/^--html: ".*gone\/a\.html" cannot be written \(ENOENT: /),
    ]);
    expect(readFileSync(files.outFile, 'utf8')).toMatch(/^\{.*\}\n$/);
  });
});

describe('progress', () => {
  afterEach(() => void vi.useRealTimers());

  const settings: LoadSettings = parseLoadOptions(
    ['--connections', '100', '--rate', '10', '--duration', '10s', '--stalled', '10%'],
    { env: {}, fileLimit: undefined, readFile: () => '' },
  ).values;

  /** What is written while the run stands so, in some seconds. */
  function shown(run: Partial<Watched>, isTerminal: boolean, columns = 200): string {
    vi.useFakeTimers();
    const stream = Object.assign(new PassThrough(), { isTTY: isTerminal, columns });
    const watched = {
      phase: 'publishing',
      totals: undefined,
      lastSecond: undefined,
      meter: undefined,
      ...run,
    } as Watched;
    const hide = showProgress(watched, settings, stream as unknown as NodeJS.WriteStream);
    vi.advanceTimersByTime(5_100);
    hide();
    expect(vi.getTimerCount()).toBe(0);
    // Since Node 26 each read takes one piece.
    let text = '';
    for (let piece; (piece = stream.read() as Buffer | null) !== null;) text += String(piece);
    return text;
  }

  const totals = { joined: 40, delivered: 4500 } as Watched['totals'];
  const meter = { latest: { rssBytes: 60 * 1024 ** 2, cpuShare: 0.25 } } as ProcessMeter;

  it('is a line now and then where there is no terminal', () => {
    expect(shown({ phase: 'connecting', totals, meter }, false)).toBe(
      'holdline: connecting 40/100, server 60 MiB, 25 % of a core\n',
    );
    // Of 100 clients 90 are owed each of 100 events.
    expect(
      shown({ totals, lastSecond: secondWith({ deliveries: 900, p99Ms: 12.34 }), meter }, false),
    ).toBe(
      'holdline: publishing 4,500/9,000, 900 deliveries/s, p99 12.3 ms, server 60 MiB, 25 % of a core\n',
    );
    expect(shown({ phase: 'settling' }, false)).toBe(
      'holdline: waiting for the last events 0/9,000\n',
    );
  });

  it('is a bar on a terminal', () => {
    const bar = shown({ totals, lastSecond: secondWith({ deliveries: 900, p99Ms: null }) }, true);
    expect(bar).toBe(
      `\rpublishing [${'='.repeat(12)}${'-'.repeat(12)}] 50 %, 900 deliveries/s\u001B[K\r\u001B[K`,
    );
  });

  it('is a bar of one line, however narrow the terminal is', () => {
    const bar = shown({ totals }, true, 20);
    expect(bar).toBe('\rpublishing [=======\u001B[K\r\u001B[K');
  });
});
