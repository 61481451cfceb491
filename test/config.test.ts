/**
 * The options: what each kind takes and refuses, which source wins, what is shown, and how mistakes
 * are told.
 */

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fc } from './support/properties.js';
import { describe, expect, it } from 'vitest';
import {
  configTable,
  parseCommandLine,
  serveHelp,
  type CommandLine,
} from '../src/options/command-line.js';
import { cautions } from '../src/options/cautions.js';
import { placeOf } from '../src/options/log-kinds.js';
import type { Options } from '../src/options/options.js';
import { authorityOf, splitHostAndPort } from '../src/options/place-kinds.js';
import { reloadSettings } from '../src/options/reload.js';
import { hasSubscribeRule, resolveOptions } from '../src/options/settings.js';
import { variableOf } from '../src/options/sources.js';
import { OPTIONS, type OptionRow, type SettingName } from '../src/options/table.js';
import { HoldlineError } from '../src/errors.js';
import { parseFileLimit, readFileLimit } from '../src/linux/file-limit.js';

const FILE_LIMIT = 20_000;

interface World {
  readonly env?: Record<string, string>;
  readonly files?: Record<string, unknown>;
  readonly fileLimit?: number | undefined;
}

function parse(
  args: readonly string[],
  { env = {}, files = {}, fileLimit = FILE_LIMIT }: World = {},
): CommandLine {
  const readFile = (path: string): string => {
    if (!(path in files)) throw new Error(`ENOENT: no such file or directory, open '${path}'`);
    const content = files[path];
    return typeof content === 'string' ? content : JSON.stringify(content);
  };
  return parseCommandLine(args, { env, fileLimit, readFile });
}

/** The message of the refusal; fails when it is none, or one with another code. */
function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(HoldlineError);
    expect((error as HoldlineError).code).toBe('HOLDLINE_BAD_OPTION');
    return (error as HoldlineError).message;
  }
  throw new Error('nothing was refused');
}

const SECRET = 'a-secret-of-thirty-two-bytes-or-more';
const SHA256 = 'ab'.repeat(32);
const PEM = generateKeyPairSync('ed25519')
  .publicKey.export({ type: 'spki', format: 'pem' })
  .toString();

/** Flags without which a setting is refused, whatever its value. */
const COMPANIONS: Partial<Record<SettingName, readonly string[]>> = {
  jwtJwks: ['--jwt-audience=events', '--jwt-issuer=https://id.example'],
  jwtAudience: [`--jwt-secret=${SECRET}`],
  jwtIssuer: [`--jwt-secret=${SECRET}`],
  authCookie: [`--jwt-secret=${SECRET}`],
  tlsCert: ['--tls-key=key.pem'],
  tlsKey: ['--tls-cert=cert.pem'],
  unixSocketMode: ['--unix-socket=s.sock'],
  natsUser: ['--nats-password=p'],
  natsPassword: ['--nats-user=u'],
};

/** The value of a setting when its flag has this text, or undefined when that is refused. */
function flagValue(setting: SettingName, text: string): unknown {
  try {
    // Beside room for all rings, so that only the setting's own range decides.
    const room = setting === 'replayTotalBytes' ? [] : ['--replay-total=64GiB'];
    return parse([...room, ...(COMPANIONS[setting] ?? []), `--${OPTIONS[setting].flag}=${text}`], {
      fileLimit: Infinity,
    }).settings[setting];
  } catch (error) {
    expect(error).toBeInstanceOf(HoldlineError);
    return undefined;
  }
}

function entry(commandLine: CommandLine, name: string): { value: string; source: string } {
  const { value, source } = commandLine.entries.find((one) => one.name === name)!;
  return { value, source };
}

describe('the table of options', () => {
  it('has the names, defaults and units of the specification', () => {
    expect(resolveOptions({}, FILE_LIMIT)).toEqual({
      host: '127.0.0.1',
      port: 8080,
      unixSocket: undefined,
      unixSocketMode: 0o660,
      opsListen: undefined,
      basePath: '',
      tlsCert: undefined,
      tlsKey: undefined,
      replayEvents: 1024,
      replayBytes: 1024 ** 2,
      replayTotalBytes: 256 * 1024 ** 2,
      maxEventBytes: 64 * 1024,
      heartbeatMs: 15_000,
      retryMs: 3_000,
      flushIntervalMs: 0,
      compress: 'off',
      allowTransform: false,
      slow: 'gap',
      firstId: undefined,
      log: 'memory',
      durability: 'sync',
      logEvents: 0,
      logBytes: 8 * 1024 ** 3,
      logAgeMs: 0,
      logBallastBytes: 16 * 1024 ** 2,
      natsStream: 'HOLDLINE',
      natsPrefix: 'holdline',
      natsReplicas: 1,
      natsCreds: undefined,
      natsUser: undefined,
      natsPassword: undefined,
      natsToken: undefined,
      natsTlsCa: undefined,
      publishKey: undefined,
      keys: [],
      jwtSecret: undefined,
      jwtPublicKey: undefined,
      jwtJwks: undefined,
      jwtAudience: undefined,
      jwtIssuer: undefined,
      jwtMaxLifetimeMs: 86_400_000,
      authCookie: undefined,
      ticketSecret: [],
      openSubscribe: false,
      policies: [],
      openPublish: false,
      demo: false,
      opsKey: undefined,
      maxConnections: FILE_LIMIT - 100 - 64,
      maxLinesPerAddress: 1000,
      maxLinesPerUser: 1000,
      maxWaitingPolls: 0,
      acceptRate: 10_000,
      publishRate: 0,
      trustedProxies: [],
      forwardedHeader: 'x-forwarded-for',
      maxHeaderBytes: 16_384,
      socketSendBufferBytes: 65_536,
      socketReceiveBufferBytes: 65_536,
      notsentLowatBytes: 0,
      deadPeerTimeoutMs: 60_000,
      maxAgeMs: 3_600_000,
      drainMs: 10_000,
      allowOrigin: [],
      allowedHosts: [],
      subprotocols: ['holdline'],
    });
  });

  it('gives the library and the command line the same defaults', () => {
    expect(parse([]).settings).toEqual(resolveOptions({}, FILE_LIMIT));
  });

  it('gives each option a name of its own as a flag and as a variable', () => {
    const rows: OptionRow[] = Object.values(OPTIONS);
    expect(new Set(rows.map((row) => row.flag)).size).toBe(rows.length);
    expect(rows.map(variableOf)).toContain('HOLDLINE_REPLAY_EVENTS');
    for (const row of rows) expect(variableOf(row)).toMatch(/^HOLDLINE_[A-Z_]+$/);
  });

  it('hides keys and secrets and nothing else', () => {
    const secrets = Object.entries<OptionRow>(OPTIONS).filter(([, row]) => row.secret);
    expect(secrets.map(([setting]) => setting)).toEqual([
      'natsPassword',
      'natsToken',
      'publishKey',
      'keys',
      'jwtSecret',
      'ticketSecret',
      'opsKey',
    ]);
  });

  it('gives settings that nobody can change under a running server', () => {
    expect(Object.isFrozen(resolveOptions())).toBe(true);
  });
});

/** For each setting texts that it takes with what they come to, and texts that it refuses. */
const TEXTS: Record<
  SettingName,
  { readonly good: readonly (readonly [string, unknown])[]; readonly bad: readonly string[] }
