/**
 * How a server signs in at NATS: user and password, token, credentials of an operator's accounts,
 * TLS with an authority of one's own; and what it says when NATS does not want it, at the start and
 * later.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, nkeys } from '@nats-io/transport-node';
import { describe, expect, onTestFinished, test } from 'vitest';
import { SYSTEM_CLOCK } from '../src/clock.js';
import { NATS_RECONNECT_MS } from '../src/limits.js';
import { certificateFolder, trust } from './support/certificates.js';
import { SseLine } from './support/line.js';
import { NatsServer } from './support/nats.js';
import { event, LogNode } from './support/nats-log.js';
import { runHoldline, serverForTest } from './support/server.js';
import { codeOf, jsonOf } from './support/wire.js';
import { until } from './support/until.js';

const certificates = certificateFolder();

/** What opening a log is refused with, and how long that took, ms. */
async function refusal(node: LogNode): Promise<{ code: string; message: string; ms: number }> {
  const beganMs = performance.now();
  onTestFinished(() => node.log.close());
  const error = await node.open().catch((thrown: unknown) => thrown);
  const { code, message } = error as { code: string; message: string };
  return { code, message, ms: performance.now() - beganMs };
}

const REFUSED = {
  code: 'HOLDLINE_BAD_LOG',
  message:
    'NATS refuses the credentials (--nats-creds, --nats-token, --nats-user, --nats-password)',
};

test('user and password by TLS: wrong ones end the start in words; ones that become wrong degrade it until they are right', async () => {
  const [own, other] = [certificates.make('own'), certificates.make('other')];
  const users = (password: string): string => `
    tls { cert_file: "${own.tlsCert}", key_file: "${own.tlsKey}" }
    authorization { users: [
      { user: holdline, password: "${password}" }, { user: writer, password: writes } ] }`;
  const nats = await NatsServer.startWith(users('right-secret'));
  const flags = {
    log: `nats://${nats.url}`,
    'nats-user': 'holdline',
    'nats-tls-ca': own.tlsCert,
    'ops-key': 'ops',
    heartbeat: '200ms',
  };
  const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
  const serve = ['serve', '--port=0', '--open-publish', ...args];
  const wrong = runHoldline(serve, { HOLDLINE_NATS_PASSWORD: 'wrong-secret' });
  expect(wrong.stderr).toContain(REFUSED.message);
  expect(wrong.status).toBe(2);
  expect(wrong.stderr + wrong.stdout).not.toMatch(/wrong-secret|right-secret/);
  const unknown = runHoldline([...serve, `--nats-tls-ca=${other.tlsCert}`], {
    HOLDLINE_NATS_PASSWORD: 'right-secret',
  });
  expect(unknown.stderr).toMatch(/NATS cannot be reached: .*certificate/);
  expect(unknown.status).toBe(2);

  const server = await serverForTest(flags, { HOLDLINE_NATS_PASSWORD: 'right-secret' });
  const ids = [await server.publish('a', 'first')];
  const line = await SseLine.open(server.port, '/a?since=0');
  onTestFinished(() => line.close());
  nats.configure(users('new-secret'));
  await server.statsUntil('the log is down', ({ log: { up } }) => !up);
  const beganMs = performance.now();
  const refused = await server.post('a', 'refused');
  expect([refused.status, codeOf(refused)]).toEqual([503, 'HOLDLINE_LOG_UNAVAILABLE']);
  expect(performance.now() - beganMs).toBeLessThan(2_000);
  await server.statsUntil('the reason', ({ log }) => log.problem?.includes('credentials') === true);
  const ready = await server.request('GET', '/-/ready');
  expect([ready.status, jsonOf(ready)]).toEqual([
    200,
    { status: 'degraded', log: 'down', problem: 'NATS refuses the credentials' },
  ]);
  const writer = await connect({
    servers: nats.url,
    user: 'writer',
    pass: 'writes',
    tls: { ca: trust(own).toString() },
  });
  onTestFinished(() => writer.close());
  await writer.request('holdline.a', 'meanwhile');
  const { heartbeats_total: before } = (await server.stats()).counters;
  await server.statsUntil('heartbeats', ({ counters }) => counters.heartbeats_total > before);
  nats.configure(users('right-secret'));
  await server.statsUntil('the log is up', ({ log: { up } }) => up);
  ids.push(ids[0]! + 1, await server.publish('a', 'last'));
  await line.waitForId(ids.at(-1)!);
  expect([line.ids, line.gaps, line.closed]).toEqual([ids, [], false]);
  expect(jsonOf(await server.request('GET', '/-/ready'))).toEqual({ status: 'ready', log: 'up' });
  expect(JSON.stringify(server.logs) + server.errorOutput).not.toMatch(/(?:right|new)-secret/);
});

test('a token', async () => {
  const nats = await NatsServer.startWith('authorization { token: "right-secret" }');
  const node = await LogNode.open(nats.url, { token: 'right-secret' });
  await node.log.append([event('a', '1')]);
  const { ms, ...refused } = await refusal(new LogNode(nats.url, { token: 'wrong-secret' }));
  expect(refused).toEqual(REFUSED);
  expect(ms).toBeLessThan(1_000);
  nats.configure('authorization { token: "new-secret" }');
  await until('the reason', () => node.log.state.problem === 'NATS refuses the credentials');
  await expect(node.log.append([event('a', 'x')])).rejects.toMatchObject({
    code: 'HOLDLINE_LOG_UNAVAILABLE',
  });
  nats.configure('authorization { token: "right-secret" }');
  await node.isUp();
  await node.log.append([event('a', '2')]);
  expect([node.texts, node.lost]).toEqual([['a: 1', 'a: 2'], []]);
  expect(node.reports.join()).not.toContain('secret');
});

