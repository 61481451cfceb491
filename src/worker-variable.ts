/** How a process of `--workers` knows that it is one. */

/** Not one of the variables of options, so that a person who sets it is told nothing of it. */
const VARIABLE = '_HOLDLINE_WORKER';

export type Environment = Readonly<Record<string, string | undefined>>;

export function isWorkerProcess(env: Environment): boolean {
  return env[VARIABLE] !== undefined;
}

/** The environment of a worker. */
export function workerEnvironment(env: Environment): Environment {
  return { ...env, [VARIABLE]: '1' };
}
