/**
 * Why a port cannot be had. uWebSockets does not tell (native/uws.ts), so the system is asked
 * once more, through Node, when it has failed.
 */
import { createServer, isIP, type AddressInfo } from 'node:net';
import { HoldlineError } from '../errors.js';

/** HOLDLINE_LISTEN with the one cause that was found; the system's error is its `cause`. */
export async function listenFailure(host: string, port: number): Promise<HoldlineError> {
  const cause = await askSystem(host, port);
  return new HoldlineError(
    'HOLDLINE_LISTEN',
    `cannot listen on ${host} port ${port}: ${reasonOf(cause?.code, host, port)}`,
    { cause },
  );
}

/** The same before it has failed: undefined if the port is free, and nobody shares it. */
export async function portFailure(host: string, port: number): Promise<HoldlineError | undefined> {
  return (await askSystem(host, port)) === undefined ? undefined : listenFailure(host, port);
}

/** A port that was free a moment ago. Rejects with HOLDLINE_LISTEN if the host cannot be had. */
export function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on('error', () => void listenFailure(host, 0).then(reject));
    probe.listen({ host, port: 0, exclusive: true }, () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

/** The system's error for that address; undefined if it is free now. */
function askSystem(host: string, port: number): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.on('error', resolve);
    // Nobody is served: what connects in this moment is closed with it.
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve(undefined)));
  });
}

/** The words for an error code of the system. They name no option: there are two such ports. */
export function reasonOf(code: string | undefined, host: string, port: number): string {
  switch (code) {
    case 'EADDRINUSE':
      return 'the port is taken by another program; choose another port, or stop that program';
    case 'EACCES':
      return `this user may not listen there; choose a port of 1024 or more (got ${port}), or give the program the right (CAP_NET_BIND_SERVICE)`;
    case 'EADDRNOTAVAIL':
      return 'the address is not one of this machine; choose one that is, such as 127.0.0.1, or 0.0.0.0 for all';
    case 'EAFNOSUPPORT':
      return 'this machine has no IPv6; choose an address of IPv4, such as 127.0.0.1, or 0.0.0.0 for all';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return isIP(host.replaceAll(/[[\]]/g, '')) > 0
        ? 'an address is written without brackets here, such as ::1'
        : 'there is no address of that name; choose another, such as 127.0.0.1, or 0.0.0.0 for all';
    case undefined:
      return 'the system refused, and a moment later it was free; try again';
    default:
      return `the system says ${code}; choose another port or address`;
  }
}
