/**
 * Loads the build of uWebSockets.js that fits this machine: the only module that imports it as a
 * value.
 */
import { createRequire } from 'node:module';
import { HoldlineError } from '../errors.js';
import { REQUEST_HEAD_BYTES_UNSET } from '../limits.js';
import { chooseBuild, isBuild, thisHost, type Build, type Host } from './builds.js';

/** The module, with what its types lack. */
export type Uws = typeof import('uWebSockets.js') & {
  readonly LIBUS_LISTEN_EXCLUSIVE_PORT: number;
};

/** A loaded build. */
export interface Loaded {
  readonly uws: Uws;
  readonly build: Build;
  /** Bytes that the head of a request may have, as far as can be known. */
  readonly headBytesMax: number;
}

/** Types are the older build's, of which the newer has all that is used here. */
const IMPORT: Readonly<Record<Build['alias'], () => Promise<unknown>>> = {
  'uWebSockets.js': () => import('uWebSockets.js'),
  'uWebSockets.js-20.69': () => import('uWebSockets.js-20.69'),
};

/** The module reads it once, when it loads. native-notes/header-limit.md */
const HEAD_BYTES_VARIABLE = 'UWS_HTTP_MAX_HEADERS_SIZE';

/** Bytes of a head by the build that was loaded. */
const headBytesOf = new Map<Build['alias'], number>();

/**
 * Loads the build for this Node and this machine, which then takes heads of `headBytesMax`; where
 * the process has loaded it before, the limit stays what it was. Rejects with HOLDLINE_NATIVE,
 * which names the cause, if none fits or it does not load. native-notes/which-build.md
 */
export async function loadUws(headBytesMax: number = REQUEST_HEAD_BYTES_UNSET): Promise<Loaded> {
  const host = thisHost();
  const choice = chooseBuild(host);
  if (!isBuild(choice))
    throw new HoldlineError('HOLDLINE_NATIVE', `${choice.cause}; ${choice.fix}`);
  const { alias } = choice;
  const before = headBytesOf.get(alias) ?? headBytesOfProgram(alias);
  if (before === undefined) process.env[HEAD_BYTES_VARIABLE] = String(headBytesMax);
  headBytesOf.set(alias, before ?? headBytesMax);
  try {
    const uws = (await IMPORT[alias]()) as Uws;
    return { uws, build: choice, headBytesMax: headBytesOf.get(alias) as number };
  } catch (cause) {
    throw new HoldlineError('HOLDLINE_NATIVE', loadProblem(host, choice, cause), { cause });
  }
}

/**
 * The limit where the program itself has loaded the module; undefined where it has not. The
 * variable may have been set after that, which nothing tells.
 */
function headBytesOfProgram(alias: Build['alias']): number | undefined {
  const { cache, resolve } = createRequire(import.meta.url);
  let path: string;
  try {
    path = resolve(alias);
  } catch {
    return undefined;
  }
  if (cache[path] === undefined) return undefined;
  return Number(process.env[HEAD_BYTES_VARIABLE]) || REQUEST_HEAD_BYTES_UNSET;
}

/** Why a build that fits does not load. */
export function loadProblem(host: Host, build: Build, cause: unknown): string {
  const words = cause instanceof Error ? cause.message : String(cause);
  const missing = /Cannot find (?:module|package) '([^']+)'/.exec(words)?.[1];
  if (missing !== undefined) {
    return (
      `${missing}, the binary of ${build.name} for Node ${build.nodeOfAbi[host.nodeAbi]}, is not installed: ` +
      'run npm install with the Node that runs the server, and without --omit=optional'
    );
  }
  // The module's own text comes first and lists all that it supports; the cause is what follows.
  return `${build.name} does not load under Node ${host.nodeVersion}: ${words.split('\n').at(-1)}`;
}
