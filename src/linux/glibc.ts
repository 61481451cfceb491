/** The C library of this process. */

import process from 'node:process';

let known: { readonly version: string | undefined } | undefined;

/**
 * The version of glibc, such as "2.36"; undefined where the C library is another one. Read once: a
 * report takes milliseconds.
 */
export function readGlibcVersion(): string | undefined {
  known ??= { version: versionInReport() };
  return known.version;
}

function versionInReport(): string | undefined {
  // Only a diagnostic report has it. With the network in it the report would look up the name of
  // every peer, which blocks (Node 20.13 can leave it out).
  const report = process.report as typeof process.report & { excludeNetwork?: boolean };
  const before = report.excludeNetwork;
  report.excludeNetwork = true;
  const { header } = report.getReport() as unknown as {
    readonly header: { readonly glibcVersionRuntime?: string };
  };
  if (before !== undefined) report.excludeNetwork = before;
  return header.glibcVersionRuntime;
}
