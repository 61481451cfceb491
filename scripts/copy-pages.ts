/** The end of `npm run build`: what tsc does not write. */
import { chmodSync, copyFileSync } from 'node:fs';

for (const page of ['demo.html', 'demo.css', 'report.css']) {
  copyFileSync(
    new URL(`../src/browser/${page}`, import.meta.url),
    new URL(`../dist/browser/${page}`, import.meta.url),
  );
}
chmodSync(new URL('../dist/main.js', import.meta.url), 0o755);
