/**
 * The builds of uWebSockets.js that the package has, and which one fits a machine: each is compiled
 * for certain versions of Node and for a C library that is new enough. native-notes/which-build.md
 */
import process from 'node:process';
import { CORK_WRITE_BYTES_MAX, LARGE_WRITE_BYTES_MAX } from '../limits.js';
import { readGlibcVersion } from '../linux/glibc.js';

/** What a build has to fit. */
export interface Host {
  readonly nodeVersion: string;
  /** `process.versions.modules`: a binary is compiled for one. */
  readonly nodeAbi: string;
  readonly platform: string;
  readonly arch: string;
  /** Undefined where the C library is not glibc. */
  readonly glibcVersion: string | undefined;
}

/** A build: a dependency in package.json. */
export interface Build {
  /** The name it is imported by. */
  readonly alias: 'uWebSockets.js' | 'uWebSockets.js-20.69';
  /** What it is, as npm names it. */
  readonly name: string;
  /**
   * True if a PROXY protocol header before a later request of a connection counts, too.
   * native-notes/proxy-protocol.md
   */
  readonly replacesProxied: boolean;
  /**
   * True if a cork over 16,384 bytes loses nothing.
   * native-notes/oversized-cork-loses-bytes.md
   */
  readonly keepsLargeCorks: boolean;
  /** Major versions of Node with a binary, by their ABI. */
  readonly nodeOfAbi: Readonly<Record<string, number>>;
  /** Platforms and processors with a binary. */
  readonly targets: readonly string[];
  /** The oldest glibc that the Linux binaries run on. */
  readonly glibcMin: string;
  /** The oldest systems with it. */
  readonly systems: string;
}

/**
 * The newest first, and the first that fits is taken. So Node 22 gets 20.69.0 where glibc allows
 * it: what src/ rests on holds on both builds, the newer is the one that Node 24 and 26 run, and
 * loses no bytes of a large cork (native-notes/oversized-cork-loses-bytes.md).
 */
export const BUILDS: readonly Build[] = [
  {
    alias: 'uWebSockets.js-20.69',
    name: '@uwsjs/core@20.69.0',
    replacesProxied: false,
    keepsLargeCorks: true,
    nodeOfAbi: { 127: 22, 137: 24, 147: 26 },
    targets: ['linux x64', 'linux arm64', 'darwin x64', 'darwin arm64', 'win32 x64'],
    glibcMin: '2.38',
    systems: 'Debian 13, Ubuntu 24.04',
  },
  {
    alias: 'uWebSockets.js',
    name: '@uwsjs/core@20.51.4',
    replacesProxied: true,
    keepsLargeCorks: false,
    nodeOfAbi: { 115: 20, 127: 22, 131: 23 },
    targets: ['linux x64', 'linux arm64', 'linux arm', 'darwin x64', 'darwin arm64', 'win32 x64'],
    glibcMin: '2.27',
    systems: 'Debian 10, Ubuntu 18.04',
  },
];

/** Why no build fits, and what helps. `part` is what is to blame. */
export interface Refusal {
  readonly part: 'platform' | 'node' | 'libc';
  readonly cause: string;
  readonly fix: string;
}