> = {
  maxLinesPerAddress: {
    good: [
      ['0', 0],
      ['1000', 1000],
    ],
    bad: ['', '-1', '1000001'],
  },
  maxLinesPerUser: {
    good: [
      ['0', 0],
      ['1000', 1000],
    ],
    bad: ['', '-1', '1000001'],
  },
  maxWaitingPolls: {
    good: [
      ['0', 0],
      ['1000', 1000],
    ],
    bad: ['', '-1', '1000001'],
  },
  acceptRate: {
    good: [
      ['0', 0],
      ['1000', 1000],
    ],
    bad: ['', '-1', '1000001'],
  },
  publishRate: {
    good: [
      ['0', 0],
      ['1000', 1000],
    ],
    bad: ['', '-1', '10000001'],
  },
  trustedProxies: {
    good: [
      ['10.1.2.3/8', ['10.0.0.0/8']],
      [
        '127.0.0.1,::ffff:192.0.2.7, 2001:DB8::/32 ,unix',
        ['127.0.0.1', '192.0.2.7', '2001:db8::/32', 'unix'],
      ],
    ],
    bad: ['', 'proxy.example', '10.0.0.0/33', '10.0.0.1,', '[::1]', 'unix:/run/x'],
  },
  forwardedHeader: {
    good: [['forwarded', 'forwarded']],
    bad: ['', 'X-Forwarded-For', 'x-real-ip', 'forwarded,x-forwarded-for'],
  },
  maxHeaderBytes: {
    good: [
      ['4KiB', 4096],
      ['64KiB', 65_536],
    ],
    bad: ['0', '4095', '65537'],
  },
  host: {
    good: [
      ['0.0.0.0', '0.0.0.0'],
      ['::1', '::1'],
      ['events.example', 'events.example'],
    ],
    bad: ['', 'two words', 'a\nb', 'x'.repeat(256)],
  },
  port: {
    good: [
      ['0', 0],
      ['65535', 65_535],
      ['080', 80],
    ],
    bad: ['', '-1', '65536', '80.0', '8e3', '0x50', ' 80', 'http'],
  },
  replayEvents: {
    good: [
      ['0', 0],
      ['1000000', 1_000_000],
    ],
    bad: ['1000001', '-1', '1k', '1,000', '1_000'],
  },
  replayBytes: {
    good: [
      ['0', 0],
      ['0B', 0],
      ['1GiB', 1024 ** 3],
      ['4096', 4096],
      ['64KiB', 65_536],
      ['1.5MiB', 1.5 * 1024 ** 2],
    ],
    bad: ['1025MiB', '1GiBB', '1GB', '1kib', '1 MiB', '0.3B', '-1B', 'KiB', '1e3', '.5KiB'],
  },
  replayTotalBytes: {
    good: [
      ['1MiB', 1024 ** 2],
      ['64GiB', 64 * 1024 ** 3],
    ],
    bad: ['1048575', '65GiB', '0'],
  },
  maxEventBytes: {
    good: [
      ['256', 256],
      ['1MiB', 1024 ** 2],
    ],
    bad: ['255', '1048577', '0.2KiB'],
  },
  heartbeatMs: {
    good: [
      ['100ms', 100],
      ['10min', 600_000],
      ['1.5s', 1500],
    ],
    bad: ['99ms', '601s', '15', '0', '15S', '1m', '15 s'],
  },
  retryMs: {
    good: [
      ['0', 0],
      ['0ms', 0],
      ['1h', 3_600_000],
      ['0.07s', 70],
    ],
    bad: ['61min', '3000', '0.5ms', '-1s', 's'],
  },
  flushIntervalMs: {
    good: [
      ['0', 0],
      ['10s', 10_000],
    ],
    bad: ['10001ms', '5'],
  },
  allowTransform: {
    good: [
      ['true', true],
      ['false', false],
    ],
    bad: ['yes', ''],
  },
  compress: {
    good: [
      ['off', 'off'],
      ['shared', 'shared'],
    ],
    bad: ['on', 'gzip', ''],
  },
  unixSocket: {
    good: [
      ['holdline.sock', 'holdline.sock'],
      ['/run/holdline/é.sock', '/run/holdline/é.sock'],
      ['x'.repeat(107), 'x'.repeat(107)],
    ],
    bad: ['', 'x'.repeat(108), 'é'.repeat(54), 'a\0b'],
  },
  unixSocketMode: {
    good: [
      ['660', 0o660],
      ['0600', 0o600],
      ['777', 0o777],
    ],
    bad: ['', '66', '6600', '888', '0o660', 'rw'],
  },
  opsListen: {
    good: [
      ['127.0.0.1:9090', '127.0.0.1:9090'],
      ['[::1]:0', '[::1]:0'],
      ['ops.internal:65535', 'ops.internal:65535'],
    ],
    bad: [
      '',
      '9090',
      ':9090',
      '127.0.0.1',
      '127.0.0.1:65536',
      '::1:9090',
      '[::1]',
      'a b:1',
      'a/b:1',
    ],
  },
  basePath: {
    good: [
      ['/', ''],
      ['/events', '/events'],
      ['/events/', '/events'],
      ['/a/b-2/c~', '/a/b-2/c~'],
    ],
    bad: [
      'events',
      '//',
      '/a//b',
      '/a b',
      '/-',
      '/a/-/b',
      '/..',
      '/.a',
      '/é',
      `/${'x'.repeat(128)}`,
    ],
  },
  tlsCert: {
    good: [['/etc/holdline/cert.pem', '/etc/holdline/cert.pem']],
    bad: ['', 'a\0b', 'x'.repeat(4097)],
  },
  tlsKey: {
    good: [['key.pem', 'key.pem']],
    bad: ['', 'a\0b'],
  },
  slow: {
    good: [
      ['gap', 'gap'],
      ['latest', 'latest'],
      ['close', 'close'],
    ],
    bad: ['', 'Gap', 'drop'],
  },
  firstId: {
    good: [
      ['1', 1],
      ['9007199254740991', Number.MAX_SAFE_INTEGER],
    ],
    bad: ['0', '9007199254740992', '99999999999999999', '1.5'],
  },
  log: {
    good: [
      ['memory', 'memory'],
      ['lmdb:/var/lib/holdline', 'lmdb:/var/lib/holdline'],
      ['lmdb:a b', 'lmdb:a b'],
      ['nats://127.0.0.1', 'nats://127.0.0.1:4222'],
      ['nats:a.example:4223', 'nats://a.example:4223'],
      ['nats:tls://a', 'tls://a:4222'],
      ['tls://[::1]:1, nats://b/,b', 'tls://[::1]:1,nats://b:4222'],
    ],
    bad: [
      '',
      'disk',
      'lmdb:',
      'lmdb',
      'lmdb://host/x',
      'lmdb:a\0b',
      'nats:',
      'nats://',
      'nats://u:p@a',
      'nats://a:0',
      'nats://a:65536',
      'nats://a/path',
      'nats:http://a',
      'a,nats://b',
      `nats://${'a,'.repeat(16)}a`,
    ],
  },
  durability: {
    good: [
      ['sync', 'sync'],
      ['async', 'async'],
    ],
    bad: ['', 'none'],
  },
  logEvents: {
    good: [
      ['0', 0],
      ['1000000000000', 1e12],
    ],
    bad: ['-1', '1000000000001'],
  },
  logBytes: {
    good: [
      ['0', 0],
      ['1MiB', 1024 ** 2],
      ['65536GiB', 64 * 1024 ** 4],
    ],
    bad: ['1', '1023KiB', '65537GiB'],
  },
  logAgeMs: {
    good: [
      ['0', 0],
      ['1min', 60_000],
      ['87840h', 3660 * 86_400_000],
    ],
    bad: ['59s', '87841h', '7'],
  },
  logBallastBytes: {
    good: [
      ['0', 0],
      ['1GiB', 1024 ** 3],
    ],
    bad: ['1', '1025MiB'],
  },
  natsStream: {
    good: [['EVENTS-2_a', 'EVENTS-2_a']],
    bad: ['', 'a.b', 'a b', 'a*', 'x'.repeat(65)],
  },
  natsPrefix: {
    good: [
      ['holdline', 'holdline'],
      ['acme.events', 'acme.events'],
    ],
    bad: ['', '_INBOX', '.a', 'a.', 'a..b', 'a.*', '>', 'a b', 'x'.repeat(65)],
  },
  natsReplicas: {
    good: [
      ['1', 1],
      ['5', 5],
    ],
    bad: ['0', '6'],
  },
  natsCreds: {
    good: [['/etc/holdline/nats.creds', '/etc/holdline/nats.creds']],
    bad: ['', 'a\0b'],
  },
  natsUser: {
    good: [['holdline', 'holdline']],
    bad: ['', 'a b', 'a\n'],
  },
  natsPassword: {
    good: [['p@ss:word/', 'p@ss:word/']],
    bad: ['', 'a b'],
  },
  natsToken: {
    good: [['s3cr3t', 's3cr3t']],
    bad: ['', 'a b'],
  },
  natsTlsCa: {
    good: [['ca.pem', 'ca.pem']],
    bad: ['', 'a\0b'],
  },
  publishKey: {
    good: [
      ['k', 'k'],
      ['a+b/c=~!', 'a+b/c=~!'],
    ],
    bad: ['', 'two words', 'schlüssel', 'a\nb', 'x'.repeat(1025)],
  },
  keys: {
    good: [
      [
        `[{"name":"ci","sha256":"${SHA256.toUpperCase()}","publish":["a","b-*"],"user":"robot"}]`,
        [{ name: 'ci', sha256: SHA256, publish: ['a', 'b-*'], user: 'robot' }],
      ],
      ['[]', []],
    ],
    bad: [
      '',
      '{}',
      'ci',
      '[7]',
      '[{"name":"ci"}]',
      `[{"sha256":"${SHA256}"}]`,
      `[{"name":"ops","sha256":"${SHA256}"}]`,
      `[{"name":"a b","sha256":"${SHA256}"}]`,
      `[{"name":"ci","sha256":"${SHA256}0"}]`,
      `[{"name":"ci","sha256":"${SHA256}","publish":"a"}]`,
      `[{"name":"ci","sha256":"${SHA256}","publish":["a b"]}]`,
      `[{"name":"ci","sha256":"${SHA256}","ops":1}]`,
      `[{"name":"ci","sha256":"${SHA256}","user":""}]`,
      `[{"name":"ci","sha256":"${SHA256}"},{"name":"ci","sha256":"${SHA256.replace('a', 'c')}"}]`,
      `[{"name":"ci","sha256":"${SHA256}"},{"name":"cd","sha256":"${SHA256}"}]`,
    ],
  },
  jwtSecret: {
    good: [[SECRET, SECRET]],
    bad: ['', 'x'.repeat(31), 'two words of more than thirty-two bytes', PEM],
  },
  jwtPublicKey: {
    good: [[PEM, PEM]],
    bad: ['', 'nowhere.pem', '-----BEGIN NOTHING-----\nAAAA\n'],
  },
  jwtJwks: {
    good: [
      ['https://id.example/keys', 'https://id.example/keys'],
      ['https://ID.example:443/keys?p=7', 'https://id.example/keys?p=7'],
      ['http://localhost:9000/keys', 'http://localhost:9000/keys'],
      ['http://127.0.0.1/keys', 'http://127.0.0.1/keys'],
      ['http://[::1]:9000/keys', 'http://[::1]:9000/keys'],
    ],
    bad: [
      '',
      'http://id.example/keys',
      'http://localhost.example/keys',
      'http://127.0.0.1.example/keys',
      'https://user@id.example/keys',
      'https://id.example/keys#x',
      'https://id.example',
      'file:///keys',
      'https:/id.example/keys',
    ],
  },
  jwtAudience: { good: [['https://events.example', 'https://events.example']], bad: ['', 'a\nb'] },
  jwtIssuer: { good: [['id', 'id']], bad: ['', 'x'.repeat(256)] },
  jwtMaxLifetimeMs: {
    good: [
      ['1min', 60_000],
      ['744h', 31 * 24 * 3_600_000],
    ],
    bad: ['59s', '745h', '0', '3600'],
  },
  authCookie: { good: [['session', 'session']], bad: ['', 'a b', 'a=b', 'a;b', 'x'.repeat(65)] },
  ticketSecret: {
    good: [
      [SECRET, [SECRET]],
      [`${SECRET}1,${SECRET}2`, [`${SECRET}1`, `${SECRET}2`]],
    ],
    bad: ['', 'x'.repeat(31), `${SECRET},`, `${SECRET}1,${SECRET}2,${SECRET}3`],
  },
  openSubscribe: {
    good: [
      ['true', true],
      ['0', false],
    ],
    bad: ['', 'yes'],
  },
  policies: {
    good: [
      [
        '[{"channels":"org/**","read":"open","replayEvents":5,"replayBytes":"1KiB","replayAge":"1h","slow":"latest"}]',
        [
          {
            channels: 'org/**',
            read: 'open',
            replayEvents: 5,
            replayBytes: 1024,
            replayAge: 3_600_000,
            slow: 'latest',
          },
        ],
      ],
    ],
    bad: [
      '',
      '{"channels":"a"}',
      '[{"read":"open"}]',
      '[{"channels":"a b"}]',
      '[{"channels":"a","read":"key"}]',
      '[{"channels":"a","replayAge":60}]',
      '[{"channels":"a","replayEvents":-1}]',
      '[{"channels":"a","reed":"open"}]',
    ],
  },
  opsKey: { good: [['k'.repeat(1024), 'k'.repeat(1024)]], bad: ['', '\t'] },
  openPublish: {
    good: [
      ['true', true],
      ['1', true],
      ['false', false],
      ['0', false],
    ],
    bad: ['', 'yes', 'TRUE', '2'],
  },
  demo: {
    good: [
      ['true', true],
      ['1', true],
      ['false', false],
      ['0', false],
    ],
    bad: ['', 'yes', 'TRUE', '2'],
  },
  maxConnections: {
    good: [
      ['1', 1],
      ['1000000', 1_000_000],
    ],
    bad: ['0', '1000001'],
  },
  memoryBudgetBytes: {
    good: [
      ['64MiB', 64 * 1024 * 1024],
      ['2GiB', 2 * 1024 ** 3],
    ],
    bad: ['0', '63MiB', '1025GiB', '512'],
  },
  socketSendBufferBytes: {
    good: [
      ['0', 0],
      ['0KiB', 0],
      ['4096', 4096],
      ['64MiB', 67_108_864],
    ],
    bad: ['1', '4095', '67108865', '-4096', '0s'],
  },
  socketReceiveBufferBytes: {
    good: [
      ['0', 0],
      ['4KiB', 4096],
    ],
    bad: ['4095', '65MiB'],
  },
  notsentLowatBytes: {
    good: [
      ['0', 0],
      ['16KiB', 16_384],
    ],
    bad: ['1', '65MiB'],
  },
  deadPeerTimeoutMs: {
    good: [
      ['0', 0],
      ['0s', 0],
      ['4s', 4000],
      ['1h', 3_600_000],
    ],
    bad: ['1ms', '3999ms', '61min', '60', '0KiB'],
  },
  maxAgeMs: {
    good: [
      ['0', 0],
      ['1s', 1_000],
      ['720h', 2_592_000_000],
    ],
    bad: ['999ms', '721h', '3600'],
  },
  drainMs: {
    good: [
      ['0ms', 0],
      ['10min', 600_000],
    ],
    bad: ['601s', '10'],
  },
  allowOrigin: {
    good: [
      ['*', ['*']],
      ['https://app.example', ['https://app.example']],
      [
        'http://localhost:3000, https://[::1]:8443',
        ['http://localhost:3000', 'https://[::1]:8443'],
      ],
      ['capacitor://localhost', ['capacitor://localhost']],
      ['https://a.example,https://a.example', ['https://a.example']],
    ],
    bad: [
      '',
      'app.example',
      'https://app.example/',
      'https://App.example',
      'https://app.example:443',
      'https://user@app.example',
      'https://app.example/path',
      'https://bücher.example',
      'https://',
      'file:///tmp',
      'null',
      'https://*.example',
      'https://a.example,',
    ],
  },
  allowedHosts: {
    good: [
      ['events.example', ['events.example']],
      ['Events.Example,10.0.0.7,[::1]', ['events.example', '10.0.0.7', '[::1]']],
      ['my_service', ['my_service']],
    ],
    bad: ['', 'events.example:80', 'https://events.example', '*', '.example', 'a b', 'a,,b'],
  },
  subprotocols: {
    good: [
      ['bearer', ['bearer']],
      ['chat.v2, Bearer', ['chat.v2', 'Bearer']],
    ],
    bad: ['', 'a b', 'a,,b', 'a"b', 'a/b', 'ü', 'x'.repeat(65)],
  },
};

