/** `holdline load --compress`, and a fleet that asks for gzip, against Holdline and others. */

import { createServer, type ServerResponse } from 'node:http';
import { constants, createGzip, type Gzip } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import { compiled, hasCompiler } from '../bench/compile.js';
import { findTarget } from '../dist/tools/load/clients/connection.js';
import { Fleet } from '../dist/tools/load/processes/fleet.js';
import { Round } from '../dist/tools/load/run/round.js';
import { fakes, load, startLoad, words } from './support/load.js';
import { sharedHosted } from './support/hosted.js';

const listen = fakes();
const shared = sharedHosted({ compress: 'shared' });

describe('lines that are not checked', () => {
  it.each([
    ['sse', 'Node', false],
    ['ndjson', 'Node', false],
    ['sse', 'C', true],
  ] as const)(
    'are read in full over %s in %s, round after round',
    async (transport, _where, inC) => {
      if (inC && !hasCompiler) return;
      const channel = `fleet-${transport}-${inC ? 'c' : 'node'}`;
      const target = await findTarget(new URL(`${shared().url}/${channel}`));
      const byteCounter = inC ? compiled('../src/tools/load/processes/byte-counter.c') : undefined;
      const fleet = await Fleet.start({
        target,
        transport,
        compress: true,
        processes: 1,
        checkedShare: 0.1,
        byteCounter,
      });
      onTestFinished(() => fleet.close());
      for (const lines of [30, 40]) {
        expect(await fleet.open(lines)).toMatchObject({ lines });
        const round = new Round(fleet, {
          target,
          channel,
          sizeBytes: 200,
          ratePerSecond: 300,
          events: 60,
          publishKey: undefined,
          window: { fromMs: 0, untilMs: 1_000 },
        });
        const { books, tally } = await round.play();
        expect(books).toMatchObject({
          published: 60,
          delivered: lines * 60,
          lost: 0,
          doubled: 0,
          outOfOrder: 0,
          idMismatches: 0,
          checkedClients: lines / 10,
          checkedDelivered: lines * 6,
          countedClients: (lines * 9) / 10,
          countedLosers: 0,
          uncompressedLines: 0,
          unreadClients: 0,
        });
        expect(tally.damaged).toBe(0);
        expect(tally.countedEvents).toBe(lines * 54);
        // Rounds before this one, heartbeats and preludes are no events of it.
        expect(tally.plainBytes).toBeGreaterThan(lines * 60 * 200);
        expect(tally.plainBytes).toBeLessThan(lines * 60 * 300);
        expect(tally.gzipBytes).toBeLessThan(tally.plainBytes / 3);
        expect(tally.bytes).toBeGreaterThan(tally.gzipBytes);
        expect(tally.inflatedBlocks).toBeLessThan(tally.blocks * 0.3);
      }
    },
  );
});

describe('the command', () => {
  const options = '--connections 20 --rate 100 --duration 500ms --size 200 --compress';

  it('says what gzip saved', async () => {
    const { status, report } = await load(
      words(`--url ${shared().url}/said ${options} --check 10%`),
    );
    expect({ status, report }).toMatchObject({
      status: 0,
      report: { flawless: true, delivered: 1_000, compression: { lines: 20 } },
    });
    const { wireBytes, plainBytes, ratio, blocks, inflatedBlocks } = report.compression!;
    expect(wireBytes).toBe(report.bytesReceived);
    expect(plainBytes).toBeGreaterThan(20 * 50 * 200);
    expect(ratio).toBeCloseTo(plainBytes / wireBytes, 1);
    expect(ratio).toBeGreaterThan(2);
    expect(blocks).toBeGreaterThan(18);
    expect(inflatedBlocks).toBeLessThan(blocks);
  });

  it('says so when the server does not compress, and refuses what is no stream', async () => {
    const [{ report }, refused] = await Promise.all([
      load(words(`--url ${await fakeServer(() => undefined, false)}/c ${options}`)),
      startLoad(words('--compress --transport ws')).ended,
    ]);
    expect(report).toMatchObject({
      delivered: 1_000,
      compression: { lines: 0, ratio: 1 },
    });
    // A busy machine adds that the client was the limit.
    expect(report.remarks).toContain(
      'the server does not compress: every client asked for gzip and was answered without',
    );
    expect(refused).toMatchObject({ status: 2 });
    expect(refused.stderr).toContain('--compress: only streams are compressed');
  });

  it.each([
    // What is lost is waited for.
    ['100%', 'again', { lost: 0, doubled: 1, outOfOrder: 0 }],
    ['10%', 'instead', { lost: 1, doubled: 0, outOfOrder: 1 }],
  ] as const)(
    'reads the gzip of any server, and finds a line that is given another block, with --check %s',
    async (check, gives, fault) => {
      const right = await fakeServer(() => undefined);
      const wrong = await fakeServer((client, nth) =>
        client === 17 && nth === 30 ? gives : undefined,
      );
      const [good, bad] = await Promise.all(
        [right, wrong].map((url) => load(words(`--url ${url}/c ${options} --check ${check}`))),
      );
      expect(good!.report).toMatchObject({
        flawless: true,
        delivered: 1_000,
        outOfOrder: 0,
        compression: { lines: 20 },
      });
      expect(bad!.report).toMatchObject({ flawless: false, ...fault });
    },
  );
});

/**
 * A server on Node's HTTP with a compressor for each line. A client may be given an event
 * again, or instead of the next.
 */
async function fakeServer(
  fault: (client: number, nth: number) => 'again' | 'instead' | undefined,
  compresses = true,
): Promise<string> {
  const streams: (Gzip | ServerResponse)[] = [];
  const events: string[] = [];
  const server = createServer((request, response) => {
    if (request.method === 'GET') {
      response.writeHead(200, {
        'Content-Type': 'text/event-stream',
        ...(compresses && { 'Content-Encoding': 'gzip' }),
      });
      const stream = compresses ? createGzip({ flush: constants.Z_SYNC_FLUSH }) : response;
      if (stream !== response) stream.pipe(response);
      streams.push(stream);
      stream.write(':\n\n');
      return;
    }
    let body = '';
    request.setEncoding('latin1').on('data', (text: string) => (body += text));
    request.on('end', () => {
      const id = events.push(body);
      response.end(`{"id":${id}}`);
      const eventOf = (of: number): string => `id: ${of}\ndata: ${events[of - 1]}\n\n`;
      for (const [client, stream] of streams.entries()) {
        const gives = fault(client, id);
        stream.write((gives ? eventOf(id - 1) : '') + (gives === 'instead' ? '' : eventOf(id)));
      }
    });
  });
  return listen(server);
}
