/** pushpin and its backend, as one server. */
import { readProcessUsage, readRssBytes } from '../src/linux/processes.js';
import { CLIENT_CORE, Child, SERVER_CORE, childPids, startNode } from './child.js';
import { sleepMs } from './clock.js';
import { temporaryDirectory } from './compile.js';
import { PATH } from './event.js';
import { freePort, listening } from './ports.js';
import { type Running, orKill, withoutLoop } from './running.js';
import type { Listening } from './servers/agent.js';
import type { GripBackendSettings } from './servers/grip-backend.js';
import { pushpinCommand } from './servers/pushpin.js';

const START_DEADLINE_MS = 20_000;
/** Time of one request to a pushpin that starts, and between two that fail. */
const ASKED_AGAIN_MS = 2_000;
const ASKED_AGAIN_PAUSE_MS = 100;
const STOP_DEADLINE_MS = 5_000;
/**
 * A line passes from pushpin-proxy to pushpin-handler, and what condure says of it may overtake it
 * there. Such a line is closed at its first event ("received message out of sequence, canceling"):
 * none of 1,000 that open 8 at a time, 26 with 64 at a time, 45 with 256, of which 100 more were
 * answered 502.
 */
const OPENS_AT_ONCE = 8;

/**
 * The backend is the user's program and no part of pushpin: it has the clients' core, publishes are
 * sent to it, and its time counts as none of the server's.
 */
export async function startPushpin(): Promise<Running> {
  const [http, control, push, subscribe, command] = await Promise.all([
    freePort(),
    freePort(),
    freePort(),
    freePort(),
    freePort(),
  ]);
  const settings: GripBackendSettings = { controlPort: control };
  const backend = startNode(
    'the backend of pushpin',
    new URL('servers/grip-backend.ts', import.meta.url),
    CLIENT_CORE,
    [],
    { BENCH_SETTINGS: JSON.stringify(settings) },
  );
  const { port: backendPort } = await orKill(
    backend,
    backend.notice<Listening>('listening', START_DEADLINE_MS),
  );
  const child = new Child({
    name: 'pushpin',
    ...pushpinCommand(temporaryDirectory(), {
      http: http,
      control: control,
      push: push,
      subscribe: subscribe,
      command: command,
      backend: backendPort,
    }),
    core: SERVER_CORE,
    ipc: false,
  });
  const stop = async (): Promise<void> => {
    // Not killed at once: the runner ends the others.
    child.signal('SIGTERM');
    await Promise.race([child.exited, sleepMs(STOP_DEADLINE_MS)]);
    await child.kill();
    await backend.kill();
  };
  try {
    await listening(control, START_DEADLINE_MS);
    await listening(http, START_DEADLINE_MS);
    await holdsLine(http);
  } catch (error) {
    await stop();
    throw error;
  }
  const sum = (of: (pid: number) => number): number =>
    [child.pid, ...childPids(child.pid)].reduce((total, pid) => total + of(pid), 0);
  return {
    name: 'pushpin',
    port: http,
    publishPort: backendPort,
    opensAtOnce: OPENS_AT_ONCE,
    pid: child.pid,
    sendBuffer: 'kernel default',
    ...withoutLoop(child.pid),
    cpuSeconds: () => sum((pid) => readProcessUsage(pid).cpuSeconds),
    // What processes share counts in each of them.
    rssBytes: () => sum(readRssBytes),
    counters: async () => null,
    stop,
  };
}

/**
 * Its processes listen before they have found each other, and what comes meanwhile may have no
 * answer ever: it is asked again.
 */
async function holdsLine(port: number): Promise<void> {
  for (const untilMs = performance.now() + START_DEADLINE_MS; ;) {
    const stop = new AbortController();
    try {
      const { ok, status } = await fetch(`http://127.0.0.1:${port}${PATH}`, {
        signal: AbortSignal.any([stop.signal, AbortSignal.timeout(ASKED_AGAIN_MS)]),
      });
      if (ok) return;
      throw new Error(`pushpin answered ${status}`);
    } catch (error) {
      if (performance.now() >= untilMs) throw error;
      await sleepMs(ASKED_AGAIN_PAUSE_MS);
    } finally {
      stop.abort();
    }
  }
}
