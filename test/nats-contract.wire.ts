/** The contract of logs, on a log on a real NATS. */
import { logContract, type ContractLog } from './log-contract.js';
import { NatsServer } from './support/nats.js';
import { LogNode } from './support/nats-log.js';

/** NATS is one for all tests: each has a stream of its own. */
let streams = 0;

async function opened(nats: NatsServer, stream: string): Promise<ContractLog> {
  const { log } = new LogNode(nats.url, { stream, prefix: stream, replicas: 1 });
  await log.open();
  return { log, reopen: () => opened(nats, stream), remove: () => {} };
}

logContract('on NATS', {
  make: async () => opened(await NatsServer.start(), `s${++streams}`),
  idsFollow: true,
  isAtomic: false,
});
