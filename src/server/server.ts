/** A server: how its parts fit together, and its life: listen, serve, drain, close. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { jwksEvents } from '../auth/jwks.js';
import type { Revocation } from '../auth/revocations.js';
import { SYSTEM_CLOCK } from '../clock.js';
import type { Options } from '../options/options.js';
import { splitHostAndPort } from '../options/place-kinds.js';
import { placeOf } from '../options/log-kinds.js';
import { resolveOptions } from '../options/settings.js';
import type { RunningSettings } from '../options/reload.js';
import type { Settings } from '../options/table.js';
import type { EventLog } from '../core/event-log.js';
import { Hub, type HubOptions } from '../core/hub.js';
import { makeHeldBytes } from '../core/held-bytes.js';
import { Idempotency } from '../core/idempotency.js';
import { compileSerializers } from '../core/serialize.js';
import { makeCounters, type Counters } from '../counters.js';
import { HoldlineError, withOwnErrors } from '../errors.js';
import type { Exchanges } from '../http/exchange.js';
import { Addresses } from '../http/address.js';
import { FailedKeys } from '../http/failed-keys.js';
import { Guard } from '../http/guard.js';
import { BodyTurns } from '../http/body-turns.js';
import { HeldRefusals } from '../http/held-refusals.js';
import { PendingAnswers } from '../http/pending-answers.js';
import { Places, type PlacesParts } from '../http/places.js';
import { PublishRates } from '../http/publish-rates.js';
import { Refusals } from '../http/refusals.js';
import { FAULT_LOG_MS, SPARE_SOCKETS_MAX } from '../limits.js';
import { KeptRevocations } from '../log/kept-revocations.js';
import { LogLoss } from '../log/log-loss.js';
import { keepRulesOf, makeLog } from '../log/make-log.js';
import { streamWriteBytesMax } from '../native/builds.js';
import type { CertificateFiles } from '../native/certificate.js';
import { listen, type Listener, type ListenOptions } from '../native/uws.js';
import { KernelMemory } from '../ops/memory/kernel-memory.js';
import { Memory } from '../ops/memory/memory.js';
import { Ops, type ShownLog } from '../ops/ops.js';
import { makePages } from '../ops/pages.js';
import { NamedBatchPublishing } from '../transports/named-batch.js';
import { checkForeign } from '../transports/foreign.js';
import { Publishing } from '../transports/publish.js';
import { LibraryLines, type LibraryLine } from '../transports/library.js';
import { Subscribing, type HeldSocket } from '../transports/subscribe.js';
import { throttle } from '../throttle.js';
import { watch } from '../transports/watch.js';
import { maxMessageBytes, Messages } from '../transports/websocket.js';
import { pagesOfAll } from '../workers/all-pages.js';
import type { Parent } from '../workers/parent.js';
import { OwnerCounts, ownerListener } from '../workers/owner-counts.js';
import { answersOf } from '../workers/questions.js';
import { makeActions } from './actions.js';
import type { Address, Hooks, Server } from './api.js';
import {
  certificateFilesOf,
  checkChannelArguments,
  checkListenArguments,
  checkOptionNames,
  drainMsOf,
  linesOf,
} from './arguments.js';
import { endConnections } from './connections.js';
import { Drain, spread } from './drain.js';
import { callHook, checkHooks, reporter } from './hooks.js';
import { libraryChannel } from './library-channel.js';
import { LogLife } from './log-life.js';
import { LogWatch } from './log-watch.js';
import { Router } from './router.js';
import { makeTicket } from './tickets.js';

/** What each server does when its configuration is read again; not for programs. */
const RELOADS = new WeakMap<Server, (settings: RunningSettings) => void>();

/**
 * Lets a server that was made by {@link createServer} run with other credentials, as
 * options/reload.ts says. Lines stay. Throws HOLDLINE_BAD_OPTION for a key that cannot be used, and
 * then nothing has changed.
 */
