/** `holdline capacity`: reads its options, measures or reads a profile, and prints the plan. */

import process from 'node:process';
import { complain } from '../../terminal.js';
import { readMachine } from '../doctor/machine.js';
import { RunFailure } from '../load/clients/connection.js';
import { describeMachine, machineWords } from '../report/machine.js';
import { checkWritable, writeOutput } from '../report/output-file.js';
import { fitProfile } from './fit.js';
import { htmlReport } from './html-report.js';
import { limitsOf, readLinkSpeed } from './limits.js';
import { measure } from './measure.js';
import {
  linesToMeasure,
  linesUnder,
  parseCapacityOptions,
  type CapacitySettings,
  type CapacitySurroundings,
} from './options.js';
import { makePlan } from './plan.js';
import { loadProfile, profileText, type Limits, type Profile } from './profile.js';
import { showProgress } from './progress.js';
import { reportOf, tableOf } from './report.js';

const EXIT_PLANNED = 0;
const EXIT_FAILED = 1;

/** What a process says that a signal ended. */
const EXIT_INTERRUPTED = 130;

/** Runs the command; the exit code. Throws HOLDLINE_BAD_OPTION. */
export async function runCapacity(
  args: readonly string[],
  surroundings: CapacitySurroundings,
): Promise<number> {
  const { values: settings, warnings } = parseCapacityOptions(args, surroundings);
  for (const warning of warnings) complain(`warning: ${warning}`);
  checkWritable('--save', settings.saveFile);
  checkWritable('--html', settings.htmlFile);
  // Servers and clients end with this process, and so does the file that would have been written.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => process.exit(EXIT_INTERRUPTED));
  try {
    const machine = machineWords(describeMachine());
    const limits = await readLimits(settings);
    const profile = await profileFor(settings, surroundings, machine, limits);
    // A limit may have been raised since a profile was measured; on another machine that one's
    // count.
    const isOther = profile.machine !== machine;
    const limitsToPlan = isOther ? profile.limits : limits;
    const fit = fitProfile(profile);
    const { eventsPerSecond, eventBytes, p99Ms } = settings;
    const subscribers = settings.subscribers ?? linesUnder(limitsToPlan.fileLimit);
    const plan = makePlan(fit, limitsToPlan, profile.sendBufferBytes, {
      subscribers,
      eventsPerSecond,
      eventBytes,
      p99Ms,
    });
    const report = reportOf(
      profile,
      fit,
      plan,
      isOther ? [`limits and costs are those of when it was measured: ${profile.machine}`] : [],
    );
    if (settings.htmlFile !== undefined)
      writeOutput('--html', settings.htmlFile, htmlReport(report));
    process.stdout.write(settings.json ? `${JSON.stringify(report)}\n` : tableOf(report));
    for (const remark of report.remarks) complain(remark);
    return EXIT_PLANNED;
  } catch (error) {
    if (!(error instanceof RunFailure)) throw error;
    complain(error.message);
    return EXIT_FAILED;
  }
}

async function readLimits({ socketSendBufferBytes }: CapacitySettings): Promise<Limits> {
  const wanted = {
    socketSendBufferBytes,
    socketReceiveBufferBytes: 0,
    notsentLowatBytes: 0,
    deadPeerTimeoutMs: 0,
  };
  return limitsOf(await readMachine(wanted), readLinkSpeed());
}

/** Reads the profile that was named, or measures one and keeps it where that was asked for. */
async function profileFor(
  settings: CapacitySettings,
  { fileLimit }: CapacitySurroundings,
  machine: string,
  limits: Limits,
): Promise<Profile> {
  const { profileFile, saveFile, transport, budgetMs, socketSendBufferBytes, quiet } = settings;
  if (profileFile !== undefined) return loadProfile(profileFile);
  if (process.platform !== 'linux') {
    throw new RunFailure(
      'measuring needs Linux, which tells under /proc what a process takes; --profile plans anywhere',
    );
  }
  const { progress, hide } = showProgress(quiet);
  try {
    const lines = linesToMeasure(settings, fileLimit);
    const profile = await measure({
      transport,
      lines,
      budgetMs,
      socketSendBufferBytes,
      limits,
      machine,
      progress,
    });
    if (saveFile !== undefined) writeOutput('--save', saveFile, profileText(profile));
    return profile;
  } finally {
    hide();
  }
}