describe.each(Object.entries(TEXTS))('the option %s', (name, { good, bad }) => {
  const setting = name as SettingName;
  it.each(good)('takes %j', (text, value) => expect(flagValue(setting, text)).toEqual(value));
  it.each(bad)('refuses %j', (text) => expect(flagValue(setting, text)).toBeUndefined());
});

describe('sizes and times', () => {
  const shown = (args: string[], name: string): string => entry(parse(args), name).value;

  it('read back as they are shown', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 100, max: 600_000 }),
        fc.integer({ min: 2 ** 20, max: 2 ** 36 }),
        (ms, bytes) => {
          const { settings } = parse([`--heartbeat=${ms}ms`, `--replay-total=${bytes}`]);
          expect([settings.heartbeatMs, settings.replayTotalBytes]).toEqual([ms, bytes]);
          expect(
            parse(['--heartbeat', shown([`--heartbeat=${ms}ms`], 'heartbeat')]).settings
              .heartbeatMs,
          ).toBe(ms);
          expect(
            parse(['--replay-total', shown([`--replay-total=${bytes}`], 'replay-total')]).settings
              .replayTotalBytes,
          ).toBe(bytes);
        },
      ),
    );
  });

  it('are shown in the largest unit that leaves a whole number', () => {
    expect(shown(['--heartbeat=90s'], 'heartbeat')).toBe('90s');
    expect(shown(['--heartbeat=120000ms'], 'heartbeat')).toBe('2min');
    expect(shown(['--retry=0'], 'retry')).toBe('0ms');
    expect(shown(['--replay-bytes=1536'], 'replay-bytes')).toBe('1536B');
    expect(shown(['--replay-bytes=0'], 'replay-bytes')).toBe('0B');
    expect(shown(['--replay-total=1GiB'], 'replay-total')).toBe('1GiB');
  });

  it('a time may be in days', () => {
    expect(shown(['--log-age=30d'], 'log-age')).toBe('720h');
    expect(shown(['--log-age=0.5d'], 'log-age')).toBe('12h');
  });
});

