/**
 * The proxies of scripts/deploy/ in front of a test's server, with its ports in place of their own
 * and a certificate beside them; and pieces of configuration that the documents print.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CADDY_BESIDE_OTHERS,
  certificateForTest,
  haproxyArguments,
  nginxArguments,
  nginxOfItsOwn,
  start,
  startCaddy,
} from './front.js';
import { freePort } from '../../bench/ports.js';

/** What a test changes in a configuration of scripts/deploy/ before it is started. */
export type Change = (text: string) => string;

const unchanged: Change = (text) => text;

/** Where a proxy listens on 127.0.0.1. */
export interface Deployed {
  /** Plain HTTP. */
  readonly port: number;
  /** TLS with HTTP/2, with a certificate that nobody trusts who is not told to. */
  readonly tlsPort: number;
}

/** Starts one of them before a server, until the test is over. */
export type DeployedForTest = (serverPort: number, change?: Change) => Promise<Deployed>;

/** A configuration with a test's ports in place of 8000, 8443 and 8080. */
function withPorts(text: string, { port, tlsPort }: Deployed, serverPort: number): string {
  const changed = text
    .replaceAll(/:8000\b/g, `:${port}`)
    .replaceAll(/:8443\b/g, `:${tlsPort}`)
    .replaceAll('127.0.0.1:8080', `127.0.0.1:${serverPort}`);
  if (!changed.includes(`:${port}`) || !changed.includes(`:${serverPort}`))
    throw new Error(`the configuration has other ports: ${text}`);
  return changed;
}

/** The text of a file of scripts/deploy/. */
export function deployFile(name: string): string {
  return readFileSync(new URL(`../../scripts/deploy/${name}`, import.meta.url), 'utf8');
}

/**
 * The block of scripts/deploy/README.md whose fence has these words, such as `nginx by path`.
 * Throws where there is none.
 */
export function printedBlock(words: string): string {
  const block = deployFile('README.md').split(`\n\`\`\`${words}\n`)[1]?.split('\n```')[0];
  if (block === undefined) throw new Error(`no block \`${words}\``);
  return block;
}

/** Makes what starts a proxy with a file of scripts/deploy/. */
function startOf(
  name: string,
  run: (config: (port: number, folder: string) => string) => Promise<number>,
  finish: (text: string, folder: string) => string = unchanged,
): DeployedForTest {
  return async (serverPort, change = unchanged) => {
    const tlsPort = await freePort();
    const port = await run((plain, folder) => {
      const { certificate, key } = certificateForTest(folder);
      // As the README says, for haproxy.
      const both = [certificate, key].map((file) => readFileSync(file, 'utf8')).join('');
      writeFileSync(join(folder, 'both.pem'), both);
      const text = withPorts(deployFile(name), { port: plain, tlsPort }, serverPort);
      return finish(change(text), folder);
    });
    return { port, tlsPort };
  };
}

const runNginx = (config: (port: number, folder: string) => string): Promise<number> =>
  start('nginx', config, nginxArguments);

/** The nginx of scripts/deploy/. */
export const deployedNginx = startOf('nginx.conf', runNginx, (text, folder) => {
  const own = nginxOfItsOwn(folder);
  return `${own.main}\n${text.replace('http {', `http { ${own.http}`)}`;
});

/** The haproxy of scripts/deploy/. */
export const deployedHaproxy = startOf('haproxy.cfg', (config) =>
  start('haproxy', config, haproxyArguments),
);

/** The caddy of scripts/deploy/. */
export const deployedCaddy = startOf('Caddyfile', startCaddy, (text) =>
  text.replace(/^\{\n/m, `{\n\t${CADDY_BESIDE_OTHERS}\n`),
);

/** All of them by name. */
export const DEPLOYED = [
  ['nginx', deployedNginx],
  ['haproxy', deployedHaproxy],
  ['caddy', deployedCaddy],
] as const;

const plainPortOf =
  (proxy: DeployedForTest) =>
  async (serverPort: number, change?: Change): Promise<number> =>
    (await proxy(serverPort, change)).port;

/** The nginx of scripts/deploy/; its plain port. */
export const deployedNginxForTest = plainPortOf(deployedNginx);
/** The haproxy of scripts/deploy/; its plain port. */
export const deployedHaproxyForTest = plainPortOf(deployedHaproxy);
/** The caddy of scripts/deploy/; its plain port. */
export const deployedCaddyForTest = plainPortOf(deployedCaddy);

/** An nginx with these lines in its `http`, as a page prints them; its port. */
export function printedNginxForTest(serverPort: number, lines: string): Promise<number> {
  return runNginx((port, folder) => {
    const own = nginxOfItsOwn(folder);
    const listening = lines.replace('listen 80;', 'listen 127.0.0.1:8000;');
    const text = withPorts(listening, { port, tlsPort: 0 }, serverPort);
    return `${own.main} events {} http { access_log off; ${own.http}\n${text}\n}`;
  });
}
