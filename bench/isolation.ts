/**
 * Isolation: how late the events of a quiet channel are while another channel has lines that have
 * stopped reading, is flooded, or has a herd come back to it; with each log, over workers and over
 * two nodes. The quiet channel is measured alone and beside each in the same visit.
 */
import type { Fleet } from '../dist/tools/load/processes/fleet.js';
import { readBusySeconds, readProcessUsage } from '../src/linux/processes.js';
import { CLIENT_CORE, type Child, startNode } from './child.js';
import { nowUs, sleepMs, sleepUntilUs } from './clock.js';
import {
  type ControlWindow,
  type IsolationRound,
  type IsolationSummary,
  describeIsolation,
  isolationVerdict,
  summariseIsolation,
  verdictWords,
} from './isolation-figures.js';
import { LOADS, type LoadName, type LoadOrder, type LoadReport } from './isolation-orders.js';
import {
  ISOLATION_SERVERS,
  ISOLATION_TITLES,
  type IsolationServerName,
  isolationAbsence,
  startIsolationServer,
} from './isolation-servers.js';
import { type Latency, latencyIn } from './latency.js';
import { remarkOnDisk } from './log-place.js';
import { pinnedWords } from './machine.js';
import { checkOf, faultsOf, publishedIn } from './open-loop.js';
import type { Measured, RunOptions } from './results.js';
import { ms, percent, short } from './table.js';
import { watchCores } from './verdict.js';
import { Visit } from './visit.js';

export interface IsolationParameters {
  rounds: number;
  servers: IsolationServerName[];
  absent: Record<string, string>;
  lines: number;
  checkedShare: number;
  ratePerSecond: number;
  warmUpSeconds: number;
  windowSeconds: number;
  stopped: { lines: number; batchesPerSecond: number; batchEvents: number };
  flood: { lines: number; connections: number; batchEvents: number };
  herd: { lines: number; historyEvents: number };
}

const STOPPED = { lines: 100, batchesPerSecond: 100, batchEvents: 20 };
const FLOOD = { lines: 2, connections: 16, batchEvents: 100 };
const HERD = { lines: 200, historyEvents: 10_000 };
const HERD_BATCH_EVENTS = 100;
const FULL = { warmUp: 2, window: 8 };
const QUICK = { warmUp: 1, window: 3 };
const LINES = 200;
const CHECKED_SHARE = 0.1;
const RATE_PER_SECOND = 100;
const TAIL_SECONDS = 0.5;
const LEAD_MS = 300;
const SETTLE_DEADLINE_MS = 10_000;
/** What the server still has to do for the last load belongs to no window. */
const REST_MS = 1_000;
const LOAD_DEADLINE_MS = 60_000;

export async function measureIsolation(
  options: RunOptions,
): Promise<Measured<IsolationParameters, IsolationRound, IsolationSummary>> {
  const parameters = chooseParameters(options);
  const rounds: IsolationRound[] = [];
  const failures: string[] = [];
  for (let round = 1; round <= parameters.rounds; round++)
    for (const name of parameters.servers) {
      const say = (measured: IsolationRound): void => {
        rounds.push(measured);
        options.say(`round ${round}/${parameters.rounds} ${describeRound(measured)}`);
      };
      try {
        await measureServer(name, round, parameters, say);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        failures.push(`round ${round}, ${ISOLATION_TITLES[name]}: ${message.split('\n', 1)[0]}`);
        options.say(failures.at(-1)!);
      }
    }
  const summary = summariseIsolation(rounds);
  const { absent, servers } = parameters;
  const remarks = [
    ...Object.entries(absent).map(([name, why]) => `${name} was not measured: ${why}`),
    ...(servers.includes('lmdb') || servers.includes('workers-lmdb') ? remarkOnDisk() : []),
    ...failures,
    ...remarksOn(rounds),
  ];
  return {
    parameters,
    rounds,
    summary,
    remarks,
    pinned: pinnedWords('all cores'),
    table: describeIsolation(summary),
    passed: summary.figures.every((one) => verdictWords(one) !== 'MOVED'),
  };
}

/** `--targets` are servers: memory, lmdb, nats, nats-node, workers, workers-lmdb. */
function chooseParameters(options: RunOptions): IsolationParameters {
  const wanted = ISOLATION_SERVERS.filter((name) => options.targets?.includes(name) ?? true);
  const absent: Record<string, string> = {};
  for (const name of wanted) {
    const why = isolationAbsence(name);
    if (why !== undefined) absent[name] = why;
  }
  const size = options.quick ? QUICK : FULL;
  return {
    rounds: options.rounds ?? (options.quick ? 1 : 3),
    servers: wanted.filter((name) => absent[name] === undefined),
    absent,
    lines: options.lines ?? LINES,
    checkedShare: CHECKED_SHARE,
    ratePerSecond: options.ratesPerSecond?.[0] ?? RATE_PER_SECOND,
    warmUpSeconds: size.warmUp,
    windowSeconds: options.windowSeconds ?? size.window,
    stopped: STOPPED,
    flood: FLOOD,
    herd: HERD,
  };
}

