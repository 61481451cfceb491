/** A server: how its parts fit together, and its life: listen, serve, drain, close. */
import { randomBytes } from 'node:crypto';
import { SYSTEM_CLOCK } from '../clock.js';
import { splitHostAndPort } from '../options/place-kinds.js';
import { resolveOptions } from '../options/settings.js';
import type { Options, Settings } from '../options/table.js';
import { Hub, type HubOptions } from '../core/hub.js';
import { makeHeldBytes } from '../core/held-bytes.js';
import { Idempotency } from '../core/idempotency.js';
import { compileSerializers } from '../core/serialize.js';
import { makeCounters } from '../counters.js';
import { HoldlineError, withStack } from '../errors.js';
import type { Exchanges } from '../http/exchange.js';
import { FailedKeys } from '../http/failed-keys.js';
import { Guard } from '../http/guard.js';
import { BodyTurns } from '../http/body-turns.js';
import { HeldRefusals } from '../http/held-refusals.js';
import { PendingAnswers } from '../http/pending-answers.js';
import {
  DRAIN_ENDS_PER_TURN_MIN,
  DRAIN_LINGER_MS_MAX,
  DRAIN_TURN_MS,
  SPARE_SOCKETS_MAX,
} from '../limits.js';
import { MemoryLog } from '../log/memory-log.js';
import type { CertificateFiles } from '../native/certificate.js';
import { listen, type Listener, type ListenOptions } from '../native/uws.js';
import { KernelMemory } from '../ops/memory/kernel-memory.js';
import { Memory } from '../ops/memory/memory.js';
import { Ops } from '../ops/ops.js';
import { makePages } from '../ops/pages.js';
import { Publishing } from '../transports/publish.js';
import { Subscribing, type HeldSocket } from '../transports/subscribe.js';
import { maxMessageBytes, Messages } from '../transports/websocket.js';
import type { Address, Hooks, LineInfo, Server } from './api.js';
import {
  checkChannelArguments,
  checkListenArguments,
  checkOptionNames,
  drainMsOf,
} from './arguments.js';
import { callHook, checkHooks, reporter } from './hooks.js';
import { libraryChannel } from './library-channel.js';
import { Router } from './router.js';

/**
 * Makes a server, which serves from `listen` to `close`. The options are those of the command line
 * (`holdline serve --help`) in camel case, sizes in bytes and times in ms; environment and
 * configuration file are not read. Throws HOLDLINE_BAD_OPTION for an option, a hook or a schema
 * that is not valid.
 */
