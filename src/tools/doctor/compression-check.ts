/** The doctor's check of what a path makes of the server's compression. */

import { decimal } from '../report/words.js';
import { found, type Finding, type Level } from './finding.js';
import { ACCEPT_ENCODING_KEPT, UNCOMPRESSED, UNCOMPRESSING } from './proxy-lines.js';
import type { ProxyPath } from './proxy-path.js';

/** Checks whether compression passes, is undone, or is added. */
export function checkCompression(
  { head, compression: { coding, direct, pollHasLength, plainArrives } }: ProxyPath,
  lines: number,
): Finding | undefined {
  // A stream that never began may be one that a compressor holds back.
  if (head?.status !== 200 && plainArrives !== true) return undefined;
  const judged = (level: Level, value: string, why: string, mend: string): Finding =>
    found('compression', level, value, why, mend);
  const forEach =
    `a compressor for each of ${decimal(lines)} streams takes about 100 KB, and time for each ` +
    'event, and may hold events back';
  const undone =
    `the server compresses once for all of ${decimal(lines)} lines, and each is sent several ` +
    'times the bytes';

  if (plainArrives === true)
    return judged(
      'problem',
      'held back: events come late to a client that takes gzip, and at once to one that does not',
      'what compresses on the path waits for more bytes than an event has',
      UNCOMPRESSED,
    );
  const isServers = direct?.coding !== undefined && direct.coding !== null;
  const doesServer = isServers && direct.coding !== 'plain';
  if (coding === 'added') {
    const name = head?.headers['content-encoding'] ?? 'gzip';
    const seen = doesServer
      ? `${name} made on the path, in place of the server's`
      : isServers
        ? `${name} made on the path; the server sends plain bytes`
        : `${name} made on the path`;
    return judged(
      'advice',
      seen,
      forEach,
      doesServer ? `${ACCEPT_ENCODING_KEPT}; and ${UNCOMPRESSED}` : UNCOMPRESSED,
    );
  }
  if (coding === 'shared')
    return judged(
      'ok',
      'gzip, as the server made it for all lines',
      'the path passes it on; a program that takes no gzip gets plain bytes',
      '',
    );
  if (doesServer) {
    if (pollHasLength === true)
      return judged(
        'advice',
        'none: the server compresses, but Accept-Encoding does not reach it through the proxy',
        undone,
        ACCEPT_ENCODING_KEPT,
      );
    if (pollHasLength === false)
      return judged(
        'advice',
        'none: the server compresses, and something on the path decompresses',
        undone,
        UNCOMPRESSING,
      );
    return judged(
      'advice',
      'none: the server compresses; Accept-Encoding does not reach it, or the path decompresses',
      undone,
      `${ACCEPT_ENCODING_KEPT}; and ${UNCOMPRESSING}`,
    );
  }
  return judged(
    direct !== null && !isServers ? 'advice' : 'ok',
    direct === null
      ? 'none'
      : isServers
        ? 'none, as the server sends it'
        : `none; the server itself could not be asked: ${direct.refusal}`,
    direct === null
      ? 'nothing on the path compresses; whether it would undo what the server compresses ' +
          '(--compress shared) is seen with --direct URL'
      : 'nothing on the path compresses; holdline serve --compress shared would, once for all ' +
          'lines',
    'give the URL of the channel at the server itself: --direct http://127.0.0.1:8080/doctor',
  );
}
