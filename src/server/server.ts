/** A server: wiring, and its life from listen over serve to drain and close. */
import { randomBytes } from 'node:crypto';
import { SYSTEM_CLOCK } from '../clock.js';
import { resolveOptions } from '../options/settings.js';
import type { Options } from '../options/table.js';
import { checkEventType, type NewEvent } from '../core/event.js';
import { Hub, type HubOptions } from '../core/hub.js';
import { Idempotency } from '../core/idempotency.js';
import { compileSerializers, type EventSchemas } from '../core/serialize.js';
import { makeCounters } from '../counters.js';
import { HoldlineError, withStack } from '../errors.js';
import { makeHeldBytes } from '../core/held-bytes.js';
import { callHook, checkHooks, reporter } from './hooks.js';
import {
  DRAIN_ENDS_PER_TURN_MIN,
  DRAIN_LINGER_MS_MAX,
  DRAIN_TURN_MS,
  SPARE_SOCKETS_MAX,
} from '../limits.js';
import { MemoryLog } from '../log/memory-log.js';
import { listen, type Listener } from '../native/uws.js';
import { KernelMemory } from '../ops/memory/kernel-memory.js';
import { Memory } from '../ops/memory/memory.js';
import { Ops, type Stats } from '../ops/ops.js';
import { makePages } from '../ops/pages.js';
import { Router, type HeldSocket } from './router.js';
import type { Exchanges } from '../http/exchange.js';
import { FailedKeys } from '../http/failed-keys.js';
import { Guard, type Authorize } from '../http/guard.js';
import { checkSize } from '../transports/event-size.js';
import { PendingAnswers } from '../http/pending-answers.js';
import { checkUtf8 } from '../transports/publish.js';
import { checkChannelName } from '../http/request.js';
import { maxMessageBytes, Messages } from '../transports/websocket.js';

/** What an embedding program may add to the options. */
export interface Hooks {
  /** Asked for every subscribe, publish and delete over the wire. */
  readonly authorize?: Authorize;
  /** Told of every stream and WebSocket that opened; of polls it is not told. */
  readonly onOpen?: (line: LineInfo) => void;
  /** Told of every one of them that closed. */
  readonly onClose?: (line: LineInfo) => void;
  /** JSON Schemas by event type, for objects published through the library. Compiled once. */
  readonly eventSchemas?: EventSchemas;
  /**
   * Told of faults that are not a client's: those of hooks, and of Holdline itself. The default
   * logs one a second to stderr.
   */
  readonly onError?: (error: unknown) => void;
  /**
   * Told in words, at most once a second, what an operator should see and is nobody's fault here:
   * wrong keys.
   */
  readonly onWarning?: (words: string) => void;
}

/** A line, as hooks see it. */
export interface LineInfo {
  readonly channels: readonly string[];
}

/** An event as the library takes it. */
export interface LibraryEvent {
  /** Event type, 1 to 64 printable characters; without one clients dispatch `message`. */
  readonly event?: string;
  /** A string or UTF-8 bytes go out as they are; anything else as JSON. */
  readonly data: unknown;
}

/** A channel of a server. */
export interface ServerChannel {
  readonly name: string;
  /**
   * Publishes an event; resolves to its id. Rejects with a HoldlineError, HOLDLINE_PUBLISH_BUSY
   * among them: then try again.
   */
  publish(event: LibraryEvent): Promise<number>;
  /** Publishes several events, all or none; resolves to their ids. */
  publishAll(events: readonly LibraryEvent[]): Promise<readonly number[]>;
  /**
   * Ends the channel's history and the lines on it alone, as DELETE does; resolves to the id of the
   * deletion.
   */
  delete(): Promise<number>;
}

export interface Server {
  /** The channel of that name. Throws HOLDLINE_BAD_CHANNEL. */
  channel(name: string): ServerChannel;
  /** Listens; resolves to the address. Rejects with HOLDLINE_LISTEN or HOLDLINE_NATIVE. */
  listen(): Promise<{ readonly host: string; readonly port: number }>;
  /** The figures of `/-/stats`. */
  stats(): Stats;
  /**
   * Takes nothing new, ends every line with an end event, and closes; at the latest after `drainMs`
   * (default: the option).
   */
  close(options?: { readonly drainMs?: number }): Promise<void>;
}

/**
 * Makes a server. Options are those of the command line, in camel case, sizes in bytes and times in
 * ms. Throws HOLDLINE_BAD_OPTION.
 */
