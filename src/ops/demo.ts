/** The demo under `/-/demo` (`--demo`): pages that stand beside the code, read once when they are first asked for. */
import { readFileSync } from 'node:fs';
import type { Headers } from '../transports/answer.js';

interface Page {
  readonly contentType: string;
  readonly file: URL;
  body?: Buffer;
}

function page(name: string, contentType: string): Page {
  return { contentType: `${contentType}; charset=utf-8`, file: new URL(`../browser/${name}`, import.meta.url) };
}

/** Pages by the last segment of their path. */
const PAGES: Readonly<Record<string, Page>> = {
  demo: page('demo.html', 'text/html'),
  'demo.css': page('demo.css', 'text/css'),
  'demo.js': page('demo.js', 'text/javascript'),
  'demo-lines.js': page('demo-lines.js', 'text/javascript'),
  'demo-panels.js': page('demo-panels.js', 'text/javascript'),
  'client.js': page('client.js', 'text/javascript'),
};

/** The pages load nothing from elsewhere and run nothing inline (CSP Level 3). */
export const DEMO_HEADERS: Headers = [
  [
    'Content-Security-Policy',
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  ],
];

/** The page of that name, or undefined. */
export function demoPage(name: string): { readonly contentType: string; readonly body: Buffer } | undefined {
  const found = Object.hasOwn(PAGES, name) ? PAGES[name] : undefined;
  if (found === undefined) return undefined;
  found.body ??= readFileSync(found.file);
  return { contentType: found.contentType, body: found.body };
}
