// What clients of event streams do with each kind of answer: the packages eventsource and undici
// and, where it is installed, Chromium, against a plain server of Node's.
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { EventSource as PackageEventSource } from 'eventsource';
import { chromium } from 'playwright-core';
import { EventSource as UndiciEventSource } from 'undici';
import { main, turn } from './support.js';
import type { ProbeResult, Row } from './support.js';

const chromiumPath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';

/**
 * Comes back this soon, so that a client which comes back has done so many times while others are
 * watched not to.
 */
const retryMs = 20;
const retry = `retry: ${String(retryMs)}\n`;

function stream(response: ServerResponse, text: string): ServerResponse {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(text);
  return response;
}

/** Answers by the name in the path. `nth` counts a client's requests for it from 1. */
const answers: Record<string, (response: ServerResponse, nth: number) => void> = {
  end: (response) => void stream(response, `${retry}\n`).end(),
  cut: (response, nth) => {
    if (nth === 1) stream(response, `${retry}\n`);
    setTimeout(() => response.socket?.destroy(), nth === 1 ? retryMs : 0);
  },
  204: (response) => void response.writeHead(204).end(),
  503: (response) => void response.writeHead(503, { 'Retry-After': '0' }).end(),
  'end, then 503': (response, nth) => {
    if (nth === 1) stream(response, `${retry}\n`).end();
    else response.writeHead(503).end();
  },
  html: (response) =>
    void response.writeHead(200, { 'Content-Type': 'text/html' }).end('<title>no</title>'),
  id: (response) => void stream(response, `${retry}id: 7\n\n`).end(),
  'event, then id': (response) =>
    void stream(response, `${retry}id: 5\ndata: x\n\n: keepalive\nid: 9\n\n`).end(),
  'event: error': (response) => void stream(response, 'event: error\ndata: told\n\n'),
  'event: open': (response) => void stream(response, 'event: open\ndata: told\n\n'),
  ':': (response) => void stream(response, ':\n\n:\ndata: after\n\n'),
};
const names = Object.keys(answers);

type State = { readyState: number; opens: string[]; errors: string[]; messages: string[] };
type States = Record<string, State>;

/**
 * Opens a source for each name; what is returned tells what they have seen. Runs in a page as well,
 * so it knows nothing but its arguments.
 */
function openAll(
  Source: typeof globalThis.EventSource,
  base: string,
  paths: string[],
): () => States {
  const all = paths.map((path) => {
    const source = new Source(`${base}/${encodeURIComponent(path)}`);
    const seen: { path: string; source: EventSource } & Omit<State, 'readyState'> = {
      path,
      source,
      opens: [],
      errors: [],
      messages: [],
    };
    for (const [type, list] of [
      ['open', seen.opens],
      ['error', seen.errors],
      ['message', seen.messages],
    ] as const) {
      source.addEventListener(
        type,
        (event: Event) => void list.push('data' in event ? String(event.data) : ''),
      );
    }
    return seen;
  });
  return () =>
    Object.fromEntries(
      all.map(({ path, source, opens, errors, messages }) => [
        path,
        { readyState: source.readyState, opens, errors, messages },
      ]),
    );
}

/** Last-Event-ID of each request, by the client and the name of the answer. */
const requests = new Map<string, string[]>();

function serve(request: IncomingMessage, response: ServerResponse): void {
  const [, , encoded = ''] = (request.url ?? '').split('/');
  const name = decodeURIComponent(encoded);
  response.setHeader('Cache-Control', 'no-store');
  const answer = answers[name];
  if (answer === undefined) {
    response.writeHead(200, { 'Content-Type': 'text/html' }).end('<title>probe</title>');
    return;
  }
  const ids = requests.get(request.url ?? '') ?? [];
  ids.push(String(request.headers['last-event-id'] ?? 'none'));
  requests.set(request.url ?? '', ids);
  answer(response, ids.length);
}

