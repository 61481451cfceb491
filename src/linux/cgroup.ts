/**
 * The control groups that this process is in (cgroups(7)): what they allow it, and what the kernel
 * charges them for sockets. Elsewhere than on Linux, and in the root group, they bound nothing.
 */

import { readNumbers, readText } from './files.js';

/** A file's text, or undefined when it cannot be read. */
type ReadText = (path: string) => string | undefined;

export interface CgroupSockets {
  readonly version: 1 | 2;
  readonly socketBytes: number;
}

/**
 * What the group is charged for sockets: `sock` of memory.stat in version 2, in version 1
 * memory.kmem.tcp.usage_in_bytes, which counts from the moment that a limit for it was set.
 * Undefined where the memory controller is not in use.
 */
export function readCgroupSockets(read: ReadText = readText): CgroupSockets | undefined {
  const fileIn = (version: 1 | 2, file: string): string => {
    const [folder] = foldersOf(version, 'memory', read);
    return folder === undefined ? '' : (read(`${folder}/${file}`) ?? '');
  };
  const sock = /^sock (\d+)$/m.exec(fileIn(2, 'memory.stat'))?.[1];
  if (sock !== undefined) return { version: 2, socketBytes: Number(sock) };
  const usage = fileIn(1, 'memory.kmem.tcp.usage_in_bytes');
  return /^\d+\n?$/.test(usage) ? { version: 1, socketBytes: Number(usage) } : undefined;
}

/** The tightest limit on memory; Infinity where there is none. */
export function readCgroupMemory(read: ReadText = readText): number {
  const limits = cgroupFolders('memory', read).flatMap((folder) => [
    ...(readNumbers(`${folder}/memory.max`, read) ?? []),
    ...(readNumbers(`${folder}/memory.limit_in_bytes`, read) ?? []),
  ]);
  // Version 1 writes "no limit" as a number near 2^63.
  return Math.min(...limits.filter((limit) => limit < 2 ** 60), Infinity);
}

/** How many cores' worth of time the groups allow; Infinity where they do not bound it. */
export function readCpuQuota(read: ReadText = readText): number {
  const quotas = cgroupFolders('cpu', read).map((folder) => {
    const [quota = 0, period = 0] =
      readNumbers(`${folder}/cpu.max`, read) ??
      ['quota', 'period'].map((name) => readNumbers(`${folder}/cpu.cfs_${name}_us`, read)?.[0]);
    return quota > 0 && period > 0 ? quota / period : Infinity;
  });
  return Math.min(...quotas, Infinity);
}

/** The folders of the process's groups for a controller, of both versions. */
export function cgroupFolders(controller: string, read: ReadText = readText): string[] {
  return [...foldersOf(2, controller, read), ...foldersOf(1, controller, read)];
}

/** Those of one version: its own group's first, then those above it, each of which may bound it. */
function foldersOf(version: 1 | 2, controller: string, read: ReadText): string[] {
  const group = ownGroup(version, controller, read('/proc/self/cgroup') ?? '');
  const mount = mountOf(version, controller, read('/proc/self/mountinfo') ?? '');
  if (group === undefined || mount === undefined) return [];
  // In a container the mount may show the group itself as its root, or /proc the group's name as
  // seen from within.
  const isWithin =
    mount.root !== '/' && (group === mount.root || group.startsWith(`${mount.root}/`));
  const names = (isWithin ? group.slice(mount.root.length) : group)
    .split('/')
    .filter((name) => name !== '');
  return Array.from({ length: names.length + 1 }, (_, up) =>
    [mount.path, ...names.slice(0, names.length - up)].join('/'),
  );
}

/** The path of the process's group within a hierarchy, from the text of /proc/self/cgroup. */
function ownGroup(version: 1 | 2, controller: string, text: string): string | undefined {
  for (const row of text.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(row) ?? [];
    // Version 2 has one hierarchy, without a name; version 1 has several with their controllers.
    const isFound =
      version === 2 ? controllers === '' : controllers?.split(',').includes(controller);
    if (isFound) return path;
  }
  return undefined;
}

/** Where a hierarchy is mounted, and which of its groups is visible there as the root. */
interface Mount {
  readonly root: string;
  readonly path: string;
}

/** The mount of a hierarchy, from the text of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
function mountOf(version: 1 | 2, controller: string, text: string): Mount | undefined {
  for (const row of text.split('\n')) {
    const [before = '', after = ''] = row.split(' - ');
    const [type, , superOptions = ''] = after.split(' ');
    const [, , , root, path] = before.split(' ');
    const isFound =
      version === 2
        ? type === 'cgroup2'
        : type === 'cgroup' && superOptions.split(',').includes(controller);
    if (isFound && root !== undefined && path !== undefined)
      return { root: unescaped(root), path: unescaped(path) };
  }
  return undefined;
}

/** Spaces and backslashes are written as octal numbers there. */
function unescaped(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCodePoint(Number.parseInt(digits, 8)),
  );
}