/** The build for a machine. */
export function chooseBuild(host: Host): Build | Refusal {
  const { nodeVersion, nodeAbi, platform, arch, glibcVersion } = host;
  const onTarget = BUILDS.filter(({ targets }) => targets.includes(targetOf(host)));
  if (onTarget.length === 0) {
    const targets = [...new Set(BUILDS.flatMap((build) => build.targets))];
    return {
      part: 'platform',
      cause: `uWebSockets.js has no binary for ${targetOf(host)}`,
      fix: `use one of ${targets.join(', ')}`,
    };
  }
  if (platform === 'linux' && glibcVersion === undefined) {
    return {
      part: 'libc',
      cause: 'uWebSockets.js has no binary for a C library other than glibc (musl, as on Alpine?)',
      fix:
        'use Debian, Ubuntu or another Linux with glibc; in a container, FROM ' +
        'node:24-trixie-slim instead of node:24-alpine',
    };
  }
  const forNode = onTarget.filter(({ nodeOfAbi }) => nodeAbi in nodeOfAbi);
  const fitting = forNode.find((build) => isNewEnough(host, build));
  if (fitting !== undefined) return fitting;
  const nodes = fittingNodes(host).join(' or ');
  // The one for this Node that asks for least.
  const needed = forNode.at(-1);
  if (needed === undefined) {
    return {
      part: 'node',
      cause: `uWebSockets.js has no binary for Node ${nodeVersion} (ABI ${nodeAbi}) on ${platform} ${arch}`,
      fix: `use Node ${nodes}, then run npm install again`,
    };
  }
  const { glibcMin, systems, nodeOfAbi } = needed;
  return {
    part: 'libc',
    cause:
      `the uWebSockets.js binary for Node ${nodeOfAbi[nodeAbi]} needs glibc ${glibcMin} or ` +
      `newer, and this machine has ${glibcVersion}`,
    fix:
      (nodes === '' ? '' : `use Node ${nodes}, or `) +
      `use a system with glibc ${glibcMin} (${systems} or newer)`,
  };
}

/** The major versions of Node that a build has a binary for on such a machine, in order. */
export function fittingNodes(host: Host): number[] {
  const builds = BUILDS.filter(
    (build) => build.targets.includes(targetOf(host)) && isNewEnough(host, build),
  );
  const nodes = new Set(builds.flatMap(({ nodeOfAbi }) => Object.values(nodeOfAbi)));
  return [...nodes].toSorted((one, other) => one - other);
}

/** True when a build fits. */
export function isBuild(choice: Build | Refusal): choice is Build {
  return 'alias' in choice;
}

/** What this process runs on. */
export function thisHost(): Host {
  return {
    nodeVersion: process.versions.node,
    nodeAbi: process.versions.modules,
    platform: process.platform,
    arch: process.arch,
    glibcVersion: process.platform === 'linux' ? readGlibcVersion() : undefined,
  };
}

/**
 * Bytes of the largest write to a plain stream by the build for this machine.
 * native-notes/oversized-cork-loses-bytes.md
 */
export function streamWriteBytesMax(host: Host = thisHost()): number {
  const choice = chooseBuild(host);
  return isBuild(choice) && choice.keepsLargeCorks ? LARGE_WRITE_BYTES_MAX : CORK_WRITE_BYTES_MAX;
}

/**
 * The most that a stalled stream keeps in user space, bytes: a cork whose flush failed, and the
 * write, or the probe, that was refused after it. ARCHITECTURE.md, "Overload"
 */
export function unsentStreamBytesMax(): number {
  return CORK_WRITE_BYTES_MAX + streamWriteBytesMax();
}

/** The host and its build in one line: "@uwsjs/core@20.51.4, Node 20.20.2, glibc 2.36". */
export function buildWords(host: Host): string {
  const choice = chooseBuild(host);
  return [
    isBuild(choice) ? choice.name : `no native build: ${choice.cause}`,
    `Node ${host.nodeVersion}`,
    ...(host.glibcVersion === undefined ? [] : [`glibc ${host.glibcVersion}`]),
  ].join(', ');
}

function targetOf({ platform, arch }: Host): string {
  return `${platform} ${arch}`;
}

/** True when the machine's C library is new enough for a build. */
function isNewEnough({ platform, glibcVersion }: Host, { glibcMin }: Build): boolean {
  if (platform !== 'linux') return true;
  const [major = 0, minor = 0] = (glibcVersion ?? '').split('.').map(Number);
  const [majorMin = 0, minorMin = 0] = glibcMin.split('.').map(Number);
  return major > majorMin || (major === majorMin && minor >= minorMin);
}
