// Which machines the installed build is for: platforms, processors and Node versions with a binary,
// and what the one that npm chose for this machine needs.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { Findings, NotHere, main } from './support.js';
import type { ProbeResult } from './support.js';

/** process.versions.modules by major version of Node. */
const nodeOfAbi: Record<string, string> = { 108: '18', 115: '20', 127: '22', 131: '23', 137: '24' };

const targets = [
  'linux x64',
  'linux arm64',
  'linux arm',
  'darwin x64',
  'darwin arm64',
  'win32 x64',
];

/** The newest of the versions that an ELF file names as `PREFIX_2.27`. */
function newestOf(binary: string, prefix: string): string {
  const versions = [...binary.matchAll(new RegExp(`\\b${prefix}_(\\d+)\\.(\\d+)`, 'g'))].map(
    (match) => Number(match[1]) * 1000 + Number(match[2]),
  );
  const newest = Math.max(0, ...versions);
  return newest === 0 ? 'none' : `${String(Math.floor(newest / 1000))}.${String(newest % 1000)}`;
}

export async function probe(): Promise<ProbeResult> {
  if (process.platform !== 'linux') throw new NotHere('Linux');
  const findings = new Findings();
  const folder = dirname(createRequire(import.meta.url).resolve('uWebSockets.js'));
  const require = createRequire(`${folder}/`);

  // uws_PLATFORM_PROCESSOR_ABI.node.js, each of which requires the package with the binary.
  const nodes = new Map<string, string[]>();
  for (const name of readdirSync(folder)) {
    const [, platform, processor, abi] =
      /^uws_([a-z0-9]+)_([a-z0-9]+)_(\d+)\.node/.exec(name) ?? [];
    if (abi === undefined) continue;
    const target = `${String(platform)} ${String(processor)}`;
    nodes.set(target, [...(nodes.get(target) ?? []), nodeOfAbi[abi] ?? `ABI ${abi}`]);
  }
  for (const target of targets)
    findings.add(
      `Node versions on ${target}`,
      nodes.get(target)?.toSorted().join(', ') ?? '',
      '18, 20, 22, 23',
    );
  findings.add(
    'other targets',
    [...nodes.keys()].filter((target) => !targets.includes(target)).join(', '),
    '',
  );

  const packageOf = (abi: string): string =>
    /require\('([^']+)'\)/.exec(
      readFileSync(`${folder}/uws_linux_${process.arch}_${abi}.node.js`, 'utf8'),
    )?.[1] ?? '';
  const own = process.versions.modules;
  const manifest = JSON.parse(
    readFileSync(require.resolve(`${packageOf(own)}/package.json`), 'utf8'),
  ) as {
    engines: { node: string };
    libc: string;
  };
  const major = Number(process.versions.node.split('.')[0]);
  findings.add(
    'the package with the binary: Node that npm installs it under',
    manifest.engines.node,
    `>=${String(major)}.0.0 <${String(major + 1)}.0.0`,
  );
  findings.add('… C library that npm installs it under', manifest.libc, 'glibc');
  const installed = Object.keys(nodeOfAbi).filter((abi) => {
    if (!existsSync(`${folder}/uws_linux_${process.arch}_${abi}.node.js`)) return false;
    try {
      require.resolve(packageOf(abi));
      return true;
    } catch {
      return false;
    }
  });
  findings.add(
    'binaries that are installed, of those',
    installed.map((abi) => nodeOfAbi[abi]).join(),
    nodeOfAbi[own] ?? own,
  );

  const binary = readFileSync(require.resolve(`${packageOf(own)}/uws.node`)).toString('latin1');
  findings.add('the binary: newest symbol of glibc', newestOf(binary, 'GLIBC'), '2.27');
  findings.add('… newest symbol of libstdc++', newestOf(binary, 'GLIBCXX'), 'none');
  findings.add(
    '… loads a library of that name',
    /\0libc\.so\.6\0/.test(binary) ? 'libc.so.6' : 'another',
    'libc.so.6',
  );
  return Promise.resolve({
    claim:
      'There is a binary for Node 18, 20, 22 and 23 on Linux with glibc 2.27, macOS and Windows, none for musl; npm installs the one for the Node that runs it, so that another Node finds none.',
    holds: findings.holds,
    rows: findings.rows,
  });
}

await main(import.meta.url, probe);
