/** `holdline load`: reads its options, plays the run, and prints its report. */

import process from 'node:process';
import type { Surroundings } from '../../options/command-line.js';
import { complain, EXIT_INTERRUPTED, onSignals } from '../../terminal.js';
import { RunFailure } from './clients/connection.js';
import { parseLoadOptions } from './options.js';
import { showProgress } from './run/progress.js';
import { checkReportFiles, writeReportFiles } from './report/files.js';
import { tableOf } from './report/table.js';
import { reportOf } from './report/report.js';
import { Run } from './run/run.js';

const EXIT_FLAWLESS = 0;
const EXIT_FLAWED = 1;

/** The first signal ends publishing, the second the waiting for what is under way. */
const SIGNALS_MAX = 2;

/** Runs the command; returns the exit code. Throws HOLDLINE_BAD_OPTION. */
export async function runLoad(
  args: readonly string[],
  surroundings: Surroundings,
): Promise<number> {
  const { values: settings, warnings } = parseLoadOptions(args, surroundings);
  for (const warning of warnings) complain(`warning: ${warning}`);
  checkReportFiles(settings);
  const run = new Run(settings);
  let signals = 0;
  const stopListening = onSignals(() => {
    // The clients end with this process, and so does the bar.
    if (++signals > SIGNALS_MAX) process.exit(EXIT_INTERRUPTED);
    run.stop();
  });
  const hideProgress = settings.quiet ? undefined : showProgress(run, settings);
  try {
    const outcome = await run.go();
    hideProgress?.();
    const report = reportOf(settings, outcome);
    process.stdout.write(settings.json ? `${JSON.stringify(report)}\n` : tableOf(report));
    for (const remark of report.remarks) complain(remark);
    const failures = writeReportFiles(settings, report);
    for (const failure of failures) complain(failure);
    return report.flawless && failures.length === 0 ? EXIT_FLAWLESS : EXIT_FLAWED;
  } catch (error) {
    hideProgress?.();
    if (!(error instanceof RunFailure)) throw error;
    complain(error.message);
    return signals > 0 ? EXIT_INTERRUPTED : EXIT_FLAWED;
  } finally {
    stopListening();
  }
}