export function createServer(options: Options & Hooks = {}): Server {
  checkOptionNames(options);
  const { authorize, onOpen, onClose, eventSchemas, onError, onWarning, ...given } = options;
  const settings = resolveOptions(given);
  checkHooks({ authorize, onOpen, onClose, onError, onWarning });
  const report = reporter(onError);
  const serialize = compileSerializers(eventSchemas ?? {});
  const { maxEventBytes } = settings;
  const counters = makeCounters();
  const log = new MemoryLog(SYSTEM_CLOCK, counters, settings.firstId);
  const held = makeHeldBytes();
  const hubOptions: HubOptions = {
    replay: { events: settings.replayEvents, bytes: settings.replayBytes },
    replayTotalBytes: settings.replayTotalBytes,
    heartbeatMs: settings.heartbeatMs,
    flushIntervalMs: settings.flushIntervalMs,
    slow: settings.slow,
  };
  const hub = new Hub<HeldSocket>(log, SYSTEM_CLOCK, counters, hubOptions, held);
  // Hooks run in a turn of their own, because a line may close in the middle of a sweep.
  const inItsTurn = (hook: ((line: LineInfo) => void) | undefined) =>
    hook === undefined
      ? undefined
      : (channels: readonly string[]) =>
          SYSTEM_CLOCK.soon(() => callHook(() => hook({ channels }), report));
  hub.onJoin = inItsTurn(onOpen);
  hub.onLeave = inItsTurn(onClose);

  const guard = new Guard({
    ...settings,
    authorize,
    report,
    isTls: settings.tlsCert !== undefined,
    opsKey: settings.opsKey ?? randomBytes(24).toString('base64url'),
  });
  const memory = new Memory(
    hub,
    SYSTEM_CLOCK,
    new KernelMemory(SYSTEM_CLOCK),
    held,
    settings.memoryBudgetBytes,
  );
  const socketsMax = settings.maxConnections + SPARE_SOCKETS_MAX;
  const ops = new Ops(hub, counters, memory, {
    lines: settings.maxConnections,
    sockets: socketsMax,
  });
  const heldRefusals = new HeldRefusals(counters, socketsMax);
  const messages = new Messages(hub, counters, held, { maxEventBytes, report });
  const idempotency = new Idempotency(log, counters);
  const pages = makePages({ ops, memory, hub }, settings.demo);
  const pending = new PendingAnswers(counters, held);
  hub.polls.answers.bodyBytesMax = () => pending.bodyBytesMax;
  const exchanges: Exchanges = {
    counters,
    pending,
    bodyTurns: new BodyTurns(),
    report,
    homePath: `${settings.basePath}/`,
    draining: false,
    refusedThisTurn: 0,
  };
  const failedKeys = new FailedKeys(counters, (words) =>
    callHook(() => onWarning?.(words), report),
  );
  const router = new Router({
    exchanges,
    guard,
    failedKeys,
    pages,
    basePath: settings.basePath,
    isTls: settings.tlsCert !== undefined,
    hasOpsPort: settings.opsListen !== undefined,
    actions: new Map(),
    publishing: new Publishing({ hub, idempotency, counters }, maxEventBytes),
    subscribing: new Subscribing(
      { hub, messages, guard, failedKeys, exchanges, memory, heldRefusals },
      settings,
    ),
  });
  /** True from the first call of `listen`, unless it fails. */
  let isListening = false;
  let listener: Listener | undefined;
  let closing: Promise<void> | undefined;

  async function drain(drainMs: number): Promise<void> {
    const deadlineMs = performance.now() + drainMs;
    exchanges.draining = true;
    messages.draining = true;
    heldRefusals.release();
    listener?.stopListening();
    // What was accepted goes out first, for at most half the time.
    while (!hub.isSettled && performance.now() < deadlineMs - drainMs / 2) await pause(1);
    const turns = Math.max(1, Math.floor(drainMs / 2 / DRAIN_TURN_MS));
    const endsPerTurn = Math.max(DRAIN_ENDS_PER_TURN_MIN, Math.ceil(hub.lines.open / turns));
    while (hub.endSome(endsPerTurn, 'draining') > 0 && performance.now() < deadlineMs)
      await pause(DRAIN_TURN_MS);
    // To close drops what is in user space, but not what is in the kernel. Nothing tells when the
    // former has left a response that was ended. native-notes/end-of-stream.md
    const lingerUntilMs = Math.min(deadlineMs, performance.now() + DRAIN_LINGER_MS_MAX);
    const openSockets = (): number => counters.sockets_opened_total - counters.sockets_closed_total;
    while (openSockets() > 0 && performance.now() < lingerUntilMs) await pause(DRAIN_TURN_MS);
    listener?.closeAll();
    hub.stop();
    ops.stop();
    await memory.stop();
    await log.close();
  }

  async function startListening(): Promise<Address> {
    const { opsListen } = settings;
    const wanted: ListenOptions = {
      ...settings,
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
    if (closing !== undefined) {
      started.closeAll();
      throw cannotListen('was closed meanwhile');
    }
    listener = started;
    ops.start(listener);
    try {
      await memory.start(listener.port);
    } catch (error) {
      closing = drain(0);
      await closing;
      throw error;
    }
    const { port, opsPort } = listener;
    const { host, unixSocket } = settings;
    return unixSocket === undefined
      ? { host, port, opsPort }
      : { host: '', port, opsPort, unixSocket };
  }

  async function reload(wanted: Options): Promise<void> {
    checkOptionNames(wanted);
    const next = resolveOptions(wanted);
    const certificate = certificateOf(next);
    if (listener === undefined || closing !== undefined) throw cannotListen('does not listen');
    if ((certificate === undefined) !== (settings.tlsCert === undefined)) {
      const problem = 'TLS cannot begin or end while the server runs; start it again';
      throw new HoldlineError('HOLDLINE_BAD_OPTION', problem);
    }
    if (certificate !== undefined) await listener.changeCertificate(certificate);
  }

  return {
    channel(...parts) {
      try {
        const name = checkChannelArguments(parts);
        return libraryChannel(name, { hub, exchanges, serialize, maxEventBytes });
      } catch (error) {
        throw withStack(error);
      }
    },
    async listen(...args: unknown[]) {
      try {
        checkListenArguments(args);
        if (closing !== undefined) throw cannotListen('was closed');
        if (isListening) throw cannotListen('is listening already');
        isListening = true;
        return await startListening();
      } catch (error) {
        throw withStack(error);
      }
    },
    stats: () => ops.stats(exchanges.draining),
    async reload(wanted) {
      try {
        await reload(wanted);
      } catch (error) {
        throw withStack(error);
      }
    },
    async close(wanted) {
      const drainMs = drainMsOf(wanted) ?? settings.drainMs;
      closing ??= drain(drainMs);
      return closing;
    },
  };
}

/** The files of a server with TLS. */
function certificateOf({ tlsCert, tlsKey }: Settings): CertificateFiles | undefined {
  return tlsCert === undefined || tlsKey === undefined ? undefined : { tlsCert, tlsKey };
}

function cannotListen(problem: string): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_LISTEN',
    `this server ${problem}; make another with createServer`,
  );
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