describe('precedence', () => {
  const files = { 'h.json': { 'replay-events': 3, port: 3, heartbeat: '3s', 'log-level': 'warn' } };

  it('is flag, environment, file, default', () => {
    const commandLine = parse(['--config', 'h.json', '--replay-events', '1'], {
      env: { HOLDLINE_REPLAY_EVENTS: '2', HOLDLINE_PORT: '2' },
      files,
    });
    const { replayEvents, port, heartbeatMs, retryMs } = commandLine.settings;
    expect({ replayEvents, port, heartbeatMs, retryMs }).toEqual({
      replayEvents: 1,
      port: 2,
      heartbeatMs: 3000,
      retryMs: 3000,
    });
    expect(commandLine.logLevel).toBe('warn');
    expect(entry(commandLine, 'replay-events')).toEqual({ value: '1', source: 'flag' });
    expect(entry(commandLine, 'port')).toEqual({ value: '2', source: 'environment' });
    expect(entry(commandLine, 'heartbeat')).toEqual({ value: '3s', source: 'file h.json' });
    expect(entry(commandLine, 'retry')).toEqual({ value: '3s', source: 'default' });
  });

  it.each(Object.entries(TEXTS))('holds for %s', (name, { good }) => {
    const setting = name as SettingName;
    const row = OPTIONS[setting];
    const [text, value] = good[0]!;
    const options: World = {
      env: { [variableOf(row)]: text },
      files: { 'h.json': { [row.flag]: text } },
      fileLimit: Infinity,
    };
    // Refused by the option if it were read, so that what wins is seen to be read alone.
    const spoilt = { ...options, files: { 'h.json': { [row.flag]: {} } } };
    const others = COMPANIONS[setting] ?? [];
    const taken = (args: readonly string[], world: World): unknown =>
      parse([...others, ...args], world).settings[setting];
    expect(
      taken([`--${row.flag}=${text}`], { ...spoilt, env: { [variableOf(row)]: '\0' } }),
    ).toEqual(value);
    expect(taken(['--config=h.json'], spoilt)).toEqual(value);
    expect(taken(['--config=h.json'], { ...options, env: {} })).toEqual(value);
  });

  it('lets the last of a repeated flag win, so that a wrapper can be overridden', () => {
    expect(parse(['--port', '1', '--port', '2']).settings.port).toBe(2);
    expect(parse(['--open-publish', '--open-publish=false']).settings.openPublish).toBe(false);
  });

  it('adds up a repeated flag of a list, and replaces what the environment says', () => {
    const args = [
      '--allow-origin',
      'https://a.example',
      '--allow-origin',
      'https://b.example,https://c.example',
    ];
    const { settings } = parse(args, { env: { HOLDLINE_ALLOW_ORIGIN: '*' } });
    expect(settings.allowOrigin).toEqual([
      'https://a.example',
      'https://b.example',
      'https://c.example',
    ]);
  });

  it('finds the config file by a variable as well', () => {
    expect(parse([], { env: { HOLDLINE_CONFIG: 'h.json' }, files }).settings.port).toBe(3);
  });
});

describe('the config file', () => {
  const parseFile = (content: unknown): CommandLine =>
    parse(['--config', 'h.json'], { files: { 'h.json': content } });

  it('takes numbers, booleans and arrays where JSON has them', () => {
    const { settings } = parseFile({
      port: 0,
      'replay-bytes': 4096,
      retry: 0,
      'open-publish': true,
      'allow-origin': ['https://a.example', 'https://b.example'],
      'allowed-hosts': 'a.example,b.example',
    });
    expect(settings).toMatchObject({ port: 0, replayBytes: 4096, retryMs: 0, openPublish: true });
    expect(settings.allowOrigin).toEqual(['https://a.example', 'https://b.example']);
    expect(settings.allowedHosts).toEqual(['a.example', 'b.example']);
  });

  it('wants a unit with a time', () => {
    expect(refusal(() => parseFile({ heartbeat: 15 }))).toBe(
      '"heartbeat" in h.json must be a time from 100ms to 10min in ms, s, min, h or d, such as 250ms or 15s (got 15)',
    );
  });

  it.each([
    [{ prot: 1 }, '"prot" in h.json is not an option; did you mean port?'],
    [{ replayEvents: 1 }, '"replayEvents" in h.json is not an option; did you mean replay-events?'],
    [{ config: 'x' }, /^"config" in h\.json is not an option; the keys are host, port, /],
    [{ port: null }, '"port" in h.json must be an integer from 0 to 65535 (got null)'],
    [{ 'open-publish': 1 }, '"open-publish" in h.json must be true or false (got 1)'],
    [
      '[]',
      '--config: "h.json" is not a JSON object; it must be an object such as {"port": 8080, "heartbeat": "15s"}',
    ],
    [
      '{\n"publish-key": "hush",\n}',
      /^--config: "h\.json" is not JSON(?: \(line 3\))?; it must be an object such as/,
    ],
    ['{"__proto__": {"port": 1}}', /^"__proto__" in h\.json is not an option/],
  ])('refuses %j', (content, message) => {
    const told = refusal(() => parseFile(content));
    expect(told).toEqual(typeof message === 'string' ? message : expect.stringMatching(message));
    expect(told).not.toContain('hush');
  });

  it('says why it cannot be read', () => {
    expect(refusal(() => parse(['--config', '/nowhere.json']))).toBe(
      `--config: "/nowhere.json" cannot be read (ENOENT: no such file or directory, open '/nowhere.json')`,
    );
  });
});

