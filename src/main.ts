#!/usr/bin/env node
/**
 * The command line: finds and runs the command, and turns errors into a message on stderr and an
 * exit code. Nothing native is loaded before a server starts, so that help, version and mistakes
 * work on any machine.
 */

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { destination, pino, type DestinationStream, type Logger } from 'pino';
import {
  configTable,
  parseCommandLine,
  serveHelp,
  workersOf,
  type CommandLine,
} from './options/command-line.js';
import { cautions } from './options/cautions.js';
import { reloadSettings } from './options/reload.js';
import { authorityOf, splitHostAndPort } from './options/place-kinds.js';
import type { Settings } from './options/table.js';
import { asError, HoldlineError } from './errors.js';
import { readFileLimit } from './linux/file-limit.js';
import { readRegularFile } from './linux/files.js';
import { DRAIN_HURRY_MS, DRAIN_PROGRESS_MS, FAULT_LOG_MS } from './limits.js';
import { logText, mayColour } from './log-text.js';
import { refusalLog } from './refusal-log.js';
import { nearestName } from './spelling.js';
import type { Address, Hooks, Server } from './server/api.js';
import { complain, onSignals, watchTerminal } from './terminal.js';
import { throttle } from './throttle.js';
import { VERSION } from './version.js';
import { isWorkerProcess } from './worker-variable.js';

/** Done, or the server was told to end and did. */
const EXIT_DONE = 0;
/** Failed on this machine, now. */
const EXIT_FAILED = 1;
/** The command line is wrong, or names a log that cannot be used: it will fail again. */
const EXIT_USAGE = 2;

/** Log that stdout has not taken; above it entries are dropped, so that the server never waits. */
const LOG_BACKLOG_BYTES_MAX = 1024 * 1024;

/** Time the end waits for the log to be written, in case nobody reads stdout. */
const LOG_CLOSE_MS_MAX = 1000;

