/**
 * A program that embeds the library, with hooks of the kind its environment names: a child process,
 * since a fault may end it.
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

try {
  const hooks = HOOKS[process.argv[2] as string];
  if (hooks === undefined) throw new Error(`no hooks are called ${process.argv[2]}`);
  const server = createServer({
    port: 0,
    firstId: 1,
    openPublish: process.argv[3] === 'open',
    opsKey: 'o',
    ...hooks,
  });
  const { port } = await server.listen();
  process.send?.({ port });
} catch (error) {
  process.send?.({ code: (error as { code?: string }).code ?? String(error) });
  process.disconnect();
}
