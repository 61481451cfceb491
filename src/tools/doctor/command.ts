/** `holdline doctor`: reads its options, checks, and prints what it found. */

import process from 'node:process';
import { workersOf, type Surroundings } from '../../options/command-line.js';
import { complain, EXIT_INTERRUPTED, onSignals } from '../../terminal.js';
import { checkMachine } from './checks.js';
import { readMachine } from './machine.js';
import { parseDoctorOptions, type DoctorSettings } from './options.js';
import { checkPath } from './path-checks.js';
import { ANSWER_MS, probePath } from './proxy-path.js';
import { reportOf, textOf } from './report.js';

const EXIT_WELL = 0;
const EXIT_PROBLEM = 1;

/** Columns of text where there is no terminal. */
const DEFAULT_COLUMNS = 130;

/** Runs the command and returns its exit code. Throws HOLDLINE_BAD_OPTION. */
export async function runDoctor(
  args: readonly string[],
  surroundings: Pick<Surroundings, 'env' | 'readFile'>,
): Promise<number> {
  const { values: settings, warnings } = parseDoctorOptions(args, surroundings);
  for (const warning of warnings) complain(`warning: ${warning}`);
  // Nothing was changed, and nothing is found yet.
  onSignals(() => process.exit(EXIT_INTERRUPTED));
  const { lines, socketSendBufferBytes, deadPeerTimeoutMs, json } = settings;
  const machine = await readMachine({
    socketSendBufferBytes,
    deadPeerTimeoutMs,
    socketReceiveBufferBytes: 0,
    notsentLowatBytes: 0,
  });
  const plan = { ...settings, workers: workersOf(settings.workers) };
  const report = reportOf(lines, checkMachine(machine, plan), await checkThrough(settings));
  process.stdout.write(
    json
      ? `${JSON.stringify(report)}\n`
      : textOf(report, process.stdout.columns ?? DEFAULT_COLUMNS),
  );
  return report.problems === 0 ? EXIT_WELL : EXIT_PROBLEM;
}

async function checkThrough({
  through: url,
  direct: directUrl,
  throughIdleMs: idleMs,
  publishKey,
  subscribeKey,
  lines,
  json,
}: DoctorSettings) {
  if (url === undefined) return undefined;
  if (!json) complain(`checking ${url} for about ${Math.ceil(idleMs / 1000)} s`);
  const keys = { publishKey, subscribeKey };
  const seen = await probePath({ url, directUrl, ...keys, idleMs, answerMs: ANSWER_MS });
  return { seen, findings: checkPath(seen, lines) };
}
