/**
 * A program that embeds the library, with a server for each message, whose hooks are of the kind
 * that the message names: a child process, since a fault may end it.
 */
import type { createServer as CreateServer } from '../../../src/index.js';

const { createServer } = (await import(
  new URL('../../../dist/index.js', import.meta.url).href
)) as {
  createServer: typeof CreateServer;
};

const fail = (): never => {
  throw new Error('the program made a mistake');
};

/** Hooks that are wrong, by name. */
const HOOKS: Readonly<Record<string, object>> = {
  none: {},
  'authorize: undefined': { authorize: () => undefined },
  'authorize: null': { authorize: () => null },
  'authorize: 0': { authorize: () => 0 },
  'authorize: a string': { authorize: () => 'admin' },
  'authorize: an object': { authorize: () => ({ user: 'a' }) },
  'authorize: a promise of undefined': { authorize: () => Promise.resolve() },
  'authorize: a promise of an object': { authorize: () => Promise.resolve({}) },
  'authorize: throws': { authorize: fail },
  'authorize: rejects': {
    authorize: () => Promise.reject(new Error('the program made a mistake')),
  },
  'authorize: rejects later': { authorize: () => Promise.resolve().then(fail) },
  'onOpen: throws': { onOpen: fail },
  'onOpen: rejects': { onOpen: () => Promise.reject(new Error('the program made a mistake')) },
  'onClose: throws': { onClose: fail },
  'onError: throws': { authorize: fail, onError: fail },
  'authorize is no function': { authorize: true },
  'onOpen is no function': { onOpen: 5 },
  'onClose is no function': { onClose: {} },
  'onError is no function': { onError: 'log' },
};

/** Asks for a server; the answer has the number, and the port or why there is none. */
interface Asked {
  readonly number: number;
  readonly hooks: string;
  readonly publishing: 'open' | 'closed';
}

async function begin({ number, hooks, publishing }: Asked): Promise<void> {
  try {
    const own = HOOKS[hooks];
    if (own === undefined) throw new Error(`no hooks are called ${hooks}`);
    const openPublish = publishing === 'open';
    const server = createServer({ port: 0, firstId: 1, openPublish, opsKey: 'o', ...own });
    const { port } = await server.listen();
    process.send?.({ number, port });
  } catch (error) {
    process.send?.({ number, code: (error as { code?: string }).code ?? String(error) });
  }
}

process.on('message', (asked) => void begin(asked as Asked));
