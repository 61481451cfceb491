// The limit of open files that a Node process finds for itself, by the soft and hard limits of the
// shell that starts it.
import { spawnSync } from 'node:child_process';
import { NotHere, main } from './support.js';
import type { ProbeResult, Row } from './support.js';

const print = `console.log(/^Max open files +(\\S+) +(\\S+)/m.exec(require('node:fs').readFileSync('/proc/self/limits', 'utf8')).slice(1).join(' '))`;

const cases: [soft: number, hard: number][] = [
  [100, 100],
  [100, 1000],
  [1000, 1000],
];

export async function probe(): Promise<ProbeResult> {
  if (process.platform !== 'linux') throw new NotHere('Linux');
  const rows: Row[] = [];
  let holds = true;
  for (const [soft, hard] of cases) {
    const limited = `ulimit -Sn ${String(soft)} && ulimit -Hn ${String(hard)} && exec "$0" -e "$1"`;
    const { stdout, stderr } = spawnSync('sh', ['-c', limited, process.execPath, print], {
      encoding: 'utf8',
    });
    const [found = '', foundHard = ''] = stdout.trim().split(' ');
    if (found === '') throw new Error(stderr);
    rows.push({
      'shell, soft': soft,
      'shell, hard': hard,
      'in Node, soft': found,
      'in Node, hard': foundHard,
    });
    holds &&= found === String(hard) && foundHard === String(hard);
  }
  return Promise.resolve({
    claim:
      'Node raises its soft limit of open files to the hard one when it starts: ulimit -Sn bounds nothing, ulimit -Hn does.',
    holds,
    rows,
  });
}

await main(import.meta.url, probe);
