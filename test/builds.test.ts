/**
 * Which build of uWebSockets.js a machine gets: by the ABI of its Node, platform, processor and
 * glibc; or why it gets none, and what helps.
 */

import { readFileSync } from 'node:fs';
import process from 'node:process';
import { describe, expect, it } from 'vitest';
import {
  BUILDS,
  buildWords,
  chooseBuild,
  isBuild,
  streamWriteBytesMax,
  thisHost,
  type Host,
} from '../src/native/builds.js';
import { CORK_WRITE_BYTES_MAX, LARGE_WRITE_BYTES_MAX } from '../src/limits.js';
import { loadProblem } from '../src/native/load.js';
import { isInRange } from '../src/tools/doctor/checks.js';

const OLDER = '@uwsjs/core@20.51.4';
const NEWER = '@uwsjs/core@20.69.0';

const ABI: Readonly<Record<number, string>> = {
  18: '108',
  20: '115',
  21: '120',
  22: '127',
  23: '131',
  24: '137',
  25: '141',
  26: '147',
};

function host(node: number, glibcVersion: string | undefined, others: Partial<Host> = {}): Host {
  const nodeAbi = ABI[node]!;
  return {
    nodeVersion: `${node}.1.0`,
    nodeAbi,
    platform: 'linux',
    arch: 'x64',
    glibcVersion,
    ...others,
  };
}

/** The name of the build, or the words of the refusal. */
function chosen(one: Host): string {
  const choice = chooseBuild(one);
  return isBuild(choice) ? choice.name : `${choice.part}: ${choice.cause}; ${choice.fix}`;
}

describe('the build for a machine', () => {
  it.each<[node: number, glibc: string, build: string]>([
    [20, '2.27', OLDER],
    [20, '2.41', OLDER],
    [22, '2.27', OLDER],
    [22, '2.36', OLDER],
    [22, '2.37', OLDER],
    [22, '2.38', NEWER],
    [22, '2.41', NEWER],
    [22, '3.0', NEWER],
    [23, '2.41', OLDER],
    [24, '2.38', NEWER],
    [26, '2.41', NEWER],
  ])('with Node %i and glibc %s is %s', (node, glibc, build) => {
    expect(chosen(host(node, glibc))).toBe(build);
  });

  it.each<[node: number, platform: string, arch: string, build: string]>([
    [20, 'darwin', 'arm64', OLDER],
    [22, 'darwin', 'x64', NEWER],
    [24, 'win32', 'x64', NEWER],
  ])('with Node %i on %s %s, which has no glibc, is %s', (node, platform, arch, build) => {
    expect(chosen(host(node, undefined, { platform, arch }))).toBe(build);
  });

  it('on 32-bit ARM is the only one there', () => {
    expect(chosen(host(22, '2.41', { arch: 'arm' }))).toBe(OLDER);
  });
});

describe('a machine without a build is told the cause and what helps', () => {
  it.each<[name: string, host: Host, part: string, words: readonly string[]]>([
    [
      'a glibc that is too old for this Node',
      host(24, '2.36'),
      'libc',
      [
        'the uWebSockets.js binary for Node 24 needs glibc 2.38 or newer, and this machine has 2.36',
        'use Node 20 or 22 or 23, or use a system with glibc 2.38 (Debian 13, Ubuntu 24.04 or newer)',
      ],
    ],
    [
      'a glibc that is too old for every Node',
      host(22, '2.17'),
      'libc',
      [
        'the uWebSockets.js binary for Node 22 needs glibc 2.27 or newer, and this machine has 2.17',
        'use a system with glibc 2.27 (Debian 10, Ubuntu 18.04 or newer)',
      ],
    ],
    ['musl', host(24, undefined), 'libc', ['musl', 'FROM node:24-trixie-slim']],
    [
      'a Node without a binary, with a glibc for the newer build',
      host(25, '2.41'),
      'node',
      ['no binary for Node 25.1.0 (ABI 141) on linux x64', 'use Node 20 or 22 or 23 or 24 or 26,'],
    ],
    [
      'a Node without a binary, with a glibc for the older build',
      host(21, '2.36'),
      'node',
      ['no binary for Node 21.1.0', 'use Node 20 or 22 or 23, then run npm install again'],
    ],
    ['a Node that is past its life', host(18, '2.36'), 'node', ['no binary for Node 18.1.0']],
    [
      'a processor without a binary',
      host(24, '2.41', { arch: 'riscv64' }),
      'platform',
      ['no binary for linux riscv64', 'linux x64, linux arm64'],
    ],
    ['a system without one', host(24, undefined, { platform: 'freebsd' }), 'platform', ['freebsd']],
    [
      'a processor that the newer build left out',
      host(24, '2.41', { arch: 'arm' }),
      'node',
      ['arm'],
    ],
  ])('%s', (_name, one, part, words) => {
    const choice = chooseBuild(one);
    expect(isBuild(choice)).toBe(false);
    expect(chosen(one)).toMatch(new RegExp(`^${part}: `));
    for (const word of words) expect(chosen(one)).toContain(word);
    expect(chosen(one)).not.toContain('\n');
  });
});

