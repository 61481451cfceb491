/** `holdline capacity`: reads its options, measures or loads a profile, and prints the plan. */

import { connectionsUnder } from '../../options/table.js';
import process from 'node:process';
import { HoldlineError } from '../../errors.js';
import { complain, EXIT_INTERRUPTED, onSignals } from '../../terminal.js';
import { readMachine } from '../doctor/machine.js';
import { RunFailure } from '../load/clients/connection.js';
import { describeMachine, machineWords } from '../report/machine.js';
import { checkOutputs, writeOutput } from '../report/output-file.js';
import {
  chooseCompression,
  compressedFit,
  compressionRemarks,
  measuredCompression,
  whyNotCompressed,
} from './compression-choice.js';
import { fitProfile, type Fit } from './fit.js';
import { htmlReport } from './html-report.js';
import { limitsOf, readLinkSpeed } from './limits.js';
import { measure } from './measure.js';
import {
  bufferToMeasure,
  compressionFlag,
  linesToMeasure,
  parseCapacityOptions,
  withBuffer,
  type CapacitySettings,
  type CapacitySurroundings,
} from './options.js';
import { makePlan, type Plan } from './plan.js';
import { loadProfile, profileText } from './profile-file.js';
import type { Limits, Profile } from './profile.js';
import { showProgress } from './progress.js';
import { reportOf, tableOf } from './report.js';
import { marketTicks, sampleFile, type Sample } from './sample-events.js';

const EXIT_PLANNED = 0;
const EXIT_FAILED = 1;

/** Runs the command and returns its exit code. Throws HOLDLINE_BAD_OPTION. */
export async function runCapacity(
  args: readonly string[],
  surroundings: CapacitySurroundings,
): Promise<number> {
  const { values: settings, given, warnings } = parseCapacityOptions(args, surroundings);
  for (const warning of warnings) complain(`warning: ${warning}`);
  const { saveFile, htmlFile, profileFile, sampleFile: sampleName } = settings;
  checkOutputs(
    { '--save': saveFile, '--html': htmlFile },
    { '--profile': profileFile, '--sample': sampleName },
  );
  // Server and clients end with this process, and so does the bar. No file is written.
  onSignals(() => process.exit(EXIT_INTERRUPTED));
  const sample = sampleName === undefined ? marketTicks() : sampleFile(sampleName);
  let exitCode = EXIT_PLANNED;
  const write = (flag: string, path: string | undefined, text: () => string): void => {
    const failure = path === undefined ? undefined : writeOutput(flag, path, text());
    if (failure === undefined) return;
    complain(failure);
    exitCode = EXIT_FAILED;
  };
  try {
    const machine = machineWords(describeMachine());
    const limits = await readLimits(settings);
    const profile = await profileFor(settings, surroundings, machine, limits, sample);
    // Before anything else can fail: it took a minute. What comes of it is printed in any case.
    write('--save', saveFile, () => profileText(profile));
    // On the machine that was measured, a limit may have been raised since. Of another machine the
    // profile has the limits.
    const isOther = profile.machine !== machine;
    const limitsToPlan = isOther ? profile.limits : limits;
    const fit = fitProfile(profile);
    const { eventsPerSecond, eventBytes, p99Ms, compress } = settings;
    const subscribers = settings.subscribers ?? connectionsUnder(limitsToPlan.fileLimit);
    const request = { subscribers, eventsPerSecond, eventBytes, p99Ms };
    const planOf = (one: Fit): Plan =>
      makePlan(one, limitsToPlan, profile.sendBufferBytes, request);
    const off = planOf(fit);
    const compressed = compressedFit(fit, profile, sample);
    const flag = compressionFlag(settings, given);
    if (compressed === undefined && flag !== undefined)
      throw new HoldlineError('HOLDLINE_BAD_OPTION', `${flag}: ${whyNotCompressed(profile)}`);
    const isShared = compress === 'shared' && compressed !== undefined;
    const shared = compressed === undefined ? undefined : planOf(compressed);
    const report = reportOf(
      profile,
      isShared ? compressed : fit,
      isShared ? shared! : off,
      [
        ...(compress === 'shared' && !isShared
          ? [`planned without compression: ${whyNotCompressed(profile)}`]
          : []),
        ...(isOther
          ? [`limits and costs are those of the measured machine: ${profile.machine}`]
          : []),
        ...compressionRemarks(shared, sample),
        ...measuredCompression(profile, fit),
      ],
      shared === undefined ? null : chooseCompression(off, shared, sample.words),
    );
    process.stdout.write(settings.json ? `${JSON.stringify(report)}\n` : tableOf(report));
    for (const remark of report.remarks) complain(remark);
    write('--html', htmlFile, () => htmlReport(report));
    return exitCode;
  } catch (error) {
    if (!(error instanceof RunFailure)) throw error;
    complain(error.message);
    return EXIT_FAILED;
  }
}

async function readLimits(settings: CapacitySettings): Promise<Limits> {
  const wanted = {
    socketSendBufferBytes: bufferToMeasure(settings),
    socketReceiveBufferBytes: 0,
    notsentLowatBytes: 0,
    deadPeerTimeoutMs: 0,
  };
  return limitsOf(await readMachine(wanted), readLinkSpeed());
}

/** Loads the profile, where one is named, or measures one. */
async function profileFor(
  settings: CapacitySettings,
  { fileLimit }: CapacitySurroundings,
  machine: string,
  limits: Limits,
  sample: Sample,
): Promise<Profile> {
  const { profileFile, transport, budgetMs, compress, quiet } = settings;
  if (profileFile !== undefined) return withBuffer(loadProfile(profileFile), settings);
  if (process.platform !== 'linux') {
    throw new RunFailure(
      'measuring needs /proc and so Linux; --profile FILE makes a plan on any system',
    );
  }
  const { progress, hide } = showProgress(quiet);
  try {
    const lines = linesToMeasure(settings, fileLimit);
    return await measure({
      transport,
      lines,
      budgetMs,
      socketSendBufferBytes: bufferToMeasure(settings),
      limits,
      compress,
      machine,
      sample,
      progress,
    });
  } finally {
    hide();
  }
}
