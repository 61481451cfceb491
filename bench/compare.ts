/** `npm run compare`: its command line, its table on the terminal, its result and its page. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { comparisonPage } from './compare-page.js';
import { type CompareParameters, TRANSPORTS, compareTransports } from './comparison.js';
import { wholeNumber } from './flags.js';
import { describeMachine } from './machine.js';
import { writeResult } from './results.js';

/**
 * Connections while memory is measured. With more, the first short-polls would be closed before the
 * last are open: the server closes them after 8 to 12 s without a request.
 */
const HELD_CONNECTIONS = 5_000;

const PAGE = new URL('out/compare.html', import.meta.url);

const QUICK = { connections: 200, seconds: 3, startSettleSeconds: 1, heldSettleSeconds: 1 };

const USAGE = `npm run compare [-- --connections 2000 --rate 1 --seconds 30 --poll-interval 2 --size 256 --transports ${TRANSPORTS.join(',')}] [--quick]
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
  const wanted = values.transports?.split(',') ?? [...TRANSPORTS];
  const unknown = wanted.find((name) => !(TRANSPORTS as readonly string[]).includes(name));
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
    ways: TRANSPORTS.filter((transport) => wanted.includes(transport)),
    startSettleSeconds: quick ? QUICK.startSettleSeconds : 15,
    heldSettleSeconds: quick ? QUICK.heldSettleSeconds : 5,
  };
  return { parameters, quick };
}

const { parameters, quick } = readParameters();
const startedAt = new Date();
const machine = describeMachine();
const measured = await compareTransports(parameters, (text) => console.log(text));
const file = writeResult('compare', startedAt, quick, machine, measured);
const { summary, remarks } = measured;
mkdirSync(new URL('.', PAGE), { recursive: true });
writeFileSync(PAGE, comparisonPage(parameters, summary, remarks, machine));
console.log(`\n${measured.table}`);
for (const remark of remarks) console.log(`! ${remark}`);
console.log(`raw figures: ${file}\npage: ${fileURLToPath(PAGE)}`);
process.exit(0);
