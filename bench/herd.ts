/**
 * Herd: a server that holds 15,000 lines is killed (SIGKILL), another takes its port, and all of
 * its clients come back at once, each with a token that has to be verified. How many are back is
 * looked at twenty times a second, and drawn.
 */
import { SignJWT } from 'jose';
import { sleepMs } from './clock.js';
import type { Measured, RunOptions } from './results.js';
import { median } from './statistics.js';
import { drawTable, ms } from './table.js';
import { visit } from './visit.js';

export interface HerdParameters {
  lines: number;
  rounds: number;
  lookEveryMs: number;
}

export interface HerdRound {
  round: number;
  /** From the kill to the next server's listening. */
  downMs: number;
  /** Lines that were open, and when that was after the first connect. */
  seen: { atMs: number; open: number }[];
  /** From the first connect to the last line. */
  backMs: number;
}

export interface HerdFigures {
  downMs: number;
  backMs: number;
  backMsOfRounds: number[];
  linesPerSecond: number;
}

/** All of them are back by then. */
const BACK_MS_MAX = 5_000;
const BAR_CHARS = 60;
/** Rows of the drawing. */
const ROWS = 20;

const SECRET = 'a-secret-of-the-bench-which-is-no-secret-at-all';
/** All lines are of one user. */
const SETTINGS = { jwtSecret: SECRET, maxLinesPerUser: 0 };

export async function measureHerd(
  options: RunOptions,
): Promise<Measured<HerdParameters, HerdRound, HerdFigures>> {
  const parameters: HerdParameters = {
    lines: options.lines ?? (options.quick ? 2_000 : 15_000),
    rounds: options.rounds ?? (options.quick ? 1 : 3),
    lookEveryMs: 50,
  };
  const rounds: HerdRound[] = [];
  for (let round = 1; round <= parameters.rounds; round++) {
    const measured = await measureRound(round, parameters);
    rounds.push(measured);
    options.say(
      `round ${round}/${parameters.rounds}: no server for ${ms(measured.downMs)}, all back after ${ms(measured.backMs)}\n${draw(measured, parameters)}`,
    );
  }
  const backMs = median(rounds.map((round) => round.backMs));
  const summary: HerdFigures = {
    downMs: median(rounds.map(({ downMs }) => downMs)),
    backMs,
    backMsOfRounds: rounds.map((round) => round.backMs),
    linesPerSecond: (parameters.lines * 1000) / backMs,
  };
  return {
    parameters,
    rounds,
    summary,
    remarks: ['the clients come back at once; real ones spread over the retry that they were told'],
    table: describe(summary, parameters),
    passed: backMs <= BACK_MS_MAX,
  };
}

async function measureRound(round: number, parameters: HerdParameters): Promise<HerdRound> {
  const { lines, lookEveryMs } = parameters;
  const token = await new SignJWT({ holdline: { subscribe: ['**'] } })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('bench')
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode(SECRET));
  let port = 0;
  let killedMs = 0;
  await visit(
    'holdline',
    SETTINGS,
    async (here) => {
      ({ port } = here.server);
      const fleet = await here.startFleet({ countsInC: true });
      await here.open(fleet, lines);
      killedMs = performance.now();
      process.kill(here.server.pid, 'SIGKILL');
    },
    token,
  );
  return visit(
    'holdline',
    { ...SETTINGS, port },
    async (here) => {
      const downMs = performance.now() - killedMs;
      const fleet = await here.startFleet({ countsInC: true });
      const seen: HerdRound['seen'] = [];
      let isOver = false;
      const beganMs = performance.now();
      const watching = (async () => {
        while (!isOver) {
          const askedMs = performance.now();
          const usage = await here.server.usage();
          // The answer is of some moment in between.
          const atMs = (askedMs + performance.now()) / 2 - beganMs;
          if (usage !== null) seen.push({ atMs, open: usage.held });
          await sleepMs(lookEveryMs);
        }
      })();
      const { elapsedMs } = await here.open(fleet, lines, { atOnce: true }).finally(() => {
        isOver = true;
      });
      await watching;
      return { round, downMs, seen, backMs: elapsedMs };
    },
    token,
  );
}

/** The slope: a bar for the lines that were back at each of some moments. */
function draw({ seen }: HerdRound, { lines }: HerdParameters): string {
  const step = Math.max(1, Math.ceil(seen.length / ROWS));
  return seen
    .filter((_, i) => i % step === 0 || i === seen.length - 1)
    .map(({ atMs, open }) => {
      const bar = '█'.repeat(Math.round((open / lines) * BAR_CHARS));
      return `${ms(atMs).padStart(9)} ${String(open).padStart(6)} ${bar}`;
    })
    .join('\n');
}

function describe(summary: HerdFigures, { lines }: HerdParameters): string {
  return drawTable(
    ['lines', 'no server for', 'first connect → last line', 'rounds', 'lines/s'],
    [
      [
        String(lines),
        ms(summary.downMs),
        ms(summary.backMs),
        summary.backMsOfRounds.map((one) => ms(one)).join(', '),
        String(Math.round(summary.linesPerSecond)),
      ],
    ],
  );
}
