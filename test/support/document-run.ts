/** Runs the blocks of code of a document to the letter; only the port is another. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { freePort } from '../../bench/ports.js';
import { Program } from './program.js';
import { Watched } from './wire.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** The port that the documents say. */
const PRINTED_PORT = /\b8080\b/g;
/** What goes on until somebody ends it. */
const SERVES = /\bholdline serve\b(?!.*--(?:help|print-config))|\bnpm start\b/;
const LISTENS = /^curl -N\b/;
/** An installation downloads and builds. */
const COMMAND_DEADLINE_MS = 240_000;
const START_DEADLINE_MS = 30_000;

/** What a command that has ended gave. */
export interface Ended {
  readonly command: string;
  readonly exitCode: number | null;
  readonly stdout: string;
}

/** An open page that runs a block, and what it has printed. */
export class PageRun extends Watched {
  readonly lines: string[] = [];
  readonly page: Page;

  constructor(page: Page) {
    super();
    this.page = page;
    page.on('console', (message) => {
      this.lines.push(message.text());
      this.changed();
    });
    page.on('pageerror', (error) => {
      this.broken = error;
      this.changed();
    });
  }

  describe(): string {
    return `printed ${JSON.stringify(this.lines)}`;
  }

  prints(pattern: RegExp): Promise<unknown> {
    return this.waitFor(`${pattern} in the console`, () =>
      this.lines.some((line) => pattern.test(line)),
    );
  }
}

/** Read by every bash of a document that skips npx. */
const NPX_FILE = '.npx.sh';
const NPX = `npx() {
  if [ -x "node_modules/.bin/$1" ]; then local name="$1"; shift; "node_modules/.bin/$name" "$@"
  else command npx "$@"; fi
}
`;

/** A folder with the package in it, and what runs there. */
export class DocumentRun {
  readonly folder = mkdtempSync(join(tmpdir(), 'holdline-documents-'));
  readonly port: number;
  /** Listeners that were started, and what they have printed so far. */
  listeners: { readonly command: string; readonly program: Program }[] = [];
  /** Runs what is installed as npx does, without the second that npm takes to start. */
  skipsNpx = false;
  #server: Program | undefined;
  #programs = 0;

  private constructor(port: number) {
    this.port = port;
  }

  /** A folder as a reader has it: with a clone in it, not yet installed. */
  static async start(): Promise<DocumentRun> {
    const run = new DocumentRun(await freePort());
    const leftOut = new Set(['node_modules', 'dist', '.git', 'out', 'coverage']);
    mkdirSync(join(run.folder, 'holdline'));
    cpSync(ROOT, join(run.folder, 'holdline'), {
      recursive: true,
      filter: (path) => path === ROOT || !leftOut.has(basename(path)),
    });
    // Refused requests then fail the command; it changes nothing of what it asks for.
    writeFileSync(join(run.folder, NPX_FILE), NPX);
    writeFileSync(join(run.folder, '.curlrc'), 'silent\nshow-error\nfail-with-body\n');
    return run;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The environment of a reader, with the other port, and short times for what measures. */
  #environment(): Record<string, string> {
    const inherited = Object.entries(process.env).filter(
      (entry): entry is [string, string] =>
        entry[1] !== undefined &&
        !/^(?:npm_|HOLDLINE_|NODE_OPTIONS$|INIT_CWD$|VITEST)/.test(entry[0]),
    );
    return {
      ...Object.fromEntries(inherited),
      CURL_HOME: this.folder,
      ...(this.skipsNpx ? { BASH_ENV: join(this.folder, NPX_FILE) } : {}),
      npm_config_prefer_offline: 'true',
      npm_config_audit: 'false',
      npm_config_fund: 'false',
      npm_config_update_notifier: 'false',
      PORT: String(this.port),
      HOLDLINE_PORT: String(this.port),
      HOLDLINE_URL: `${this.url}/load`,
      HOLDLINE_BUDGET: '30s',
      HOLDLINE_LINES: '500',
    };
  }

  /** A block's code, with the port that is free here. */
  withPort(code: string): string {
    return code.replaceAll(PRINTED_PORT, String(this.port));
  }

