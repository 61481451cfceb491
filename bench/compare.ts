/** `npm run compare`: its command line, its table on the terminal, its result and its chart. */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { drawComparison } from './compare-chart.js';
import { type CompareParameters, WAYS, compareWays } from './comparison.js';
import { wholeNumber } from './flags.js';
import { describeMachine } from './machine.js';
import { chartFile, writeResult } from './results.js';

/**
 * Not more: connections of short-polls are closed by the server when they have been idle for 8 to
 * 12 s.
 */
const HELD_CONNECTIONS = 5_000;

const QUICK = { connections: 200, seconds: 3, startSettleSeconds: 1, heldSettleSeconds: 1 };

const USAGE = `npm run compare [-- --connections 2000 --rate 1 --seconds 30 --poll-interval 2 --size 256 --transports ${WAYS.join(',')}] [--quick]
--rate in events a second, --seconds for each transport, --poll-interval in seconds, --size in bytes. --quick is a smoke run: small,
short, written to bench/out/ instead of bench/results/.`;

function readParameters(): { parameters: CompareParameters; quick: boolean } {
  const { values } = parseArgs({
    options: {
      connections: { type: 'string' },
      rate: { type: 'string' },
      seconds: { type: 'string' },
      'poll-interval': { type: 'string' },
      size: { type: 'string' },
      transports: { type: 'string' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    process.exit(0);
  }
  const wanted = values.transports?.split(',') ?? [...WAYS];
  const unknown = wanted.find((name) => !(WAYS as readonly string[]).includes(name));
  if (unknown !== undefined) {
    console.error(`there is no transport "${unknown}"\n${USAGE}`);
    process.exit(2);
  }
  const { quick } = values;
  const connections =
    wholeNumber('connections', values.connections) ?? (quick ? QUICK.connections : 2_000);
  const parameters: CompareParameters = {
    connections,
    heldConnections: quick ? connections : HELD_CONNECTIONS,
    ratePerSecond: wholeNumber('rate', values.rate) ?? 1,
    seconds: wholeNumber('seconds', values.seconds) ?? (quick ? QUICK.seconds : 30),
    pollIntervalSeconds: wholeNumber('poll-interval', values['poll-interval']) ?? 2,
    eventBytes: wholeNumber('size', values.size) ?? 256,
    ways: WAYS.filter((way) => wanted.includes(way)),
    startSettleSeconds: quick ? QUICK.startSettleSeconds : 15,
    heldSettleSeconds: quick ? QUICK.heldSettleSeconds : 5,
  };
  return { parameters, quick };
}

const { parameters, quick } = readParameters();
const startedAt = new Date();
const machine = describeMachine();
const measured = await compareWays(parameters, (text) => console.log(text));
const file = writeResult('compare', startedAt, quick, machine, measured);
const chart = chartFile('compare', quick);
writeFileSync(chart, drawComparison(parameters, measured.summary, machine));
console.log(`\n${measured.table}`);
for (const remark of measured.remarks) console.log(`! ${remark}`);
console.log(`raw figures: ${file}\nchart: ${chart}`);
process.exit(0);
