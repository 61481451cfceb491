/**
 * A disk that takes no more writes, for whatever reason the kernel gives: a quota that is used up,
 * a medium that is broken, a file system that became read-only. What is written there is made to
 * fail in the process's C library; a full disk of the kernel's own is in lmdb-full-disk.wire.ts.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { describe, expect, onTestFinished, test } from 'vitest';
import { compiled, hasCompiler } from '../bench/compile.js';
import { SseLine } from './support/line.js';
import { serverForTest, type TestServer } from './support/server.js';
import { until } from './support/until.js';
import { codeOf, jsonOf } from './support/wire.js';

async function publish(server: TestServer, data: string): Promise<number | string> {
  const answer = await server.request('POST', '/c', { body: data });
  return answer.status === 200 ? (jsonOf(answer) as { id: number }).id : codeOf(answer);
}

async function statusOf(server: TestServer): Promise<{ status: string; problem?: string }> {
  return jsonOf(await server.request('GET', '/-/ready')) as { status: string; problem?: string };
}

describe.runIf(hasCompiler)('a disk whose writes fail', () => {
  test.each([
    ['EDQUOT', '', 'Disk quota exceeded'],
    ['EIO', '', 'Input/output error'],
    ['EIO', ' of flushes alone', 'Input/output error'],
    ['EROFS', '', 'Read-only file system'],
    ['ENOSPC', '', 'No space left on device'],
  ] as const)(
    'with %s%s refuses publishes in words, serves what is there, and loses nothing that was acknowledged',
    async (code, calls, words) => {
      const folder = mkdtempSync(join(tmpdir(), 'holdline-disk-'));
      onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
      const directory = join(folder, 'log');
      const library = compiled('../test/support/failing-disk.c', '-shared', '-fPIC');
      const env = { LD_PRELOAD: library, FAILING_DISK: directory };
      const flags = { log: `lmdb:${directory}`, 'log-ballast': '1MiB' };
      const former = await serverForTest(flags, env);
      const line = await SseLine.open(former.port, '/c');
      const acknowledged: [id: number, data: string][] = [];
      const take = async (server: TestServer, data: string): Promise<void> => {
        const id = await publish(server, data);
        expect(id).toBeTypeOf('number');
        acknowledged.push([id as number, data]);
      };
      await take(former, 'before');
      writeFileSync(`${directory}.errno`, `${constants.errno[code]}${calls}`);
      let refusal: number | string = '';
      await until('publishes are refused', async () => {
        refusal = await publish(former, 'x'.repeat(60_000));
        if (typeof refusal === 'number') acknowledged.push([refusal, 'x'.repeat(60_000)]);
        return typeof refusal === 'string';
      });
      expect(refusal).toMatch(/^HOLDLINE_(LOG_UNAVAILABLE|OUTCOME_UNKNOWN)$/);
      expect(await statusOf(former)).toMatchObject({
        status: 'degraded',
        problem: expect.stringContaining(words) as string,
      });
      expect(await publish(former, 'refused')).toBe('HOLDLINE_LOG_UNAVAILABLE');
      const held = await former.request('GET', '/c?since=0&wait=0');
      expect(held.status).toBe(200);

      rmSync(`${directory}.errno`);
      await until('it is up again', async () => (await statusOf(former)).status === 'ready');
      await take(former, 'after');
      await until('the line has the newest', () => line.ids.at(-1) === acknowledged.at(-1)![0]);
      former.kill();
      await former.exited();
      const next = await serverForTest(flags);
      await take(next, 'next');
      const answer = await next.request('GET', '/c?since=0&wait=0&limit=1000');
      const kept = new Map(
        (jsonOf(answer) as { id: number; data: string }[]).map(({ id, data }) => [id, data]),
      );
      for (const [id, data] of acknowledged) expect([id, kept.get(id)]).toEqual([id, data]);
      expect(new Set(acknowledged.map(([id]) => id)).size).toBe(acknowledged.length);
    },
  );

  test.each([1, 2])(
    'with async: says what it did not take until the end, right behind another fault, with %i workers',
    async (workers) => {
      const folder = mkdtempSync(join(tmpdir(), 'holdline-disk-'));
      onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
      const directory = join(folder, 'log');
      const library = compiled('../test/support/failing-disk.c', '-shared', '-fPIC');
      const server = await serverForTest(
        { workers, log: `lmdb:${directory}`, durability: 'async' },
        { LD_PRELOAD: library, FAILING_DISK: directory },
      );
      expect(await publish(server, 'kept')).toBeTypeOf('number');
      // Where its commit comes later than that, it fails, and the log is down: once more then.
      await until('an event is acknowledged that the disk does not take', async () => {
        writeFileSync(`${directory}.errno`, String(constants.errno.EIO));
        if (typeof (await publish(server, 'lost')) === 'number') return true;
        rmSync(`${directory}.errno`);
        await until('it is up again', async () => (await statusOf(server)).status === 'ready');
        return false;
      });
      const saying = (words: string): string[] =>
        server.logs.map(({ msg }) => String(msg)).filter((msg) => msg.includes(words));
      await until('the log is down', async () => (await statusOf(server)).status === 'degraded');
      await until('it says so', () => saying('the log cannot be written').length > 0);
      await server.stop();
      expect(saying('are lost')).toEqual([
        expect.stringMatching(/^\d entries that were acknowledged .*: Input\/output error$/),
      ]);
    },
  );

  test('lets no worker serve a user who is revoked while it fails', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdline-disk-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const directory = join(folder, 'log');
    const library = compiled('../test/support/failing-disk.c', '-shared', '-fPIC');
    const secret = 'a-secret-of-thirty-two-bytes-or-more';
    const server = await serverForTest(
      { workers: 2, log: `lmdb:${directory}`, 'ops-key': 'ops', 'jwt-secret': secret },
      { LD_PRELOAD: library, FAILING_DISK: directory },
    );
    const now = Math.floor(Date.now() / 1000);
    const rights = { sub: 'ann', iat: now - 60, exp: now + 600, holdline: { subscribe: ['c'] } };
    const token = await new SignJWT(rights)
      .setProtectedHeader({ alg: 'HS256' })
      .sign(new TextEncoder().encode(secret));
    const headers = { Authorization: `Bearer ${token}` };
    const ask = () => server.request('GET', '/c?poll=1&wait=0', { headers });
    expect((await ask()).status).toBe(204);
    writeFileSync(`${directory}.errno`, String(constants.errno.EIO));
    const path = '/-/connections?user=ann';
    const revoked = await server.request('DELETE', path, { headers: server.opsHeaders });
    expect(codeOf(revoked)).toBe('HOLDLINE_LOG_UNAVAILABLE');
    for (let i = 0; i < 16; i++) expect(codeOf(await ask())).toBe('HOLDLINE_REVOKED');
  });
});
