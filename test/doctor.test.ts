/**
 * The doctor's checks, on made-up machines and on what might be seen through a proxy.
 */

import { createRequire } from 'node:module';
import { fc } from './support/properties.js';
import { describe, expect, it } from 'vitest';
import { checkMachine, isInRange } from '../src/tools/doctor/checks.js';
import type { Finding, Level } from '../src/tools/doctor/finding.js';
import { readMachine, type Machine, type Plan } from '../src/tools/doctor/machine.js';
import { doctorHelp, parseDoctorOptions } from '../src/tools/doctor/options.js';
import { checkPath } from '../src/tools/doctor/path-checks.js';
import { reportOf, textOf } from '../src/tools/doctor/report.js';
import type { ProxyPath } from '../src/tools/doctor/proxy-path.js';
import { retryTimeMs } from '../src/tools/doctor/tcp-checks.js';
import { HoldlineError } from '../src/errors.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

/** A machine on which nothing is wrong for 10,000 lines. */
const GOOD: Machine = {
  platform: 'linux',
  arch: 'x64',
  nodeVersion: '22.12.0',
  nodeAbi: '127',
  nodeRange: '^20.12 || ^22 || ^23 || ^24 || ^26',
  glibcVersion: '2.36',
  nativeProblem: undefined,
  sockets: { options: { sendBufferBytes: 128 * KiB, userTimeoutMs: 21_000 }, problems: [] },
  cores: 4,
  fileLimit: 20_000,
  fileCeiling: 1_048_576,
  memoryBytes: 16 * GiB,
  cgroupMemoryBytes: Infinity,
  swapBytes: 0,
  swappiness: 60,
  hugePages: 'madvise',
  hugePagesDefrag: 'madvise',
  somaxconn: 4096,
  synBacklog: 2048,
  synCookies: true,
  migratesRequests: false,
  portRange: [32_768, 60_999],
  tcpMemoryBytes: [1 * GiB, 1.5 * GiB, 2 * GiB],
  tcpReceiveBytes: [4 * KiB, 128 * KiB, 6 * MiB],
  tcpSendBytes: [4 * KiB, 16 * KiB, 4 * MiB],
  tcpRetries: 15,
  tracked: { count: 100, max: 262_144 },
};

const PLAN: Plan = {
  lines: 10_000,
  socketSendBufferBytes: 64 * KiB,
  deadPeerTimeoutMs: 60_000,
  replayTotalBytes: 256 * MiB,
  workers: 1,
};

/** A machine whose socket options could not be set. */
const WITHOUT_KOFFI: Partial<Machine> = {
  sockets: { options: {}, problems: ['koffi does not load; npm install koffi'] },
};

function findings(machine: Partial<Machine> = {}, plan: Partial<Plan> = {}): Finding[] {
  return checkMachine({ ...GOOD, ...machine }, { ...PLAN, ...plan });
}

function finding(name: string, machine: Partial<Machine> = {}, plan: Partial<Plan> = {}): Finding {
  return findings(machine, plan).find((one) => one.name === name)!;
}

