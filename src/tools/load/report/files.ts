/** The files that a load run writes. */

import { checkWritable, writeOutput } from '../../report/output-file.js';
import type { LoadSettings } from '../options.js';
import { htmlReport } from './html-report.js';
import type { LoadReport } from './report.js';

type Files = Pick<LoadSettings, 'htmlFile' | 'outFile'>;

/** Throws HOLDLINE_BAD_OPTION when one of them cannot be written now. Creates nothing. */
export function checkReportFiles({ htmlFile, outFile }: Files): void {
  checkWritable('--html', htmlFile);
  checkWritable('--out', outFile);
}

/** Writes those that were asked for. Throws HOLDLINE_BAD_OPTION when one cannot be written. */
export function writeReportFiles({ htmlFile, outFile }: Files, report: LoadReport): void {
  if (htmlFile !== undefined) writeOutput('--html', htmlFile, htmlReport(report));
  if (outFile !== undefined) writeOutput('--out', outFile, `${JSON.stringify(report)}\n`);
}
