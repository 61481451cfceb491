/** The end of `npm run build`: what tsc does not do. */
import { chmodSync, copyFileSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { writeStamp } from './build-stamp.js';

const SRC = new URL('../src/', import.meta.url);
const DIST = new URL('../dist/', import.meta.url);

for (const page of ['demo.html', 'demo.css', 'report.css'])
  copyFileSync(new URL(`browser/${page}`, SRC), new URL(`browser/${page}`, DIST));
chmodSync(new URL('main.js', DIST), 0o755);
// What was built from a file that has moved or gone would still be packed, and imported.
for (const path of readdirSync(DIST, { recursive: true, encoding: 'utf8' })) {
  const source = path.replace(/\.(?:js|js\.map|d\.ts)$/, '.ts');
  if (!existsSync(new URL(source, SRC)))
    rmSync(new URL(path, DIST), { recursive: true, force: true });
}
writeStamp();
