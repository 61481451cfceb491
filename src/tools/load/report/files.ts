/** The files that a load run writes. */

import { checkOutputs, writeOutput } from '../../report/output-file.js';
import type { LoadSettings } from '../options.js';
import { htmlReport } from './html-report.js';
import type { LoadReport } from './report.js';

type Files = Pick<LoadSettings, 'htmlFile' | 'outFile'>;

/** Throws HOLDLINE_BAD_OPTION when one of them cannot be written now. Creates nothing. */
export function checkReportFiles({ htmlFile, outFile }: Files): void {
  checkOutputs({ '--html': htmlFile, '--out': outFile });
}

/** Writes those that were asked for; returns why one cannot be written, for each such. */
export function writeReportFiles({ htmlFile, outFile }: Files, report: LoadReport): string[] {
  return [
    htmlFile === undefined ? undefined : writeOutput('--html', htmlFile, htmlReport(report)),
    outFile === undefined
      ? undefined
      : writeOutput('--out', outFile, `${JSON.stringify(report)}\n`),
  ].filter((failure) => failure !== undefined);
}
