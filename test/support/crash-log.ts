/**
 * A process that appends to a log and says what was acknowledged, to be killed; and what must be
 * true of the log afterwards.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { LmdbLog } from '../../dist/log/lmdb/lmdb-log.js';
import { openLmdbLog } from './lmdb-log.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const APPENDER = fileURLToPath(new URL('crash-appender.ts', import.meta.url));

/** One append that was acknowledged, as the process told it. */
interface Acknowledged {
  readonly name: string;
  readonly channel: string;
  readonly ids: readonly number[];
  /** Its idempotency key. */
  readonly key: string | undefined;
  /** True for a deletion of its channel. */
  readonly isDeletion: boolean;
}

export interface CrashRound {
  readonly acknowledged: number;
  /** Sentences, one for each promise that was broken. */
  readonly faults: readonly string[];
}

/**
 * Starts the appender on a directory, kills it after so many acknowledgements, opens the log and
 * compares. `known` has the acknowledged events of earlier rounds, which are checked as well.
 */
export async function crashRound(
  directory: string,
  round: number,
  killAfter: number,
  known: Map<number, string>,
): Promise<CrashRound> {
  const child = spawn(process.execPath, ['--import', 'tsx', APPENDER, directory, String(round)], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const acknowledged: Acknowledged[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    // The last line may be cut.
    if (!line.endsWith('}')) continue;
    acknowledged.push(JSON.parse(line) as Acknowledged);
    if (acknowledged.length === killAfter) child.kill('SIGKILL');
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  const log = await openLmdbLog(directory);
  const faults = await compare(log, acknowledged, known);
  await log.close();
  return { acknowledged: acknowledged.length, faults };
}

async function compare(
  log: LmdbLog,
  acknowledged: readonly Acknowledged[],
  known: Map<number, string>,
): Promise<string[]> {
  const faults: string[] = [];
  const deletedThrough = new Map<string, number>();
  const channelOf = new Map<number, string>();
  for (const { name, channel, ids, isDeletion } of acknowledged)
    for (const [index, id] of ids.entries()) {
      if (isDeletion) deletedThrough.set(channel, id);
      else {
        const text = `${name}.${index}`;
        if (known.has(id)) faults.push(`id ${id} was given twice: ${known.get(id)}, ${text}`);
        known.set(id, text);
        channelOf.set(id, channel);
      }
    }
  const found = new Map<number, string>();
  let lostOfGone = 0;
  for (const channel of ['a', 'b', 'c', 'gone']) {
    let after = log.floor();
    while (after < log.lastId()) {
      const request = { channels: [channel], after, through: log.lastId(), eventsMax: 5000 };
      const page = await log.history.read({ ...request, bytesMax: 1e9 });
      if (channel === 'gone') lostOfGone = page.lostThrough;
      for (const { id, data } of page.events) found.set(id, Buffer.from(data).toString());
      after = page.through;
    }
  }
  // The last deletion may be committed and not acknowledged.
  if (!channelOf.has(lostOfGone)) deletedThrough.set('gone', lostOfGone);
  for (const [id, text] of known) {
    const channel = text.split('-')[0] as string;
    const isDeleted = id <= (deletedThrough.get(channel) ?? 0);
    if (isDeleted) known.delete(id);
    if (isDeleted && found.has(id)) faults.push(`${text} (${id}) is back after its deletion`);
    if (!isDeleted && found.get(id) !== text)
      faults.push(`${text} was acknowledged as ${id}, which is ${found.get(id) ?? 'not there'}`);
  }
  for (const { key, ids } of acknowledged.slice(-200)) {
    if (key === undefined) continue;
    const kept = await log.kept(key);
    if (kept?.receipt.firstId !== ids[0]) faults.push(`the receipt of ${key} is lost or another`);
  }
  // Also what was not acknowledged may be there; its ids are never given again.
  for (const [id, text] of found) known.set(id, text);
  return faults;
}