export function reloadServer(server: Server, settings: RunningSettings): void {
  RELOADS.get(server)?.(settings);
}

/**
 * Makes a server, which serves from `listen` to `close`. The options are those of the command line
 * (`holdline serve --help`) in camel case, sizes in bytes and times in ms; environment and
 * configuration file are not read. Throws HOLDLINE_BAD_OPTION for an option, a hook or a schema
 * that is not valid.
 */
export function createServer(options: Options & Hooks = {}): Server {
  return withOwnErrors(() => makeServer(options, makeLog, makeCounters()));
}

/**
 * As {@link createServer}, with counters in which `holdline serve` counts, too: its log has begun
 * before the server.
 */
export function createCountingServer(options: Options & Hooks, counters: Counters): Server {
  return withOwnErrors(() => makeServer(options, makeLog, counters));
}

/** As {@link createServer}, on a log of the caller's own; not for programs. */
export function createServerOn(log: EventLog, options: Options & Hooks = {}): Server {
  return withOwnErrors(() => makeServer(options, () => log, makeCounters()));
}

/**
 * Makes the server of one of several workers, with the settings of all. Over NATS each has a log of
 * its own, which they share there.
 */
export function createWorkerServer(
  options: Options & Hooks,
  counters: Counters,
  parent: Parent,
): Server {
  const ofAll = placeOf(options.log ?? 'memory').kind === 'nats' ? makeLog : () => parent.log;
  return withOwnErrors(() => makeServer(options, ofAll, counters, parent));
}

