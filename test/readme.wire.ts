/**
 * The README and the pages of docs/, followed to the letter: every block of code is run in order,
 * in a folder with a fresh installation, and does what the text around it says.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from 'vitest';
import { codeBlocks, GUIDES, readDocument, type CodeBlock } from './support/documents.js';
import { DocumentRun, type Ended } from './support/document-run.js';
import { freePort } from '../bench/ports.js';
import { Program } from './support/program.js';
import { launchChromium } from './support/sources.js';

let browser: Browser;
let run: DocumentRun;

const blocksOf = (path: string): CodeBlock[] => codeBlocks(readDocument(path));

/** The first command of the README, which gets the package, for all documents. */
beforeAll(async () => {
  browser = await launchChromium();
  run = await DocumentRun.start();
  const [install] = blocksOf('README.md')[0]!.code.split('\n');
  expect(install).toMatch(/^npm install /);
  expectSuccess(await run.shell(install!));
}, 300_000);

afterEach(async () => {
  await Promise.all(browser.contexts().map((context) => context.close()));
  await run.end();
});

afterAll(async () => {
  await browser?.close();
  await run?.remove();
});

/** The doctor's exit code tells of this machine, the others' whether they worked. */
function expectSuccess(commands: readonly Ended[]): void {
  for (const { command, exitCode, stdout } of commands) {
    if (/\bholdline doctor\b/.test(command)) {
      expect(stdout).toMatch(/\d+ problems?, \d+ pieces? of advice/);
      expect([0, 1]).toContain(exitCode);
    } else expect(exitCode, `${command}\n${stdout}`).toBe(0);
  }
}

/**
 * Ids are taken from the clock: from the first one in a text on, how far each is from it, and not
 * what it is.
 */
function relative(text: string): string {
  const first = BigInt(/\d{16}/.exec(text)?.[0] ?? 0);
  return text.trim().replaceAll(/\d{16}/g, (id) => `#${BigInt(id) - first}`);
}

/** What a block of text shows is what was printed; of an answer with headers, these lines of it. */
function expectPrinted(printed: string, shown: string): void {
  const [actual, wanted] = [relative(printed.replaceAll('\r', '')), relative(shown)];
  if (!shown.startsWith('HTTP/')) {
    expect(actual).toBe(wanted);
    return;
  }
  const lines = new Set(wanted.split('\n'));
  expect(actual.split('\n').filter((line) => lines.has(line))).toEqual(wanted.split('\n'));
}

async function publish(path: string, body: string, type = 'text/plain'): Promise<void> {
  const answer = await fetch(`${run.url}${path}`, {
    method: 'POST',
    body,
    headers: { 'Content-Type': type },
  });
  expect(answer.status).toBe(200);
}

/** Publishes until a page prints what it should: it may not listen yet. */
async function publishUntil(printed: Promise<unknown>, path: string, body: string): Promise<void> {
  let isPrinted = false;
  const done = printed.finally(() => (isPrinted = true));
  done.catch(() => {});
  while (!isPrinted) {
    await publish(path, body);
    await Promise.race([done.catch(() => {}), new Promise((resolve) => setTimeout(resolve, 100))]);
  }
  await done;
}

