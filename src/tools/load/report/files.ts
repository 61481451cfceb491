/** Reports as files. Whether they can be written is checked before a run, not after it. */

import { accessSync, constants, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { HoldlineError } from '../../../errors.js';
import { htmlReport } from './html-report.js';
import type { LoadSettings } from '../options.js';
import type { LoadReport } from './report.js';

type Files = Pick<LoadSettings, 'htmlFile' | 'outFile'>;

/** Throws HOLDLINE_BAD_OPTION when one of them cannot be written. Creates no file. */
export function checkReportFiles({ htmlFile, outFile }: Files): void {
  for (const [flag, path] of [
    ['--html', htmlFile],
    ['--out', outFile],
  ] as const) {
    if (path === undefined) continue;
    try {
      const existing = statSync(path, { throwIfNoEntry: false });
      if (existing?.isDirectory()) throw new Error(`${path} is a directory`);
      accessSync(existing === undefined ? dirname(path) : path, constants.W_OK);
    } catch (cause) {
      throw new HoldlineError(
        'HOLDLINE_BAD_OPTION',
        `${flag}: the file cannot be written: ${(cause as Error).message}`,
        {
          cause,
        },
      );
    }
  }
}

/** Writes those that were asked for. Throws what the file system throws. */
export function writeReportFiles({ htmlFile, outFile }: Files, report: LoadReport): void {
  if (htmlFile !== undefined) writeFileSync(htmlFile, htmlReport(report));
  if (outFile !== undefined) writeFileSync(outFile, `${JSON.stringify(report)}\n`);
}