function makeServer(
  options: Options & Hooks,
  makeOwnLog: typeof makeLog,
  counters: Counters,
  parent?: Parent,
): Server {
  checkOptionNames(options);
  const { authorize, onOpen, onClose, eventSchemas, onError, onWarning, onRefusal, ...given } =
    options;
  const settings =
    // The file limit bounds what one process holds of the lines of all.
    parent === undefined ? resolveOptions(given) : resolveOptions(given, Infinity);
  checkHooks({ authorize, onOpen, onClose, onError, onWarning, onRefusal });
  const report = reporter(onError, counters);
  const serialize = compileSerializers(eventSchemas ?? {});
  const { maxEventBytes } = settings;
  const warn = (words: string): void => callHook(() => onWarning?.(words), report);
  const tellOfLog = throttle<string>(
    FAULT_LOG_MS,
    (words, more) => warn(more === 0 ? words : `${words} (and ${more} more)`),
    counters,
  );
  const log = makeOwnLog(settings, SYSTEM_CLOCK, counters, {
    // What a log says in its own words is for an operator, and no fault of the server.
    report(error) {
      if (!(error instanceof HoldlineError)) report(error);
      // A fault often comes right before a loss, which would be left out behind it.
      else if (error instanceof LogLoss) warn(error.message);
      else tellOfLog(error.message);
    },
    check: (event) => checkForeign(event, maxEventBytes),
  });
  const held = makeHeldBytes();
  const hubOptions: HubOptions = {
    replay: { events: settings.replayEvents, bytes: settings.replayBytes },
    replayTotalBytes: settings.replayTotalBytes,
    heartbeatMs: settings.heartbeatMs,
    flushIntervalMs: settings.flushIntervalMs,
    slow: settings.slow,
    policies: settings.policies,
    maxAgeMs: settings.maxAgeMs,
    // Large writes were not tried under TLS, which cuts them into records of 16 KiB anyway.
    ...(settings.tlsCert === undefined && { writeBytesMax: streamWriteBytesMax() }),
  };
  const hub = new Hub<HeldSocket | LibraryLine>(log, SYSTEM_CLOCK, counters, hubOptions, held);
  // Hooks run in a turn of their own, because a line may close in the middle of a sweep.
  const inItsTurn = (hook: () => unknown): void => SYSTEM_CLOCK.soon(() => callHook(hook, report));
  if (onOpen !== undefined) hub.onJoin = (line) => inItsTurn(() => onOpen(line));
  if (onClose !== undefined)
    hub.onLeave = (line, reason) => inItsTurn(() => onClose({ ...line, reason }));

  let opsKey = settings.opsKey ?? randomBytes(24).toString('base64url');
  const jwks = jwksEvents(counters, warn);
  const guard = new Guard({ ...settings, authorize, report, opsKey, jwks });
  /** False when that was known already. Lines end also where the table is full. */
  const revokedElsewhere = (revocation: Revocation): boolean => {
    try {
      return guard.revokedElsewhere(revocation);
    } catch (error) {
      report(error);
      return true;
    }
  };
  const logWatch = new LogWatch(log, SYSTEM_CLOCK, warn);
  const logLife = new LogLife(log, async () => {
    // In the turn in which it was opened, so that nothing that is committed is missed.
    hub.begin();
    logWatch.start();
    if (log.rows === undefined) return;
    const revocations = new KeptRevocations(log.rows, (revocation) => {
      // Told again, it must not end what the user has opened with a newer credential.
      if (revokedElsewhere(revocation)) hub.disconnect({ user: revocation.user }, 'revoked');
    });
    await guard.keepRevocations(revocations);
  });
  const memory = new Memory(
    hub.figures,
    SYSTEM_CLOCK,
    new KernelMemory(SYSTEM_CLOCK),
    held,
    settings.memoryBudgetBytes,
  );
  const linesMax = parent?.linesMax ?? settings.maxConnections;
  const socketsMax = linesMax + SPARE_SOCKETS_MAX;
  const { kind } = placeOf(settings.log);
  const shownLog: ShownLog = {
    kind,
    get state() {
      return log.state;
    },
    get figures() {
      return log.figures;
    },
    get times() {
      return log.times;
    },
  };
  const caps = { lines: settings.maxConnections, sockets: socketsMax };
  const ops = new Ops(hub.figures, counters, memory, shownLog, caps);
  const heldRefusals = new HeldRefusals(counters, socketsMax);
  const addresses = new Addresses(settings);
  addresses.readsProxyProtocol = settings.tlsCert === undefined;
  const rates = new PublishRates(settings.publishRate, SYSTEM_CLOCK, counters);
  const placesParts = { hub, memory, clock: SYSTEM_CLOCK, counters };
  const places =
    parent === undefined
      ? new Places(placesParts, settings)
      : placesOfAll(parent, hub, memory, counters, settings);
  const refusals = new Refusals(
    counters,
    onRefusal && ((refusal) => inItsTurn(() => onRefusal(refusal))),
  );
  const messages = new Messages(hub, counters, held, { maxEventBytes, rates, refusals, report });
  const idempotency = new Idempotency(log, counters);
  const ownPages = makePages(
    { ops, memory, hub: hub.figures, log },
    settings.demo,
    settings.basePath,
  );
  const pages = parent === undefined ? ownPages : pagesOfAll(ownPages, parent);
  if (parent !== undefined) {
    parent.onQuestion = answersOf({
      pages: ownPages,
      hub,
      spawn: parent.welcome.spawn,
      revoke: revokedElsewhere,
    });
    hub.countElsewhere(parent.elsewhere, {
      changed: (name, _before, after) => parent.linesChanged(name, after),
    });
    rates.onTaken = (source, events) => parent.taken(source, events);
    parent.onTaken = (source, events) => rates.takenElsewhere(source, events);
    parent.log.queueLengthOf = (channel) => hub.channels.get(channel)?.queueLength ?? 0;
  }
  const pending = new PendingAnswers(counters, held);
  hub.polls.answers.bodyBytesMax = () => pending.bodyBytesMax;
  const exchanges: Exchanges = {
    counters,
    addresses,
    pending,
    bodyTurns: new BodyTurns(),
    refusals,
    report,
    homePath: `${settings.basePath}/`,
    draining: false,
    ended: false,
    refusedThisTurn: 0,
  };
  const failedKeys = new FailedKeys(counters, warn);
  const watching = { watchers: hub.watchers, guard, exchanges, retryMs: settings.retryMs };
  const namedBatches = new NamedBatchPublishing(
    { hub, guard, idempotency, exchanges, counters, rates },
    maxEventBytes,
  );
  const subscribing = new Subscribing(
    { hub, messages, guard, failedKeys, exchanges, places, heldRefusals, rates },
    settings,
  );
  const lines = new LibraryLines(
    {
      join: (...line) => hub.join(...line),
      left: (...line) => hub.left(...line),
      stalled: (...line) => hub.stalled(...line),
      drained: (...line) => hub.drained(...line),
      // A program may subscribe before it listens.
      ready(names, position) {
        const opening = logLife.opened();
        if (opening === undefined) return hub.ready(names, position);
        return opening.then(() => hub.ready(names, position) ?? position);
      },
    },
    () => subscribing.checkPlace(),
  );
  const router = new Router({
    exchanges,
    guard,
    failedKeys,
    pages,
    basePath: settings.basePath,
    isTls: settings.tlsCert !== undefined,
    hasOpsPort: settings.opsListen !== undefined,
    actions: makeActions({
      publish: namedBatches.publish,
      makeTicket: (exchange, head) => makeTicket({ guard, hub, counters }, exchange, head),
      watch: (exchange, head) => watch(watching, exchange, head),
      endConnections: (exchange, head) =>
        endConnections({ guard, hub, counters, everyone: parent }, exchange, head),
    }),
    publishing: new Publishing({ hub, idempotency, counters, rates, guard }, maxEventBytes),
    subscribing,
  });
  /** True from the first call of `listen`, unless it fails. */
  let isListening = false;
  let listener: Listener | undefined;
  const drain = new Drain({
    clock: SYSTEM_CLOCK,
    pause: sleep,
    hub,
    retryMs: settings.retryMs,
    refuseLines() {
      exchanges.draining = true;
      heldRefusals.release();
      hub.watchers.endAll('draining', () => spread(settings.retryMs));
    },
    refuseAll() {
      exchanges.ended = true;
      messages.ended = true;
      listener?.stopListening();
    },
    openSockets: () => counters.sockets_opened_total - counters.sockets_closed_total,
    async closeAll() {
      hub.closing();
      listener?.closeAll();
      lines.closeAll();
      hub.stop();
      ops.stop();
      await memory.stop();
      logWatch.stop();
      await logLife.close().catch(report);
    },
  });

  async function startListening(): Promise<Address> {
    const joinsOthers = memory.startingCount === undefined;
    try {
      await logLife.opened();
      // Before the first line, since the budget may be used up by those that are there.
      if (joinsOthers) await memory.start(settings.port);
    } catch (error) {
      isListening = false;
      throw drain.hasBegun ? cannotListen('was closed meanwhile') : error;
    }
    if (drain.hasBegun) throw cannotListen('was closed meanwhile');
    const { opsListen } = settings;
    const wanted: ListenOptions = {
      ...settings,
      maxConnections: linesMax,
      sharesPort: parent !== undefined,
      certificate: certificateOf(settings),
      ops: opsListen === undefined ? undefined : splitHostAndPort(opsListen),
      pingMs: settings.heartbeatMs,
      maxMessageBytes: maxMessageBytes(maxEventBytes),
    };
    let started: Listener;
    try {
      const { handle, handleOps } = router;
      const { accepted } = heldRefusals;
      started = await listen(wanted, counters, { handle, handleOps, messages, accepted });
    } catch (error) {
      // Another attempt may find the port free.
      isListening = false;
      throw error;
    }
    if (drain.hasBegun) {
      started.closeAll();
      throw cannotListen('was closed meanwhile');
    }
    listener = started;
    addresses.isReplaceable = started.replacesProxied;
    if (started.headBytesMax !== settings.maxHeaderBytes)
      warn(headsWarning(started.headBytesMax, settings.maxHeaderBytes));
    ops.start(listener);
    try {
      if (!joinsOthers) await memory.start(listener.port);
    } catch (error) {
      await drain.end(0);
      throw error;
    }
    const { port, opsPort } = listener;
    const { host, unixSocket } = settings;
    return unixSocket === undefined
      ? { host, port, opsPort }
      : { host: '', port, opsPort, unixSocket };
  }

  const functions: Omit<Server, 'opsKey'> = {
    channel: (...parts) =>
      withOwnErrors(() => {
        const name = checkChannelArguments(parts);
        const opened = (): Promise<void> | undefined => logLife.opened();
        return libraryChannel(name, { hub, lines, exchanges, serialize, maxEventBytes, opened });
      }),
    listen: (...args: unknown[]) =>
      withOwnErrors(async () => {
        checkListenArguments(args);
        if (drain.hasBegun) throw cannotListen('was closed');
        if (isListening) throw cannotListen('is listening already');
        isListening = true;
        return startListening();
      }),
    disconnect: (...args: unknown[]) =>
      withOwnErrors(() => hub.disconnect(linesOf(args), 'disconnected')),
    stats: () => ops.stats(exchanges.draining),
    changeCertificate: (...args: unknown[]) =>
      withOwnErrors(async () => {
        const files = certificateFilesOf(args);
        if (listener === undefined) throw cannotListen('does not listen');
        await listener.changeCertificate(files);
      }),
    close: (wanted) =>
      withOwnErrors(async () => {
        const drainMs = drainMsOf(wanted) ?? (drain.hasBegun ? Infinity : settings.drainMs);
        return drain.end(drainMs);
      }),
  };
  const server = Object.defineProperty(functions, 'opsKey', { get: () => opsKey }) as Server;
  RELOADS.set(server, (next) => {
    guard.reload(next);
    opsKey = next.opsKey;
    hub.channels.usePolicies(next.policies);
    log.keepTo?.(keepRulesOf(next));
  });
  return server;
}