/** What each block of JavaScript does, by document, section and place in it. */
const SCRIPTS: Readonly<Record<string, (code: string) => Promise<void>>> = {
  'README.md, Listen in a page, 1': async (code) => {
    for (const page of [await run.page(browser, code, 'other'), await run.filePage(browser, code)])
      await publishUntil(page.prints(/^\d{16} hello$/), '/notifications?event=notice', 'hello');
  },
  'README.md, Publish from your own program, 1': async (code) => {
    const program = await run.program(code);
    const [, command] = await program.printed(/^listen with: (curl -N \S+)$/m);
    await run.shell(command!);
    await run.listeners[0]!.program.printed(/event: tick\ndata: \{"now":\d{13}\}\n/);
    program.kill('SIGTERM');
    expect(await program.ended(), `its exit code: ${program.describe()}`).toBe(0);
  },
  'docs/use.md, In a page, 1': async (code) => {
    const page = await run.page(browser, code, 'other');
    await publishUntil(page.prints(/^\d{16} hello$/), '/notifications?event=notice', 'hello');
    await publish('/notifications?event=count', '{"orders":18}', 'application/json');
    await page.prints(/^18$/);
  },
  'docs/use.md, In a page, 2': async (code) => {
    const page = await run.page(browser, code, 'other');
    await publishUntil(page.prints(/^\d{16} hello sse$/), '/notifications?event=notice', 'hello');
  },
  'docs/use.md, Six connections, 1': async (code) => {
    const page = await run.page(browser, code, 'other');
    await publishUntil(page.prints(/^alerts fire$/), '/alerts?event=notice', 'fire');
  },
  'docs/use.md, Long-poll, 1': async (code) => {
    const page = await run.page(browser, code, 'other');
    await publishUntil(page.prints(/^\d{16} polled$/), '/notifications', 'polled');
    // A server that restarts, and then refuses once, is waited for.
    const refusal = { status: 503, headers: { 'Access-Control-Allow-Origin': '*' } };
    await page.page.route('**/notifications?*', (route) => route.fulfill(refusal), { times: 1 });
    await run.shell('npx holdline serve --demo --open-publish');
    await publishUntil(page.prints(/^\d{16} again$/), '/notifications', 'again');
  },
  'docs/use.md, WebSocket, 1': async (code) => {
    const page = await run.page(browser, code, 'own');
    await page.prints(/^\{"ok":\{"ref":1,"id":\d{16}\}\}$/);
    await page.prints(
      /^\{"id":\d{16},"channel":"notifications","event":"notice","data":"over a socket"\}$/,
    );
  },
  'docs/use.md, In your own program, 1': async (code) => {
    const program = await run.program(code);
    await program.printed(/^published \d{16}$/m);
    const refused = await fetch(`${run.url}/user-ada`, {
      headers: { Accept: 'text/event-stream' },
    });
    expect(refused.status).toBe(403);
  },
  'docs/use.md, Read in your own program, 1': async (code) => {
    const program = await run.program(code);
    await program.printed(/^0 held, 0 listen to answers$/m);
    const asked = await fetch(`${run.url}/questions`, { method: 'POST', body: 'hello' });
    const { id } = (await asked.json()) as { id: number };
    const answer = await fetch(`${run.url}/answers?since=0&wait=10`);
    expect(await answer.json()).toMatchObject({ data: { question: id, answer: 'you said hello' } });
    program.kill('SIGTERM');
    expect(await program.ended()).toBe(0);
  },
};

/** What was printed by the listeners of a block, where no text says it. */
const LISTENERS: Readonly<Record<string, RegExp>> = {
  'docs/use.md, In a terminal': /event: notice\ndata: hello\n/,
  'docs/use.md, Listen': /"?data"?: ?"?hello/,
  'docs/use.md, In your own program': /data: \{"text":"hello, Ada"\}\n/,
};

/** The lines of nginx's configuration, in front of the server that the document has started. */
async function expectPasses(configuration: string): Promise<void> {
  const port = await freePort();
  const folder = join(run.folder, 'nginx');
  mkdirSync(folder);
  const text = run.withPort(configuration).replace('listen 80;', `listen 127.0.0.1:${port};`);
  writeFileSync(
    join(folder, 'nginx.conf'),
    `daemon off; pid nginx.pid; error_log stderr; events {} http { access_log off; ${text} }`,
  );
  const nginx = new Program('nginx', ['-p', folder, '-c', 'nginx.conf']);
  onTestFinished(() => nginx.kill());
  const url = `http://127.0.0.1:${port}`;
  await expect.poll(() => fetch(`${url}/-/health`).then(({ status }) => status, String)).toBe(200);
  const page = await browser.newPage();
  await page.goto(`${url}/-/health`);
  const passing = page.evaluate<string[]>(`(async () => {
    const stream = new EventSource('/passed');
    await new Promise((resolve) => { stream.onopen = resolve; });
    const event = new Promise((resolve) => { stream.onmessage = ({ data }) => resolve(data); });
    const headers = { Authorization: 'Bearer publish-secret' };
    const { status } = await fetch('/passed', { method: 'POST', body: 'through', headers });
    const socket = new WebSocket('ws://' + location.host + '/passed');
    const opened = await new Promise((resolve) => {
      socket.onopen = () => resolve('open');
      socket.onclose = () => resolve('closed');
    });
    return [String(status), await event, opened];
  })()`);
  const late = new Promise<string>((resolve) => {
    setTimeout(resolve, 10_000, 'nothing came through nginx').unref();
  });
  const said = await Promise.race([passing, late]);
  expect(said).toEqual(['200', 'through', 'open']);
}

