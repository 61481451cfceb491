/** What operators ask a running server: health, readiness, figures. */
import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks';
import type { Counters } from '../counters.js';
import type { Transport } from '../core/feed.js';
import type { Hub } from '../core/hub.js';
import { VERSION } from '../version.js';

/** How often the loop's delay is sampled, ms. The histogram counts the sampling itself in, so it is taken off again. */
const SAMPLE_MS = 10;

const NS_PER_MS = 1e6;

/** The picture that `/-/stats` answers with. */
export interface Stats {
  readonly version: string;
  readonly uptimeMs: number;
  readonly draining: boolean;
  /** Id of the newest event that entered a ring. */
  readonly head: number;
  /** Positions at or below it may have lost something that is not known any more. */
  readonly floor: number;
  /** Held connections, polls that wait among them. */
  readonly lines: {
    readonly open: number;
    readonly stalled: number;
    readonly cap: number;
    readonly byTransport: Readonly<Record<Transport, number>>;
  };
  readonly sockets: { readonly open: number; readonly cap: number };
  readonly channels: { readonly known: number; readonly rings: number; readonly ringBytes: number };
  readonly queue: {
    readonly events: number;
    readonly bytes: number;
    readonly waitingPublishers: number;
    readonly waitingBytes: number;
  };
  readonly memory: { readonly rssBytes: number; readonly heapUsedBytes: number; readonly externalBytes: number };
  /** Since the start. */
  readonly loopDelay: { readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number };
  readonly counters: Readonly<Counters>;
}

export class Ops {
  readonly #hub: Pick<Hub<unknown>, 'gauges'>;
  readonly #counters: Counters;
  readonly #caps: { readonly lines: number; readonly sockets: number };
  readonly #startedMs = performance.now();
  readonly #loopDelay: IntervalHistogram = monitorEventLoopDelay({ resolution: SAMPLE_MS });

  constructor(hub: Pick<Hub<unknown>, 'gauges'>, counters: Counters, caps: { readonly lines: number; readonly sockets: number }) {
    this.#hub = hub;
    this.#counters = counters;
    this.#caps = caps;
  }

  start(): void {
    this.#loopDelay.enable();
  }

  stop(): void {
    this.#loopDelay.disable();
  }

  stats(draining: boolean): Stats {
    const gauges = this.#hub.gauges;
    const memory = process.memoryUsage();
    const counters = this.#counters;
    return {
      version: VERSION,
      uptimeMs: Math.round(performance.now() - this.#startedMs),
      draining,
      head: gauges.head,
      floor: gauges.floor,
      lines: {
        open: gauges.linesOpen,
        stalled: gauges.linesStalled,
        cap: this.#caps.lines,
        byTransport: gauges.linesByTransport,
      },
      sockets: { open: counters.sockets_opened_total - counters.sockets_closed_total, cap: this.#caps.sockets },
      channels: { known: gauges.channels, rings: gauges.rings, ringBytes: gauges.ringBytes },
      queue: {
        events: gauges.queueEvents,
        bytes: gauges.queueBytes,
        waitingPublishers: gauges.waitingPublishers,
        waitingBytes: gauges.waitingBytes,
      },
      memory: { rssBytes: memory.rss, heapUsedBytes: memory.heapUsed, externalBytes: memory.external },
      loopDelay: { p50Ms: this.#delay(50), p99Ms: this.#delay(99), maxMs: this.#delay(100) },
      counters: structuredClone(counters),
    };
  }

  #delay(percentile: number): number {
    return Math.max(0, this.#loopDelay.percentile(percentile) / NS_PER_MS - SAMPLE_MS);
  }
}

/** `/`: a short page of links, for whoever opens the server in a browser. */
export function landingPage(demo: boolean): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Holdline</title>
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
  body { max-width: 40rem; margin: 4rem auto; padding: 0 1rem }
  code { font-size: .95em }
</style>
<h1>Holdline</h1>
<p>This server holds the line open and pushes each event out to everyone at once. Every channel is a path:
<code>GET /notifications</code> with <code>Accept: text/event-stream</code> listens, <code>POST /notifications</code> publishes.</p>
<ul>${demo ? '\n  <li><a href="/-/demo">/-/demo</a>: see it at work</li>' : ''}
  <li><a href="/notifications">/notifications</a>, a channel: leave it open and publish to it</li>
  <li><a href="/-/health">/-/health</a> and <a href="/-/ready">/-/ready</a></li>
  <li><code>/-/stats</code>, with the ops key as <code>Authorization: Bearer</code></li>
</ul>
</html>
`;
}
