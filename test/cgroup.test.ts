/** Socket memory of the cgroup, from files as machines and containers have them. */
import { expect, test } from 'vitest';
import { readCgroupSockets } from '../src/linux/cgroup.js';

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