/** Places of one of several workers: limits are for all of them together. */
function placesOfAll(
  parent: Parent,
  hub: Hub<HeldSocket | LibraryLine>,
  memory: Memory,
  counters: Counters,
  settings: Settings,
): Places {
  const lines = parent.share('lines', () => hub.lines.open);
  const polls =
    settings.maxWaitingPolls > 0 ? parent.share('polls', () => hub.polls.waiting) : undefined;
  hub.owners.onCount = ownerListener(settings, (key, count) => parent.linesChanged(key, count));
  memory.elsewhereBytes = () => parent.elsewhereBytes;
  memory.startingCount = parent.startingCount;
  parent.ownBytes = () => memory.processBytes;
  const parts: PlacesParts = {
    hub: {
      lines: hub.lines,
      polls: hub.polls,
      owners: new OwnerCounts(hub.owners, parent.owners),
    },
    memory,
    clock: SYSTEM_CLOCK,
    counters,
    hasPlace: () => lines.hasRoom,
    hasPollPlace: polls && (() => polls.hasRoom),
  };
  // The system spreads connections evenly.
  const acceptRate = Math.ceil(settings.acceptRate / parent.welcome.count);
  return new Places(parts, { ...settings, acceptRate });
}

/** The files of a server with TLS. */
function certificateOf({ tlsCert, tlsKey }: Settings): CertificateFiles | undefined {
  return tlsCert === undefined || tlsKey === undefined ? undefined : { tlsCert, tlsKey };
}

/** A program loaded uWebSockets.js before this server could say how large a head may be. */
function headsWarning(headBytesMax: number, wanted: number): string {
  return (
    `request heads may have ${headBytesMax} bytes and not the ${wanted} of --max-header-bytes, because ` +
    `uWebSockets.js was loaded before this server listened; set UWS_HTTP_MAX_HEADERS_SIZE=${wanted} before it is loaded`
  );
}

function cannotListen(problem: string): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_LISTEN',
    `this server ${problem}; make another with createServer`,
  );
}