/** What a client has done with each answer, in words, when there is nothing more to wait for. */
async function verdicts(
  client: string,
  states: () => Promise<States>,
): Promise<Record<string, string>> {
  const idsOf = (name: string): string[] =>
    requests.get(`/${client}/${encodeURIComponent(name)}`) ?? [];
  const comesBack = ['end', 'cut', 'id', 'event, then id'];
  let found = await states();
  const until = async (what: string, condition: () => boolean): Promise<void> => {
    const deadline = performance.now() + 20_000;
    for (; !condition(); found = await states()) {
      if (performance.now() > deadline)
        throw new Error(`${client}, waited for: ${what}; ${JSON.stringify(found).slice(0, 1000)}`);
      await turn(5);
    }
  };
  await until('those that give up', () =>
    ['204', '503', 'end, then 503', 'html'].every((name) => found[name]?.readyState === 2),
  );
  await until('those that stay', () =>
    ['event: error', 'event: open', ':'].every((name) => found[name]?.readyState === 1),
  );
  await until('the event behind comments', () => found[':']?.messages.length === 1);
  // Some times more, in which nothing else may come.
  const before = comesBack.map((name) => idsOf(name).length);
  await until('those that come back', () =>
    comesBack.every((name, at) => idsOf(name).length >= (before[at] ?? 0) + 5),
  );
  const inWords = (name: string): string => {
    const { readyState, opens, errors, messages } = found[name] as State;
    if (readyState === 2) return `gives up after ${String(idsOf(name).length)}`;
    if (name === 'event: error')
      return errors.join() === '' ? 'nothing' : `error listener: ${JSON.stringify(errors.join())}`;
    if (name === 'event: open')
      return opens.join() === '' ? 'nothing' : `open listener: ${JSON.stringify(opens.at(-1))}`;
    if (name === ':') return `message ${JSON.stringify(messages.join())}`;
    const dispatched = name === 'id' ? `, messages ${String(messages.length)}` : '';
    return `comes back${name === 'end' || name === 'cut' ? '' : `, Last-Event-ID ${String(idsOf(name).at(-1))}${dispatched}`}`;
  };
  return Object.fromEntries(names.map((name) => [name, inWords(name)]));
}

const everybody: Record<string, string> = {
  end: 'comes back',
  cut: 'comes back',
  204: 'gives up after 1',
  503: 'gives up after 1',
  'end, then 503': 'gives up after 2',
  html: 'gives up after 1',
  id: 'comes back, Last-Event-ID 7, messages 0',
  'event, then id': 'comes back, Last-Event-ID 9',
  'event: error': 'error listener: "told"',
  'event: open': 'open listener: "told"',
  ':': 'message "after"',
};
/** The package eventsource does not look at a block without data. */
const packageAlone: Record<string, string> = {
  id: 'comes back, Last-Event-ID none, messages 0',
  'event, then id': 'comes back, Last-Event-ID 5',
};

const meanings: Record<string, string> = {
  end: '200, `retry:`, and the end',
  cut: '200, then the connection is cut, again and again',
  204: '204',
  503: '503 with Retry-After',
  'end, then 503': '200 and the end, then 503',
  html: '200 text/html',
  id: '`id: 7` and a blank line, then the end',
  'event, then id': 'an event with id 5, `: keepalive` with `id: 9`, the end',
  'event: error': '`event: error` with data',
  'event: open': '`event: open` with data',
  ':': 'two comments `:`, one in an event',
};

export async function probe(): Promise<ProbeResult> {
  const server = createServer(serve);
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const local = async (client: string, Source: unknown): Promise<Record<string, string>> => {
    const states = openAll(Source as typeof globalThis.EventSource, `${origin}/${client}`, names);
    return verdicts(client, () => Promise.resolve(states()));
  };
  const inChromium = async (): Promise<Record<string, string>> => {
    const browser = await chromium.launch({
      executablePath: chromiumPath,
      args: ['--no-sandbox', '--disable-gpu'],
    });
    const page = await browser.newPage();
    await page.goto(`${origin}/`);
    const paths = [`${origin}/chromium`, names].map((value) => JSON.stringify(value)).join();
    await page.evaluate(`globalThis.states = (${openAll.toString()})(EventSource, ${paths}); 0`);
    const found = await verdicts('chromium', () => page.evaluate<States>('states()'));
    await browser.close();
    return found;
  };
  const [byPackage, byUndici, byChromium] = await Promise.all([
    local('eventsource', PackageEventSource),
    local('undici', UndiciEventSource),
    existsSync(chromiumPath) ? inChromium() : everybody,
  ]);
  const rows: Row[] = names.map((name) => ({
    answer: meanings[name] ?? '',
    Chromium: existsSync(chromiumPath) ? (byChromium[name] ?? '') : 'not installed',
    undici: byUndici[name] ?? '',
    eventsource: byPackage[name] ?? '',
  }));
  return {
    claim:
      'An EventSource reconnects after the end of a 200 and after a cut, and gives up for good on anything else; an id without data moves its position and dispatches nothing (the package eventsource ignores it); events of type error or open call the listeners for its own.',
    holds: names.every(
      (name) =>
        byUndici[name] === everybody[name] &&
        byChromium[name] === everybody[name] &&
        byPackage[name] === (packageAlone[name] ?? everybody[name]),
    ),
    rows,
  };
}

await main(import.meta.url, probe);