async function measureServer(
  name: IsolationServerName,
  round: number,
  parameters: IsolationParameters,
  say: (round: IsolationRound) => void,
): Promise<void> {
  const { server, publishPort, natsAddress } = await startIsolationServer(name);
  const here = new Visit(server, undefined, publishPort);
  const child = startNode('load', new URL('isolation-load.ts', import.meta.url), CLIENT_CORE, []);
  const witness = natsAddress === undefined ? undefined : startWitness();
  try {
    const { checkedShare, lines, ratePerSecond } = parameters;
    await witness?.ask('begin', { address: natsAddress, ratePerSecond }, LOAD_DEADLINE_MS);
    const fleet = await here.startFleet({ countsInC: true, checkedShare });
    await here.open(fleet, lines);
    const alone = await measureControl(here, fleet, witness, parameters);
    let floodPerSecond = 0;
    for (const load of LOADS) {
      const order = orderOf(load, server.port, publishPort, floodPerSecond, parameters);
      const { beside, loaded } = await measureBeside(child, order, () =>
        measureControl(here, fleet, witness, parameters),
      );
      if (load === 'flood') floodPerSecond = loaded.published / loaded.seconds;
      const verdict = isolationVerdict(alone, beside);
      say({ server: name, load, round, alone, beside, loaded, verdict });
      await sleepMs(REST_MS);
    }
  } finally {
    await child.kill();
    await witness?.kill();
    await here.end();
  }
}

/** On the clients' core, as the load is. */
function startWitness(): Child {
  return startNode('witness', new URL('isolation-witness.ts', import.meta.url), CLIENT_CORE, []);
}

async function measureBeside(
  child: Child,
  order: LoadOrder,
  measure: () => Promise<ControlWindow>,
): Promise<{ beside: ControlWindow; loaded: LoadReport }> {
  await child.ask('begin', order, LOAD_DEADLINE_MS);
  const beside = await measure();
  return { beside, loaded: await child.ask<LoadReport>('end', null, LOAD_DEADLINE_MS) };
}

function orderOf(
  load: LoadName,
  port: number,
  publishPort: number,
  floodPerSecond: number,
  { stopped, flood, herd, warmUpSeconds, windowSeconds }: IsolationParameters,
): LoadOrder {
  const { lines, batchEvents } = {
    'stopped lines': stopped,
    flood,
    'half a flood': flood,
    herd: { lines: herd.lines, batchEvents: HERD_BATCH_EVENTS },
  }[load];
  return {
    load,
    port,
    publishPort,
    lines,
    seconds: LEAD_MS / 1000 + warmUpSeconds + windowSeconds + TAIL_SECONDS,
    batchEvents,
    historyBatches: herd.historyEvents / HERD_BATCH_EVENTS,
    batchesPerSecond:
      load === 'half a flood'
        ? Math.ceil(floodPerSecond / 2 / flood.batchEvents)
        : stopped.batchesPerSecond,
    connections: flood.connections,
  };
}

