/** `holdline doctor`: reads its options, looks, and prints what it found. */

import process from 'node:process';
import { complain } from '../../terminal.js';
import { checkMachine } from './checks.js';
import { readMachine } from './machine.js';
import { parseDoctorOptions, type DoctorSettings } from './options.js';
import { checkPath } from './path-checks.js';
import { reportOf, textOf } from './report.js';
import { ANSWER_MS, probePath } from './proxy-path.js';

const EXIT_WELL = 0;
const EXIT_PROBLEM = 1;

/** Characters in a line where there is no terminal to ask. */
const USUAL_COLUMNS = 130;

/** Runs the command; the exit code. Throws HOLDLINE_BAD_OPTION. */
export async function runDoctor(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const { values: settings, warnings } = parseDoctorOptions(args, env);
  for (const warning of warnings) complain(`warning: ${warning}`);
  const { lines, socketSendBufferBytes, deadPeerTimeoutMs, json } = settings;
  const machine = await readMachine({
    socketSendBufferBytes,
    deadPeerTimeoutMs,
    socketReceiveBufferBytes: 0,
    notsentLowatBytes: 0,
  });
  const report = reportOf(lines, checkMachine(machine, settings), await lookThrough(settings));
  process.stdout.write(
    json ? `${JSON.stringify(report)}\n` : textOf(report, process.stdout.columns ?? USUAL_COLUMNS),
  );
  return report.problems === 0 ? EXIT_WELL : EXIT_PROBLEM;
}

async function lookThrough({
  through: url,
  throughIdleMs: idleMs,
  publishKey,
  lines,
  json,
}: DoctorSettings) {
  if (url === undefined) return undefined;
  if (!json) complain(`looking through ${url} for about ${Math.ceil(idleMs / 1000)} s`);
  const seen = await probePath({ url, publishKey, idleMs, answerMs: ANSWER_MS });
  return { seen, findings: checkPath(seen, lines) };
}
