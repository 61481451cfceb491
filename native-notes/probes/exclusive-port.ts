// Two servers share a port without a word unless one of them listens with
// LIBUS_LISTEN_EXCLUSIVE_PORT. Port 0 is never shared.
import { RawClient, main, uWS, until } from './support.js';
import type { ProbeResult, Row, TemplatedApp } from './support.js';

const shared = 0;
const exclusive = (uWS as unknown as { LIBUS_LISTEN_EXCLUSIVE_PORT: number })
  .LIBUS_LISTEN_EXCLUSIVE_PORT;
const name = (option: number): string => (option === exclusive ? 'exclusive' : 'default');

type ListenWithHost = (
  this: TemplatedApp,
  host: string,
  port: number,
  options: number,
  done: (socket: object | false) => void,
) => void;

function listenOn(
  port: number,
  options: number,
  answer: string,
): { app: TemplatedApp; socket: object | false } {
  const app = uWS.App().get('/*', (response) => void response.end(answer));
  let socket: object | false = false;
  // Four arguments: runs, though the types do not have it.
  (app.listen as unknown as ListenWithHost).call(
    app,
    '127.0.0.1',
    port,
    options,
    (token) => (socket = token),
  );
  return { app, socket };
}

/** A port that was free a moment ago; asking for it by number is what makes a server share it. */
function freePort(): number {
  const { app, socket } = listenOn(0, shared, '');
  if (socket === false) throw new Error('no free port');
  const port = uWS.us_socket_local_port(socket);
  app.close();
  return port;
}

export async function probe(): Promise<ProbeResult> {
  const rows: Row[] = [];
  const listens = new Map<string, boolean>();
  const cases: [first: number, second: number, portZero: boolean][] = [
    [shared, shared, false],
    [shared, exclusive, false],
    [exclusive, shared, false],
    [exclusive, exclusive, false],
    [shared, shared, true],
  ];
  for (const [first, second, portZero] of cases) {
    const one = listenOn(portZero ? 0 : freePort(), first, 'one');
    if (one.socket === false) throw new Error('the first cannot listen');
    const port = uWS.us_socket_local_port(one.socket);
    const two = listenOn(port, second, 'two');
    const answers = new Set<string>();
    for (let at = 0; at < 40; at++) {
      const client = new RawClient(port).get('/');
      await until(() => /one$|two$/.test(client.text()), 'an answer');
      answers.add(client.text().slice(-3));
      client.destroy();
    }
    const label = portZero ? 'port 0' : `${name(first)}, ${name(second)}`;
    listens.set(label, two.socket !== false);
    rows.push({
      'first listens': portZero ? `${name(first)}, on port 0` : name(first),
      'second, same port': name(second),
      'second gets': two.socket === false ? 'false' : 'a socket',
      '40 connects answered by': [...answers].sort().join(' and '),
    });
    one.app.close();
    if (two.socket !== false) two.app.close();
  }
  return {
    claim:
      'By default two servers silently share a port and the kernel spreads connections over them; if either has LIBUS_LISTEN_EXCLUSIVE_PORT, or the first asked for port 0, the second gets false.',
    holds: [...listens].every(([label, listening]) => listening === (label === 'default, default')),
    rows,
  };
}

await main(import.meta.url, probe);
