// Which machines the builds of the package are for: platforms, processors and Node versions with a
// binary, and what the binaries need that npm chose for this machine.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { BUILDS } from '../../src/native/builds.js';
import type { Build } from '../../src/native/builds.js';
import { build as chosen, Findings, NotHere, main } from './support.js';
import type { ProbeResult } from './support.js';

/** The newest of the versions that an ELF file names as `PREFIX_2.27`. */
function newestOf(binary: string, prefix: string): string {
  const versions = [...binary.matchAll(new RegExp(`\\b${prefix}_(\\d+)\\.(\\d+)`, 'g'))].map(
    (match) => Number(match[1]) * 1000 + Number(match[2]),
  );
  const newest = Math.max(0, ...versions);
  return newest === 0 ? 'none' : `${String(Math.floor(newest / 1000))}.${String(newest % 1000)}`;
}

/** Of Node 18 a build may have binaries, which are not used: package.json asks for newer ones. */
const unused = '18';

/** The targets of a build and their versions of Node, as its optional dependencies name them. */
function nodesByTarget(folder: string): Map<string, string[]> {
  const manifest = JSON.parse(readFileSync(`${folder}/package.json`, 'utf8')) as {
    optionalDependencies: Record<string, string>;
  };
  const nodes = new Map<string, string[]>();
  for (const name of Object.keys(manifest.optionalDependencies)) {
    const [, platform, processor, node] =
      /^@uwsjs\/([a-z0-9]+)-([a-z0-9]+)-(\d+)$/.exec(name) ?? [];
    if (node === undefined || node === unused) continue;
    const target = `${String(platform)} ${String(processor)}`;
    nodes.set(target, [...(nodes.get(target) ?? []), node].toSorted());
  }
  return nodes;
}

/** What is seen of one build; the binaries that are installed are those of the running Node. */
function look(findings: Findings, build: Build): void {
  const folder = dirname(createRequire(import.meta.url).resolve(build.alias));
  const require = createRequire(`${folder}/`);
  const nodes = nodesByTarget(folder);
  findings.add(
    `${build.name}: targets`,
    [...nodes.keys()].toSorted().join(', '),
    build.targets.toSorted().join(', '),
  );
  const wanted = Object.values(build.nodeOfAbi).join(', ');
  findings.add(
    '… Node versions on each of them',
    [...new Set([...nodes.values()].map((versions) => versions.join(', ')))].join('; '),
    wanted,
  );
  const packageOf = (node: number): string => `@uwsjs/linux-${process.arch}-${String(node)}`;
  const installed = Object.values(build.nodeOfAbi).filter((node) => {
    try {
      return readFileSync(require.resolve(`${packageOf(node)}/package.json`)).length > 0;
    } catch {
      return false;
    }
  });
  const own = build.nodeOfAbi[process.versions.modules];
  findings.add(
    '… binaries that are installed',
    installed.length === 0 ? 'none' : installed.join(),
    own === undefined ? 'none' : String(own),
  );
  if (own === undefined || !installed.includes(own)) return;
  const manifest = JSON.parse(
    readFileSync(require.resolve(`${packageOf(own)}/package.json`), 'utf8'),
  ) as { engines: { node: string }; libc: string };
  findings.add(
    '… Node and C library that npm installs it for',
    `${manifest.engines.node}, ${manifest.libc}`,
    `>=${String(own)}.0.0 <${String(own + 1)}.0.0, glibc`,
  );
  const binary = readFileSync(require.resolve(`${packageOf(own)}/uws.node`)).toString('latin1');
  findings.add('… newest symbol of glibc', newestOf(binary, 'GLIBC'), build.glibcMin);
  findings.add('… newest symbol of libstdc++', newestOf(binary, 'GLIBCXX'), 'none');
  findings.add(
    '… loads a library of that name',
    /\0libc\.so\.6\0/.test(binary) ? 'libc.so.6' : 'another',
    'libc.so.6',
  );
}

export async function probe(): Promise<ProbeResult> {
  if (process.platform !== 'linux') throw new NotHere('Linux');
  const findings = new Findings();
  for (const build of BUILDS) look(findings, build);
  findings.add('loaded here', chosen.name, chosen.name);
  return Promise.resolve({
    claim:
      '20.69.0 has binaries for Node 22, 24 and 26 and glibc 2.38, 20.51.4 for Node 20, 22 and 23 and glibc 2.27, none is for musl; npm installs those for the Node that runs it, so that another Node finds none.',
    holds: findings.holds,
    rows: findings.rows,
  });
}

await main(import.meta.url, probe);