  /** Runs a block of sh, a line after the other, and gives what those that ended have printed. */
  async shell(code: string): Promise<Ended[]> {
    const ended: Ended[] = [];
    for (const command of this.withPort(code)
      .split('\n')
      .filter((line) => /^[^#]/.test(line))) {
      if (SERVES.test(command)) await this.#serve('bash', ['-c', command]);
      else if (LISTENS.test(command)) await this.#listen(command);
      else {
        const program = this.#start('bash', ['-c', command]);
        const exitCode = await program.ended(COMMAND_DEADLINE_MS);
        ended.push({ command, exitCode, stdout: program.stdout + program.stderr });
      }
    }
    return ended;
  }

  /** Runs a program of Node.js in place of the server. */
  async program(code: string): Promise<Program> {
    const file = join(this.folder, `program-${++this.#programs}.mjs`);
    writeFileSync(file, code);
    return this.#serve(process.execPath, [file]);
  }

  #start(command: string, args: readonly string[]): Program {
    return new Program(command, args, { cwd: this.folder, env: this.#environment(), bare: true });
  }

  /** One server at a time has the port. */
  async #serve(command: string, args: readonly string[]): Promise<Program> {
    await this.#endServer();
    const server = this.#start(command, args);
    this.#server = server;
    const deadline = performance.now() + START_DEADLINE_MS;
    for (;;) {
      const isReady = await fetch(`${this.url}/-/health`).then(
        ({ ok }) => ok,
        () => false,
      );
      if (isReady) return server;
      if (server.exitCode !== undefined || performance.now() > deadline)
        throw new Error(`it does not serve: ${command} ${args.join(' ')}; ${server.describe()}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async #listen(command: string): Promise<void> {
    const program = this.#start('bash', ['-c', command]);
    this.listeners.push({ command, program });
    await program.printed(/\n/);
  }

  /** Opens a page of another origin, or of the server's own, and runs a block in it. */
  async page(browser: Browser, code: string, where: 'other' | 'own'): Promise<PageRun> {
    const run = new PageRun(await browser.newPage());
    const pages = await this.#pages();
    await run.page.goto(
      where === 'own'
        ? `${this.url}/-/health`
        : `http://127.0.0.1:${(pages.address() as AddressInfo).port}/`,
    );
    await run.page.addScriptTag({ type: 'module', content: this.withPort(code) });
    return run;
  }

  /** A block in a file that is opened, as its source. */
  async filePage(browser: Browser, code: string): Promise<PageRun> {
    const run = new PageRun(await browser.newPage());
    const file = join(this.folder, 'page.html');
    writeFileSync(file, `<!doctype html><script>${this.withPort(code)}</script>`);
    await run.page.goto(`file://${file}`);
    return run;
  }

  #pageServer: Server | undefined;

  /** Serves an empty page that finds `holdline/client` where a bundler would. */
  async #pages(): Promise<Server> {
    if (this.#pageServer !== undefined) return this.#pageServer;
    const client = join(this.folder, 'node_modules/holdline/dist/browser/client.js');
    const map = JSON.stringify({ imports: { 'holdline/client': '/client.js' } });
    this.#pageServer = createServer((request, response) => {
      if (request.url === '/client.js') {
        response.setHeader('Content-Type', 'text/javascript').end(readFileSync(client));
      } else {
        response
          .setHeader('Content-Type', 'text/html')
          .end(`<!doctype html><script type="importmap">${map}</script>`);
      }
    });
    await new Promise<void>((resolve) => this.#pageServer!.listen(0, '127.0.0.1', resolve));
    return this.#pageServer;
  }

  async #endServer(): Promise<void> {
    for (const { program } of this.listeners) program.kill();
    this.listeners = [];
    this.#server?.kill();
    await this.#server?.ended();
    this.#server = undefined;
  }

  /** Ends everything that a document has started; what is installed stays. */
  async end(): Promise<void> {
    await this.#endServer();
    this.#pageServer?.closeAllConnections();
    this.#pageServer?.close();
    this.#pageServer = undefined;
  }

  async remove(): Promise<void> {
    await this.end();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
