/**
 * Many servers in one process, each made as `holdline serve` makes it: with its options from
 * arguments and environment, and a log of its own. Told what to do by messages, see hosted.ts.
 */
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { pino } from 'pino';
import { makeCounters } from '../../dist/counters.js';
import { readFileLimit } from '../../dist/linux/file-limit.js';
import { readAnyFile } from '../../dist/linux/files.js';
import { parseCommandLine, workersOf } from '../../dist/options/command-line.js';
import { sayListening } from '../../dist/serve/announcement.js';
import { MadeOpsKey } from '../../dist/serve/ops-key.js';
import { hooksOf } from '../../dist/serve/program-log.js';
import { createCountingServer } from '../../dist/server/server.js';

const servers = new Map();

async function start(number, args, env) {
  const commandLine = parseCommandLine(args, {
    env,
    fileLimit: readFileLimit(),
    readFile: readAnyFile,
  });
  if (workersOf(commandLine.workers) > 1) throw new Error('workers need a process of their own');
  const madeKey = new MadeOpsKey();
  const settings = madeKey.addTo(commandLine.settings);
  const log = pino(
    { level: commandLine.logLevel, timestamp: pino.stdTimeFunctions.isoTime },
    { write: (line) => void process.send({ number, line }) },
  );
  const counters = makeCounters();
  const server = createCountingServer({ ...settings, ...hooksOf(log, counters) }, counters);
  const address = await server.listen();
  servers.set(number, server);
  const { build, sockets } = server.stats();
  sayListening(log, settings, madeKey, { address, build, problems: sockets.problems });
  return { port: address.port, opsKey: settings.opsKey };
}

async function end(number, drains) {
  await servers.get(number)?.close(drains ? undefined : { drainMs: 0 });
  servers.delete(number);
}

async function answer({ number, args, env, drains }) {
  try {
    const started = args === undefined ? await end(number, drains) : await start(number, args, env);
    process.send({ number, started: started ?? null });
  } catch (error) {
    process.send({ number, problem: error.stack ?? String(error) });
  }
}

// As `holdline serve` does.
setFlagsFromString('--semi-space-growth-factor=1');
process.on('message', (asked) => void answer(asked));
process.on('disconnect', () => process.exit(0));
