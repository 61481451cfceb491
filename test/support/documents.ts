/** Documents in Markdown as text: their headings, links, and blocks of code. */
import { readFileSync, readdirSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface CodeBlock {
  /** `sh`, `js`, `text`, … */
  readonly language: string;
  readonly code: string;
  /** Of the section it stands in. */
  readonly heading: string;
}

/** What a reader is led through, from the root. */
export const GUIDES = [
  'README.md',
  'docs/use.md',
  'docs/production.md',
  'docs/durable.md',
  'docs/operate.md',
  'docs/tools.md',
] as const;

/** Every document of the repository, from the root. */
export function documents(): string[] {
  return ['', 'docs', 'bench', 'native-notes', 'scripts', 'src', 'test'].flatMap((folder) =>
    readdirSync(posix.join(ROOT, folder), { recursive: folder !== '', encoding: 'utf8' })
      .filter((name) => name.endsWith('.md') && !name.startsWith('out/'))
      .map((name) => posix.join(folder, name)),
  );
}

export function readDocument(path: string): string {
  return readFileSync(posix.join(ROOT, path), 'utf8');
}

/** The blocks of code of a document, in order. One in a list is indented, and loses that. */
export function codeBlocks(text: string): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let heading = '';
  let open: { indent: string; language: string; lines: string[] } | undefined;
  for (const line of text.split('\n')) {
    const fence = /^( *)```(.*)$/.exec(line);
    if (open === undefined) {
      if (fence !== null) open = { indent: fence[1]!, language: fence[2]!.trim(), lines: [] };
      else heading = /^#+ (.*)$/.exec(line)?.[1] ?? heading;
    } else if (fence !== null) {
      const { language, lines } = open;
      blocks.push({ language, code: lines.join('\n'), heading });
      open = undefined;
    } else {
      open.lines.push(line.slice(line.startsWith(open.indent) ? open.indent.length : 0));
    }
  }
  return blocks;
}

/** The text without blocks of code and code within lines, in which nothing is a link. */
function prose(text: string): string {
  return text
    .replaceAll(/^( *)```[\s\S]*?^\1```$/gm, '')
    .replaceAll(/`[^`\n]*`/g, (code) => code.replaceAll(/[[\]()]/g, ' '));
}

/** What a document links to, without other sites. */
export function linksOf(text: string): string[] {
  const targets = [...prose(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);
  return targets.filter((target) => !/^[a-z]+:/.test(target));
}

/** The anchors that GitHub gives to the headings of a document. */
export function anchorsOf(text: string): Set<string> {
  const seen = new Map<string, number>();
  const anchors = new Set<string>();
  for (const [, heading] of text
    .replaceAll(/^( *)```[\s\S]*?^\1```$/gm, '')
    .matchAll(/^#+ (.*)$/gm)) {
    const slug = heading!
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(/\s/g, '-');
    const times = seen.get(slug) ?? 0;
    seen.set(slug, times + 1);
    anchors.add(times === 0 ? slug : `${slug}-${times}`);
  }
  return anchors;
}
