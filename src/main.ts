#!/usr/bin/env node
/**
 * The command line: finds the command, lets it run and turns what goes wrong into words on stderr
 * and an exit code. Nothing native is loaded before a server is wanted, so that help, version and
 * mistakes answer on any machine.
 */

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { destination, pino, type Logger } from 'pino';
import { configTable, parseCommandLine, serveHelp } from './options/command-line.js';
import type { Settings } from './options/table.js';
import { HoldlineError } from './errors.js';
import { readFileLimit } from './linux/file-limit.js';
import { FAULT_LOG_MS } from './limits.js';
import { nearestName } from './options/spelling.js';
import { complain, onSignals } from './terminal.js';
import { throttle } from './throttle.js';
import { VERSION } from './version.js';

/** What was asked for was done, or the server was told to end and did. */
const EXIT_DONE = 0;
/** It could not be done on this machine, now. */
const EXIT_FAILED = 1;
/** It was asked for wrongly; the same command line will fail again. */
const EXIT_USAGE = 2;

/**
 * Log lines that wait for a reader of stdout who does not read; past that they are dropped and not
 * the server held up.
 */
const LOG_BACKLOG_BYTES = 1024 * 1024;

/**
 * How long an end waits for the log to be written: a reader of stdout who has stopped reading must
 * not keep the process.
 */
const LOG_CLOSE_MS = 1000;

/** A command of `holdline`. */
interface Command {
  /** One line. */
  readonly summary: string;
  /** What `holdline COMMAND --help` prints. */
  help(this: void): string | Promise<string>;
  /** Does it; the exit code when it is over. */
  run(this: void, args: readonly string[]): Promise<number>;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  serve: {
    summary: 'hold lines open and push each event to everyone at once',
    help: serveHelp,
    run: serve,
  },
  load: {
    summary: 'drive a server with publishers and subscribers, and measure what arrives',
    help: loadHelp,
    run: load,
  },
  capacity: {
    summary: 'measure what this machine carries, and plan processes, memory and CPU',
    help: capacityHelp,
    run: capacity,
  },
  doctor: {
    summary: 'look at the limits of this machine, and at what a proxy makes of streams',
    help: doctorHelp,
    run: doctor,
  },
};

function help(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length)) + 2;
  return [
    'Usage: holdline COMMAND [options]',
    '',
    'Commands:',
    ...Object.entries(COMMANDS).map(
      ([name, command]) => `  ${name.padEnd(width)}${command.summary}`,
    ),
    '',
    'holdline COMMAND --help lists the options of a command, holdline --version prints the version.',
    '',
  ].join('\n');
}

/** Runs the command that the arguments name. */
async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === '--help' || name === '-h') {
    process.stdout.write(help());
    return EXIT_DONE;
  }
  if (name === '--version' || name === '-v') {
    process.stdout.write(`${VERSION}\n`);
    return EXIT_DONE;
  }
  const command = name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    complain(unknownCommand(name));
    return EXIT_USAGE;
  }
  if (rest.includes('--help') || rest.includes('-h')) {
    process.stdout.write(await command.help());
    return EXIT_DONE;
  }
  return command.run(rest);
}

function unknownCommand(name: string | undefined): string {
  if (name === undefined)
    return 'no command was given; holdline --help lists them, holdline serve starts a server';
  if (name.startsWith('-'))
    return `${name} stands before a command; the command comes first, as in holdline serve ${name}`;
  const nearest = nearestName(name, Object.keys(COMMANDS));
  return `"${name}" is not a command; ${nearest === undefined ? 'holdline --help lists them' : `did you mean ${nearest}?`}`;
}