describe('a file of credentials', () => {
  const encode = (value: unknown): string =>
    Buffer.from(JSON.stringify(value)).toString('base64url');

  /** A JWT as nsc makes them. */
  function jwt(
    issuer: ReturnType<typeof nkeys.createUser>,
    subject: string,
    claims: object,
    more: object = {},
  ): string {
    const iat = Math.floor(Date.now() / 1000);
    const body = { jti: crypto.randomUUID(), iat, iss: issuer.getPublicKey(), sub: subject };
    const signed = `${encode({ typ: 'JWT', alg: 'ed25519-nkey' })}.${encode({
      ...body,
      name: 'test',
      nats: { version: 2, ...claims },
      ...more,
    })}`;
    const signature = Buffer.from(issuer.sign(Buffer.from(signed))).toString('base64url');
    return `${signed}.${signature}`;
  }

  /** An operator with an account for JetStream, and one of the system. */
  function operator() {
    const [root, account, system] = [
      nkeys.createOperator(),
      nkeys.createAccount(),
      nkeys.createAccount(),
    ];
    const systemKey = system.getPublicKey();
    const any = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, conn: -1, leaf: -1 };
    const stored = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
    const accountJwt = (key: string, limits: object): string =>
      jwt(root, key, { type: 'account', limits: { ...any, wildcards: true, ...limits } });
    const configuration = `
      operator: ${jwt(root, root.getPublicKey(), { type: 'operator', system_account: systemKey })}
      system_account: ${systemKey}
      resolver: MEMORY
      resolver_preload: {
        ${account.getPublicKey()}: ${accountJwt(account.getPublicKey(), stored)}
        ${systemKey}: ${accountJwt(systemKey, {})}
      }`;
    /** A new user of an account, as the text of a file. */
    const credsOf = (issuer: typeof account, more: object = {}): Buffer => {
      const user = nkeys.createUser();
      const limits = { subs: -1, data: -1, payload: -1 };
      const text = jwt(issuer, user.getPublicKey(), { type: 'user', ...limits }, more);
      return Buffer.from(
        `-----BEGIN NATS USER JWT-----\n${text}\n------END NATS USER JWT------\n\n` +
          `-----BEGIN USER NKEY SEED-----\n${Buffer.from(user.getSeed()).toString()}\n------END USER NKEY SEED------\n`,
      );
    };
    return { configuration, account, credsOf };
  }

  test('lets a server in; others, ones that have run out and a file without any do not, and say so', async () => {
    const { configuration, account, credsOf } = operator();
    const nats = await NatsServer.startWith(configuration);
    const right = credsOf(account);
    const node = await LogNode.open(nats.url, { readCreds: () => right });
    await node.log.append([event('a', '1')]);
    const iat = Math.floor(Date.now() / 1000);
    for (const creds of [credsOf(nkeys.createAccount()), credsOf(account, { exp: iat - 10 })]) {
      const { ms, ...refused } = await refusal(new LogNode(nats.url, { readCreds: () => creds }));
      expect(refused).toEqual(REFUSED);
      expect(ms).toBeLessThan(1_000);
    }
    const [, , seed] = right.toString().split('-----\n');
    for (const text of ['', 'no credentials', seed!, right.toString().replace('\nSU', '\nSX')]) {
      const { ms, ...refused } = await refusal(
        new LogNode(nats.url, { readCreds: () => Buffer.from(text) }),
      );
      expect(refused).toEqual({
        code: 'HOLDLINE_BAD_LOG',
        message:
          'the file of --nats-creds has no credentials in it: a user JWT and its seed, as nsc writes them',
      });
      expect(ms).toBeLessThan(1_000);
    }
  });

  test('that is replaced when they run out is read again', async () => {
    const { configuration, account, credsOf } = operator();
    const nats = await NatsServer.startWith(configuration);
    const exp = Math.floor(Date.now() / 1000) + 2;
    let read = (): Buffer => short;
    const short = credsOf(account, { exp });
    const node = await LogNode.open(nats.url, { readCreds: () => read() });
    await node.log.append([event('a', '1')]);
    // As a file that is being written.
    read = () => Buffer.alloc(0);
    await until('the reason', () => node.log.state.problem === 'NATS refuses the credentials');
    read = () => {
      throw new Error('ENOENT');
    };
    // Longer than it takes to try again.
    await sleep(2 * NATS_RECONNECT_MS);
    const fresh = credsOf(account);
    read = () => fresh;
    await node.isUp();
    await node.log.append([event('a', '2')]);
    expect([node.texts, node.lost]).toEqual([['a: 1', 'a: 2'], []]);
  });
});

test('a user that may not read the stream ends the start in words', async () => {
  const nats = await NatsServer.startWith(`authorization { users: [
    { user: all, password: p },
    { user: some, password: p, permissions: { publish: { deny: "$JS.API.CONSUMER.CREATE.>" } } } ] }`);
  const { log } = await LogNode.open(`all:p@${nats.url}`);
  await log.append([event('a', '1')]);
  // Thirty times as fast: it goes on trying for a while.
  const clock = { ...SYSTEM_CLOCK, nowMs: () => 30 * SYSTEM_CLOCK.nowMs() };
  const { code, message } = await refusal(new LogNode(`some:p@${nats.url}`, { clock }));
  expect(code).toBe('HOLDLINE_BAD_LOG');
  expect(message).toMatch(/^the stream holdline cannot be read: .*[Pp]ermission/);
});