describe('a mistake on the command line', () => {
  it.each([
    [['--port', '70000'], '--port must be an integer from 0 to 65535 (got "70000")'],
    [['--port', '-1'], '--port must be an integer from 0 to 65535 (got "-1")'],
    [['--port'], '--port needs a value: an integer from 0 to 65535 (nothing follows)'],
    [
      ['--port', '--host', 'x'],
      '--port needs a value: an integer from 0 to 65535 (--host follows)',
    ],
    [
      ['--replay-bytes', '2GiB'],
      '--replay-bytes must be a size from 0B to 1GiB in bytes, KiB, MiB or GiB, such as 4096 or 64KiB (got "2GiB")',
    ],
    [['--slow', 'drop'], '--slow must be one of gap, latest, close (got "drop")'],
    [['--open-publish=perhaps'], '--open-publish must be true or false (got "perhaps")'],
    [['--reply-events', '5'], '--reply-events is not an option; did you mean --replay-events?'],
    [['--prot=80'], '--prot is not an option; did you mean --port?'],
    [['--threads', '4'], '--threads is not an option; holdline serve --help lists the options'],
    [['--demo=maybe'], '--demo must be true or false (got "maybe")'],
    [['--no-open-publish'], '--no-open-publish is not an option; did you mean --open-publish?'],
    [['-p', '80'], '-p is not an option; holdline serve --help lists the options'],
    [
      ['8080'],
      '"8080" is not an option; options start with -- and holdline serve takes nothing else',
    ],
    [
      ['--', '--port', '1'],
      '"--port" is not an option; options start with -- and holdline serve takes nothing else',
    ],
    [['--log-format', 'xml'], '--log-format must be one of auto, text, json (got "xml")'],
    [
      ['--log-level', 'loud'],
      '--log-level must be one of trace, debug, info, warn, error, fatal, silent (got "loud")',
    ],
  ])('%j is refused in words', (args, message) => expect(refusal(() => parse(args))).toBe(message));

  it('is named after the variable when it is one', () => {
    expect(refusal(() => parse([], { env: { HOLDLINE_PORT: 'x' } }))).toBe(
      'HOLDLINE_PORT must be an integer from 0 to 65535 (got "x")',
    );
  });

  it('shows no secret, but an empty one', () => {
    expect(refusal(() => parse(['--ops-key', 'my key']))).toBe(
      '--ops-key must be 1 to 1024 visible ASCII characters without spaces (got a secret, not shown here)',
    );
    expect(refusal(() => parse([], { env: { HOLDLINE_PUBLISH_KEY: '' } }))).toMatch(
      /^HOLDLINE_PUBLISH_KEY must be .* \(got ""\)$/,
    );
  });

  it('is cut short where it is long', () => {
    expect(refusal(() => parse(['--host', `x ${'y'.repeat(10_000)}`])).length).toBeLessThan(400);
  });

  it('whatever it is, is a refusal and no fault', () => {
    const args = fc.array(
      fc.oneof(
        fc.string(),
        fc.constantFrom('--port', '--config', '--', '-', '--=', '--publish-key', '--open-publish'),
        fc.string().map((name) => `--${name}`),
      ),
    );
    fc.assert(
      fc.property(args, (given) => {
        try {
          parse(given);
        } catch (error) {
          expect(error).toBeInstanceOf(HoldlineError);
        }
      }),
    );
  });
});

describe('the environment', () => {
  it('warns of a variable that is no option, since others set variables too', () => {
    expect(
      parse([], { env: { HOLDLINE_REPLAY_EVNTS: '1', HOLDLINE_SOMETHING: '1', OTHER: '1' } })
        .warnings,
    ).toEqual([
      'the environment variable HOLDLINE_REPLAY_EVNTS is not an option and has no effect; did you mean HOLDLINE_REPLAY_EVENTS?',
      'the environment variable HOLDLINE_SOMETHING is not an option and has no effect',
    ]);
  });

  it('leaves alone what Kubernetes sets for a service called holdline', () => {
    const env = {
      HOLDLINE_SERVICE_HOST: '10.0.0.7',
      HOLDLINE_SERVICE_PORT: '80',
      HOLDLINE_SERVICE_PORT_HTTP: '80',
      HOLDLINE_PORT: 'tcp://10.0.0.7:80',
      HOLDLINE_PORT_80_TCP: 'tcp://10.0.0.7:80',
      HOLDLINE_PORT_80_TCP_PROTO: 'tcp',
      HOLDLINE_PORT_80_TCP_PORT: '80',
      HOLDLINE_PORT_80_TCP_ADDR: '10.0.0.7',
      HOLDLINE_CANARY_PORT: 'tcp://10.0.0.8:80',
      HOLDLINE_CANARY_SERVICE_HOST: '10.0.0.8',
    };
    const { settings, warnings } = parse([], { env });
    expect(settings.port).toBe(8080);
    expect(warnings).toEqual([]);
  });
});

describe('relations', () => {
  const fileLimitWords = (limit: number): string =>
    `of the file limit of ${limit} 100 files are kept for the process and 64 for clients that are told to come back; raise it with ulimit -n or LimitNOFILE=`;

  it('hold the connections under the file limit, and name both', () => {
    expect(parse(['--max-connections', '19836']).settings.maxConnections).toBe(19_836);
    expect(refusal(() => parse(['--max-connections', '19837']))).toBe(
      `--max-connections must be at most 19836 (got 19837): ${fileLimitWords(20_000)}`,
    );
    expect(refusal(() => parse([], { fileLimit: 128 }))).toBe(
      `--max-connections must be at most 0 (got 1): ${fileLimitWords(128)}`,
    );
  });

  it('leave the connections alone where there is no file limit or none can be read', () => {
    expect(parse([], { fileLimit: Infinity }).settings.maxConnections).toBe(1_000_000);
    expect(
      parseCommandLine([], { env: {}, fileLimit: undefined, readFile: String }).settings
        .maxConnections,
    ).toBe(10_000);
    const asked = parseCommandLine(['--max-connections=50000'], {
      env: {},
      fileLimit: undefined,
      readFile: String,
    });
    expect(asked.settings.maxConnections).toBe(50_000);
  });

  it('keep one ring within what all may hold', () => {
    expect(
      refusal(() =>
        parse(['--replay-bytes', '512MiB'], { env: { HOLDLINE_REPLAY_TOTAL: '1MiB' } }),
      ),
    ).toBe(
      '--replay-bytes of one channel must be at most HOLDLINE_REPLAY_TOTAL of all (got 512MiB and 1MiB)',
    );
    expect(refusal(() => resolveOptions({ replayBytes: 2 ** 30 }))).toMatch(
      /^replayBytes .* replayTotalBytes .* \(got 1GiB and 256MiB\)$/,
    );
  });
});

describe('who may publish', () => {
  it('is whoever has the key or everyone, not both', () => {
    const wanted = /^--publish-key and --open-publish exclude each other: /;
    expect(() => parse(['--publish-key', 'k', '--open-publish'])).toThrow(wanted);
    expect(() => resolveOptions({ publishKey: 'k', openPublish: true })).toThrow(
      /^publishKey and openPublish exclude each other: /,
    );
    expect(parse(['--publish-key', 'k']).settings.openPublish).toBe(false);
  });
});

describe('the demo of this machine', () => {
  const DEMO = ['--demo', '--open-publish'];

  it.each([[[]], [['--host=localhost']], [['--host=127.0.0.2']], [['--host', '::1']]])(
    'lets every page listen: %j',
    (more) => {
      const commandLine = parse([...DEMO, ...more]);
      expect(commandLine.settings.allowOrigin).toEqual(['*']);
      expect(entry(commandLine, 'allow-origin')).toEqual({ value: '*', source: 'default' });
    },
  );

  it.each([
    [['--demo']],
    [['--open-publish']],
    [['--demo', '--publish-key=k']],
    [[...DEMO, '--host=0.0.0.0']],
    [[...DEMO, '--host=::']],
    [[...DEMO, '--host=127.example']],
    [[...DEMO, '--host=localhost.example']],
    [[...DEMO, '--allowed-hosts=events.example']],
  ])('is none, and lets none: %j', (args) => {
    expect(parse(args).settings.allowOrigin).toEqual([]);
  });

  it('lets those pages alone that are given', () => {
    const origin = 'https://app.example';
    expect(parse([...DEMO, '--allow-origin', origin]).settings.allowOrigin).toEqual([origin]);
    const given = { demo: true, openPublish: true };
    expect(resolveOptions({ ...given, allowOrigin: [] }, FILE_LIMIT).allowOrigin).toEqual([]);
    expect(resolveOptions(given, FILE_LIMIT).allowOrigin).toEqual(['*']);
  });
});

