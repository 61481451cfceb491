/** The demo under `/-/demo` (`--demo`): files of browser/, read once when first asked for. */
import { readFileSync } from 'node:fs';
import type { Headers } from '../http/answer.js';
import type { OpsPage } from './page.js';

/** The pages load nothing from other origins and run nothing inline (CSP Level 3). */
const DEMO_HEADERS: Headers = [
  [
    'Content-Security-Policy',
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  ],
];

function page(name: string, contentType: string): OpsPage {
  let body: Buffer | undefined;
  return {
    access: 'host',
    answer() {
      body ??= readFileSync(new URL(`../browser/${name}`, import.meta.url));
      return { contentType: `${contentType}; charset=utf-8`, body, headers: DEMO_HEADERS };
    },
  };
}

/** Pages by the last segment of their path. */
export const DEMO_PAGES: Readonly<Record<string, OpsPage>> = {
  demo: page('demo.html', 'text/html'),
  'demo.css': page('demo.css', 'text/css'),
  'demo.js': page('demo.js', 'text/javascript'),
  'demo-lines.js': page('demo-lines.js', 'text/javascript'),
  'demo-panels.js': page('demo-panels.js', 'text/javascript'),
  'demo-trace.js': page('demo-trace.js', 'text/javascript'),
  'demo-transports.js': page('demo-transports.js', 'text/javascript'),
  'client.js': { ...page('client.js', 'text/javascript'), isForPages: true },
};
