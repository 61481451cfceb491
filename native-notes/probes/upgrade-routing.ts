// Which requests reach the upgrade handler of app.ws('/*') and which the route app.any('/*') beside
// it.
import { Findings, RawClient, listen, main, turn, uWS, until, upgradeHeaders } from './support.js';
import type { ProbeResult } from './support.js';

const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
const hop = 'Upgrade: websocket\r\nConnection: Upgrade\r\n';
const version = 'Sec-WebSocket-Version: 13\r\n';

const cases: [name: string, method: string, headers: string, reaches: string][] = [
  ['GET with a whole handshake', 'GET', upgradeHeaders, 'upgrade'],
  ['GET without any of it', 'GET', '', 'any'],
  ['GET with the key alone', 'GET', key, 'upgrade'],
  ['GET with the key and Upgrade: h2c', 'GET', `Upgrade: h2c\r\n${key}${version}`, 'upgrade'],
  ['GET with version 8', 'GET', `${hop}${key}Sec-WebSocket-Version: 8\r\n`, 'upgrade'],
  ['GET without a version', 'GET', `${hop}${key}`, 'upgrade'],
  ['GET without a key', 'GET', `${hop}${version}`, 'any'],
  [
    'GET with a key of 23 characters',
    'GET',
    `${hop}${version}Sec-WebSocket-Key: ${'A'.repeat(23)}\r\n`,
    'any',
  ],
  [
    'GET with a key of 24 dots',
    'GET',
    `${hop}${version}Sec-WebSocket-Key: ${'.'.repeat(24)}\r\n`,
    'upgrade',
  ],
  [
    'GET with a key of 25 characters',
    'GET',
    `${hop}${version}Sec-WebSocket-Key: ${'A'.repeat(25)}\r\n`,
    'any',
  ],
  ['HEAD with a whole handshake', 'HEAD', upgradeHeaders, 'any'],
  ['POST with a whole handshake', 'POST', `${upgradeHeaders}Content-Length: 0\r\n`, 'any'],
  ['DELETE with a whole handshake', 'DELETE', upgradeHeaders, 'any'],
  ['OPTIONS with a whole handshake', 'OPTIONS', upgradeHeaders, 'any'],
];

export async function probe(): Promise<ProbeResult> {
  const findings = new Findings();
  const reached: string[] = [];
  const { port } = await listen(
    uWS
      .App()
      .ws('/*', {
        upgrade: (response, request) => {
          const path = request.getUrl();
          if (path !== '/yield') reached.push('upgrade');
          if (path === '/yield') {
            request.setYield(true);
          } else if (path === '/stream') {
            response.onAborted(() => reached.push('aborted')).onWritable(() => true);
            response.write('one ');
            setImmediate(() => void response.cork(() => response.write('two')));
          } else if (path === '/later') {
            response.onAborted(() => reached.push('aborted'));
            setImmediate(
              () =>
                void response.cork(() =>
                  response.writeStatus('503 Service Unavailable').end('later'),
                ),
            );
          } else {
            response.writeStatus('400 Bad Request').end('refused');
          }
        },
      })
      .any('/*', (response) => {
        reached.push('any');
        response.end('any');
      }),
  );
  for (const [name, method, headers, reaches] of cases) {
    reached.length = 0;
    const client = new RawClient(port).send(
      `${method} /c HTTP/1.1\r\nHost: probe\r\n${headers}\r\n`,
    );
    await until(() => client.text().includes('\r\n\r\n'), name);
    findings.add(name, reached.join(), reaches);
    client.destroy();
  }

  const answers: [name: string, path: string, isWhole: RegExp, seen: string][] = [
    ['upgrade answers at once', '/refused', /400 Bad Request[^]*refused$/, 'upgrade'],
    ['upgrade answers in a later turn', '/later', /503 Service[^]*later$/, 'upgrade'],
    ['upgrade opens a stream', '/stream', /200 OK[^]*one [^]*two/, 'upgrade'],
    ['upgrade calls setYield(true)', '/yield', /200 OK[^]*any$/, 'any'],
  ];
  for (const [name, path, isWhole, seen] of answers) {
    reached.length = 0;
    const client = new RawClient(port).get(path, upgradeHeaders);
    await until(() => isWhole.test(client.text()), name);
    findings.add(name, reached.join(), seen);
    client.destroy();
    await turn();
  }
  return {
    claim:
      'Every GET with a Sec-WebSocket-Key of 24 characters reaches upgrade, and nothing else does; no other header of the handshake is looked at.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