describe('where to listen', () => {
  it.each([
    [['--tls-cert=c.pem'], '--tls-cert needs --tls-key'],
    [['--tls-key=k.pem'], '--tls-key needs --tls-cert'],
    [['--unix-socket-mode=600'], '--unix-socket-mode needs --unix-socket'],
    [
      ['--ops-listen=127.0.0.1:8080'],
      '--ops-listen must be another address than that of --host and --port (got 127.0.0.1:8080)',
    ],
    [['--unix-socket=s', '--port=1'], '--unix-socket and --port exclude each other'],
    [['--unix-socket=s', '--host=::'], '--unix-socket and --host exclude each other'],
    [
      ['--unix-socket=s', '--tls-cert=c', '--tls-key=k'],
      '--unix-socket and --tls-cert exclude each other',
    ],
  ])('refuses %j', (args, problem) => {
    expect(() => parse(args)).toThrow(problem);
  });

  it('takes a mode as octal text, and in the library as a number', () => {
    const files = { 'h.json': { 'unix-socket': 's', 'unix-socket-mode': 660 } };
    expect(() => parse(['--config=h.json'], { files })).toThrow('must be three octal digits');
    const given = { unixSocket: 's', unixSocketMode: 0o600 };
    expect(resolveOptions(given, FILE_LIMIT).unixSocketMode).toBe(0o600);
  });

  it('splits and joins an address with its port', () => {
    expect(splitHostAndPort('[::1]:9090')).toEqual({ host: '::1', port: 9090 });
    expect(splitHostAndPort('localhost:0')).toEqual({ host: 'localhost', port: 0 });
    expect(authorityOf('::1', 80)).toBe('[::1]:80');
    expect(authorityOf('10.0.0.7', 80)).toBe('10.0.0.7:80');
  });
});

describe('secrets in files', () => {
  const files = {
    key: 'hush\r\n',
    secret: `\uFEFF${SECRET}\n\n`,
    tickets: `${SECRET}1\n${SECRET}2\n`,
    keys: [{ name: 'ci', sha256: SHA256 }],
    policies: [{ channels: 'a', slow: 'close' }],
    'a.pem': `${PEM}\n\n`,
    'h.json': { 'ops-key-file': 'key', 'jwt-public-key': 'a.pem' },
  };

  it('are read without the line break at their end, wherever the file is named', () => {
    const args = [
      '--jwt-secret-file=secret',
      '--ticket-secret-file',
      'tickets',
      '--keys-file=keys',
    ];
    const { settings } = parse([...args, '--policies-file=policies'], {
      files,
      env: { HOLDLINE_PUBLISH_KEY_FILE: 'key', HOLDLINE_PUBLISH_KEY_FILES: 'x' },
    });
    expect(settings).toMatchObject({
      publishKey: 'hush',
      jwtSecret: SECRET,
      ticketSecret: [`${SECRET}1`, `${SECRET}2`],
      keys: [{ name: 'ci', sha256: SHA256 }],
      policies: [{ channels: 'a', slow: 'close' }],
    });
    const fromConfig = parse(['--config=h.json'], { files }).settings;
    expect(fromConfig).toMatchObject({ opsKey: 'hush', jwtPublicKey: `${PEM.trimEnd()}\n` });
  });

  it('hold what one source says before another', () => {
    const env = { HOLDLINE_OPS_KEY_FILE: 'nowhere' };
    expect(parse(['--ops-key=k'], { env, files }).settings.opsKey).toBe('k');
    expect(parse(['--ops-key-file=key', '--config=h.json'], { env, files }).settings.opsKey).toBe(
      'hush',
    );
  });

  it.each([
    [['--ops-key=k', '--ops-key-file=key'], '--ops-key and --ops-key-file exclude each other'],
    [
      ['--ops-key-file=none'],
      /^--ops-key-file: "none" cannot be read \(ENOENT: no such file or directory, open 'none'\)$/,
    ],
    [
      ['--jwt-secret-file=key'],
      /^--jwt-secret-file \(in key\) must be 32 to 1024 visible .* \(got a secret, not shown here\)$/,
    ],
    [['--jwt-public-key=key'], /^--jwt-public-key \(in key\) must be a file with a public key/],
    [['--ops-key-file=large'], '--ops-key-file: "large" has more than 1048576 bytes'],
    [['--ops-key-file='], /^--ops-key-file must be the path of a file \(got ""\)$/],
    [['--keys-file=key'], /^--keys-file \(in key\) must be JSON, an array of up to 64 objects/],
    [['--port-file=key'], /^--port-file is not an option/],
  ])('%j are refused', (args, words) => {
    const large = 'x'.repeat(1024 ** 2 + 1);
    const told = refusal(() => parse(args, { files: { ...files, large } }));
    expect(told).toEqual(typeof words === 'string' ? words : expect.stringMatching(words));
    expect(told).not.toContain('hush');
  });
});

describe('keys and policies', () => {
  it.each([
    [
      [{ name: 'ci', sha256: 'hush' }],
      /^keys: entry 1: sha256 must be the SHA-256 of the key in 64/,
    ],
    [
      [{ name: 'ci', sha256: SHA256, subscibe: ['a'] }],
      /^keys: entry 1: unknown member "subscibe" \(did you mean subscribe\?\)$/,
    ],
    [[{ name: 'ci', sha256: SHA256 }, { name: 'cd' }], 'keys: entry 2: it has no sha256'],
    [[{ name: 'ci', sha256: SHA256 }, 'hush'], 'keys: entry 2: it must be an object'],
    [
      [
        { name: 'ci', sha256: SHA256 },
        { name: 'cd', sha256: SHA256 },
      ],
      'keys: entry 2: its sha256 is that of another entry',
    ],
    [
      Array.from({ length: 65 }, () => ({})),
      /^keys must be an array of up to 64 objects .* \(got a secret, not shown here\)$/,
    ],
  ])('say where the fault is, and show nothing: %j', (keys, words) => {
    const told = refusal(() => resolveOptions({ keys: keys as never }));
    expect(told).toEqual(typeof words === 'string' ? words : expect.stringMatching(words));
    expect(told).not.toContain('hush');
  });

  it('of a program have times in milliseconds', () => {
    const policies = [{ channels: 'a', replayAge: 60_000 }] as const;
    expect(resolveOptions({ policies }).policies).toEqual(policies);
    expect(
      refusal(() => resolveOptions({ policies: [{ channels: 'a', replayAge: '1h' as never }] })),
    ).toMatch(/^policies: entry 1: replayAge must be a time /);
  });
});

describe('who may read', () => {
  const secret = `--jwt-secret=${SECRET}`;
  it.each([
    [
      [secret, `--jwt-public-key=${PEM}`],
      /^--jwt-secret and --jwt-public-key exclude each other: /,
    ],
    [
      [`--jwt-public-key=${PEM}`, '--jwt-jwks=https://id/keys'],
      /^--jwt-public-key and --jwt-jwks exclude each other: /,
    ],
    [['--jwt-jwks=https://id/keys', '--jwt-issuer=i'], /^--jwt-jwks needs --jwt-audience: /],
    [['--jwt-jwks=https://id/keys', '--jwt-audience=a'], /^--jwt-jwks needs --jwt-issuer: /],
    [['--jwt-audience=a'], '--jwt-audience needs --jwt-secret, --jwt-public-key or --jwt-jwks'],
    [['--jwt-issuer=a'], /^--jwt-issuer needs --jwt-secret/],
    [['--auth-cookie=s'], /^--auth-cookie needs tokens or --keys /],
    [['--policies=[{"channels":"a","read":"token"}]'], /^--policies: nobody could read where /],
  ])('%j is refused', (args, words) => {
    const told = refusal(() => parse(args));
    expect(told).toEqual(typeof words === 'string' ? words : expect.stringMatching(words));
    expect(told).not.toContain(SECRET);
  });

  it.each([
    [[], false],
    [['--publish-key=k', '--ops-key=o', '--open-subscribe'], false],
    [[`--keys=[{"name":"a","sha256":"${SHA256}","publish":["**"]}]`], false],
    [['--policies=[{"channels":"a","read":"open"}]'], false],
    [[secret], true],
    [[`--jwt-public-key=${PEM}`], true],
    [['--jwt-jwks=https://id/keys', '--jwt-issuer=i', '--jwt-audience=a'], true],
    [[`--ticket-secret=${SECRET}`], true],
    [[secret, '--policies=[{"channels":"a","read":"token"}]'], true],
    [[`--keys=[{"name":"a","sha256":"${SHA256}","subscribe":[]}]`], false],
    [[`--keys=[{"name":"a","sha256":"${SHA256}","subscribe":["a"]}]`], true],
  ])('%j: a rule says it: %s', (args, expected) => {
    expect(hasSubscribeRule(parse(args).settings)).toBe(expected);
  });
});

