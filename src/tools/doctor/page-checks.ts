/** The doctor's checks of what pages behind a proxy do beside streams: WebSockets, publishing. */

import { duration } from '../report/words.js';
import { statusInWords } from './answer-check.js';
import { found, type Finding } from './finding.js';
import type { Handshake } from './handshake.js';
import { HOST_KEPT, UPGRADES } from './proxy-lines.js';
import type { ProbeEvent } from './probe-publisher.js';
import type { ProxyPath } from './proxy-path.js';

/** Checks that a WebSocket opens, and that messages come. */
export function checkWebSocket({ webSocket, events }: ProxyPath): Finding | undefined {
  if (webSocket === null) return undefined;
  const { status, firstAfterMs } = webSocket;
  const why =
    'where they do not pass, pages cannot use WebSockets; EventSource and polls do not need them';
  const problem = (value: string, mend: string): Finding =>
    found('websocket', 'problem', value, why, mend);
  if (status === 101) {
    if (firstAfterMs !== null)
      return found(
        'websocket',
        'ok',
        `opened; a message ${duration(Math.round(firstAfterMs))} later`,
        why,
        '',
      );
    if (!events.some(hasArrived)) return found('websocket', 'ok', 'opened', why, '');
    return problem('opened, but no message arrives', UPGRADES);
  }
  const code = /HOLDLINE_\w+/.exec(webSocket.words)?.[0];
  if (code === 'HOLDLINE_CROSS_SITE')
    return found(
      'websocket',
      'advice',
      'refused to pages of the own origin',
      why,
      'see own-origin',
    );
  if (code !== undefined && code !== 'HOLDLINE_BAD_HANDSHAKE')
    return found('websocket', 'advice', valueOf(webSocket), why, 'see the message');
  return problem(valueOf(webSocket), UPGRADES);
}

function hasArrived({ afterMs }: ProbeEvent): boolean {
  return afterMs !== null;
}

function valueOf({ status, contentType, words }: Handshake): string {
  if (status === null) return `none: ${words}`;
  if (contentType.startsWith('text/event-stream'))
    return 'answered with an event stream: Upgrade was not passed on';
  return statusInWords(status, words);
}

/** Checks that the server takes pages of the proxy's origin for its own. */
export function checkOwnOrigin({ ownOrigin, url }: ProxyPath): Finding | undefined {
  if (ownOrigin === null) return undefined;
  const { origin, isAccepted, changedHost } = ownOrigin;
  const why =
    `the Host that arrives is compared with the origin of a page; pages of ${origin} are ` +
    'refused publishing and WebSockets where it differs';
  const { host } = new URL(url);
  const arrives =
    changedHost === null
      ? `the Host that arrives is another name than ${host}`
      : `${host} arrives as the Host ${changedHost}`;
  return found(
    'own-origin',
    isAccepted ? 'ok' : 'problem',
    isAccepted ? 'its pages may publish and open WebSockets' : `refused: ${arrives}`,
    why,
    `${HOST_KEPT}; or holdline serve --allow-origin ${origin}`,
  );
}
