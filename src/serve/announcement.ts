/** What the log says when a server listens: where, and what its operator should know. */
import process from 'node:process';
import type { Logger } from 'pino';
import { cautions } from '../options/cautions.js';
import { authorityOf, splitHostAndPort } from '../options/place-kinds.js';
import type { RunningSettings } from '../options/reload.js';
import type { Settings } from '../options/table.js';
import type { Address } from '../server/api.js';
import { VERSION } from '../version.js';
import type { MadeOpsKey } from './ops-key.js';

/** Says where the server listens, and what its operator should know. */
export function sayListening(
  log: Logger,
  settings: RunningSettings,
  madeKey: MadeOpsKey,
  facts: {
    readonly address: Address;
    readonly build: string | null;
    readonly problems: readonly string[];
    readonly workers?: number;
  },
): void {
  const { address, build, problems, workers } = facts;
  const places = placesOf(settings, address);
  log.info(
    {
      ...places,
      ...(workers !== undefined && { workers }),
      version: VERSION,
      build,
      node: process.versions.node,
    },
    'listening',
  );
  if (settings.demo && places.url !== undefined)
    log.info({ url: `${places.url}/-/demo` }, 'open the demo in a browser');
  madeKey.sayIfUsed(log, settings);
  for (const caution of [...cautions(settings), ...problems]) log.warn(caution);
}

/** Where the server is found, as the log says it. */
function placesOf(
  { basePath, tlsCert, opsListen }: Settings,
  { host, port, unixSocket, opsPort }: Address,
): { readonly url?: string } & Readonly<Record<string, unknown>> {
  const ops =
    opsListen === undefined
      ? {}
      : {
          opsUrl: `http://${authorityOf(splitHostAndPort(opsListen)!.host, opsPort!)}${basePath}`,
        };
  if (unixSocket !== undefined) return { unixSocket, ...ops };
  const scheme = tlsCert === undefined ? 'http' : 'https';
  return { host, port, url: `${scheme}://${authorityOf(host, port)}${basePath}`, ...ops };
}
