/** The doctor's check of the answer to the request for a stream. */

import { printable } from '../../log-text.js';
import { decimal, duration } from '../report/words.js';
import { found, type Finding } from './finding.js';
import { HAPROXY_CHECK, HOST_KEPT } from './proxy-lines.js';
import type { ProxyPath } from './proxy-path.js';

const REACHABLE = 'check that the server is running, and that the proxy has its address';

/** What answered with this status, in one row. */
export function statusInWords(status: number, body: string): string {
  const words = body
    .replaceAll(/<[^>]*>|\s+/g, ' ')
    .replaceAll(/ +/g, ' ')
    .trim()
    .slice(0, 200);
  return words === '' ? `${status}` : `${status}: ${printable(words)}`;
}

/** Checks the answer to the request for a stream. */
export function checkAnswer(
  { head, refusal, first, end, endCode, events }: ProxyPath,
  lines: number,
): Finding | undefined {
  const why = `${decimal(lines)} streams would get the same answer as this one`;
  const problem = (value: string, mend: string): Finding =>
    found('answer', 'problem', value, why, mend);
  if (head === null) {
    // A publish was answered, so the server can be reached and the stream is held back.
    if (events.length > 0) return undefined;
    if (end === null)
      return problem('none in time', 'check that the proxy and its server are running');
    const mend = /certificate/i.test(end.how)
      ? 'NODE_EXTRA_CA_CERTS=FILE, with the certificate of the authority that signed it'
      : 'check that the proxy listens there, and that its server is running';
    return problem(`none: ${end.how}`, mend);
  }
  const { status, afterMs } = head;
  if (status === 200 && first?.position === null && end !== null) {
    return problem(
      '200, and ended at once',
      'the server is full or draining and tells clients to reconnect later: see /-/ready and ' +
        '--max-connections',
    );
  }
  if (status === 200 && (first === null ? end !== null : first.position === null)) {
    return problem(
      '200, but not an event stream of Holdline',
      'give the URL of a channel, such as http://proxy.example/notifications',
    );
  }
  if (status === 200) {
    const ended = endCode === null ? '' : `; the server ended it: ${endCode}`;
    return found('answer', 'ok', `200 after ${duration(afterMs)}${ended}`, why, '');
  }
  const code = /HOLDLINE_\w+/.exec(refusal)?.[0];
  return problem(statusInWords(status, refusal), mendOfStatus(status, code));
}

function mendOfStatus(status: number, code: string | undefined): string {
  if (code === 'HOLDLINE_BAD_HOST')
    return (
      'holdline serve --allowed-hosts NAME, with the name in the Host header; or ' +
      `--publish-key KEY. If it is not the name in the URL: ${HOST_KEPT}`
    );
  if (code === 'HOLDLINE_NOT_FOUND' || code === 'HOLDLINE_BAD_CHANNEL')
    return (
      'let the proxy remove its prefix from the path: nginx proxy_pass http://…/; with a ' +
      'slash at the end'
    );
  if (status === 401 && code !== undefined)
    return '--subscribe-key-file FILE, with a key or token that may read the channel';
  if (code !== undefined) return 'see the message';
  if (status === 204) return 'the channel was deleted: publish to it, or use another one';
  if (status === 505)
    return (
      'the proxy speaks HTTP/1.0 to the server: nginx proxy_http_version 1.1; ' +
      'proxy_set_header Connection "";'
    );
  if (status === 503) return `${REACHABLE}; haproxy whose check is HTTP/1.0: ${HAPROXY_CHECK}`;
  if (status >= 502 && status <= 504) return REACHABLE;
  return 'this answer is from the proxy, not from Holdline: see its configuration';
}