export function createServer(options: Options & Hooks = {}): Server {
  const { authorize, onOpen, onClose, eventSchemas, onError, onWarning, ...given } = options;
  const settings = resolveOptions(given);
  checkHooks({ authorize, onOpen, onClose, onError, onWarning });
  const report = reporter(onError);
  const serialize = compileSerializers(eventSchemas ?? {});
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
  // Hooks run in a turn of their own: a line may close in the middle of a sweep.
  const tell = (hook: ((line: LineInfo) => void) | undefined) =>
    hook === undefined
      ? undefined
      : (channels: readonly string[]) =>
          SYSTEM_CLOCK.soon(() => callHook(() => hook({ channels }), report));
  hub.onJoin = tell(onOpen);
  hub.onLeave = tell(onClose);

  const guard = new Guard({
    ...settings,
    authorize,
    report,
    opsKey: settings.opsKey ?? randomBytes(24).toString('base64url'),
  });
  const memory = new Memory(
    hub,
    SYSTEM_CLOCK,
    new KernelMemory(SYSTEM_CLOCK),
    held,
    settings.memoryBudgetBytes,
  );
  const ops = new Ops(hub, counters, memory, {
    lines: settings.maxConnections,
    sockets: settings.maxConnections + SPARE_SOCKETS_MAX,
  });
  const messages = new Messages(hub, counters, held, {
    maxEventBytes: settings.maxEventBytes,
    report,
  });
  const idempotency = new Idempotency(log, counters);
  const pages = makePages({ ops, memory, hub }, settings.demo);
  const pending = new PendingAnswers(counters, held);
  hub.pollAnswers.bodyBytesMax = () => pending.bodyBytesMax;
  const exchanges: Exchanges = { counters, pending, report, draining: false, refusedThisTurn: 0 };
  const failedKeys = new FailedKeys(counters, (words) =>
    callHook(() => onWarning?.(words), report),
  );
  const router = new Router(
    { hub, messages, idempotency, guard, pages, memory, exchanges, failedKeys },
    settings,
  );
  let listener: Listener | undefined;
  let closing: Promise<void> | undefined;

  function toEvent(channel: string, { event: type, data }: LibraryEvent): NewEvent {
    if (type !== undefined) checkEventType(type);
    const isBytes = data instanceof Uint8Array;
    if (isBytes) checkUtf8(data, 'data');
    const isText = isBytes || typeof data === 'string';
    const bytes = isBytes
      ? Uint8Array.from(data)
      : Buffer.from(typeof data === 'string' ? data : serialize(type, data));
    const event: NewEvent = { channel, type, data: bytes, json: !isText };
    checkSize(event, settings.maxEventBytes);
    return event;
  }

  function checkOpen(): void {
    if (router.draining) throw new HoldlineError('HOLDLINE_DRAINING', 'the server is closing');
  }

  async function publishAll(
    name: string,
    events: readonly LibraryEvent[],
  ): Promise<readonly number[]> {
    try {
      checkOpen();
      if (events.length === 0) return [];
      const published = await hub.publish(
        name,
        events.map((event) => toEvent(name, event)),
      );
      return published.ids;
    } catch (error) {
      throw withStack(error);
    }
  }

  async function drain(drainMs: number): Promise<void> {
    const deadlineMs = performance.now() + drainMs;
    router.drain();
    listener?.stopListening();
    // What was accepted goes out first, if that does not take more than half the time.
    while (!hub.isSettled && performance.now() < deadlineMs - drainMs / 2) await pause(1);
    const turns = Math.max(1, Math.floor(drainMs / 2 / DRAIN_TURN_MS));
    const endsPerTurn = Math.max(DRAIN_ENDS_PER_TURN_MIN, Math.ceil(hub.lines.open / turns));
    while (hub.endSome(endsPerTurn, 'draining') > 0 && performance.now() < deadlineMs)
      await pause(DRAIN_TURN_MS);
    // Closing drops what is in user space, not what is in the kernel. Nothing tells when that has
    // left a response that was ended. native-notes/end-of-stream.md
    const lingerUntilMs = Math.min(deadlineMs, performance.now() + DRAIN_LINGER_MS_MAX);
    const openSockets = (): number => counters.sockets_opened_total - counters.sockets_closed_total;
    while (openSockets() > 0 && performance.now() < lingerUntilMs) await pause(DRAIN_TURN_MS);
    listener?.closeAll();
    hub.stop();
    ops.stop();
    await memory.stop();
    await log.close();
  }

  return {
    channel(name) {
      try {
        checkChannelName(name);
      } catch (error) {
        throw withStack(error);
      }
      return {
        name,
        publish: async (event) => (await publishAll(name, [event]))[0] as number,
        publishAll: (events) => publishAll(name, events),
        async delete() {
          checkOpen();
          return (await hub.deleteChannel(name)).ids[0] as number;
        },
      };
    },
    async listen() {
      if (listener !== undefined || closing !== undefined) {
        throw new HoldlineError(
          'HOLDLINE_LISTEN',
          'this server listens already or was closed; make another with createServer',
        );
      }
      const { heartbeatMs, maxEventBytes } = settings;
      listener = await listen(
        { ...settings, pingMs: heartbeatMs, maxMessageBytes: maxMessageBytes(maxEventBytes) },
        counters,
        router.handle,
        messages,
      );
      ops.start(listener.socketReport);
      try {
        await memory.start(listener.port);
      } catch (error) {
        closing = drain(0);
        await closing;
        throw error;
      }
      return { host: settings.host, port: listener.port };
    },
    stats: () => ops.stats(router.draining),
    close({ drainMs = settings.drainMs } = {}) {
      closing ??= drain(drainMs);
      return closing;
    },
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
