/**
 * Loads the build of uWebSockets.js that fits this machine: the only module that imports it as a
 * value.
 */
import { HoldlineError } from '../errors.js';
import { REQUEST_HEAD_BYTES_MAX } from '../limits.js';
import { chooseBuild, isBuild, thisHost, type Build, type Host } from './builds.js';

/** The module, with what its types lack. */
export type Uws = typeof import('uWebSockets.js') & {
  readonly LIBUS_LISTEN_EXCLUSIVE_PORT: number;
};

/** A loaded build. */
export interface Loaded {
  readonly uws: Uws;
  readonly build: Build;
}

/** Types are the older build's, of which the newer has all that is used here. */
const IMPORT: Readonly<Record<Build['alias'], () => Promise<unknown>>> = {
  'uWebSockets.js': () => import('uWebSockets.js'),
  'uWebSockets.js-20.69': () => import('uWebSockets.js-20.69'),
};

/**
 * Loads the build for this Node and this machine. Rejects with HOLDLINE_NATIVE, which names the
 * cause, if none fits or it does not load. native-notes/which-build.md
 */
export async function loadUws(): Promise<Loaded> {
  const host = thisHost();
  const choice = chooseBuild(host);
  if (!isBuild(choice))
    throw new HoldlineError('HOLDLINE_NATIVE', `${choice.cause}; ${choice.fix}`);
  // The module reads it once, when it loads. native-notes/header-limit.md
  process.env['UWS_HTTP_MAX_HEADERS_SIZE'] ??= String(REQUEST_HEAD_BYTES_MAX);
  try {
    return { uws: (await IMPORT[choice.alias]()) as Uws, build: choice };
  } catch (cause) {
    throw new HoldlineError('HOLDLINE_NATIVE', loadProblem(host, choice, cause), { cause });
  }
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
