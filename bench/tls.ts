/**
 * TLS: what an idle line takes in the process with the server's own TLS, beside a plain one. The
 * clients are sockets of this process, since the load tool speaks plain HTTP.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectPlain, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { fitLinear } from '../src/tools/capacity/least-squares.js';
import { makeCertificate } from '../test/support/openssl.js';
import { sleepMs } from './clock.js';
import { PATH } from './event.js';
import type { Measured, RunOptions } from './results.js';
import { median } from './statistics.js';
import { drawTable } from './table.js';
import { visit, type Visit } from './visit.js';

export interface TlsParameters {
  linesAtPoints: number[];
  rounds: number;
  settleMs: number;
}

export interface TlsRound {
  isTls: boolean;
  round: number;
  points: { lines: number; rssBytes: number }[];
  bytesPerLine: number;
  /** Of the server, from the first connect to the last complete head. */
  cpuMsPerLine: number;
}

export interface TlsFigures {
  isTls: boolean;
  bytesPerLine: number;
  bytesPerLineOfRounds: number[];
  cpuMsPerLine: number;
}

const CONNECTS_AT_ONCE = 50;

export async function measureTls(
  options: RunOptions,
): Promise<Measured<TlsParameters, TlsRound, TlsFigures[]>> {
  const most = options.lines ?? (options.quick ? 600 : 5_000);
  const parameters: TlsParameters = {
    linesAtPoints: Array.from({ length: 5 }, (_, i) => Math.round((most * (i + 1)) / 5)),
    rounds: options.rounds ?? (options.quick ? 1 : 3),
    settleMs: 300,
  };
  const folder = mkdtempSync(join(tmpdir(), 'holdline-bench-tls-'));
  const files = { tlsCert: join(folder, 'certificate.pem'), tlsKey: join(folder, 'key.pem') };
  makeCertificate({ key: files.tlsKey, certificate: files.tlsCert });
  const rounds: TlsRound[] = [];
  try {
    for (let round = 1; round <= parameters.rounds; round++) {
      for (const isTls of [false, true]) {
        const measured = await visit('holdline', isTls ? files : {}, (here) =>
          measureRound(here, isTls, round, parameters),
        );
        rounds.push(measured);
        options.say(
          `round ${round}/${parameters.rounds} ${nameOf(isTls)}: ${measured.bytesPerLine.toFixed(0)} B and ${measured.cpuMsPerLine.toFixed(2)} ms a line`,
        );
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const summary = [false, true].map((isTls): TlsFigures => {
    const own = rounds.filter((round) => round.isTls === isTls);
    return {
      isTls,
      bytesPerLine: median(own.map(({ bytesPerLine }) => bytesPerLine)),
      bytesPerLineOfRounds: own.map(({ bytesPerLine }) => bytesPerLine),
      cpuMsPerLine: median(own.map(({ cpuMsPerLine }) => cpuMsPerLine)),
    };
  });
  return { parameters, rounds, summary, remarks: [], table: describe(summary) };
}

async function measureRound(
  { server, target }: Visit,
  isTls: boolean,
  round: number,
  { linesAtPoints, settleMs }: TlsParameters,
): Promise<TlsRound> {
  const sockets: Socket[] = [];
  const request = `GET ${PATH} HTTP/1.1\r\nHost: ${target.authority}\r\nAccept: text/event-stream\r\n\r\n`;
  const openOne = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const { port } = server;
      const socket = isTls
        ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
        : connectPlain(port, '127.0.0.1');
      sockets.push(socket);
      socket.once('error', reject);
      socket.once(isTls ? 'secureConnect' : 'connect', () => socket.write(request));
      socket.once('data', () => resolve());
      socket.resume();
    });
  const points: TlsRound['points'] = [];
  const cpuBefore = server.cpuSeconds();
  let openingMs = 0;
  try {
    for (const lines of linesAtPoints) {
      const beganMs = server.cpuSeconds() * 1000;
      while (sockets.length < lines) {
        const count = Math.min(CONNECTS_AT_ONCE, lines - sockets.length);
        await Promise.all(Array.from({ length: count }, openOne));
      }
      openingMs += server.cpuSeconds() * 1000 - beganMs;
      await sleepMs(settleMs);
      await server.gc();
      await server.gc();
      points.push({ lines, rssBytes: server.rssBytes() });
    }
  } finally {
    for (const socket of sockets) socket.destroy();
  }
  if (server.cpuSeconds() <= cpuBefore) throw new Error('the server did nothing');
  const { slope } = fitLinear(points.map(({ lines, rssBytes }) => ({ x: lines, y: rssBytes })));
  return { isTls, round, points, bytesPerLine: slope, cpuMsPerLine: openingMs / sockets.length };
}

function nameOf(isTls: boolean): string {
  return isTls ? 'TLS' : 'plain';
}

function describe(summary: readonly TlsFigures[]): string {
  return drawTable(
    ['line', 'memory of the process', 'rounds', 'server CPU to open one'],
    summary.map(({ isTls, bytesPerLine, bytesPerLineOfRounds, cpuMsPerLine }) => [
      nameOf(isTls),
      `${bytesPerLine.toFixed(0)} B`,
      bytesPerLineOfRounds.map((bytes) => bytes.toFixed(0)).join(', '),
      `${cpuMsPerLine.toFixed(2)} ms`,
    ]),
  );
}