describe('--workers', () => {
  it.each([
    [[], 1],
    [['--workers=1'], 1],
    [['--workers=256'], 256],
    [['--workers=auto'], 'auto'],
  ])('%j', (args, expected) => {
    expect(parse(args).workers).toBe(expected);
  });

  it('carry as many connections together as each carries alone', () => {
    const { maxConnections } = parse([]).settings;
    expect(parse(['--workers=3']).settings.maxConnections).toBe(3 * maxConnections);
    expect(parse([`--workers=3`, `--max-connections=${3 * maxConnections}`]).workers).toBe(3);
    expect(
      refusal(() => parse(['--workers=3', `--max-connections=${3 * maxConnections + 1}`])),
    ).toMatch(
      /^--max-connections must be at most 59508 .*: of the file limit of 20000 of each of 3 workers /,
    );
  });

  it.each(['0', '257', 'all', '', '1.5'])('refuses %j', (text) => {
    expect(refusal(() => parse([`--workers=${text}`]))).toMatch(
      /^--workers must be auto or an integer from 1 to 256 /,
    );
  });
});

describe('options of the log', () => {
  it.each([
    [['--nats-user=u'], '--nats-user needs --nats-password'],
    [['--nats-password=p'], '--nats-password needs --nats-user'],
    [
      ['--nats-user=u', '--nats-password=p', '--nats-creds=c'],
      '--nats-creds and --nats-user exclude each other: a server signs in once',
    ],
    [
      ['--nats-user=u', '--nats-password=p', '--nats-token=t'],
      '--nats-token and --nats-user exclude each other: a server signs in once',
    ],
  ])('%j: %s', (args, expected) => {
    expect(refusal(() => parse(args))).toBe(expected);
  });

  it('say where the log is', () => {
    expect(placeOf('memory')).toEqual({ kind: 'memory' });
    expect(placeOf('lmdb:a')).toEqual({ kind: 'lmdb', directory: 'a' });
    expect(placeOf(parse(['--log=nats:a,b:1']).settings.log)).toEqual({
      kind: 'nats',
      servers: ['nats://a:4222', 'nats://b:1'],
    });
  });

  it('bound what a policy keeps', () => {
    const policies = '[{"channels":"a","keepEvents":5,"keepBytes":"1MiB","keepAge":"48h"}]';
    expect(parse([`--policies=${policies}`]).settings.policies).toEqual([
      { channels: 'a', keepEvents: 5, keepBytes: 1024 ** 2, keepAge: 172_800_000 },
    ]);
    for (const [member, value] of [
      ['keepEvents', 0],
      ['keepBytes', 7],
      ['keepAge', '1s'],
    ])
      expect(
        refusal(() =>
          parse([`--policies=${JSON.stringify([{ channels: 'a', [member!]: value }])}`]),
        ),
      ).toMatch(new RegExp(`^policies: entry 1: ${member} must be `));
  });
});

describe('what a server that starts is told', () => {
  const told = (args: readonly string[]): readonly string[] => cautions(parse(args).settings);
  const READS = /^everyone who reaches 0\.0\.0\.0 may read every channel: nothing says who may /;
  const PUBLISHES = /^nobody may publish: /;
  const TLS = ['--tls-cert=c', '--tls-key=k'];

  it.each([
    [['--host=0.0.0.0', '--publish-key=k'], [READS]],
    [['--host=0.0.0.0', '--publish-key=k', '--open-subscribe'], []],
    [['--host=0.0.0.0', `--jwt-secret=${SECRET}`], []],
    [['--publish-key=k'], []],
    [[], [PUBLISHES]],
    [[`--ticket-secret=${SECRET}`, '--host=0.0.0.0'], [PUBLISHES]],
    [[`--keys=[{"name":"a","sha256":"${SHA256}","publish":["a"]}]`], []],
    [['--publish-key=k', ...TLS, '--ops-listen=[::1]:1'], []],
    [['--publish-key=k', '--ops-listen=0.0.0.0:1'], []],
    [['--publish-key=k', ...TLS, '--ops-listen=0.0.0.0:1'], [/^--ops-listen is plain HTTP: /]],
    [['--publish-key=k', '--first-id=7'], [/^ids start at 7 again after a restart /]],
    [['--publish-key=k', '--first-id=7', '--log=lmdb:d'], []],
    [
      ['--publish-key=k', '--durability=async', '--log-events=9', '--nats-prefix=a'],
      [
        /^--log-events has no effect without a log that keeps events/,
        /^--durability has no effect without an lmdb log/,
        /^--nats-prefix has no effect without a nats log/,
      ],
    ],
    [
      ['--publish-key=k', '--log=lmdb:d', '--durability=async', '--nats-replicas=3'],
      [/^--nats-replicas has no effect without a nats log/, /^a power loss may take the events/],
    ],
    [
      ['--publish-key=k', '--log=lmdb:d', '--log-bytes=0'],
      [/^the log grows until its disk is full/],
    ],
    [['--publish-key=k', '--log=lmdb:d', '--log-bytes=0', '--log-age=24h'], []],
    [['--publish-key=k', '--log=nats://[::1]:4222,127.0.0.1'], []],
    [['--publish-key=k', '--log=tls://nats.example'], []],
    [['--publish-key=k', '--log=nats://nats.example'], [/^events and credentials travel to NATS/]],
    [
      ['--publish-key=k', '--policies=[{"channels":"a","keepAge":"24h"}]'],
      [/^keepEvents, keepBytes and keepAge of --policies have no effect/],
    ],
    [['--publish-key=k', '--log=lmdb:d', '--policies=[{"channels":"a","keepEvents":5}]'], []],
  ])('%j', (args, expected) => {
    expect(told(args)).toEqual(expected.map((words) => expect.stringMatching(words) as string));
  });
});

describe('settings that are read again', () => {
  it('take over credentials, and name what needs a restart', () => {
    const running = parse(['--publish-key=old', '--port=1']).settings;
    const read = parse([`--jwt-secret=${SECRET}`, '--open-publish', '--port=2', '--retry=1s']);
    const { settings, changed, ignored } = reloadSettings(running, read.settings);
    expect(settings).toEqual({ ...read.settings, port: 1, retryMs: 3_000 });
    expect(changed).toEqual(['--publish-key', '--jwt-secret', '--open-publish']);
    expect(ignored).toEqual(['--port', '--retry']);
    expect(reloadSettings(settings, settings)).toEqual({ settings, changed: [], ignored: [] });
  });

  it('take over the files of a certificate, but neither begin nor end TLS', () => {
    const plain = parse([]).settings;
    const one = parse(['--tls-cert=a.crt', '--tls-key=a.key']).settings;
    const other = parse(['--tls-cert=b.crt', '--tls-key=b.key']).settings;
    const tls = ['--tls-cert', '--tls-key'];
    expect(reloadSettings(one, other)).toEqual({ settings: other, changed: tls, ignored: [] });
    expect(reloadSettings(one, plain)).toEqual({ settings: one, changed: [], ignored: tls });
    expect(reloadSettings(plain, one)).toEqual({ settings: plain, changed: [], ignored: tls });
  });

  it('take over what a log on disk keeps, and what a stream keeps not: that is made once', () => {
    const bounds = ['--log-events=5', '--log-bytes=1MiB', '--log-age=1h'];
    const flags = ['--log-events', '--log-bytes', '--log-age'];
    const disk = parse(['--log=lmdb:d']).settings;
    const less = parse(['--log=lmdb:d', ...bounds]).settings;
    expect(reloadSettings(disk, less)).toEqual({ settings: less, changed: flags, ignored: [] });
    const nats = parse(['--log=nats://127.0.0.1']).settings;
    const other = parse(['--log=nats://127.0.0.1', ...bounds]).settings;
    expect(reloadSettings(nats, other)).toEqual({ settings: nats, changed: [], ignored: flags });
  });

  it('keep the lifetime of tokens, since revocations are kept for it', () => {
    const running = parse([]).settings;
    const { settings, ignored } = reloadSettings(
      running,
      parse(['--jwt-max-lifetime=700h']).settings,
    );
    expect(settings.jwtMaxLifetimeMs).toBe(86_400_000);
    expect(ignored).toEqual(['--jwt-max-lifetime']);
  });
});