describe('a build that fits and does not load', () => {
  const build = BUILDS.find(({ name }) => name === OLDER)!;
  const missing =
    'This version of uWS.js (v20.51.0) supports only Node.js versions 18, 20, 22 and 23 on …\n\n' +
    "Error: Cannot find module '@uwsjs/linux-x64-20'\nRequire stack:\n- /a/uws.js";

  it('because its binary is not installed', () => {
    expect(loadProblem(host(20, '2.36'), build, new Error(missing))).toBe(
      '@uwsjs/linux-x64-20, the binary of @uwsjs/core@20.51.4 for Node 20, is not installed: run ' +
        'npm install with the Node that runs the server, and without --omit=optional',
    );
  });

  it('for another cause, which is its last line', () => {
    const cause = new Error('This version of uWS.js supports …\n\nError: /a/uws.node: no memory');
    expect(loadProblem(host(20, '2.36'), build, cause)).toBe(
      '@uwsjs/core@20.51.4 does not load under Node 20.1.0: Error: /a/uws.node: no memory',
    );
  });
});

it('the version names the build, or why there is none', () => {
  expect(buildWords(host(24, '2.41'))).toBe('@uwsjs/core@20.69.0, Node 24.1.0, glibc 2.41');
  expect(buildWords(host(24, undefined, { platform: 'darwin' }))).toBe(
    '@uwsjs/core@20.69.0, Node 24.1.0',
  );
  expect(buildWords(host(24, '2.36'))).toMatch(/^no native build: .* Node 24 needs glibc 2\.38/);
});

describe('package.json', () => {
  const manifest = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
  ) as { dependencies: Record<string, string>; engines: { node: string } };

  it('has the builds, and no other', () => {
    const found = Object.entries(manifest.dependencies).filter(([, what]) =>
      what.includes('@uwsjs/core'),
    );
    const wanted = BUILDS.map(({ alias, name }) => [alias, `npm:${name}`]);
    expect(Object.fromEntries(found)).toEqual(Object.fromEntries(wanted));
  });

  it('asks for the Nodes that a build has a binary for', () => {
    const inRange = Object.keys(ABI).filter((node) =>
      isInRange(`${node}.99.0`, manifest.engines.node),
    );
    const built = Object.entries(ABI).filter(([, abi]) =>
      BUILDS.some(({ nodeOfAbi }) => abi in nodeOfAbi),
    );
    expect(inRange).toEqual(built.map(([node]) => node));
  });
});

it('this machine has one', () => {
  expect(thisHost()).toMatchObject({
    nodeVersion: process.versions.node,
    nodeAbi: process.versions.modules,
    platform: process.platform,
  });
  expect(isBuild(chooseBuild(thisHost()))).toBe(true);
});

describe('the largest write to a stream', () => {
  it.each<[why: string, host: Host, bytes: number]>([
    [
      'is a cork on a build that loses bytes of a larger one',
      host(20, '2.41'),
      CORK_WRITE_BYTES_MAX,
    ],
    ['is a cork on that build under Node 22', host(22, '2.36'), CORK_WRITE_BYTES_MAX],
    ['is a segment on one that keeps them', host(24, '2.41'), LARGE_WRITE_BYTES_MAX],
    ['is a cork where no build fits', host(24, '2.36'), CORK_WRITE_BYTES_MAX],
  ])('%s', (_why, machine, bytes) => {
    expect(streamWriteBytesMax(machine)).toBe(bytes);
  });
});
