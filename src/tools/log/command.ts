/** `holdline log`: backs up, restores, upgrades and copies the log on disk of a server. */
import process from 'node:process';
import { SYSTEM_CLOCK } from '../../clock.js';
import { makeCounters } from '../../counters.js';
import { checkLibraries, LMDB_LIBRARIES, NATS_LIBRARIES } from '../../libraries.js';
import { backUp, LogReader, restore, upgrade, type LogFacts } from '../../log/lmdb/upkeep.js';
import { natsOptions, retentionOf } from '../../log/make-log.js';
import type { Surroundings } from '../../options/command-line.js';
import { complain } from '../../terminal.js';
import { parseLogCommand, type LogCommand } from './options.js';

/** Runs the command and returns its exit code. Throws HOLDLINE_BAD_OPTION and HOLDLINE_BAD_LOG. */
export async function runLog(
  args: readonly string[],
  surroundings: Pick<Surroundings, 'env' | 'readFile'>,
): Promise<number> {
  const { command, warnings } = parseLogCommand(args, surroundings);
  for (const warning of warnings) complain(`warning: ${warning}`);
  checkLibraries('holdline log', LMDB_LIBRARIES);
  process.stdout.write(`${await done(command)}\n`);
  return 0;
}

/** Does it, and says in a sentence what was done. */
async function done(command: LogCommand): Promise<string> {
  if (command.action === 'copy') return copy(command);
  if (command.action === 'backup')
    return `copied ${wordsOf(await backUp(command.from, command.to))}`;
  if (command.action === 'restore')
    return `restored ${wordsOf(await restore(command.from, command.to, Date.now()))}`;
  const schema = await upgrade(command.directory);
  return `the log has schema ${schema}, which is current: nothing to do`;
}

function wordsOf({ schema, events, newestId, fileBytes }: LogFacts): string {
  return `${events} ${events === 1 ? 'event' : 'events'}, the newest with id ${newestId} (schema ${schema}, ${fileBytes} bytes)`;
}

async function copy({
  directory,
  servers,
  settings,
}: Extract<LogCommand, { readonly action: 'copy' }>): Promise<string> {
  const access = natsOptions(settings, servers);
  checkLibraries('holdline log copy', NATS_LIBRARIES);
  const { copyTo } = await import('../../log/nats/copy.js');
  const log = await LogReader.open(directory);
  try {
    const copied = await copyTo(log.records(), log.rows(Date.now()), {
      ...access,
      firstId: log.firstIdWithoutHoles(),
      retention: retentionOf(settings),
      clock: SYSTEM_CLOCK,
      counters: makeCounters(),
      check: () => {},
      report: (error) => complain(`warning: ${String(error)}`),
    });
    const { entries, rows, firstId, lastId, changed, firstChanged } = copied;
    const ids =
      firstChanged === undefined
        ? 'with their ids'
        : `of which ${changed} have a higher id: ${firstChanged.from} is ${firstChanged.to} now`;
    return `copied ${entries} entries (ids ${firstId} to ${lastId}), ${ids}, and ${rows} rows`;
  } finally {
    await log.close();
  }
}
