/** The shape of all results, and the files they are written to. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Machine } from './machine.js';

export const SUBJECTS = [
  'fan-out',
  'long-poll',
  'short-poll',
  'memory',
  'accept',
  'idle',
  'publish',
  'micro',
  'knobs',
  'plan',
  'alternatives',
  'heap',
  'deadlines',
  'drain',
  'herd',
  'tls',
  'log',
  'fan-out-logs',
  'short-sweeps',
  'sweep',
  'workers',
  'isolation',
  'compression',
] as const;
export type SubjectName = (typeof SUBJECTS)[number];
/** `npm run compare` is not a subject, but writes a result of the same shape. */
export type ResultName = SubjectName | 'compare';

export interface Result<Parameters = unknown, Round = unknown, Summary = unknown> {
  subject: ResultName;
  /** ISO 8601, when the run began. */
  startedAt: string;
  elapsedSeconds: number;
  quick: boolean;
  machine: Machine;
  parameters: Parameters;
  /** The figures of every round. */
  rounds: Round[];
  summary: Summary;
  /** What a reader must know before quoting a figure. */
  remarks: string[];
}

/** The options of a run; a subject uses those that apply to it. */
export interface RunOptions {
  quick: boolean;
  lines: number | undefined;
  rounds: number | undefined;
  windowSeconds: number | undefined;
  ratesPerSecond: number[] | undefined;
  targets: string[] | undefined;
  say: (text: string) => void;
}

export interface Measured<Parameters, Round, Summary> {
  parameters: Parameters;
  rounds: Round[];
  summary: Summary;
  remarks: string[];
  /** Where the processes ran, if that is not what the machine says of all subjects. */
  pinned?: string;
  table: string;
  /** False when a promise that the subject checks was not kept: the bench then exits with 1. */
  passed?: boolean;
}

const RESULTS = new URL('results/', import.meta.url);
const OUT = new URL('out/', import.meta.url);

/** A quick run is a smoke test: its figures are not kept in git, and replace none of a full run. */
export function resultFile(subject: ResultName, quick: boolean): string {
  return fileURLToPath(new URL(`${subject}.json`, quick ? OUT : RESULTS));
}

export function writeResult(
  subject: ResultName,
  startedAt: Date,
  quick: boolean,
  machine: Machine,
  measured: Measured<unknown, unknown, unknown>,
): string {
  const file = resultFile(subject, quick);
  const { parameters, rounds, summary, remarks, pinned = machine.pinned } = measured;
  const result: Result = {
    subject,
    startedAt: startedAt.toISOString(),
    elapsedSeconds: Math.round((Date.now() - startedAt.getTime()) / 1000),
    quick,
    machine: { ...machine, pinned },
    parameters,
    rounds,
    summary,
    remarks,
  };
  mkdirSync(new URL('.', `file://${file}`), { recursive: true });
  // Written to another file and moved: a run that is cut off leaves the last good result.
  writeFileSync(`${file}.part`, `${JSON.stringify(result, roundNumbers, 1)}\n`);
  renameSync(`${file}.part`, file);
  return file;
}

/** Undefined when that subject has no full result. */
export function readResult(subject: ResultName): Result | undefined {
  try {
    return JSON.parse(readFileSync(resultFile(subject, false), 'utf8')) as Result;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** None of these figures has more than six significant digits. */
function roundNumbers(_key: string, value: unknown): unknown {
  if (typeof value !== 'number' || Number.isInteger(value)) return value;
  return Number(value.toPrecision(6));
}