describe('--print-config', () => {
  it('shows name, value and source of every option, and no secret', () => {
    const flags = ['--publish-key=hush', '--allow-origin=*', '--ticket-secret-file=t'];
    const policies = '--policies=[{"channels":"a","replayAge":"60min"}]';
    const commandLine = parse(['--print-config', ...flags, policies], {
      env: { HOLDLINE_OPS_KEY: 'quiet' },
      files: { t: `${SECRET}\n` },
    });
    expect(commandLine.printConfig).toBe(true);
    const table = configTable(commandLine.entries);
    expect(table).not.toMatch(/hush|quiet|secret-of/);
    const lines = table.trimEnd().split('\n');
    expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
      ['name', 'value', 'source'],
      ['host', '127.0.0.1', 'default'],
      ['port', '8080', 'default'],
      ['unix-socket', 'none', 'default'],
      ['unix-socket-mode', '660', 'default'],
      ['ops-listen', 'none', 'default'],
      ['base-path', '/', 'default'],
      ['tls-cert', 'none', 'default'],
      ['tls-key', 'none', 'default'],
      ['replay-events', '1024', 'default'],
      ['replay-bytes', '1MiB', 'default'],
      ['replay-total', '256MiB', 'default'],
      ['max-event-bytes', '64KiB', 'default'],
      ['heartbeat', '15s', 'default'],
      ['retry', '3s', 'default'],
      ['flush-interval', '0ms', 'default'],
      ['compress', 'off', 'default'],
      ['allow-transform', 'false', 'default'],
      ['slow', 'gap', 'default'],
      ['first-id', 'none', 'default'],
      ['log', 'memory', 'default'],
      ['durability', 'sync', 'default'],
      ['log-events', '0', 'default'],
      ['log-bytes', '8GiB', 'default'],
      ['log-age', '0ms', 'default'],
      ['log-ballast', '16MiB', 'default'],
      ['nats-stream', 'HOLDLINE', 'default'],
      ['nats-prefix', 'holdline', 'default'],
      ['nats-replicas', '1', 'default'],
      ['nats-creds', 'none', 'default'],
      ['nats-user', 'none', 'default'],
      ['nats-password', 'none', 'default'],
      ['nats-token', 'none', 'default'],
      ['nats-tls-ca', 'none', 'default'],
      ['publish-key', '********', 'flag'],
      ['keys', 'none', 'default'],
      ['jwt-secret', 'none', 'default'],
      ['jwt-public-key', 'none', 'default'],
      ['jwt-jwks', 'none', 'default'],
      ['jwt-audience', 'none', 'default'],
      ['jwt-issuer', 'none', 'default'],
      ['jwt-max-lifetime', '24h', 'default'],
      ['auth-cookie', 'none', 'default'],
      ['ticket-secret', '********', 'flag'],
      ['open-subscribe', 'false', 'default'],
      ['policies', '[{"channels":"a","replayAge":"1h"}]', 'flag'],
      ['open-publish', 'false', 'default'],
      ['demo', 'false', 'default'],
      ['ops-key', '********', 'environment'],
      ['max-connections', '19836', 'default'],
      ['max-lines-per-address', '1000', 'default'],
      ['max-lines-per-user', '1000', 'default'],
      ['max-waiting-polls', '0', 'default'],
      ['accept-rate', '10000', 'default'],
      ['publish-rate', '0', 'default'],
      ['trusted-proxies', 'none', 'default'],
      ['forwarded-header', 'x-forwarded-for', 'default'],
      ['max-header-bytes', '16KiB', 'default'],
      ['memory-budget', 'none', 'default'],
      ['socket-send-buffer', '64KiB', 'default'],
      ['socket-receive-buffer', '64KiB', 'default'],
      ['notsent-lowat', '0B', 'default'],
      ['dead-peer-timeout', '1min', 'default'],
      ['max-age', '1h', 'default'],
      ['drain', '10s', 'default'],
      ['allow-origin', '*', 'flag'],
      ['allowed-hosts', 'none', 'default'],
      ['subprotocols', 'holdline', 'default'],
      ['workers', '1', 'default'],
      ['log-level', 'info', 'default'],
      ['log-format', 'auto', 'default'],
    ]);
  });
});

describe('help', () => {
  it('says which options may be in a file', () => {
    expect(serveHelp()).toContain(
      'publish-key, keys, jwt-secret, ticket-secret, policies, ops-key.',
    );
  });

  it('names every option with its range, within 130 columns', () => {
    const help = serveHelp();
    for (const row of Object.values(OPTIONS)) {
      expect(help).toContain(`--${row.flag} `);
      expect(help).toContain(`${row.kind.range};`.replace(/^;/, ''));
    }
    for (const line of help.split('\n')) expect(line.length).toBeLessThanOrEqual(130);
  });
});

describe('options of the library', () => {
  it('takes what is given and leaves the rest at its default', () => {
    expect(resolveOptions({ port: 0, retryMs: 100, firstId: undefined })).toMatchObject({
      port: 0,
      retryMs: 100,
      replayEvents: 1024,
    });
  });

  it.each([
    [{ port: 70_000 }, 'port must be an integer from 0 to 65535 (got 70000)'],
    [{ port: '80' }, 'port must be an integer from 0 to 65535 (got "80")'],
    [{ port: Number.NaN }, 'port must be an integer from 0 to 65535 (got NaN)'],
    [{ port: 80n }, 'port must be an integer from 0 to 65535 (got 80n)'],
    [{ port: null }, 'port must be an integer from 0 to 65535 (got null)'],
    [
      { heartbeatMs: '15s' },
      'heartbeatMs must be an integer from 100 to 600000, in milliseconds (got "15s")',
    ],
    [
      { replayBytes: 1.5 },
      'replayBytes must be an integer from 0 to 1073741824, in bytes (got 1.5)',
    ],
    [{ openPublish: 'true' }, 'openPublish must be true or false (got "true")'],
    [
      { allowOrigin: '*' },
      /^allowOrigin must be an array of up to 1000 origins such as .* \(got "\*"\)$/,
    ],
    [
      { allowedHosts: [7] },
      /^allowedHosts must be an array of up to 1000 host names such as .* \(got \[ 7 \]\)$/,
    ],
    [{ opsKey: 'a b' }, /^opsKey must be .* \(got a secret, not shown here\)$/],
    [{ prot: 80 }, 'prot is not an option; did you mean port?'],
    [{ 'replay-events': 1 }, 'replay-events is not an option; did you mean replayEvents?'],
    [{ workers: 1 }, /^workers is not an option; the settings are host, port, /],
    [{ toString: 1 }, /^toString is not an option;/],
  ])('refuses %o', (options, message) => {
    const told = refusal(() => resolveOptions(options as Options, FILE_LIMIT));
    expect(told).toEqual(typeof message === 'string' ? message : expect.stringMatching(message));
  });

  it.each([[null], ['port=80'], [[]]])('refuses %j in place of an object', (options) => {
    expect(refusal(() => resolveOptions(options as unknown as Options))).toMatch(
      /^options must be an object with settings by name \(got /,
    );
  });
});

describe('the file limit', () => {
  const table = (soft: string): string =>
    `Limit  Soft Limit  Hard Limit  Units\nMax processes 7 7 processes\nMax open files            ${soft}    1048576   files\n`;

  it('is the soft one', () => expect(parseFileLimit(table('20000'))).toBe(20_000));
  it('may be none', () => expect(parseFileLimit(table('unlimited'))).toBe(Infinity));
  it('is unknown where it is missing', () => expect(parseFileLimit('')).toBeUndefined());
  it('is the one of this process', () => {
    const told = /^Max open files\s+(\w+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))![1]!;
    expect(String(readFileLimit())).toBe(told === 'unlimited' ? 'Infinity' : told);
  });
});
