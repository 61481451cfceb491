/**
 * Real proxies in front of a test's server: nginx, haproxy and caddy with a configuration of the
 * test's own, gone when the test is. Those of scripts/deploy/ are in test/support/deployed.ts.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { onTestFinished } from 'vitest';
import { makeCertificate } from './openssl.js';
import { freePort } from '../../bench/ports.js';
import { DEADLINE_MS } from './wire.js';

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

/**
 * Starts a proxy in a folder of its own, which is its working directory, and waits until it takes
 * connections; the port.
 */
export async function start(
  command: string,
  config: (port: number, folder: string) => string,
  args: (file: string) => string[],
  endSignal: NodeJS.Signals = 'SIGTERM',
): Promise<number> {
  const folder = folderForTest();
  const port = await freePort();
  const file = join(folder, 'config');
  writeFileSync(file, config(port, folder));
  let said = '';
  let isOver = false;
  const child: ChildProcess = spawn(command, args(file), {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    // Caddy keeps files beside its configuration.
    env: { ...process.env, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
  });
  for (const output of [child.stdout!, child.stderr!])
    output.setEncoding('utf8').on('data', (text: string) => (said += text));
  const over = new Promise<void>((resolve) => {
    child.once('error', (error) => (said += error.message));
    child.once('close', () => {
      isOver = true;
      resolve();
    });
  });
  // nginx and haproxy end their workers at SIGTERM, and at SIGKILL would leave them behind.
  const end = (): void => void child.kill(endSignal);
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

/**
 * The lines of nginx that pass on streams, WebSockets and the Host of the client, as the documents
 * have them. A header given here takes the place of the usual one, `undefined` leaves it to nginx.
 */
export function nginxLines(headers: Readonly<Record<string, string | undefined>> = {}): string {
  const all = {
    Host: '$http_host',
    Upgrade: '$http_upgrade',
    Connection: '$connection_upgrade',
    ...headers,
  };
  const passed = Object.entries(all).flatMap(([name, value]) =>
    value === undefined ? [] : [`proxy_set_header ${name} ${value};`],
  );
  return ['proxy_http_version 1.1;', 'proxy_buffering off;', ...passed].join(' ');
}

/** The files of a key and of the certificate of 127.0.0.1 that it has signed itself. */
export interface Certificate {
  readonly key: string;
  readonly certificate: string;
}

/** Makes one, which nobody trusts who is not told to, in a folder of its own or this one. */
export function certificateForTest(folder = folderForTest()): Certificate {
  const files = { key: join(folder, 'key.pem'), certificate: join(folder, 'certificate.pem') };
  makeCertificate(files);
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
    worker_processes 1; ${nginxOfItsOwn(folder).main}
    events { worker_connections 256; }
    http {
      access_log off;
      ${nginxOfItsOwn(folder).http}
      map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
      ${http.replaceAll('FOLDER', folder)}
      server {
        listen 127.0.0.1:${port}${tls === undefined ? '' : ' ssl'}; ${secure}
        location / { proxy_pass http://127.0.0.1:${serverPort}; ${location} }
      }
    }`;
  const port = await start('nginx', config, nginxArguments);
  return `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`;
}

/** What nginx needs to run beside others, before `http` and at its beginning. */
export function nginxOfItsOwn(folder: string): { readonly main: string; readonly http: string } {
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  );
  return {
    main: `daemon off; pid ${folder}/pid; error_log stderr;`,
    http: paths.join(' '),
  };
}

export const nginxArguments = (file: string): string[] => ['-c', file, '-e', 'stderr'];

export const haproxyArguments = (file: string): string[] => ['-db', '-f', file];

/** How haproxy is to be set for streams. */
export const HAPROXY_FOR_STREAMS = ['timeout server 1h', 'option http-no-delay'];

/** What a haproxy has beside its `defaults`. */
interface HaproxyParts {
  /** Lines of the section that listens. */
  readonly listen?: readonly string[];
  /** Parameters of its `server` line. */
  readonly server?: string;
}

/**
 * A haproxy that passes everything to `127.0.0.1:serverPort`, with these lines in its `defaults`;
 * its URL.
 */
export async function haproxyForTest(
  serverPort: number,
  defaults: readonly string[],
  { listen = [], server = '' }: HaproxyParts = {},
): Promise<string> {
  const config = (port: number): string =>
    [
      'defaults',
      ...['mode http', 'timeout connect 5s', 'timeout client 1h', ...defaults].map(
        (line) => `  ${line}`,
      ),
      'listen front',
      `  bind 127.0.0.1:${port}`,
      ...listen.map((line) => `  ${line}`),
      `  server holdline 127.0.0.1:${serverPort} ${server}`,
      '',
    ].join('\n');
  return `http://127.0.0.1:${await start('haproxy', config, haproxyArguments)}`;
}

/** A global option without which only one of them runs at a time: no port for administration. */
export const CADDY_BESIDE_OTHERS = 'admin off';

/** Starts a caddy; the port. */
export async function startCaddy(
  config: (port: number, folder: string) => string,
): Promise<number> {
  const args = (file: string): string[] => ['run', '--adapter', 'caddyfile', '--config', file];
  // It is one process, and at SIGTERM would wait for open streams.
  return start('caddy', config, args, 'SIGKILL');
}

/**
 * A caddy that passes everything to `127.0.0.1:serverPort`, with these lines in its
 * `reverse_proxy`, and those beside it; its URL.
 */
export async function caddyForTest(
  serverPort: number,
  lines: readonly string[],
  beside: readonly string[] = [],
): Promise<string> {
  const config = (port: number): string =>
    [
      '{',
      `\t${CADDY_BESIDE_OTHERS}`,
      '}',
      `http://:${port} {`,
      '\tbind 127.0.0.1',
      ...beside.map((line) => `\t${line}`),
      `\treverse_proxy 127.0.0.1:${serverPort} {`,
      ...lines.map((line) => `\t\t${line}`),
      '\t}',
      '}',
      '',
    ].join('\n');
  return `http://127.0.0.1:${await startCaddy(config)}`;
}

/** What `doctor --through` looks at where nothing is in between. */
export const PATH_CHECKS = [
  'answer',
  'http-version',
  'content-type',
  'compression',
  'caching',
  'buffering',
  'last-event-id',
  'websocket',
  'own-origin',
  'stays-open',
];
