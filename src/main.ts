#!/usr/bin/env node
/**
 * The command line: finds and runs the command, and turns errors into a message on stderr and an
 * exit code. Nothing native is loaded before a server starts, so that help, version and mistakes
 * work on any machine.
 */

import process from 'node:process';
import { HoldlineError } from './errors.js';
import { readFileLimit } from './linux/file-limit.js';
import { readAnyFile } from './linux/files.js';
import { nearestName } from './spelling.js';
import { complain, EXIT_DONE, EXIT_FAILED, outliveTerminal } from './terminal.js';
import { VERSION } from './version.js';

/** The command line is wrong, or names a log that cannot be used: it will fail again. */
const EXIT_USAGE = 2;

/** Any time will do: process.exit ends it. */
const HOLD_MS = 60_000;

/** A command of `holdline`. */
interface Command {
  readonly summary: string;
  /** What `holdline COMMAND --help` prints. */
  help(this: void): Promise<string>;
  /** Resolves with the exit code. */
  run(this: void, args: readonly string[]): Promise<number>;
}

/** Each command is loaded when it is needed. */
const COMMANDS: Readonly<Record<string, Command>> = {
  serve: {
    summary: 'run a server that holds lines open and pushes each event to all of them at once',
    help: async () => (await import('./options/command-line.js')).serveHelp(),
    run: async (args) => (await import('./serve/command.js')).serve(args),
  },
  load: {
    summary: 'load a server with publishers and subscribers, and measure what arrives',
    help: async () => (await import('./tools/load/options.js')).loadHelp(),
    async run(args) {
      await checkTools('load');
      const { runLoad } = await import('./tools/load/command.js');
      return runLoad(args, {
        env: process.env,
        fileLimit: readFileLimit(),
        readFile: readAnyFile,
      });
    },
  },
  capacity: {
    summary: 'measure what this machine can carry, and plan processes, memory and CPU',
    help: async () => (await import('./tools/capacity/options.js')).capacityHelp(),
    async run(args) {
      await checkTools('capacity');
      const { runCapacity } = await import('./tools/capacity/command.js');
      return runCapacity(args, { env: process.env, fileLimit: readFileLimit() });
    },
  },
  token: {
    summary: 'print a signed token, to try rights with',
    help: async () => (await import('./tools/token/options.js')).tokenHelp(),
    async run(args) {
      const { runToken } = await import('./tools/token/command.js');
      return runToken(args, { env: process.env, readFile: readAnyFile });
    },
  },
  log: {
    summary: 'back up, restore, upgrade or copy the log on disk of a server',
    help: async () => (await import('./tools/log/options.js')).logHelp(),
    async run(args) {
      const { runLog } = await import('./tools/log/command.js');
      return runLog(args, { env: process.env, readFile: readAnyFile });
    },
  },
  doctor: {
    summary: 'check the limits of this machine, and what a proxy does to streams',
    help: async () => (await import('./tools/doctor/options.js')).doctorHelp(),
    async run(args) {
      await checkTools('doctor');
      const { runDoctor } = await import('./tools/doctor/command.js');
      return runDoctor(args, { env: process.env, readFile: readAnyFile });
    },
  },
};

/** The tools' libraries may not be installed. */
async function checkTools(command: string): Promise<void> {
  const { checkLibraries, TOOL_LIBRARIES } = await import('./libraries.js');
  checkLibraries(`holdline ${command}`, TOOL_LIBRARIES);
}

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
  const [name, ...rest] = args[0] === 'help' ? helpOf(args.slice(1)) : args;
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

/** `help` and `help COMMAND` are `--help` and `COMMAND --help`. */
function helpOf(args: readonly string[]): readonly string[] {
  const [name, ...rest] = args;
  return name === undefined || name.startsWith('-') ? ['--help'] : [name, '--help', ...rest];
}

function unknownCommand(name: string | undefined): string {
  if (name === undefined)
    return 'no command was given; holdline --help lists them, holdline serve starts a server';
  if (name.startsWith('-'))
    return `${name} must come after a command, as in holdline serve ${name}`;
  const nearest = nearestName(name, Object.keys(COMMANDS));
  return `"${name}" is not a command; ${nearest === undefined ? 'holdline --help lists them' : `did you mean ${nearest}?`}`;
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

outliveTerminal();
// Timers of the server's clock hold no process, and a command that waits for nothing else (NATS
// that does not answer) would end here in the middle, without a word, with exit code 13 of Node's.
setInterval(() => {}, HOLD_MS);
// Exit at once and not when the last handle closes. native-notes/worker-exit-aborts.md
process.exit(await main(process.argv.slice(2)).catch(explain));
