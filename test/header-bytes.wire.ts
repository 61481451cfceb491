/** How large the head of a request may be, and who is told that it is too late to say so. */
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { serverForTest } from './support/server.js';
import { exchange } from './support/wire.js';

/** A request whose head has exactly so many bytes. */
function headOf(bytes: number): string {
  const start = 'GET /-/health HTTP/1.1\r\nHost: localhost\r\nX-Fill: ';
  return `${start}${'x'.repeat(bytes - start.length - 4)}\r\n\r\n`;
}

test.each([
  ['16 KiB unless it is said', {}, 16_384],
  ['what the option says', { 'max-header-bytes': '5000' }, 5000],
])('a head may have %s; one byte more is 431', async (_name, flags, most) => {
  // What the environment says is overruled.
  const server = await serverForTest(flags, { UWS_HTTP_MAX_HEADERS_SIZE: '4500' });
  expect((await exchange(server.port, headOf(most))).status).toBe(200);
  expect((await exchange(server.port, headOf(most + 1))).status).toBe(431);
});

/** Runs a program with the built library; what it prints as JSON. */
function run(program: string): unknown {
  const env = { ...process.env };
  delete env['UWS_HTTP_MAX_HEADERS_SIZE'];
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    env,
    timeout: 20_000,
  });
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout);
}

/** Listens, and collects the warnings in `said`. */
const LISTEN = `
  const said = [];
  const onWarning = (words) => said.push(words.replace(/;.*/, ''));
  const listen = async (maxHeaderBytes) => {
    const server = createServer({ port: 0, maxHeaderBytes, onWarning });
    await server.listen();
    return server;
  };
`;

test('a program that loads uWebSockets.js before, or asks for another size later, is told', () => {
  const told = run(`
    import { createServer } from './dist/index.js';
    import { chooseBuild, thisHost } from './dist/native/builds.js';
    ${LISTEN}
    await import(chooseBuild(thisHost()).alias);
    await (await listen(8192)).close();
    console.log(JSON.stringify(said));
  `);
  expect(told).toEqual([
    expect.stringMatching(
      /^request heads may have 4096 bytes and not the 8192 of --max-header-bytes/,
    ),
  ]);
  const later = run(`
    import { createServer } from './dist/index.js';
    ${LISTEN}
    const first = await listen(8192);
    const same = await listen(8192);
    const other = await listen(20000);
    await Promise.all([first, same, other].map((server) => server.close()));
    console.log(JSON.stringify(said));
  `);
  expect(later).toEqual([
    expect.stringMatching(
      /^request heads may have 8192 bytes and not the 20000 of --max-header-bytes/,
    ),
  ]);
});
