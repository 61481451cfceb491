/** One closed-loop measurement: as many requests as a server answers, and their cost. */
import type { RequestOrder, RequestsAnswered } from '../dist/tools/load/processes/request-loop.js';
import { readBusySeconds, readProcessUsage } from '../src/linux/processes.js';
import { sleepMs } from './clock.js';
import { type Verdict, verdictOn, watchCores } from './verdict.js';
import type { Visit } from './visit.js';

export interface ClosedLoop {
  loaded: RequestsAnswered;
  /** Answered 200 or 204. */
  requestsPerSecond: number;
  serverCpuShare: number;
  serverCpuUsPerRequest: number;
  clientCpuShare: number;
  /** Of the process that keeps the log; null where the server does that itself. */
  logCpuShare: number | null;
  /** What all other processes used, as a share of a core. */
  strangerCpuShare: number;
  verdict: Verdict;
}

/** The server is measured until this long before the end of the client's window. */
const MARGIN_SECONDS = 0.2;

export async function measureClosedLoop(
  here: Visit,
  order: Omit<RequestOrder, 'target'>,
  { waitsForLog = false } = {},
): Promise<ClosedLoop> {
  const { server } = here;
  const { warmUpSeconds, windowSeconds } = order;
  const { logPid } = server;
  const logCpuSeconds = (): number =>
    logPid === undefined ? 0 : readProcessUsage(logPid).cpuSeconds;
  const running = here.loopRequests(order);
  running.catch(() => {});
  // In the second half of the client's window.
  await sleepMs((warmUpSeconds + windowSeconds / 2) * 1000);
  const cpuBefore = server.cpuSeconds();
  const logCpuBefore = logCpuSeconds();
  const busyBefore = readBusySeconds();
  const coresSince = watchCores();
  const fromMs = performance.now();
  await sleepMs((windowSeconds / 2 - MARGIN_SECONDS) * 1000);
  const seconds = (performance.now() - fromMs) / 1000;
  const serverCpuShare = (server.cpuSeconds() - cpuBefore) / seconds;
  const logCpuShare = (logCpuSeconds() - logCpuBefore) / seconds;
  const busyShare = (readBusySeconds() - busyBefore) / seconds;
  const cores = coresSince(seconds);
  const loaded = await running;
  const requestsPerSecond = loaded.answered2xx / loaded.seconds;
  const clientCpuShare = loaded.cpuSeconds / loaded.seconds;
  return {
    loaded,
    requestsPerSecond,
    serverCpuShare,
    serverCpuUsPerRequest:
      requestsPerSecond === 0 ? Number.NaN : (serverCpuShare * 1e6) / requestsPerSecond,
    clientCpuShare,
    logCpuShare: logPid === undefined ? null : logCpuShare,
    strangerCpuShare: Math.max(0, busyShare - serverCpuShare - clientCpuShare - logCpuShare),
    verdict: verdictOn({
      serverShare: cores?.server ?? serverCpuShare,
      // A log in another process has the client's core, and is not the client.
      clientShare: cores === undefined ? clientCpuShare : cores.client - logCpuShare,
      waitsForLog,
    }),
  };
}