/** `holdline serve`: listens until a signal ends it. */
async function serve(args: readonly string[]): Promise<number> {
  const { env } = process;
  const readFile = (path: string): string => readFileSync(path, 'utf8');
  const commandLine = parseCommandLine(args, { env, fileLimit: readFileLimit(), readFile });
  for (const warning of commandLine.warnings) complain(`warning: ${warning}`);
  if (commandLine.printConfig) {
    process.stdout.write(configTable(commandLine.entries));
    return EXIT_DONE;
  }

  // What a line leaves behind in JavaScript is small and lives long, so a young generation that
  // grows with the number of accepts (to 16 MB and more) only costs memory. Lines cost 750 B each
  // with this and over 1,000 without, see bench/README.md.
  setFlagsFromString('--semi-space-growth-factor=1');

  // A given key stays out of the log; one that is made here has no other way to whoever started the
  // server.
  const madeKey =
    commandLine.settings.opsKey === undefined ? randomBytes(24).toString('base64url') : undefined;
  const settings: Settings = {
    ...commandLine.settings,
    opsKey: commandLine.settings.opsKey ?? madeKey,
  };
  const { log, closeLog } = openLog(commandLine.logLevel);
  const { createServer } = await import('./index.js');
  const onError = throttle<unknown>(FAULT_LOG_MS, (err, suppressed) =>
    log.error(
      { err, ...(suppressed === 0 ? {} : { suppressed }) },
      'a fault in Holdline itself; it goes on',
    ),
  );
  const server = createServer({ ...settings, onError, onWarning: (words) => log.warn(words) });
  const { port } = await server.listen();

  process.on('uncaughtException', (error) => {
    log.fatal(error, 'a fault in Holdline itself; it ends');
    process.exit(EXIT_FAILED);
  });
  let isClosed = false;
  const signalled = firstSignal((second) => {
    if (isClosed) return;
    log.warn({ signal: second }, 'ended by a second signal');
    void closeLog().then(() => process.exit(EXIT_FAILED));
  });
  const authority = `${settings.host.includes(':') ? `[${settings.host}]` : settings.host}:${port}`;
  log.info(
    { host: settings.host, port, url: `http://${authority}`, version: VERSION },
    'listening',
  );
  if (settings.demo) log.info({ url: `http://${authority}/-/demo` }, 'open the demo in a browser');
  if (madeKey !== undefined) log.info({ opsKey: madeKey }, 'ops key made for this run');
  for (const caution of [...cautions(settings), ...server.stats().sockets.problems])
    log.warn(caution);

  const signal = await signalled;
  log.info({ signal, drainMs: settings.drainMs }, 'draining; a second signal ends it at once');
  await server.close({ drainMs: settings.drainMs });
  isClosed = true;
  log.info('closed');
  await closeLog();
  return EXIT_DONE;
}

/** `holdline load`: its parts are loaded when it is wanted. */
async function load(args: readonly string[]): Promise<number> {
  const { runLoad } = await import('./tools/load/command.js');
  return runLoad(args, { env: process.env, fileLimit: readFileLimit() });
}

async function loadHelp(): Promise<string> {
  return (await import('./tools/load/options.js')).loadHelp();
}

/** `holdline capacity`, likewise. */
async function capacity(args: readonly string[]): Promise<number> {
  const { runCapacity } = await import('./tools/capacity/command.js');
  return runCapacity(args, { env: process.env, fileLimit: readFileLimit() });
}

async function capacityHelp(): Promise<string> {
  return (await import('./tools/capacity/options.js')).capacityHelp();
}

/** `holdline doctor`, likewise. */
async function doctor(args: readonly string[]): Promise<number> {
  const { runDoctor } = await import('./tools/doctor/command.js');
  return runDoctor(args, process.env);
}

async function doctorHelp(): Promise<string> {
  return (await import('./tools/doctor/options.js')).doctorHelp();
}

/** What an operator should know about the settings, after "listening", which is the first line. */
function cautions(settings: Settings): string[] {
  const isLocal = ['127.0.0.1', '::1', 'localhost'].includes(settings.host);
  return [
    ...(settings.firstId === undefined
      ? []
      : [
          `ids start at ${settings.firstId} again at each start (--first-id): clients that come back over a restart may miss events without being told`,
        ]),
    ...(settings.openPublish && !isLocal
      ? [`anyone who reaches ${settings.host} may publish (--open-publish)`]
      : []),
    ...(settings.openPublish || settings.publishKey !== undefined
      ? []
      : ['nobody may publish: give --publish-key or --open-publish']),
  ];
}

/**
 * The log on stdout, written in the background, so that a reader who does not keep up holds up no
 * event.
 */
function openLog(level: string): { log: Logger; closeLog: () => Promise<void> } {
  const stdout = destination({ dest: 1, sync: false, maxLength: LOG_BACKLOG_BYTES });
  const log = pino({ level, timestamp: pino.stdTimeFunctions.isoTime }, stdout);
  // An exit alone would do, since pino writes what is left in its exit handler, but then a write
  // under way may come after it.
  const closeLog = (): Promise<void> =>
    new Promise((resolve) => {
      stdout.once('close', () => resolve());
      setTimeout(resolve, LOG_CLOSE_MS);
      // A signal or a fault that comes now would write to what is closed, which throws.
      log.level = 'silent';
      stdout.end();
    });
  return { log, closeLog };
}

/**
 * The first SIGTERM or SIGINT. The handlers stay: for a moment without one, a second signal would
 * kill the process unheard.
 */
function firstSignal(onSecond: (signal: NodeJS.Signals) => void): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let isFirst = true;
    onSignals((signal) => {
      if (isFirst) resolve(signal);
      else onSecond(signal);
      isFirst = false;
    });
  });
}

/** A failure in words, and whether the command line or the machine is to blame. */
function explain(error: unknown): number {
  if (error instanceof HoldlineError) {
    complain(`${error.message} (${error.code})`);
    return error.code === 'HOLDLINE_BAD_OPTION' ? EXIT_USAGE : EXIT_FAILED;
  }
  // Not foreseen, so the place matters more than the words.
  complain(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return EXIT_FAILED;
}

// Exit at once and not when the last handle closes: after an orderly end nothing that is left over
// may keep the process. native-notes/worker-exit-aborts.md
process.exit(await main(process.argv.slice(2)).catch(explain));
