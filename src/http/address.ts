/**
 * Where a request comes from. The peer of the connection is the client, unless it is listed in
 * `--trusted-proxies`: then the address that it passed on counts, and so on from proxy to proxy.
 * What a peer says that is not listed is never read: anybody can send it.
 */
import { ipOf, ipText, isInRange, isLoopbackIp, networkOf, readIp, readIpRange } from '../ip.js';
import type { Ip, IpRange } from '../ip.js';
import type { HttpResponse } from '../native/uws.js';
import { readForwarded, readForwardedFor } from './forwarded.js';
import type { Head } from './head.js';

export interface ClientAddress {
  /** As text, for logs and hooks; `unix` for a unix socket. */
  readonly shown: string;
  /** What one client has to itself: an IPv4 address, or /64 of IPv6. `unix` for a unix socket. */
  readonly network: string;
  /**
   * What limits per address count by: the network; empty where they do not apply, which is for
   * loopback, unix sockets, and listed proxies that speak for themselves.
   */
  readonly group: string;
}

/** The fields in which proxies pass addresses on. */
export type ForwardedHeader = 'x-forwarded-for' | 'forwarded';

export interface AddressOptions {
  /** Addresses and ranges, and `unix` for peers on a unix socket (options/table.ts). */
  readonly trustedProxies: readonly string[];
  /**
   * The one field that is read. A proxy that writes one of them passes the other on as the client
   * sent it, so that a server which reads both believes the client.
   */
  readonly forwardedHeader: ForwardedHeader;
}

/** A connection, while its request is handled. */
export type Peer = Pick<HttpResponse, 'getProxiedRemoteAddress' | 'getRemoteAddress'>;

const UNIX: ClientAddress = { shown: 'unix', network: 'unix', group: '' };

export class Addresses {
  /**
   * True while a later request on a connection may replace the address that the PROXY protocol
   * gave: such a connection must close after one answer. native-notes/proxy-protocol.md
   */
  isReplaceable = true;
  /**
   * False on a listener with TLS: the header is read from what comes out of the TLS stream, which
   * the client wrote.
   */
  readsProxyProtocol = true;

  /** True when some peers are listed. */
  readonly hasProxies: boolean;

  readonly #ranges: readonly IpRange[];
  readonly #trustsUnix: boolean;
  readonly #forwardedHeader: ForwardedHeader;

  constructor({ trustedProxies, forwardedHeader }: AddressOptions) {
    this.#trustsUnix = trustedProxies.includes('unix');
    this.#ranges = trustedProxies.map(readIpRange).filter((range) => range !== undefined);
    this.#forwardedHeader = forwardedHeader;
    this.hasProxies = trustedProxies.length > 0;
  }

  /** The field of a request that {@link of} needs; undefined where no peer is listed. */
  forwardedIn(head: Pick<Head, 'find'>): string | undefined {
    return this.hasProxies ? head.find(this.#forwardedHeader) : undefined;
  }

  /** Where the request comes from; `forwarded` is what {@link forwardedIn} gave. */
  of(peer: Peer, forwarded: string | undefined): ClientAddress {
    const own = ipOf(peer.getRemoteAddress());
    if (own === undefined ? !this.#trustsUnix : !this.#isListed(own)) return ownAddress(own);
    const proxied = this.readsProxyProtocol ? ipOf(peer.getProxiedRemoteAddress()) : undefined;
    if (proxied !== undefined && !this.#isListed(proxied)) return addressOf(proxied);
    return this.#forwarded(proxied ?? own, forwarded);
  }

  /**
   * True when the connection must close after this request: it has an address of the PROXY protocol
   * that may be believed, and the next request might bring another.
   */
  isOneRequest(peer: Peer): boolean {
    if (!this.hasProxies || !this.isReplaceable || !this.readsProxyProtocol) return false;
    return peer.getProxiedRemoteAddress().byteLength > 0;
  }

  /**
   * The rightmost hop that is not listed: each proxy adds the peer that it saw at the right end,
   * and what stands left of an address that is not listed was written by that client. `proxy` is
   * the listed peer that sent the field; undefined on a unix socket.
   */
  #forwarded(proxy: Ip | undefined, value: string | undefined): ClientAddress {
    if (value === undefined) return exemptAddress(proxy);
    const hops = this.#forwardedHeader === 'forwarded' ? readForwarded : readForwardedFor;
    let nearest = proxy;
    for (const hop of hops(value)) {
      const ip = hop === undefined ? undefined : readIp(hop);
      // A listed proxy that does not say who (`unknown`), or what cannot be read: all such clients
      // count together, as the last proxy that is known, and are not exempt.
      if (ip === undefined) return nearest === undefined ? UNREADABLE : addressOf(nearest);
      if (!this.#isListed(ip)) return addressOf(ip);
      nearest = ip;
    }
    return exemptAddress(nearest);
  }

  #isListed(ip: Ip): boolean {
    const ranges = this.#ranges;
    for (let i = 0; i < ranges.length; i++) if (isInRange(ip, ranges[i] as IpRange)) return true;
    return false;
  }
}

/** Clients behind a unix socket whose proxy does not say who they are. */
const UNREADABLE: ClientAddress = { shown: 'unix', network: 'unix', group: 'unix' };

function addressOf(ip: Ip): ClientAddress {
  const network = networkOf(ip);
  return { shown: ipText(ip), network, group: network };
}

/** A peer that limits per address do not apply to. */
function exemptAddress(ip: Ip | undefined): ClientAddress {
  return ip === undefined ? UNIX : { shown: ipText(ip), network: networkOf(ip), group: '' };
}

/** The peer itself, which is not listed. */
function ownAddress(ip: Ip | undefined): ClientAddress {
  return ip === undefined || isLoopbackIp(ip) ? exemptAddress(ip) : addressOf(ip);
}
