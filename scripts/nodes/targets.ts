/** The Nodes, each with a C library, that the suite is run on, and how they are had. */

import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

/** A Node and the C library that it runs on: the machine's own, or that of Debian 13 beside it. */
export interface Target {
  readonly name: string;
  readonly node: number;
  readonly glibc: 'own' | 'debian-13';
}

/** Node 22 twice: on an old glibc it takes the older build of uWebSockets.js. */
export const TARGETS: readonly Target[] = [
  { name: '20', node: 20, glibc: 'own' },
  { name: '22', node: 22, glibc: 'own' },
  { name: '22-debian-13', node: 22, glibc: 'debian-13' },
  { name: '23', node: 23, glibc: 'own' },
  { name: '24-debian-13', node: 24, glibc: 'debian-13' },
  { name: '26-debian-13', node: 26, glibc: 'debian-13' },
];

/** Those that are run when none is named. */
export const DEFAULT_TARGETS: readonly string[] = [
  '20',
  '22',
  '22-debian-13',
  '24-debian-13',
  '26-debian-13',
];

/** Where Nodes, C library and working copies are kept from one run to the next. */
export const CACHE = join(
  process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'),
  'holdline-nodes',
);

/** Runs a program to its end; throws with its words when it fails. */
export function must(command: string, args: readonly string[], cwd?: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (status !== 0) {
    const { code, message }: Partial<NodeJS.ErrnoException> = error ?? {};
    const words =
      code === 'ENOENT'
        ? `not installed (on Debian: apt-get install -y ${command})`
        : (message ?? `${stdout}\n${stderr}`.trim());
    throw new Error(`${command} ${args.join(' ')}\n${words}`);
  }
  return stdout;
}

/**
 * The folder with the Node of a target, to be put in front of PATH. What it starts by its own path
 * or by the name `node` is the same Node; other programs run on the machine's C library, because
 * the other one stands in the binary and not in the environment.
 */
export function prepareNode({ name, node, glibc }: Target): string {
  const folder = join(CACHE, `bin-${name}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const original = nodeBinary(node);
  const binary = join(folder, 'node');
  if (glibc === 'own') {
    symlinkSync(original, binary);
    return folder;
  }
  const libraries = debianLibraries();
  const loader = readdirSync(libraries).find((file) => /^ld-linux-.*\.so\.\d$/.test(file));
  if (loader === undefined) throw new Error(`no dynamic loader in ${libraries}`);
  copyFileSync(original, binary);
  // An rpath of the old kind also counts for the libraries that the libraries need.
  const change = ['--set-interpreter', join(libraries, loader), '--force-rpath', '--set-rpath'];
  must('patchelf', [...change, libraries, binary]);
  return folder;
}

/** The newest binary of a major version, from npm. */
function nodeBinary(major: number): string {
  const name = `node-linux-${process.arch}`;
  const folder = join(CACHE, `node-${major}`);
  mkdirSync(folder, { recursive: true });
  if (!existsSync(join(folder, 'package.json')))
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  must('npm', ['install', '--no-audit', '--no-fund', `${name}@${major}`], folder);
  return join(folder, 'node_modules', name, 'bin', 'node');
}

/** Debian 13's C and C++ libraries, unpacked and not installed, from its own signed lists. */
function debianLibraries(): string {
  const root = join(CACHE, 'debian-13');
  const libraries = (): string | undefined =>
    ['x86_64-linux-gnu', 'aarch64-linux-gnu']
      .map((triplet) => join(root, 'usr/lib', triplet))
      .find((folder) => existsSync(folder));
  const known = libraries();
  if (known !== undefined) return known;
  const work = `${root}.new`;
  rmSync(work, { recursive: true, force: true });
  for (const folder of ['lists/partial', 'archives/partial', 'debs'])
    mkdirSync(join(work, 'apt', folder), { recursive: true });
  const sources = join(work, 'apt/sources.list');
  writeFileSync(
    sources,
    'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main\n',
  );
  const options = [
    `Dir::Etc::SourceList=${sources}`,
    'Dir::Etc::SourceParts=/dev/null',
    `Dir::State::Lists=${join(work, 'apt/lists')}`,
    `Dir::Cache=${join(work, 'apt')}`,
  ].flatMap((option) => ['-o', option]);
  const debs = join(work, 'apt/debs');
  must('apt-get', [...options, '-qq', 'update']);
  must('apt-get', [...options, '-qq', 'download', 'libc6', 'libstdc++6', 'libgcc-s1'], debs);
  for (const deb of readdirSync(debs)) must('dpkg-deb', ['-x', join(debs, deb), work]);
  rmSync(join(work, 'apt'), { recursive: true });
  renameSync(work, root);
  return libraries()!;
}
