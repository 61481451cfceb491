/**
 * Real proxies in front of a test's server: nginx and haproxy with a configuration of the test's
 * own, gone when the test is.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { onTestFinished } from 'vitest';
import { DEADLINE_MS } from './wire.js';

/**
 * A port of 127.0.0.1 on which nobody listened a moment ago; neither proxy can say which one it
 * picked itself.
 */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** A folder for a test, and for others to read; gone when the test is. */
function folderForTest(): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdline-front-'));
  // The workers of nginx run as somebody else, and write their temporary files here.
  chmodSync(folder, 0o755);
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Starts a proxy and waits until it takes connections; the port. */
async function start(
  command: string,
  config: (port: number, folder: string) => string,
  args: (file: string) => string[],
): Promise<number> {
  const folder = folderForTest();
  const port = await freePort();
  const file = join(folder, 'config');
  writeFileSync(file, config(port, folder));
  let said = '';
  let isOver = false;
  const child: ChildProcess = spawn(command, args(file), { stdio: ['ignore', 'pipe', 'pipe'] });
  for (const output of [child.stdout!, child.stderr!])
    output.setEncoding('utf8').on('data', (text: string) => (said += text));
  const over = new Promise<void>((resolve) => {
    child.once('error', (error) => (said += error.message));
    child.once('close', () => {
      isOver = true;
      resolve();
    });
  });
  // Both end their workers at SIGTERM, and at SIGKILL would leave them behind.
  const end = (): void => void child.kill('SIGTERM');
  process.once('exit', end);
  onTestFinished(async () => {
    process.off('exit', end);
    end();
    await over;
  });
  const deadline = performance.now() + DEADLINE_MS;
  while (!(await canConnect(port))) {
    if (isOver || performance.now() > deadline)
      throw new Error(`${command} does not listen: ${said}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return port;
}

/** How nginx is to be set for streams, and what the documents say. */
export const NGINX_FOR_STREAMS =
  'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;';

/** The files of a key and of the certificate of 127.0.0.1 that it has signed itself. */
export interface Certificate {
  readonly key: string;
  readonly certificate: string;
}

/** Makes one, which nobody trusts who is not told to. */
export function certificateForTest(): Certificate {
  const folder = folderForTest();
  const files = { key: join(folder, 'key.pem'), certificate: join(folder, 'certificate.pem') };
  const kind = [
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-days',
    '2',
  ];
  const name = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  execFileSync(
    'openssl',
    ['req', ...kind, ...name, '-keyout', files.key, '-out', files.certificate],
    { stdio: 'pipe' },
  );
  return files;
}

/** What an nginx has beside the directives of its `location /`. */
interface NginxParts {
  /** Directives of `http`, in which FOLDER is a folder of its own. */
  readonly http?: string;
  /** Speaks TLS with it. */
  readonly tls?: Certificate;
}

/**
 * An nginx that passes everything to `http://127.0.0.1:serverPort`, with these directives in its
 * `location /`; its URL.
 */
export async function nginxForTest(
  serverPort: number,
  location: string,
  { http = '', tls }: NginxParts = {},
): Promise<string> {
  const secure =
    tls === undefined ? '' : `ssl_certificate ${tls.certificate}; ssl_certificate_key ${tls.key};`;
  const config = (port: number, folder: string): string => `
    daemon off; worker_processes 1; pid ${folder}/pid; error_log stderr;
    events { worker_connections 256; }
    http {
      access_log off;
      client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/fastcgi;
      uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
      ${http.replaceAll('FOLDER', folder)}
      server {
        listen 127.0.0.1:${port}${tls === undefined ? '' : ' ssl'}; ${secure}
        location / { proxy_pass http://127.0.0.1:${serverPort}; ${location} }
      }
    }`;
  const port = await start('nginx', config, (file) => ['-c', file, '-e', 'stderr']);
  return `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`;
}

/** The text of a configuration of scripts/deploy/, with the test's ports in place of its own. */
function deployed(name: string, port: number, serverPort: number): string {
  const text = readFileSync(new URL(`../../scripts/deploy/${name}`, import.meta.url), 'utf8');
  const changed = text
    .replaceAll('127.0.0.1:8000', `127.0.0.1:${port}`)
    .replaceAll('127.0.0.1:8080', `127.0.0.1:${serverPort}`);
  if (!changed.includes(`:${port}`) || !changed.includes(`:${serverPort}`))
    throw new Error(`${name} has other ports`);
  return changed;
}

/** The nginx of scripts/deploy/; its port. */
export function deployedNginxForTest(serverPort: number): Promise<number> {
  const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const config = (port: number, folder: string): string => {
    const paths = folders.map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(' ');
    const own = `daemon off; pid ${folder}/pid; error_log stderr;\n`;
    return own + deployed('nginx.conf', port, serverPort).replace('http {', `http { ${paths}`);
  };
  return start('nginx', config, (file) => ['-c', file, '-e', 'stderr']);
}

/** The haproxy of scripts/deploy/; its port. */
export function deployedHaproxyForTest(serverPort: number): Promise<number> {
  return start(
    'haproxy',
    (port) => deployed('haproxy.cfg', port, serverPort),
    (file) => ['-db', '-f', file],
  );
}

/** How haproxy is to be set for streams. */
export const HAPROXY_FOR_STREAMS = ['timeout server 1h', 'option http-no-delay'];

/**
 * A haproxy that passes everything to `127.0.0.1:serverPort`, with these lines in its `defaults`;
 * its URL.
 */
export async function haproxyForTest(
  serverPort: number,
  defaults: readonly string[],
): Promise<string> {
  const config = (port: number): string =>
    [
      'defaults',
      ...['mode http', 'timeout connect 5s', 'timeout client 1h', ...defaults].map(
        (line) => `  ${line}`,
      ),
      'listen front',
      `  bind 127.0.0.1:${port}`,
      `  server holdline 127.0.0.1:${serverPort}`,
      '',
    ].join('\n');
  return `http://127.0.0.1:${await start('haproxy', config, (file) => ['-db', '-f', file])}`;
}