/** One window of the quiet channel, on the lines that it has. */
async function measureControl(
  here: Visit,
  fleet: Fleet,
  witness: Child | undefined,
  { ratePerSecond, warmUpSeconds, windowSeconds }: IsolationParameters,
): Promise<ControlWindow> {
  const { server } = here;
  const round = here.round(fleet, {
    ratePerSecond,
    events: Math.floor((warmUpSeconds + windowSeconds + TAIL_SECONDS) * ratePerSecond),
    window: { fromMs: warmUpSeconds * 1000, untilMs: (warmUpSeconds + windowSeconds) * 1000 },
    settleMs: SETTLE_DEADLINE_MS,
  });
  const startUs = nowUs() + LEAD_MS * 1000;
  const fromUs = startUs + warmUpSeconds * 1e6;
  const untilUs = fromUs + windowSeconds * 1e6;
  const playing = round.play(startUs);
  playing.catch(() => {});
  await Promise.race([sleepUntilUs(fromUs), playing]);
  const { logPid } = server;
  const usedBy = (): { server: number; log: number; all: number } => ({
    server: server.cpuSeconds(),
    log: logPid === undefined ? 0 : readProcessUsage(logPid).cpuSeconds,
    all: readBusySeconds(),
  });
  const natsAnswerMs = async (): Promise<Latency | null> =>
    witness === undefined ? null : witness.ask<Latency>('latency', null, LOAD_DEADLINE_MS);
  await natsAnswerMs();
  const before = usedBy();
  const coresSince = watchCores();
  const beganUs = nowUs();
  await sleepUntilUs(untilUs);
  const seconds = (nowUs() - beganUs) / 1e6;
  const after = usedBy();
  const cores = coresSince(seconds);
  const natsAnswered = await natsAnswerMs();
  const outcome = await playing;
  const published = publishedIn(outcome, fromUs, untilUs, Number.NaN);
  return {
    latencyMs: latencyIn(outcome.books.latencyUs),
    latenessMs: published.latenessMs,
    answerMs: published.answerMs,
    readLateMs: Math.max(...outcome.processes.map(({ lagMs }) => lagMs.p99)),
    accepted: published.accepted,
    refused: published.sent - published.accepted,
    check: checkOf(outcome),
    serverCpuShare: (after.server - before.server) / seconds,
    clientCpuShare:
      (after.all - before.all - (after.server - before.server) - (after.log - before.log)) /
      seconds,
    logCpuShare: logPid === undefined ? null : (after.log - before.log) / seconds,
    natsAnswerMs: natsAnswered,
    serverCoreShare: cores?.server ?? null,
    clientCoreShare: cores?.client ?? null,
  };
}

function remarksOn(rounds: readonly IsolationRound[]): string[] {
  return rounds.flatMap(({ server, load, round, alone, beside, loaded, verdict }) => {
    const where = `round ${round}, ${ISOLATION_TITLES[server]} beside ${load}`;
    const faults = faultsOf(beside.check) + faultsOf(alone.check);
    const gaps = server === 'memory' || server === 'workers' ? 0 : loaded.gaps;
    return [
      ...(verdict === 'client'
        ? [
            `${where}: discarded, the client was late itself (p99 ${ms(beside.latenessMs.p99)} to publish, ${ms(beside.readLateMs)} to read)`,
          ]
        : []),
      ...(faults > 0 ? [`${where}: ${faults} faults in the streams of the quiet channel`] : []),
      ...(beside.refused > 0
        ? [`${where}: ${beside.refused} events of the quiet channel were refused`]
        : []),
      ...(loaded.published === 0 ? [`${where}: the load published nothing`] : []),
      ...(load === 'herd' && loaded.waves === 0 ? [`${where}: the herd was never back`] : []),
      ...(gaps > 0 ? [`${where}: ${gaps} lines of the herd were told a gap`] : []),
      ...(loaded.refusedLines + loaded.closedLines > 0
        ? [
            `${where}: ${loaded.refusedLines} lines of the load were refused, ${loaded.closedLines} closed`,
          ]
        : []),
    ];
  });
}

function describeRound({ server, load, alone, beside, loaded, verdict }: IsolationRound): string {
  const latency = ({ latencyMs }: ControlWindow): string =>
    `p50 ${ms(latencyMs.p50)} p99 ${ms(latencyMs.p99)} max ${ms(latencyMs.max)}`;
  const { published, refused, skipped, waves, slowestLineMs, seconds, readBytes } = loaded;
  return [
    `${ISOLATION_TITLES[server]}: alone ${latency(alone)}`,
    `beside ${load} ${latency(beside)}: ${verdict}`,
    `sent late p99 ${ms(beside.latenessMs.p99)}, read late ${ms(beside.readLateMs)}, answered p99 ${ms(beside.answerMs.p99)}`,
    `server ${percent(beside.serverCpuShare)} of a core, cores ${percent(beside.serverCoreShare)} and ${percent(beside.clientCoreShare)} busy`,
    ...(beside.logCpuShare === null ? [] : [`nats-server ${percent(beside.logCpuShare)}`]),
    ...(beside.natsAnswerMs === null
      ? []
      : [`NATS itself p99 ${ms(alone.natsAnswerMs!.p99)} and ${ms(beside.natsAnswerMs.p99)}`]),
    `the load: ${short(published / seconds)} events/s, ${refused} refused, ${skipped} skipped, ${short(readBytes / seconds / 1e6)} MB/s read` +
      (load === 'herd' ? `, ${waves} waves, the slowest line ${ms(slowestLineMs)}` : ''),
    ...(loaded.firstRefusal === '' ? [] : [`refused: ${loaded.firstRefusal.slice(0, 200)}`]),
  ].join(', ');
}
