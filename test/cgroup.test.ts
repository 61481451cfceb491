/** Control groups, from files as machines and containers have them. */
import { expect, test } from 'vitest';
import {
  cgroupFolders,
  readCgroupMemory,
  readCgroupSockets,
  readCpuQuota,
} from '../src/linux/cgroup.js';

const STAT = 'anon 4096\nfile 8192\nsock 1310720\nshmem 0\n';
const V2_MOUNT = '31 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate';
const V1_MOUNTS = [
  '31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755',
  '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct',
  '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:7 - cgroup cgroup rw,memory',
  '41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
].join('\n');

test.each<[string, Readonly<Record<string, string>>, object | undefined]>([
  [
    'version 2, a service',
    {
      '/proc/self/cgroup': '0::/system.slice/holdline.service\n',
      '/proc/self/mountinfo': V2_MOUNT,
      '/sys/fs/cgroup/system.slice/holdline.service/memory.stat': STAT,
    },
    { version: 2, socketBytes: 1_310_720 },
  ],
  [
    'version 2, a container that sees itself as the root',
    {
      '/proc/self/cgroup': '0::/\n',
      '/proc/self/mountinfo': V2_MOUNT,
      '/sys/fs/cgroup/memory.stat': STAT,
    },
    { version: 2, socketBytes: 1_310_720 },
  ],
  [
    'version 2, the root itself, which has no such line',
    {
      '/proc/self/cgroup': '0::/\n',
      '/proc/self/mountinfo': V2_MOUNT,
      '/sys/fs/cgroup/memory.stat': 'anon 4096\nsocket 7\n',
    },
    undefined,
  ],
  [
    'both versions, memory in version 1',
    {
      '/proc/self/cgroup': '4:memory:/jobs/a\n1:cpu,cpuacct:/jobs\n0::/\n',
      '/proc/self/mountinfo': V1_MOUNTS,
      '/sys/fs/cgroup/memory/jobs/a/memory.kmem.tcp.usage_in_bytes': '65536\n',
    },
    { version: 1, socketBytes: 65_536 },
  ],
  [
    'version 1, a container whose own group is mounted, under a path with a blank',
    {
      '/proc/self/cgroup': '9:hugetlb,memory:/docker/4f\n',
      '/proc/self/mountinfo':
        '35 31 0:32 /docker/4f /cg\\040mem ro master:9 - cgroup cgroup rw,memory',
      '/cg mem/memory.kmem.tcp.usage_in_bytes': '0\n',
    },
    { version: 1, socketBytes: 0 },
  ],
  [
    'version 1, a group whose name begins like the mounted one',
    {
      '/proc/self/cgroup': '9:memory:/docker/4fa\n',
      '/proc/self/mountinfo': '35 31 0:32 /docker/4f /cg ro - cgroup cgroup rw,memory',
      '/cga/memory.kmem.tcp.usage_in_bytes': '1\n',
    },
    undefined,
  ],
  [
    'no cgroups mounted',
    { '/proc/self/cgroup': '0::/\n', '/proc/self/mountinfo': '22 1 0:3 / /proc rw - proc proc rw' },
    undefined,
  ],
  ['no /proc', {}, undefined],
])('%s', (_name, files, expected) => {
  expect(readCgroupSockets((path) => files[path])).toEqual(expected);
});

test('the folders are those of the own group and of those above it, of both versions', () => {
  const foldersIn = (groups: string, mounts: string, controller: string): string[] =>
    cgroupFolders(controller, (path) => (path === '/proc/self/cgroup' ? groups : mounts));
  const v1 = '9:name=systemd:/\n4:memory:/a/b\n1:cpu,cpuacct:/\n';
  expect(foldersIn(v1, V1_MOUNTS, 'memory')).toEqual([
    '/sys/fs/cgroup/memory/a/b',
    '/sys/fs/cgroup/memory/a',
    '/sys/fs/cgroup/memory',
  ]);
  expect(foldersIn(v1, V1_MOUNTS, 'cpu')).toEqual(['/sys/fs/cgroup/cpu,cpuacct']);
  expect(foldersIn('0::/system.slice/holdline.service\n', V2_MOUNT, 'memory')).toEqual([
    '/sys/fs/cgroup/system.slice/holdline.service',
    '/sys/fs/cgroup/system.slice',
    '/sys/fs/cgroup',
  ]);
  expect(foldersIn('', V2_MOUNT, 'memory')).toEqual([]);
});

test('the tightest limit of all those groups counts', () => {
  const files: Readonly<Record<string, string>> = {
    '/proc/self/cgroup': '0::/a/b\n',
    '/proc/self/mountinfo': V2_MOUNT,
    '/sys/fs/cgroup/a/b/memory.max': 'max\n',
    '/sys/fs/cgroup/a/memory.max': '1048576\n',
    '/sys/fs/cgroup/a/b/cpu.max': '150000 100000\n',
    '/sys/fs/cgroup/a/cpu.max': 'max 100000\n',
  };
  expect(readCgroupMemory((path) => files[path])).toBe(1_048_576);
  expect(readCpuQuota((path) => files[path])).toBe(1.5);
  const old: Readonly<Record<string, string>> = {
    '/proc/self/cgroup': '4:memory:/a\n1:cpu,cpuacct:/a\n',
    '/proc/self/mountinfo': V1_MOUNTS,
    '/sys/fs/cgroup/memory/a/memory.limit_in_bytes': '9223372036854771712\n',
    '/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us': '-1\n',
    '/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us': '100000\n',
  };
  expect(readCgroupMemory((path) => old[path])).toBe(Infinity);
  expect(readCpuQuota((path) => old[path])).toBe(Infinity);
});
