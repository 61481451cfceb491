// What a request looks like that came through an nginx on the same machine, by how it is
// configured, and how much of a stream nginx takes for a reader that does not read.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Findings, NotHere, RawClient, listen, main, turn, uWS, until } from './support.js';
import type { HttpRequest, HttpResponse, ProbeResult } from './support.js';

/** Directives beside proxy_pass, by the first segment of the path. */
const locations: Record<string, string> = {
  alone: '',
  http11: 'proxy_http_version 1.1;',
  told: 'proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;',
};

const mebibyte = 1024 * 1024;
/** Written to a reader that stands still, at the most. */
const mostBytes = 24 * mebibyte;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => void server.close(resolve));
  return port;
}

function configuration(folder: string, front: number, back: number): string {
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `daemon off; master_process off; pid ${folder}/pid; error_log stderr crit;
    events {}
    http {
      access_log off;
      ${kinds.map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(' ')}
      server {
        listen 127.0.0.1:${String(front)};
        ${Object.entries(locations)
          .map(
            ([name, directives]) =>
              `location /${name}/ { proxy_pass http://127.0.0.1:${String(back)}/; ${directives} }`,
          )
          .join('\n')}
      }
    }`;
}

async function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

function describe(response: HttpResponse, request: HttpRequest, back: number): string {
  const bytes = Buffer.from(response.getRemoteAddress());
  const fields = ['host', 'connection', 'x-forwarded-for', 'x-real-ip', 'forwarded'].flatMap(
    (name) => {
      const value = request.getHeader(name).replace(String(back), 'PORT');
      return value === '' ? [] : [`${name} ${value}`];
    },
  );
  return [`from ${[...bytes.subarray(-4)].join('.')}`, ...fields].join(', ');
}

/**
 * MiB written in corks of 16 KiB until a write is refused and no writable event comes, or all is
 * taken.
 */
async function writeToStalled(response: HttpResponse): Promise<string> {
  const piece = Buffer.alloc(16_376, 97);
  let takes = true;
  let bytes = 0;
  let quietTurns = 0;
  response.onWritable(() => {
    response.cork(() => {});
    response.cork(() => void (takes = response.write('a')));
    return true;
  });
  while (bytes < mostBytes && quietTurns < 100) {
    if (takes) {
      quietTurns = 0;
      response.cork(() => void (takes = response.write(piece)));
      bytes += piece.length;
      if (bytes % mebibyte < piece.length) await turn();
    } else {
      quietTurns++;
      await turn(2);
    }
  }
  return bytes < mostBytes ? 'refuses' : 'takes all of it';
}

export async function probe(): Promise<ProbeResult> {
  if (spawnSync('nginx', ['-v']).error !== undefined) throw new NotHere('nginx');
  const findings = new Findings();
  let seen = '';
  let streamed: HttpResponse | undefined;
  const { port } = await listen(
    uWS.App().get('/*', (response, request) => {
      seen = describe(response, request, port);
      response.onAborted(() => (streamed = undefined));
      if (!request.getUrl().startsWith('/stream')) {
        response.end('ok');
        return;
      }
      streamed = response;
      response.writeHeader('Content-Type', 'text/event-stream');
      if (request.getUrl().endsWith('unbuffered')) response.writeHeader('X-Accel-Buffering', 'no');
      response.write(':\n');
    }),
  );
  const folder = mkdtempSync(join(tmpdir(), 'holdline-probe-'));
  const front = await freePort();
  const file = join(folder, 'nginx.conf');
  writeFileSync(file, configuration(folder, front, port));
  const nginx = spawn('nginx', ['-p', folder, '-c', file, '-e', 'stderr'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  try {
    for (let at = 0; !(await isListening(front)); at++) {
      if (at === 500) throw new Error('nginx does not listen');
      await turn(10);
    }
    const ask = async (path: string, paused = false): Promise<RawClient> => {
      seen = '';
      const client = new RawClient(front, { localAddress: '127.0.0.9', paused, keep: !paused });
      client.send(`GET ${path} HTTP/1.1\r\nHost: notifications.example\r\n\r\n`);
      await until(() => (paused ? streamed !== undefined : client.receivedBytes > 0), path);
      return client;
    };
    for (const [location, name, wanted] of [
      ['alone', 'proxy_pass alone', ''],
      [
        'http11',
        '… proxy_http_version 1.1',
        'from 127.0.0.1, host 127.0.0.1:PORT, connection close',
      ],
      [
        'told',
        '… Host and X-Forwarded-For set',
        'from 127.0.0.1, host notifications.example, connection close, x-forwarded-for 127.0.0.9',
      ],
    ] as const) {
      const client = await ask(`/${location}/`);
      const status = client.text().split('\r\n')[0] ?? '';
      findings.add(
        `${name}: the client gets`,
        status,
        wanted === '' ? 'HTTP/1.1 505 HTTP Version Not Supported' : 'HTTP/1.1 200 OK',
      );
      findings.add('… the handler sees', seen, wanted);
      client.destroy();
    }
    const reader = await ask('/http11/stream-buffered');
    streamed?.cork(() => void streamed?.write('data: 1\n\n'));
    for (let at = 0; at < 2000 && !reader.text().includes('data: 1'); at++) await turn();
    const arrived = reader.text().includes('data: 1') ? 'arrives alone' : 'is held back';
    findings.add('a stream, its reader reads: one event of 9 bytes', arrived, 'arrives alone');
    reader.destroy();
    await until(() => streamed === undefined, 'nginx to leave');
    for (const [path, name, wanted] of [
      ['/http11/stream-buffered', 'a stream', 'takes all of it'],
      ['/http11/stream-unbuffered', 'a stream with X-Accel-Buffering: no', 'refuses'],
    ] as const) {
      const stalled = await ask(path, true);
      findings.add(
        `${name}, its reader stands still: nginx offered ${String(mostBytes / mebibyte)} MiB`,
        await writeToStalled(streamed as unknown as HttpResponse),
        wanted,
      );
      stalled.destroy();
      await until(() => streamed === undefined, 'nginx to leave');
    }
  } finally {
    nginx.kill();
    rmSync(folder, { recursive: true, force: true });
  }
  return {
    claim:
      'Through an nginx on the same machine everybody comes from 127.0.0.1 with a Host of loopback and no forwarded header; without proxy_http_version 1.1 the answer is 505. X-Accel-Buffering: no keeps nginx from storing what a reader does not read.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
