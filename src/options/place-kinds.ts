/**
 * The kinds of option value that say where a server is found: paths of files and sockets, an
 * address with its port, and the path below which it serves.
 */
import { UNIX_SOCKET_PATH_BYTES_MAX } from '../limits.js';
import { form, type Kind } from './kinds.js';

/** Path of a file; whether it is there is found when it is read. */
export function filePath(): Kind<string> {
  return form('FILE', 'a path of 1 to 4096 characters', (text) =>
    text.length >= 1 && text.length <= 4096 && !text.includes('\0') ? text : undefined,
  );
}

/** Path of a unix socket, which the kernel bounds (unix(7), sun_path). */
export function socketPath(): Kind<string> {
  return form('PATH', `a path of 1 to ${UNIX_SOCKET_PATH_BYTES_MAX} bytes`, (text) => {
    const bytes = Buffer.byteLength(text);
    return bytes >= 1 && bytes <= UNIX_SOCKET_PATH_BYTES_MAX && !text.includes('\0')
      ? text
      : undefined;
  });
}

/**
 * The permission bits of a file. As text in octal, as chmod(1) takes them; a number in JSON would
 * be decimal, so only text is taken there. The library takes the number (0o660).
 */
export function fileMode(): Kind<number> {
  const accepted = 'three octal digits such as 660 or 600';
  const readText = (text: string): number | undefined =>
    /^0?[0-7]{3}$/.test(text) ? Number.parseInt(text, 8) : undefined;
  const read = (value: unknown): number | undefined =>
    Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= 0o777
      ? (value as number)
      : undefined;
  return {
    placeholder: 'MODE',
    accepted,
    acceptedValue: 'an integer from 0 to 0o777',
    range: '',
    repeatable: false,
    read,
    readText,
    readJson: (value) => (typeof value === 'string' ? readText(value) : undefined),
    toText: (mode) => mode.toString(8).padStart(3, '0'),
  };
}

/** An address and a port: `127.0.0.1:9090`, `[::1]:9090`, `localhost:0`. */
export function hostAndPort(): Kind<string> {
  return form(
    'HOST:PORT',
    'a host and a port from 0 to 65535, such as 127.0.0.1:9090 or [::1]:9090',
    (text) => (splitHostAndPort(text) === undefined ? undefined : text),
  );
}

/** The parts of what {@link hostAndPort} accepts; undefined for anything else. */
export function splitHostAndPort(text: string): { host: string; port: number } | undefined {
  const parts = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([^\s\p{Cc}:[\]/]{1,255})):(\d{1,5})$/u.exec(text);
  if (parts === null) return undefined;
  const port = Number(parts[3]);
  return port > 65_535 ? undefined : { host: (parts[1] ?? parts[2]) as string, port };
}

/** An authority as it stands in a URL: an IPv6 address is in brackets (RFC 3986, 3.2.2). */
export function authorityOf(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** True for an address that only programs on this machine reach. */
export function isLoopback(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/i.test(host);
}

/**
 * A path of one segment or several, without a slash at its end; empty for the root. Its characters
 * are those of a channel's name, which nothing in between encodes or resolves.
 */
export function basePath(): Kind<string> {
  return form(
    'PATH',
    '/ or a path of up to 128 characters such as /events, of A–Z a–z 0–9 . _ ~ - without a leading or trailing dot in a segment, and not /-',
    (text) => {
      const path = text.endsWith('/') ? text.slice(0, -1) : text;
      if (path === '') return text === '/' || text === '' ? '' : undefined;
      if (path.length > 128) return undefined;
      const segments = path.slice(1).split('/');
      const isPath =
        path.startsWith('/') &&
        segments.every((segment) => segment !== '-' && SEGMENT.test(segment));
      return isPath ? path : undefined;
    },
    (path) => (path === '' ? '/' : path),
  );
}

const SEGMENT = /^(?!\.)[A-Za-z0-9._~-]+(?<!\.)$/;
