/** The kinds of option value that say where the log is, and how it is found. */
import { NATS_SERVERS_MAX } from '../limits.js';
import { form, type Kind } from './kinds.js';
import { authorityOf } from './place-kinds.js';

/** Where events are kept, as {@link logPlace} accepts it. */
export type LogPlace =
  | { readonly kind: 'memory' }
  | { readonly kind: 'lmdb'; readonly directory: string }
  /** URLs of the servers of one cluster, each `nats://HOST:PORT` or `tls://HOST:PORT`. */
  | { readonly kind: 'nats'; readonly servers: readonly string[] };

/** `memory`, `lmdb:DIR` or `nats:URL`; of the last several with commas. */
export function logPlace(): Kind<string> {
  return form(
    'LOG',
    `memory, lmdb:DIRECTORY, or nats://HOST:PORT of up to ${NATS_SERVERS_MAX} servers with commas ` +
      '(tls:// for TLS), without user and path',
    (text) => {
      const place = placeIn(text);
      return place === undefined ? undefined : textOf(place);
    },
  );
}

/** Where a log is whose option was accepted. */
export function placeOf(log: string): LogPlace {
  return placeIn(log) ?? { kind: 'memory' };
}

function textOf(place: LogPlace): string {
  if (place.kind === 'memory') return 'memory';
  return place.kind === 'lmdb' ? `lmdb:${place.directory}` : place.servers.join(',');
}

function placeIn(text: string): LogPlace | undefined {
  if (text === 'memory') return { kind: 'memory' };
  if (text.startsWith('lmdb:')) {
    const directory = text.slice('lmdb:'.length);
    const isPath = directory.length >= 1 && directory.length <= 4096 && !directory.includes('\0');
    // As a URL it would name a folder called "host" below this one.
    return isPath && !directory.startsWith('//') ? { kind: 'lmdb', directory } : undefined;
  }
  const [first = '', ...others] = text.split(',').map((item) => item.trim());
  // `nats:URL`, where the URL has its own scheme or none, and `nats://HOST` are the same.
  const begin = /^(?:nats:(?!\/\/)|(?=(?:nats|tls):\/\/))(.*)$/s.exec(first);
  if (begin === null || others.length >= NATS_SERVERS_MAX) return undefined;
  const servers = [begin[1] as string, ...others].map(readNatsServer);
  return servers.every((server) => server !== undefined)
    ? { kind: 'nats', servers: [...new Set(servers)] }
    : undefined;
}

const NATS_PORT = 4222;

/** One server of NATS, with its scheme and port. */
function readNatsServer(item: string): string | undefined {
  const parts =
    /^(?:(nats|tls):\/\/)?(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?))(?::(\d{1,5}))?\/?$/.exec(
      item,
    );
  if (parts === null) return undefined;
  const [, scheme = 'nats', bracketed, name, portText] = parts;
  const port = portText === undefined ? NATS_PORT : Number(portText);
  if (port < 1 || port > 65_535) return undefined;
  return `${scheme}://${authorityOf((bracketed ?? name) as string, port)}`;
}

/** The name of a JetStream stream: it is a part of subjects and of file names. */
export function streamName(): Kind<string> {
  return form('NAME', '1 to 64 characters of A–Z a–z 0–9 _ -', (text) =>
    /^[A-Za-z0-9_-]{1,64}$/.test(text) ? text : undefined,
  );
}

/** The tokens before a channel in its subject. */
export function subjectPrefix(): Kind<string> {
  return form(
    'PREFIX',
    '1 to 64 characters of A–Z a–z 0–9 _ - in tokens between dots, such as holdline or acme.events, not beginning with _',
    (text) =>
      /^(?!_)(?=.{1,64}$)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/.test(text) ? text : undefined,
  );
}
