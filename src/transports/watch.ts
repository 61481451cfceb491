/**
 * `GET /-/watch`: a stream of `{"channel","subscribers"}`, as server-sent events or as lines of
 * JSON, for whoever has the right to watch channels (core/watchers.ts).
 */
import { NDJSON, SSE_DATA } from '../core/frame.js';
import type { Watchers } from '../core/watchers.js';
import { HoldlineError, isTemporary } from '../errors.js';
import { clientKindOf } from '../http/client-kind.js';
import { checkHolding, type Exchange, type Exchanges } from '../http/exchange.js';
import type { Grant, Guard } from '../http/guard.js';
import type { Head } from '../http/head.js';
import { Query } from '../http/query.js';
import { negotiate } from '../http/request.js';
import { hold, streamPort } from '../native/uws.js';
import { writeStreamHead } from './stream.js';

/** What watching takes of the server. */
export interface WatchingParts {
  readonly watchers: Watchers;
  readonly guard: Pick<Guard, 'mayWatch' | 'whenGranted'>;
  readonly exchanges: Exchanges;
  /** `--retry`, ms. */
  readonly retryMs: number;
}

/**
 * Opens the stream, at once for a key and later for a token. Throws or rejects with
 * HOLDLINE_UNAUTHORIZED, HOLDLINE_FORBIDDEN, HOLDLINE_REVOKED, HOLDLINE_BAD_QUERY,
 * HOLDLINE_NOT_FOUND, HOLDLINE_TOKEN_KEYS_UNAVAILABLE, HOLDLINE_DRAINING and
 * HOLDLINE_WATCHERS_FULL; an EventSource is answered the last three with 200, `retry` and the end
 * of the stream.
 */
export function watch(
  parts: WatchingParts,
  exchange: Exchange,
  head: Head,
): Promise<void> | undefined {
  const { guard } = parts;
  const granted = guard.mayWatch(head);
  // It may reject while the request is refused for something else.
  if (granted instanceof Promise) granted.catch(() => {});
  const { open, refuse } = opener(parts, exchange, head);
  try {
    return guard.whenGranted(exchange, granted, open)?.catch(refuse);
  } catch (error) {
    refuse(error);
    return undefined;
  }
}

interface Opener {
  open(this: void, grant: Grant): undefined;
  /** Throws what is to be answered in the way of all requests. */
  refuse(this: void, error: unknown): void;
}

/** Reads all that is needed of the request, in its turn. */
function opener(
  { watchers, exchanges, retryMs }: WatchingParts,
  exchange: Exchange,
  head: Head,
): Opener {
  const query = new Query(head.query);
  query.checkNamesAmong(['client']);
  const transport = negotiate(head.get('upgrade'), head.get('accept'), false);
  if (transport === 'websocket') {
    // Not 426: that would ask for the upgrade again.
    throw new HoldlineError(
      'HOLDLINE_NOT_FOUND',
      'there is no WebSocket at /-/watch; ask for it as an event stream or as application/x-ndjson',
    );
  }
  const isLines = transport === 'ndjson';
  const client = clientKindOf(head, query);
  const refuse = (error: unknown): void => {
    if (isLines || client !== 'eventsource' || !isTemporary(error)) throw error;
    exchange.refuseStreamForNow(error as HoldlineError, retryMs);
  };
  const open = ({ rights, user, endsAtMs }: Grant): undefined => {
    const { response } = exchange;
    const credential = rights.isOps ? undefined : rights.credential;
    checkHolding(exchanges);
    watchers.checkPlace(credential);
    writeStreamHead(exchange, isLines ? 'ndjson' : 'sse');
    const handle = watchers.open({
      socket: response,
      port: streamPort,
      encoding: isLines ? NDJSON : SSE_DATA,
      sees: (channel) => rights.isOps || rights.may('watch', channel),
      retryMs,
      credential,
      user,
      endsAtMs,
    });
    exchange.handOver();
    hold(response, handle, watchers);
  };
  return { open, refuse };
}
