/**
 * What the kernel charges the cgroup of this process for its sockets (cgroups(7)): `sock` of
 * memory.stat in version 2, memory.kmem.tcp.usage_in_bytes in version 1, which counts from the
 * moment that a limit for it was set.
 */
import { readFileSync } from 'node:fs';

export interface CgroupSockets {
  readonly version: 1 | 2;
  readonly socketBytes: number;
}

/** A file's text, or undefined when it cannot be read. */
type ReadText = (path: string) => string | undefined;

/** Where a hierarchy is mounted, and which of its groups stands there. */
interface Mount {
  readonly root: string;
  readonly path: string;
}

/**
 * Reads it; undefined outside of Linux, in the root group, and where the memory controller is not
 * in use.
 */
export function readCgroupSockets(read: ReadText = readText): CgroupSockets | undefined {
  const groups = read('/proc/self/cgroup')?.split('\n') ?? [];
  const mounts = read('/proc/self/mountinfo')?.split('\n') ?? [];
  const group2 = groups.map((line) => /^0::(\/.*)$/.exec(line)?.[1]).find(isText);
  const stat = readIn(mountOf(mounts, 'cgroup2', /./), group2, 'memory.stat', read);
  const sock = /^sock (\d+)$/m.exec(stat ?? '')?.[1];
  if (sock !== undefined) return { version: 2, socketBytes: Number(sock) };
  const group1 = groups
    .map((line) => /^[1-9]\d*:(?:[^:]*,)?memory(?:,[^:]*)?:(\/.*)$/.exec(line)?.[1])
    .find(isText);
  const usage = readIn(
    mountOf(mounts, 'cgroup', /(?:^|,)memory(?:,|$)/),
    group1,
    'memory.kmem.tcp.usage_in_bytes',
    read,
  );
  return usage === undefined || !/^\d+\n?$/.test(usage)
    ? undefined
    : { version: 1, socketBytes: Number(usage) };
}

/** The mount of a hierarchy (proc_pid_mountinfo(5)) whose options match. */
function mountOf(lines: readonly string[], type: string, options: RegExp): Mount | undefined {
  for (const line of lines) {
    const [before = '', after = ''] = line.split(' - ');
    const [found, , superOptions = ''] = after.split(' ');
    const [, , , root, path] = before.split(' ');
    if (found === type && options.test(superOptions) && root !== undefined && path !== undefined) {
      return { root: unescaped(root), path: unescaped(path) };
    }
  }
  return undefined;
}

/**
 * A file of the group. In a container the mount shows the group itself, or its name is told from
 * within.
 */
function readIn(
  mount: Mount | undefined,
  group: string | undefined,
  file: string,
  read: ReadText,
): string | undefined {
  if (mount === undefined || group === undefined) return undefined;
  const isWithin =
    mount.root !== '/' && (group === mount.root || group.startsWith(`${mount.root}/`));
  const below = isWithin ? group.slice(mount.root.length) : group;
  return read(`${mount.path}${below === '/' ? '' : below}/${file}`);
}

/** Blanks and backslashes stand as octal numbers. */
function unescaped(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCodePoint(Number.parseInt(digits, 8)),
  );
}

function isText(text: string | undefined): text is string {
  return text !== undefined;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
