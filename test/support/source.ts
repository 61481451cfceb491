/**
 * The project's own source as text, for tests of how it is built: its files, what they import, the
 * literals in them, and the files that their comments cite.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A file of the project. */
export interface SourceFile {
  /** From the root: `src/core/ring.ts`. */
  readonly path: string;
  readonly text: string;
}

/** One import, re-export or `import()` of a file. */
export interface Import {
  /** The name as it stands; for a file of ours its path from the root. */
  readonly target: string;
  /** True when nothing of it is left at run time. */
  readonly typeOnly: boolean;
  /** True when it is loaded only when its line runs. */
  readonly lazy: boolean;
}

/** Every TypeScript file in a folder of the project and the folders in it. */
export function sourceFiles(folder: string): SourceFile[] {
  const paths = readdirSync(posix.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.includes('node_modules'))
    .map((name) => posix.join(folder, name.replaceAll('\\', '/')));
  return paths
    .toSorted()
    .map((path) => ({ path, text: readFileSync(posix.join(ROOT, path), 'utf8') }));
}

/** True when the project has this file. */
export function isThere(path: string): boolean {
  return existsSync(posix.join(ROOT, path));
}

/** What a file imports. */
export function importsOf(file: SourceFile): Import[] {
  const { code, literals } = split(file.text);
  // In `code` a literal is its index in quotes, so that no text can pass for an import, nor a
  // comment in the middle of one hide it.
  const at = (index: string | undefined): string => {
    const name = literals[Number(index)]!;
    return name.startsWith('.')
      ? posix.join(posix.dirname(file.path), name).replace(/\.js$/, '.ts')
      : name;
  };
  const found: Import[] = [];
  for (const [, clause = '', index] of code.matchAll(
    /^(?:import|export)\b([^;"]*?)\bfrom\s*"(\d+)"/gm,
  )) {
    const names = /^\s*\{([^}]*)\}\s*$/.exec(clause)?.[1];
    const named = names === undefined ? [] : names.split(',').filter((name) => name.trim() !== '');
    const allTypes = named.length > 0 && named.every((name) => /^\s*type\s/.test(name));
    found.push({ target: at(index), typeOnly: /^\s*type\b/.test(clause) || allTypes, lazy: false });
  }
  for (const [, index] of code.matchAll(/^import\s*"(\d+)"/gm))
    found.push({ target: at(index), typeOnly: false, lazy: false });
  for (const [, typeOf, index] of code.matchAll(
    /(\btypeof\s+)?\b(?:import|require)\s*\(\s*"(\d+)"/g,
  )) {
    found.push({ target: at(index), typeOnly: typeOf !== undefined, lazy: true });
  }
  return found;
}

/**
 * The contents of the string and template literals of a file, as written: a line break in it is a
 * backslash and an n.
 */
export function literalsOf(file: SourceFile): readonly string[] {
  return split(file.text).literals;
}

/**
 * The file without comments and with its literals replaced: what is left can be searched for words
 * of the language.
 */
export function codeOf(file: SourceFile): string {
  return split(file.text).code;
}

/** The files of this project that the comments of a file cite, as they are written there. */
export function citedIn(file: SourceFile): string[] {
  return split(file.text).comments.flatMap(({ text }) => citedInText(text));
}

/**
 * The files of this project that a text cites: a name or a path with one of our endings, and no
 * pattern (`*.wire.ts`), no URL, and none of the kernel's own (`net/ipv4/`).
 */
export function citedInText(text: string): string[] {
  const found = text
    .replaceAll(/https?:\/\/\S+/g, '')
    .matchAll(/(?<![\w@*./>-])(?:[\w.-]+\/)*\w[\w.-]*\.(?:ts|md|c|sh|json|html|css)\b(?![\w/*-])/g);
  return [...found].map(([path]) => path).filter((path) => !path.startsWith('net/ipv4/'));
}

/**
 * True when a citation names a file that is there: from the root, from src/, or from the folder of
 * the citing file or one above it.
 */
export function isCitable(path: string, from: string): boolean {
  const folders = ['', 'src'];
  for (let folder = posix.dirname(from); folder !== '.'; folder = posix.dirname(folder))
    folders.push(folder);
  return folders.some((folder) => isThere(posix.join(folder, path)));
}

/**
 * Lines over `columns` wide that end in a comment, without those that cannot be broken: with a URL,
 * or with an order to the linter. Code is the formatter's.
 */
export function tooWideLines({ text }: SourceFile, columns: number): string[] {
  const { comments } = split(text);
  let at = 0;
  return text.split('\n').filter((line) => {
    const edge = at + columns;
    at += line.length + 1;
    return (
      line.length > columns &&
      comments.some((one) => one.start <= edge && edge < one.start + one.text.length) &&
      !/https?:\/\/\S|\boxlint-disable-/.test(line)
    );
  });
}

/** A slash after one of these begins a regular expression and not a division. */
const BEFORE_REGEX =
  /(?:^|[(,=:[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|of|in|void|throw|await|yield))\s*$/;

/** What a file is made of. */
interface Parts {
  readonly code: string;
  readonly literals: string[];
  readonly comments: { readonly start: number; readonly text: string }[];
}

/**
 * Takes code apart: comments go, literals go into `literals` and leave `"index"` behind, regular
 * expressions leave `0`.
 */
function split(text: string): Parts {
  const literals: string[] = [];
  const comments: Parts['comments'] = [];
  let code = '';
  /** Depth of braces at which each open `${` ends. */
  const templates: { depth: number; content: string }[] = [];
  let depth = 0;
  let i = 0;

  /** Reads template text from `i` up to its end or the next `${`. */
  function template(content: string): void {
    let end = i;
    while (end < text.length && text[end] !== '`' && !text.startsWith('${', end))
      end += text[end] === '\\' ? 2 : 1;
    const all = content + text.slice(i, end);
    if (text[end] === '`') {
      code += `"${literals.push(all) - 1}"`;
      i = end + 1;
    } else {
      // What stands between `${` and `}` is code of its own; in the literal it leaves its place.
      templates.push({ depth: ++depth, content: `${all}\${}` });
      code += '(';
      i = end + 2;
    }
  }

  while (i < text.length) {
    const char = text[i]!;
    const rest = text.slice(i, i + 2);
    if (rest === '//' || rest === '/*' || (i === 0 && rest === '#!')) {
      const end = rest === '/*' ? text.indexOf('*/', i) + 2 : text.indexOf('\n', i);
      comments.push({ start: i, text: text.slice(i, end < 0 ? undefined : end) });
      if (end < 0) break;
      i = end;
    } else if (char === '/' && BEFORE_REGEX.test(code.slice(-20))) {
      const regex = /^\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/.exec(
        text.slice(i, i + 2000),
      );
      code += regex === null ? char : '0';
      i += regex === null ? 1 : regex[0].length;
    } else if (char === "'" || char === '"') {
      let end = i + 1;
      while (end < text.length && text[end] !== char) end += text[end] === '\\' ? 2 : 1;
      code += `"${literals.push(text.slice(i + 1, end)) - 1}"`;
      i = end + 1;
    } else if (char === '`') {
      i++;
      template('');
    } else if (char === '}' && templates.at(-1)?.depth === depth) {
      depth--;
      i++;
      code += ')+';
      template(templates.pop()!.content);
    } else {
      if (char === '{') depth++;
      if (char === '}') depth--;
      code += char;
      i++;
    }
  }
  return { code, literals, comments };
}