/** What is printed as JSON: a list of keys or policies for a file, or the claims of a token. */
async function expectAccepted(printed: object): Promise<void> {
  if (Array.isArray(printed)) {
    const option = 'sha256' in printed[0] ? 'keys' : 'policies';
    writeFileSync(join(run.folder, `${option}.json`), JSON.stringify(printed));
    expectSuccess(
      await run.shell(`npx holdline serve --${option}-file ${option}.json --print-config`),
    );
    return;
  }
  const { iat, exp, ...claims } = printed as { iat: number; exp: number };
  const secret = readFileSync(join(run.folder, 'secrets/jwt'), 'utf8').trim();
  const nowSeconds = Math.floor(Date.now() / 1000);
  const token = await new SignJWT(claims)
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuedAt(nowSeconds)
    .setExpirationTime(nowSeconds + exp - iat)
    .sign(new TextEncoder().encode(secret));
  const headers = { Authorization: `Bearer ${token}` };
  const statuses = await Promise.all(
    ['/users/ada', '/news/today', '/users/bob'].map(
      async (path) => (await fetch(`${run.url}${path}?wait=0&since=0`, { headers })).status,
    ),
  );
  expect(statuses).toEqual([200, 204, 403]);
}

test.each(GUIDES)(
  '%s does what it says, block by block',
  async (path) => {
    const blocks = blocksOf(path);
    run.skipsNpx = path !== 'README.md';
    const scripts = new Map<string, number>();
    let printed = '';
    let listened = '';
    for (const [index, { language, code, heading }] of blocks.entries()) {
      const where = `${path}, ${heading}`;
      if (language === 'sh') {
        const isInstalled = path === 'README.md' && index === 0;
        const before = run.listeners.length;
        const ended = await run.shell(isInstalled ? code.slice(code.indexOf('\n') + 1) : code);
        expectSuccess(ended);
        // The variables that only this test sets are no options of every command.
        printed = ended
          .map(({ stdout }) => `${stdout.replaceAll(/^holdline: warning.*\n/gm, '').trimEnd()}\n`)
          .join('');
        const pattern = LISTENERS[where];
        const listening = run.listeners.slice(before).map(({ program }) => program);
        expect(listening.length > 0, `LISTENERS has ${where}`).toBe(pattern !== undefined);
        for (const program of listening) await program.printed(pattern!);
        listened = listening[0]?.stdout ?? '';
      } else if (language === 'text') {
        // What a listener has printed, where there is one; it may still be printing.
        if (listened === '') expectPrinted(printed, code);
        else
          await expect
            .poll(() => relative(run.listeners.at(-1)!.program.stdout))
            .toBe(relative(code));
      } else if (language === 'js') {
        const place = (scripts.get(heading) ?? 0) + 1;
        scripts.set(heading, place);
        const script = SCRIPTS[`${where}, ${place}`];
        expect(script, `SCRIPTS has ${where}, ${place}`).toBeDefined();
        await script!(code);
      } else if (language === 'json') await expectAccepted(JSON.parse(code) as object);
      else if (language === 'nginx') await expectPasses(code);
      else throw new Error(`${where}: a block of ${language} that nothing runs`);
    }
    if (path === 'README.md') expect(blocks.length).toBe(6);
    if (path === 'docs/tools.md') {
      for (const file of ['profile.json', 'plan.html', 'report.html'])
        expect(existsSync(join(run.folder, file)), `is there: ${file}`).toBe(true);
    }
  },
  180_000,
);
