// Before the build: its tools are native, and npm has left them out where optional dependencies are
// omitted. Plain JavaScript, because nothing else would run then.
import { createRequire } from 'node:module';
import process from 'node:process';

const require = createRequire(import.meta.url);
const binary = `@typescript/typescript-${process.platform}-${process.arch}`;
try {
  createRequire(require.resolve('typescript/package.json')).resolve(`${binary}/package.json`);
} catch {
  console.error(
    `${binary} is not installed, and without it nothing can be built: run npm install ` +
      '--include=optional (npm was told to omit optional dependencies, or has none for this machine)',
  );
  process.exit(1);
}