describe('a machine', () => {
  it('that can hold the lines has no fault, and nothing to mend', () => {
    expect(findings().filter(({ level, mend }) => level !== 'ok' || mend !== null)).toEqual([]);
    expect(new Set(findings().map(({ name }) => name)).size).toBe(17);
  });

  it.each<[name: string, machine: Partial<Machine>, level: Level, value: RegExp, mend: RegExp]>([
    ['node', { nodeVersion: '18.20.1', nodeAbi: '108' }, 'problem', /^18\.20\.1$/, /Node 20 or 22/],
    [
      'node',
      { nodeVersion: '20.11.0', nodeAbi: '115' },
      'problem',
      /^20\.11\.0$/,
      /^use the newest Node 20 or 22/,
    ],
    ['node', { nodeVersion: '25.0.0', nodeAbi: '141' }, 'problem', /^25\.0\.0$/, /or 22 or/],
    ['libc', { glibcVersion: undefined }, 'problem', /musl/, /trixie/],
    ['libc', { glibcVersion: '2.17' }, 'problem', /^glibc 2\.17$/, /Debian 10/],
    [
      'libc',
      { nodeVersion: '24.0.0', nodeAbi: '137' },
      'problem',
      /^glibc 2\.36$/,
      /^use Node 20 or 22 or 23, or use a system with glibc 2\.38 \(Debian 13/,
    ],
    ['native', { nativeProblem: 'no binary' }, 'problem', /^no binary$/, /npm install/],
    ['socket-options', WITHOUT_KOFFI, 'advice', /koffi does not load/, /npm install koffi/],
    ['socket-options', { ...WITHOUT_KOFFI, platform: 'darwin' }, 'advice', /koffi/, /Linux/],
    ['cores', { cores: 1 }, 'advice', /^1$/, /--cpus=2/],
    ['cores', { cores: 0.5 }, 'problem', /^0\.5$/, /CPUQuota/],
    [
      'file-limit',
      { fileLimit: 1024 },
      'problem',
      /^1,024, enough for 860 lines$/,
      /^ulimit -n 10164, or LimitNOFILE=10164/,
    ],
    ['file-limit', { fileLimit: 10_163 }, 'problem', /9,999 lines/, /10164/],
    ['file-limit', { fileLimit: undefined }, 'advice', /not reported/, /ulimit/],
    [
      'file-limit',
      { fileLimit: 64, fileCeiling: 4096 },
      'problem',
      /0 lines/,
      /^sysctl -w fs\.nr_open=10164, then ulimit/,
    ],
    [
      'memory',
      { cgroupMemoryBytes: 256 * MiB },
      'problem',
      /^256 MiB, the limit of the control group$/,
      /MemoryMax=7\d\dM/,
    ],
    ['memory', { cgroupMemoryBytes: 512 * MiB }, 'advice', /^512 MiB/, /--memory=/],
    ['memory', { memoryBytes: 256 * MiB }, 'problem', /^256 MiB$/, /--replay-total/],
    ['swap', { swapBytes: 2 * GiB }, 'advice', /^2 GiB, swappiness 60$/, /vm\.swappiness=1/],
    ['huge-pages', { hugePages: 'always' }, 'advice', /^always/, /^echo madvise > \S+\/enabled$/],
    [
      'huge-pages',
      { hugePagesDefrag: 'always' },
      'advice',
      /defrag always/,
      /^echo madvise > \S+\/defrag$/,
    ],
    ['accept-queue', { somaxconn: 128 }, 'advice', /somaxconn 128,/, /somaxconn=4096/],
    [
      'syn-queue',
      { synBacklog: 128, synCookies: false },
      'advice',
      /128, SYN cookies off/,
      /tcp_syncookies=1/,
    ],
    [
      'ports',
      { portRange: [32_768, 33_767] },
      'advice',
      /^1,000, from 32768 to 33767$/,
      /"1024 65535"$/,
    ],
    [
      'tcp-memory',
      { tcpMemoryBytes: [32 * MiB, 64 * MiB, 96 * MiB] },
      'advice',
      /512 stalled lines of 128 KiB/,
      /tcp_mem="24000 32000 48000"/,
    ],
    [
      'tcp-memory',
      { tcpMemoryBytes: [4 * MiB, 8 * MiB, 12 * MiB] },
      'problem',
      /64 stalled lines/,
      /tcp_mem=/,
    ],
    [
      'tcp-memory',
      { tcpMemoryBytes: [4 * MiB, 8 * MiB, 12 * MiB], memoryBytes: 256 * MiB },
      'problem',
      /64/,
      /--socket-send-buffer 16KiB/,
    ],
    ['tcp-memory', WITHOUT_KOFFI, 'advice', /384 stalled lines of 4 MiB/, /koffi/],
    [
      'send-buffers',
      WITHOUT_KOFFI,
      'advice',
      /^net\.ipv4\.tcp_wmem 4 KiB, 16 KiB, 4 MiB$/,
      /koffi/,
    ],
    [
      'send-buffers',
      { ...WITHOUT_KOFFI, tcpSendBytes: [4 * KiB, 4 * KiB, 8 * KiB] },
      'advice',
      /8 KiB/,
      /4194304/,
    ],
    [
      'receive-buffers',
      { tcpReceiveBytes: [4 * KiB, 4 * KiB, 8 * KiB] },
      'advice',
      /8 KiB/,
      /tcp_rmem/,
    ],
    [
      'dead-peers',
      WITHOUT_KOFFI,
      'advice',
      /tcp_retries2 15: held for about 15\.4 min$/,
      /koffi.*tcp_retries2=8/,
    ],
    [
      'tracking',
      { tracked: { count: 5_000, max: 12_000 } },
      'problem',
      /12,000, 5,000 in use/,
      /nf_conntrack_max=32768$/,
    ],
    ['tracking', { tracked: { count: 0, max: 8_192 } }, 'advice', /0 in use/, /nf_conntrack_max/],
  ])('with a fault of %s has a finding: %j', (name, machine, level, value, mend) => {
    expect(finding(name, machine)).toMatchObject({
      level,
      value: expect.stringMatching(value) as string,
      mend: expect.stringMatching(mend) as string,
    });
  });

  it.each<[name: string, machine: Partial<Machine>]>([
    ['file-limit', { fileLimit: 10_164 }],
    ['file-limit', { fileLimit: Infinity }],
    ['syn-queue', { synBacklog: 128 }],
    ['swap', { swapBytes: 2 * GiB, swappiness: 1 }],
    ['huge-pages', { hugePages: 'never', hugePagesDefrag: 'always' }],
    ['dead-peers', { ...WITHOUT_KOFFI, tcpRetries: 8 }],
    ['tracking', { tracked: { count: 0, max: 10_000 } }],
  ])('has no fault of %s: %j', (name, machine) => {
    expect(finding(name, machine)).toMatchObject({ level: 'ok', mend: null });
  });

  it('that reports little is checked by what it reports', () => {
    const unknown = Object.fromEntries(
      [
        'swapBytes',
        'hugePages',
        'somaxconn',
        'synBacklog',
        'portRange',
        'tcpMemoryBytes',
        'tcpReceiveBytes',
        'tcpSendBytes',
      ]
        .concat(['tcpRetries', 'tracked'])
        .map((name) => [name, undefined]),
    );
    const names = findings({
      ...unknown,
      ...WITHOUT_KOFFI,
      platform: 'darwin',
      glibcVersion: undefined,
    }).map(({ name }) => name);
    expect(names).toEqual(['node', 'native', 'socket-options', 'cores', 'file-limit', 'memory']);
  });

  it('is asked to migrate waiting connections only where processes share the port', () => {
    expect(finding('migration')).toBeUndefined();
    expect(finding('migration', {}, { workers: 2 })).toMatchObject({
      level: 'advice',
      value: 'net.ipv4.tcp_migrate_req 0',
      mend: 'sysctl -w net.ipv4.tcp_migrate_req=1',
    });
    const migrates = { migratesRequests: true };
    expect(finding('migration', migrates, { workers: 2 })).toMatchObject({ level: 'ok' });
  });

  it('holds processes and rings of all workers and of their supervisor', () => {
    const plan = { workers: 64, replayTotalBytes: GiB };
    const memory = finding('memory', {}, plan);
    expect(memory).toMatchObject({
      level: 'problem',
      why: expect.stringContaining('in 65 processes, one of them the supervisor,') as string,
      mend: expect.stringContaining('fewer --workers') as string,
    });
    expect(memory.why).toContain('take about 69.1 GiB');
    expect(finding('memory', {}, { ...plan, workers: 1 }).level).toBe('ok');
  });

  it.each([
    [8_000, 'advice', '8,000, enough for 7,836 lines in each of 2 workers'],
    [5_163, 'problem', '5,163, enough for 4,999 lines in each of 2 workers'],
    [10_164, 'ok', '10,164, enough for 10,000 lines in each of 2 workers'],
  ] as const)(
    'with a file limit of %d for each of two workers is %s',
    (fileLimit, level, value) => {
      expect(finding('file-limit', { fileLimit }, { workers: 2 })).toMatchObject({ level, value });
    },
  );

  it('with more workers than cores is told how many it has room for', () => {
    expect(finding('cores', { cores: 2.5 }, { workers: 64 })).toMatchObject({
      level: 'advice',
      value: '2.5 for 64 workers',
      mend: '--workers 2, or give it 64 cores',
    });
    expect(finding('cores', {}, { workers: 4 }).level).toBe('ok');
    expect(finding('cores', { cores: 1 }, { workers: 1 })).toMatchObject({
      level: 'advice',
      mend: expect.stringContaining('two cores') as string,
    });
  });

  it('without socket options gets the option that would help', () => {
    const plan = { socketSendBufferBytes: 0, deadPeerTimeoutMs: 0 };
    const bare = { sockets: { options: {}, problems: [] } };
    expect(finding('socket-options', bare, plan)).toMatchObject({
      level: 'ok',
      value: 'none wanted',
    });
    expect(finding('tcp-memory', bare, plan).mend).toBe('--socket-send-buffer 64KiB');
    expect(finding('dead-peers', bare, plan).mend).toMatch(/^--dead-peer-timeout 60s; or/);
    expect(finding('dead-peers', {}, { deadPeerTimeoutMs: 600_000 })).toMatchObject({
      level: 'advice',
      mend: '--dead-peer-timeout 60s',
    });
  });

  it('is never better for more lines', () => {
    const RANK: Readonly<Record<Level, number>> = { ok: 0, advice: 1, problem: 2 };
    const count = fc.integer({ min: 1, max: 1_000_000 });
    fc.assert(
      fc.property(
        count,
        count,
        fc.integer({ min: 1, max: 1_048_576 }),
        fc.boolean(),
        (one, other, size, koffi) => {
          const machine: Partial<Machine> = {
            fileLimit: size,
            memoryBytes: size * 4096,
            tcpMemoryBytes: [size * 512, size * 1024, size * 1536],
            tracked: { count: size % 1000, max: size },
            portRange: [1024, 1024 + (size % 60_000)],
            somaxconn: size % 1024,
            ...(koffi ? {} : WITHOUT_KOFFI),
          };
          const fewer = findings(machine, { lines: Math.min(one, other) });
          const more = findings(machine, { lines: Math.max(one, other) });
          more.forEach(({ name, level }, nth) => {
            if (RANK[level] < RANK[fewer[nth]!.level])
              throw new Error(`${name}: ${fewer[nth]!.level}, then ${level}`);
          });
        },
      ),
    );
  });

  it('is this one, as its files tell', async () => {
    const machine = await readMachine({
      ...PLAN,
      socketReceiveBufferBytes: 0,
      notsentLowatBytes: 0,
    });
    expect(machine).toMatchObject({
      platform: process.platform,
      nodeVersion: process.versions.node,
      nodeRange: expect.any(String) as string,
    });
    expect(machine.cores).toBeGreaterThan(0);
    expect(machine.memoryBytes).toBeGreaterThan(GiB / 4);
    expect(machine.somaxconn).toBeGreaterThan(0);
    const [low, middle, high] = machine.tcpMemoryBytes!;
    expect(low).toBeLessThan(middle);
    expect(middle).toBeLessThan(high);
    expect(checkMachine(machine, { ...PLAN, lines: 1 }).length).toBeGreaterThan(10);
  });
});

describe('what is computed', () => {
  it('is how long the kernel sends again, as ip-sysctl.rst has it for 15', () => {
    expect(retryTimeMs(15)).toBe(924_600);
    expect(retryTimeMs(8)).toBe(102_200);
    expect(retryTimeMs(0)).toBe(200);
  });

  it('is whether a version is in a range', () => {
    const isIn = (version: string): boolean => isInRange(version, '^20.12 || ^22 || ^23');
    expect(
      ['19.9.9', '20.11.9', '20.12.0', '21.7.3', '22.12.0', '23.11.1', '24.0.0'].map(isIn),
    ).toEqual([false, false, true, false, true, true, false]);
    expect(() => isInRange('20.2.0', '>=20')).toThrow('>=20');
    const { engines } = createRequire(import.meta.url)('../package.json') as {
      engines: { node: string };
    };
    expect(isInRange(process.versions.node, engines.node), 'the range of this package is one').toBe(
      true,
    );
  });
});

/** A path on which nothing is wrong. */
const CLEAR: ProxyPath = {
  url: 'http://proxy.example/c',
  head: {
    status: 200,
    httpVersion: '1.1',
    headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' },
    afterMs: 3,
  },
  refusal: '',
  first: { afterMs: 4, position: 7 },
  events: [{ id: 8, subscribers: 1, afterMs: 1 }],
  lateEvent: { id: 9, subscribers: 1, afterMs: 1 },
  publishRefusal: null,
  pollIsFresh: true,
  compression: { coding: 'plain', direct: null, pollHasLength: null, plainArrives: null },
  webSocket: { status: 101, contentType: '', words: '', firstAfterMs: 1 },
  ownOrigin: { origin: 'http://proxy.example', isAccepted: true, changedHost: null },
  comeback: { askedAfter: 7, opened: true, position: 7, gap: false },
  idle: { askedMs: 30_000, blocks: 2 },
  end: null,
  endCode: null,
};

function faultsOf(seen: Partial<ProxyPath>): Record<string, Level> {
  const all = checkPath({ ...CLEAR, ...seen }, 10_000);
  return Object.fromEntries(
    all.flatMap(({ name, level }) => (level === 'ok' ? [] : [[name, level]])),
  );
}

describe('a path through a proxy', () => {
  const events = (...delaysMs: (number | null)[]): ProxyPath['events'] =>
    delaysMs.map((afterMs, nth) => ({ id: 8 + nth, subscribers: 1, afterMs }));
  const refused = (status: number, refusal: string): Partial<ProxyPath> => ({
    head: { ...CLEAR.head!, status },
    refusal,
    first: null,
    events: [],
    lateEvent: null,
    pollIsFresh: null,
    webSocket: null,
    ownOrigin: null,
    comeback: null,
    idle: null,
    end: { afterMs: 5, silentMs: 0, how: 'ended' },
  });

  it('is clear', () => {
    expect(faultsOf({})).toEqual({});
  });

  it.each<[what: string, seen: Partial<ProxyPath>, faults: Record<string, Level>]>([
    ['one event late, the next one not', { events: events(400, 2) }, {}],
    ['every event late', { events: events(400, 150, 300) }, { buffering: 'advice' }],
    ['every event very late', { events: events(2400, 1001, 1500) }, { buffering: 'problem' }],
    [
      'no event',
      { events: events(null), comeback: null, idle: null, lateEvent: null },
      { buffering: 'problem' },
    ],
    [
      'a gap instead of a position',
      { comeback: { askedAfter: 7, opened: true, position: 9, gap: true } },
      {},
    ],
    [
      'a comeback without its position',
      { comeback: { askedAfter: 7, opened: true, position: 9, gap: false } },
      { 'last-event-id': 'problem' },
    ],
    [
      'an age of 0',
      { head: { ...CLEAR.head!, headers: { ...CLEAR.head!.headers, age: '0' } } },
      {},
    ],
    [
      'a Cache-Control that is gone',
      { head: { ...CLEAR.head!, headers: { 'content-type': 'text/event-stream' } } },
      { caching: 'advice' },
    ],
    [
      'an end by the server',
      { end: { afterMs: 9, silentMs: 1, how: 'ended' }, endCode: 'draining' },
      { 'stays-open': 'advice' },
    ],
    [
      'a cut',
      { end: { afterMs: 60_000, silentMs: 45_000, how: 'cut' }, lateEvent: null },
      { 'stays-open': 'problem' },
    ],
    [
      'silence after the idle time',
      { lateEvent: { id: 9, subscribers: 1, afterMs: null } },
      { 'stays-open': 'problem' },
    ],
    [
      'nobody',
      {
        ...refused(0, ''),
        head: null,
        end: { afterMs: 1, silentMs: 1, how: 'connect ECONNREFUSED' },
      },
      { answer: 'problem' },
    ],
    ['a deleted channel', refused(204, ''), { answer: 'problem' }],
  ])('with %s', (_, seen, faults) => {
    expect(faultsOf(seen)).toEqual(faults);
  });

  const socket = (seen: Partial<ProxyPath['webSocket'] & object>): Partial<ProxyPath> => ({
    webSocket: { status: 101, contentType: '', words: '', firstAfterMs: null, ...seen },
  });
  const page = (changedHost: string | null): Partial<ProxyPath> => ({
    ownOrigin: { origin: 'http://proxy.example', isAccepted: false, changedHost },
  });

  it.each<[name: string, seen: Partial<ProxyPath>, level: Level, value: RegExp]>([
    ['websocket', socket({ firstAfterMs: 2.4 }), 'ok', /^opened; a message 2 ms later$/],
    ['websocket', { ...socket({}), events: [] }, 'ok', /^opened$/],
    ['websocket', socket({}), 'problem', /^opened, but no message arrives$/],
    ['websocket', socket({ status: null, words: 'reset' }), 'problem', /^none: reset$/],
    ['websocket', socket({ status: 400, words: '<b>Bad</b>' }), 'problem', /^400: Bad$/],
    ['websocket', socket({ status: 426, words: 'HOLDLINE_BAD_HANDSHAKE' }), 'problem', /^426: /],
    ['websocket', socket({ status: 503, words: 'HOLDLINE_LINES_FULL' }), 'advice', /^503: /],
    [
      'websocket',
      socket({ status: 200, contentType: 'text/event-stream' }),
      'problem',
      /Upgrade was not passed on$/,
    ],
    ['own-origin', page(null), 'problem', /^refused: .* another name than proxy\.example$/],
    [
      'own-origin',
      page('proxy.example:80'),
      'problem',
      /proxy\.example arrives as the Host .*:80$/,
    ],
  ])('of %s, where %j, says so', (name, seen, level, value) => {
    const said = checkPath({ ...CLEAR, ...seen }, 1).find((one) => one.name === name);
    expect(said).toMatchObject({ level, value: expect.stringMatching(value) as string });
    expect(said!.mend === null).toBe(level === 'ok');
  });

  const compressed = (seen: Partial<ProxyPath['compression']>): Partial<ProxyPath> => ({
    compression: { ...CLEAR.compression, ...seen },
  });
  const direct = (coding: 'plain' | 'shared' | null): ProxyPath['compression']['direct'] => ({
    coding,
    refusal: coding === null ? 'answered 404' : '',
  });

  it.each<
    [seen: Partial<ProxyPath['compression']>, level: Level, value: RegExp, mend: RegExp | null]
  >([
    [{}, 'ok', /^none$/, null],
    [{ direct: direct('plain') }, 'ok', /^none, as the server sends it$/, null],
    [{ direct: direct(null) }, 'advice', /could not be asked: answered 404$/, /--direct/],
    [{ coding: 'shared' }, 'ok', /as the server made it/, null],
    [{ coding: 'shared', direct: direct('shared') }, 'ok', /as the server made it/, null],
    [{ coding: 'added' }, 'advice', /^gzip made on the path$/, /gzip_types/],
    [
      { coding: 'added', direct: direct('plain') },
      'advice',
      /^gzip made on the path; the server sends plain bytes$/,
      /gzip_types/,
    ],
    [
      { coding: 'added', direct: direct('shared') },
      'advice',
      /^gzip made on the path, in place of the server's$/,
      /^pass Accept-Encoding on.*gzip_types/,
    ],
    [
      { direct: direct('shared'), pollHasLength: true },
      'advice',
      /Accept-Encoding does not reach it through the proxy$/,
      /^pass Accept-Encoding on/,
    ],
    [
      { direct: direct('shared'), pollHasLength: false },
      'advice',
      /something on the path decompresses$/,
      /^nginx: gunzip off/,
    ],
    [
      { direct: direct('shared') },
      'advice',
      /does not reach it, or the path decompresses$/,
      /^pass Accept-Encoding on.*gunzip off/,
    ],
    [{ coding: 'added', plainArrives: true }, 'problem', /^held back: /, /gzip_types/],
    [{ coding: null, plainArrives: true }, 'problem', /^held back: /, /gzip_types/],
  ])('of compression, where %j, says so', (seen, level, value, mend) => {
    const said = checkPath({ ...CLEAR, ...compressed(seen) }, 1).find(
      ({ name }) => name === 'compression',
    );
    expect(said).toMatchObject({ level, value: expect.stringMatching(value) as string });
    if (mend === null) expect(said!.mend).toBeNull();
    else expect(said!.mend).toMatch(mend);
  });

  it.each<[status: number, refusal: string, value: string, mend: RegExp]>([
    [
      505,
      '<h1>HTTP Version Not Supported</h1>',
      '505: HTTP Version Not Supported',
      /proxy_http_version 1\.1/,
    ],
    [503, '<h1>503</h1>', '503: 503', /http-check send meth GET uri \/-\/ready ver HTTP\/1\.1/],
    [502, '<html>\n<h1>502 Bad Gateway</h1>', '502: 502 Bad Gateway', /server is running/],
    [
      403,
      '{"error":{"code":"HOLDLINE_BAD_HOST"}}',
      '403: {"error":{"code":"HOLDLINE_BAD_HOST"}}',
      /--allowed-hosts/,
    ],
    [
      404,
      '{"error":{"code":"HOLDLINE_NOT_FOUND"}}',
      '404: {"error":{"code":"HOLDLINE_NOT_FOUND"}}',
      /prefix/,
    ],
    [403, '', '403', /proxy/],
  ])('that answers %i gets the mend for it', (status, refusal, value, mend) => {
    const [answer, ...rest] = checkPath({ ...CLEAR, ...refused(status, refusal) }, 1);
    expect(answer).toMatchObject({
      name: 'answer',
      level: 'problem',
      value,
      mend: expect.stringMatching(mend) as string,
    });
    expect(rest).toEqual([]);
  });

  it('with an untrusted certificate gets the way to trust it', () => {
    const end = { afterMs: 1, silentMs: 1, how: 'self-signed certificate' };
    const [answer] = checkPath({ ...CLEAR, ...refused(0, ''), head: null, end }, 1);
    expect(answer!.mend).toContain('NODE_EXTRA_CA_CERTS');
  });
});

describe('the report', () => {
  const long = 'word '.repeat(40).trim();
  const machine: Finding[] = [
    { name: 'a', level: 'ok', value: '1', why: 'because', mend: null },
    { name: 'longer', level: 'problem', value: '2', why: long, mend: 'do this' },
  ];

  it('counts over machine and path', () => {
    const through = {
      seen: CLEAR,
      findings: [{ name: 'b', level: 'advice', value: '3', why: 'so', mend: 'that' }] as Finding[],
    };
    expect(reportOf(5, machine, through)).toMatchObject({
      lines: 5,
      problems: 1,
      advice: 1,
      through: { url: CLEAR.url },
    });
    expect(reportOf(5, machine, through).machine[1]).toEqual({
      name: 'longer',
      level: 'problem',
      value: '2',
      why: long,
      mend: 'do this',
    });
    expect(textOf(reportOf(5, machine, through), 80)).toMatch(
      /Through http:\/\/proxy\.example\/c\n\nadvice {3}b {7}3\n[^]*\n1 problem, 1 piece of advice\n$/,
    );
  });

  it('keeps to the width of the terminal, and stands in columns', () => {
    const text = textOf(reportOf(1000, machine), 60);
    expect(text.split('\n').every((line) => line.length <= 60)).toBe(true);
    expect(text).toMatch(
      /^This machine, for 1,000 lines\n\nok {7}a {7}1\n {17}because\nPROBLEM {2}longer {2}2\n {17}word word/,
    );
    expect(text).toContain(`${' '.repeat(17)}→ do this\n`);
    expect(text.replaceAll(/\s+/g, ' ')).toContain(long);
    expect(text).toMatch(/\n1 problem, 0 pieces of advice\n$/);
  });
});

describe('the options', () => {
  const parse = (...args: string[]) =>
    parseDoctorOptions(args, { env: {}, readFile: (path) => `content of ${path}\n` }).values;

  it('have defaults', () => {
    expect(parse()).toMatchObject({
      lines: 10_000,
      through: undefined,
      throughIdleMs: 30_000,
      json: false,
    });
  });

  it.each(['http://127.0.0.1:8080/c', 'https://events.example/feeds/c', 'http://h/users/a:b@c'])(
    'take %s',
    (url) => {
      expect(parse('--through', url).through).toBe(url);
    },
  );

  it.each([
    'http://127.0.0.1:8080',
    'ws://a.example/c',
    'https://user@a.example/c',
    'https://a.example/c?x=1',
    'a.example/c',
  ])('refuse %s as the URL of a channel', (url) => {
    expect(() => parse('--through', url)).toThrow(HoldlineError);
  });

  it('take what the server takes: workers for the cores, and a key in a file', () => {
    expect([parse('--workers', 'auto').workers, parse('--workers', '3').workers]).toEqual([
      'auto',
      3,
    ]);
    const env = { HOLDLINE_WORKERS: 'auto', HOLDLINE_PUBLISH_KEY_FILE: '/run/key' };
    expect(parseDoctorOptions([], { env, readFile: () => 'a-key\n' })).toMatchObject({
      values: { workers: 'auto', publishKey: 'a-key' },
      warnings: [],
    });
  });

  it('refuse --direct without --through', () => {
    const url = 'http://127.0.0.1:8080/c';
    expect(parse('--through', url, '--direct', url).direct).toBe(url);
    expect(() => parse('--direct', url)).toThrow('--direct: there is nothing to compare it with');
  });

  it('refuse a flag that does nothing without --through, and not its variable', () => {
    for (const flag of ['--through-idle=1s', '--publish-key=k', '--subscribe-key=k'])
      expect(() => parse(flag)).toThrow(`${flag.split('=')[0]}: only what is in front of a server`);
    const env = { HOLDLINE_PUBLISH_KEY: 'k', HOLDLINE_THROUGH_IDLE: '1s' };
    expect(parseDoctorOptions([], { env, readFile: () => '' }).values.publishKey).toBe('k');
  });

  it('are all in the help', () => {
    const help = doctorHelp();
    for (const flag of [
      'lines',
      'through',
      'direct',
      'through-idle',
      'publish-key',
      'subscribe-key',
      'socket-send-buffer',
      'dead-peer-timeout',
      'json',
    ]) {
      expect(help).toContain(`  --${flag} `);
    }
  });
});