/** A command of `holdline`. */
interface Command {
  readonly summary: string;
  /** What `holdline COMMAND --help` prints. */
  help(this: void): string | Promise<string>;
  /** Resolves with the exit code. */
  run(this: void, args: readonly string[]): Promise<number>;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  serve: {
    summary: 'run a server that holds lines open and pushes each event to all of them at once',
    help: serveHelp,
    run: serve,
  },
  load: {
    summary: 'load a server with publishers and subscribers, and measure what arrives',
    help: loadHelp,
    run: load,
  },
  capacity: {
    summary: 'measure what this machine can carry, and plan processes, memory and CPU',
    help: capacityHelp,
    run: capacity,
  },
  token: {
    summary: 'print a signed token, to try rights with',
    help: tokenHelp,
    run: token,
  },
  log: {
    summary: 'back up, restore, upgrade or copy the log on disk of a server',
    help: logHelp,
    run: logCommand,
  },
  doctor: {
    summary: 'check the limits of this machine, and what a proxy does to streams',
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

/** Runs the command named by the arguments. */
async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === '--help' || name === '-h') {
    process.stdout.write(help());
    return EXIT_DONE;
  }
  if (name === '--version' || name === '-v') {
    const { buildWords, thisHost } = await import('./native/builds.js');
    process.stdout.write(`${VERSION} (${buildWords(thisHost())})\n`);
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
    return `${name} must come after a command, as in holdline serve ${name}`;
  const nearest = nearestName(name, Object.keys(COMMANDS));
  return `"${name}" is not a command; ${nearest === undefined ? 'holdline --help lists them' : `did you mean ${nearest}?`}`;
}

/** A file as text; at the start it may be a pipe. */
function readText(path: string): string {
  return readFileSync(path, 'utf8');
}

/** `holdline serve`: listens until a signal ends it. */
async function serve(args: readonly string[]): Promise<number> {
  const { env } = process;
  const parse = (readFile: (path: string) => string): CommandLine =>
    parseCommandLine(args, { env, fileLimit: readFileLimit(), readFile });
  const commandLine = parse(readText);
  if (isWorkerProcess(env)) return serveAsWorker(commandLine, parse);
  for (const warning of commandLine.warnings) complain(`warning: ${warning}`);
  if (commandLine.printConfig) {
    process.stdout.write(configTable(commandLine.entries));
    return EXIT_DONE;
  }

  // What a line keeps on V8's heap is small and lives long, so a young generation that grows with
  // the number of accepts (to 16 MB and more) only costs memory, about 280 B a line.
  setFlagsFromString('--semi-space-growth-factor=1');

  // A given key is never logged; for one that is made here the log is the only place.
  const madeKey =
    commandLine.settings.opsKey === undefined ? randomBytes(24).toString('base64url') : undefined;
  const settings: Settings = {
    ...commandLine.settings,
    opsKey: commandLine.settings.opsKey ?? madeKey,
  };
  if (workersOf(commandLine.workers) > 1)
    return serveWithWorkers(args, commandLine, settings, madeKey);
  const { log, closeLog } = openLog(commandLine);
  const { createServer } = await import('./index.js');
  const server = createServer({ ...settings, ...hooksOf(log) });
  let reload = (): void => log.warn('not reloaded: the server does not listen yet');
  // From here on, since the log may take its time to open, and process 1 of a container would hear
  // no signal without a handler.
  const { signalled, onNext } = signals(() => reload());
  if (settings.log !== 'memory') log.info({ log: settings.log }, 'opening the log');
  const listening = server.listen();
  const address = await Promise.race([listening, signalled]);
  if (typeof address === 'string') {
    listening.catch(() => {});
    log.info({ signal: address }, 'ended before it listened');
    onNext(() => void closeLog().then(() => process.exit(EXIT_FAILED)));
    await server.close({ drainMs: 0 });
    await closeLog();
    return EXIT_DONE;
  }

  process.on('uncaughtException', (error) => {
    log.fatal(error, 'internal error; the server ends');
    process.exit(EXIT_FAILED);
  });
  reload = await reloading(server, settings, madeKey, parse, log);
  const { build, sockets } = server.stats();
  sayListening(log, settings, madeKey, { address, build, problems: sockets.problems });

  const signal = await signalled;
  const { drainMs } = settings;
  log.info({ signal, drainMs }, 'draining; a second signal hurries, a third one ends it at once');
  onNext((next) => {
    log.warn({ signal: next }, 'hurried by a second signal');
    void server.close({ drainMs: Math.min(drainMs, DRAIN_HURRY_MS) });
    onNext((last) => {
      log.warn({ signal: last }, 'ended by a third signal');
      void closeLog().then(() => process.exit(EXIT_FAILED));
    });
  });
  const progress = setInterval(() => {
    const { open } = server.stats().lines;
    log.info({ lines: open }, 'draining');
  }, DRAIN_PROGRESS_MS);
  await server.close({ drainMs });
  clearInterval(progress);
  onNext(() => {});
  log.info('closed');
  await closeLog();
  return EXIT_DONE;
}

/** `holdline serve --workers N`: supervises N processes of this command until a signal ends it. */
async function serveWithWorkers(
  args: readonly string[],
  commandLine: CommandLine,
  settings: Settings,
  madeKey: string | undefined,
): Promise<number> {
  const { log, closeLog } = openLog(commandLine);
  const { WorkerFailed, startWorkers } = await import('./workers/start.js');
  const count = workersOf(commandLine.workers);
  let reload = (): void => log.warn('not reloaded: the server does not listen yet');
  // From here on, since process 1 of a container would hear no signal without a handler.
  const { signalled, onNext } = signals(() => reload());
  process.on('uncaughtException', (error) => {
    log.fatal(error, 'internal error; the server ends');
    process.exit(EXIT_FAILED);
  });
  const starting = startWorkers({
    args: ['serve', ...args],
    settings,
    count,
    env: process.env,
    say: (level, words, facts) => log[level](facts, words),
  });
  const started = await Promise.race([starting, signalled]).catch(async (error: unknown) => {
    if (!(error instanceof WorkerFailed)) throw error;
    // It has said why.
    await closeLog();
    return process.exit(error.exitCode ?? EXIT_FAILED);
  });
  if (typeof started === 'string') {
    starting.catch(() => {});
    log.info({ signal: started }, 'ended before it listened');
    await closeLog();
    // Workers that have started end with this process.
    return EXIT_DONE;
  }
  const { supervisor, facts, close } = started;
  reload = () => supervisor.reload();
  sayListening(log, settings, madeKey, { ...facts, workers: count });

  const ended = await Promise.race([signalled, supervisor.failed]).catch((error: unknown) => {
    log.fatal(asError(error).message);
    return undefined;
  });
  const drainMs = ended === undefined ? 0 : settings.drainMs;
  if (ended !== undefined)
    log.info(
      { signal: ended, drainMs },
      'draining; a second signal hurries, a third one ends it at once',
    );
  onNext((next) => {
    log.warn({ signal: next }, 'hurried by a second signal');
    void supervisor.drain(Math.min(drainMs, DRAIN_HURRY_MS));
    onNext((last) => {
      log.warn({ signal: last }, 'ended by a third signal');
      supervisor.kill();
      void closeLog().then(() => process.exit(EXIT_FAILED));
    });
  });
  await supervisor.drain(drainMs);
  await close();
  onNext(() => {});
  log.info('closed');
  await closeLog();
  return ended === undefined ? EXIT_FAILED : EXIT_DONE;
}

/** One of the processes of `--workers`: serves until its supervisor ends it, or is gone. */
async function serveAsWorker(
  commandLine: CommandLine,
  parse: (readFile: (path: string) => string) => CommandLine,
): Promise<number> {
  setFlagsFromString('--semi-space-growth-factor=1');
  const { log: plainLog, closeLog } = openLog(commandLine);
  const { Parent } = await import('./workers/parent.js');
  const parent = await Parent.connect((reason) => {
    plainLog.fatal({ reason }, 'the worker has lost its supervisor and ends');
    process.exit(EXIT_FAILED);
  });
  const { opsKey, place } = parent.welcome;
  const log = plainLog.child({ worker: place });
  const settings: Settings = {
    ...commandLine.settings,
    opsKey,
    ...placesOfWorker(commandLine, parent),
  };
  const { createWorkerServer } = await import('./server/server.js');
  const server = createWorkerServer({ ...settings, ...hooksOf(log) }, parent);
  parent.onReload = await reloading(server, settings, opsKey, parse, log);
  const end = new Promise<void>((resolve, reject) => {
    const close = (drainMs: number): void => {
      server.close({ drainMs }).then(resolve, reject);
    };
    parent.onDrain = close;
    // A signal to all of a group, or of a terminal, is for the supervisor, which passes it on.
    process.on('SIGINT', () => {});
    process.on('SIGHUP', () => {});
    // To this process alone it is the wish that another one takes its place.
    process.on('SIGTERM', () => {
      parent.leaves();
      close(settings.drainMs);
    });
  });
  const address = await server.listen();
  process.on('uncaughtException', (error) => {
    log.fatal(error, 'internal error; the worker ends');
    process.exit(EXIT_FAILED);
  });
  const { build, sockets } = server.stats();
  parent.listens({ address, build, problems: sockets.problems });
  await end;
  await closeLog();
  return EXIT_DONE;
}

/** Where a worker listens: where its supervisor says. */
function placesOfWorker(
  { settings }: CommandLine,
  {
    welcome: { port, opsPort },
  }: { readonly welcome: { readonly port: number; readonly opsPort: number | undefined } },
): Partial<Settings> {
  const { opsListen } = settings;
  const ops = opsListen === undefined ? undefined : splitHostAndPort(opsListen);
  return {
    port,
    ...(ops !== undefined &&
      opsPort !== undefined && { opsListen: authorityOf(ops.host, opsPort) }),
  };
}

/** What the library tells this program. */
function hooksOf(log: Logger): Pick<Hooks, 'onError' | 'onRefusal' | 'onWarning'> {
  return {
    onError: throttle<unknown>(FAULT_LOG_MS, (err, suppressed) =>
      log.error(
        { err, ...(suppressed === 0 ? {} : { suppressed }) },
        'internal error; the server goes on',
      ),
    ),
    onWarning: (words) => log.warn(words),
    onRefusal: refusalLog(log),
  };
}

/** Reads the configuration again, and lets the server run with it. */
async function reloading(
  server: Server,
  settings: Settings,
  madeKey: string | undefined,
  parse: (readFile: (path: string) => string) => CommandLine,
  log: Logger,
): Promise<() => void> {
  const { reloadServer } = await import('./server/server.js');
  let running = settings;
  return () => {
    try {
      const read = parse(readRegularFile).settings;
      const next = reloadSettings(running, { ...read, opsKey: read.opsKey ?? madeKey });
      reloadServer(server, next.settings);
      log.info({ changed: next.changed }, 'reloaded');
      const known = cautions(running);
      for (const caution of cautions(next.settings))
        if (!known.includes(caution)) log.warn(caution);
      running = next.settings;
      void reloadCertificate(server, running, log);
      if (next.ignored.length > 0)
        log.warn(`changed, and needs a restart: ${next.ignored.join(', ')}`);
    } catch (error) {
      const { message } = asError(error);
      log.error(`not reloaded, what was read before counts on: ${message}`);
    }
  };
}

/** Says where the server listens, and what its operator should know. */
function sayListening(
  log: Logger,
  settings: Settings,
  madeKey: string | undefined,
  facts: {
    readonly address: Address;
    readonly build: string | null;
    readonly problems: readonly string[];
    readonly workers?: number;
  },
): void {
  const { address, build, problems, workers } = facts;
  const places = placesOf(settings, address);
  log.info(
    {
      ...places,
      ...(workers !== undefined && { workers }),
      version: VERSION,
      build,
      node: process.versions.node,
    },
    'listening',
  );
  if (settings.demo && places.url !== undefined)
    log.info({ url: `${places.url}/-/demo` }, 'open the demo in a browser');
  if (madeKey !== undefined) log.info({ opsKey: madeKey }, 'ops key made for this run');
  for (const caution of [...cautions(settings), ...problems]) log.warn(caution);
}

/** The tools' libraries may not be installed. */
async function checkLibraries(command: string): Promise<void> {
  (await import('./tools/libraries.js')).checkLibraries(command);
}

/** `holdline load`; the tools are loaded when they are needed. */
async function load(args: readonly string[]): Promise<number> {
  await checkLibraries('load');
  const { runLoad } = await import('./tools/load/command.js');
  return runLoad(args, { env: process.env, fileLimit: readFileLimit() });
}

async function loadHelp(): Promise<string> {
  return (await import('./tools/load/options.js')).loadHelp();
}

async function capacity(args: readonly string[]): Promise<number> {
  await checkLibraries('capacity');
  const { runCapacity } = await import('./tools/capacity/command.js');
  return runCapacity(args, { env: process.env, fileLimit: readFileLimit() });
}

async function capacityHelp(): Promise<string> {
  return (await import('./tools/capacity/options.js')).capacityHelp();
}

async function doctor(args: readonly string[]): Promise<number> {
  await checkLibraries('doctor');
  const { runDoctor } = await import('./tools/doctor/command.js');
  return runDoctor(args, process.env);
}

async function token(args: readonly string[]): Promise<number> {
  const { runToken } = await import('./tools/token/command.js');
  return runToken(args, { env: process.env, readFile: readText });
}

async function tokenHelp(): Promise<string> {
  return (await import('./tools/token/options.js')).tokenHelp();
}

async function logCommand(args: readonly string[]): Promise<number> {
  const { runLog } = await import('./tools/log/command.js');
  return runLog(args, { env: process.env, readFile: readText });
}

async function logHelp(): Promise<string> {
  return (await import('./tools/log/options.js')).logHelp();
}

async function doctorHelp(): Promise<string> {
  return (await import('./tools/doctor/options.js')).doctorHelp();
}

/**
 * Reads the files of the certificate again. Apart from the rest: where a certificate is bad, a key
 * that is to go is gone all the same.
 */
async function reloadCertificate(
  server: Server,
  { tlsCert, tlsKey }: Settings,
  log: Logger,
): Promise<void> {
  if (tlsCert === undefined || tlsKey === undefined) return;
  try {
    await server.changeCertificate({ tlsCert, tlsKey });
  } catch (error) {
    log.error(`certificate not reloaded, the one before is served on: ${asError(error).message}`);
  }
}

/** Where the server is found, as the log says it. */
function placesOf(
  { basePath, tlsCert, opsListen }: Settings,
  { host, port, unixSocket, opsPort }: Address,
): { readonly url?: string } & Readonly<Record<string, unknown>> {
  const ops =
    opsListen === undefined
      ? {}
      : {
          opsUrl: `http://${authorityOf(splitHostAndPort(opsListen)!.host, opsPort!)}${basePath}`,
        };
  if (unixSocket !== undefined) return { unixSocket, ...ops };
  const scheme = tlsCert === undefined ? 'http' : 'https';
  return { host, port, url: `${scheme}://${authorityOf(host, port)}${basePath}`, ...ops };
}

/**
 * The log on stdout, written in the background, so that a slow reader delays no event. Text for a
 * person at a terminal, else JSON.
 */
function openLog({ logLevel, logFormat }: Pick<CommandLine, 'logLevel' | 'logFormat'>): {
  log: Logger;
  closeLog: () => Promise<void>;
} {
  const stdout = destination({ dest: 1, sync: false, maxLength: LOG_BACKLOG_BYTES_MAX });
  const isText = logFormat === 'text' || (logFormat === 'auto' && process.stdout.isTTY);
  const colour = mayColour(process.stdout, process.env);
  const asText: DestinationStream & { flushSync(): void } = {
    write: (line) => void stdout.write(logText(line, { colour })),
    // pino calls it before a fatal entry ends the process.
    flushSync: () => stdout.flushSync(),
  };
  const log = pino(
    { level: logLevel, timestamp: pino.stdTimeFunctions.isoTime },
    isText ? asText : stdout,
  );
  // pino would write the rest in its exit handler, but a write in progress may then come after it.
  const closeLog = (): Promise<void> =>
    new Promise((resolve) => {
      stdout.once('close', () => resolve());
      setTimeout(resolve, LOG_CLOSE_MS_MAX);
      // A signal or an error from now on would write to a closed stream, which throws.
      log.level = 'silent';
      stdout.end();
    });
  return { log, closeLog };
}

/**
 * Signals to end: a promise of the first, and what is called with the next one. The handlers stay,
 * since without them a second signal would kill the process at once. SIGHUP calls `reload`, except
 * when it says that the terminal is gone: that is an end, too.
 */
function signals(reload: () => void): {
  signalled: Promise<NodeJS.Signals>;
  onNext: (listener: (signal: NodeJS.Signals) => void) => void;
} {
  let listener: (signal: NodeJS.Signals) => void;
  const onNext = (next: typeof listener): void => void (listener = next);
  const signalled = new Promise<NodeJS.Signals>((resolve) => onNext(resolve));
  onSignals((signal) => listener(signal));
  const isTerminalGone = watchTerminal();
  process.on('SIGHUP', (signal) => (isTerminalGone() ? listener(signal) : reload()));
  return { signalled, onNext };
}

/** Prints an error; returns the exit code. */
function explain(error: unknown): number {
  if (error instanceof HoldlineError) {
    complain(`${error.message} (${error.code})`);
    return error.code === 'HOLDLINE_BAD_OPTION' || error.code === 'HOLDLINE_BAD_LOG'
      ? EXIT_USAGE
      : EXIT_FAILED;
  }
  // Unexpected, so the stack matters more than the message.
  complain(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return EXIT_FAILED;
}

// Exit at once and not when the last handle closes. native-notes/worker-exit-aborts.md
process.exit(await main(process.argv.slice(2)).catch(explain));
