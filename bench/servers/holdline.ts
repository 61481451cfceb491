/** Holdline, started as a library: the only file of the bench that knows its options. */
import { setFlagsFromString } from 'node:v8';
import { createServer, HoldlineError, type Options } from '../../dist/index.js';
import { CHANNEL } from '../event.js';
import { serveRunner } from './agent.js';

/** What a subject may set, as JSON in the environment. */
export type HoldlineSettings = Pick<
  Options,
  | 'compress'
  | 'drainMs'
  | 'durability'
  | 'host'
  | 'jwtSecret'
  | 'log'
  | 'maxLinesPerUser'
  | 'port'
  | 'tlsCert'
  | 'tlsKey'
  | 'replayEvents'
  | 'replayBytes'
  | 'heartbeatMs'
  | 'socketSendBufferBytes'
  | 'socketReceiveBufferBytes'
  | 'notsentLowatBytes'
  | 'deadPeerTimeoutMs'
>;

// As in `holdline serve`, src/serve/command.ts.
setFlagsFromString('--semi-space-growth-factor=1');

const settings = JSON.parse(process.env['BENCH_SETTINGS'] ?? '{}') as HoldlineSettings;

// The cap on connections is left at its default, which follows the file limit: 19,836 under one of
// 20,000.
const server = createServer({
  host: '127.0.0.1',
  port: 0,
  openPublish: true,
  firstId: 1,
  ...settings,
});
const { port } = await server.listen();
const channel = server.channel(CHANNEL);

// The kernel counts twice what it was asked for.
const { sendBufferBytes } = server.stats().sockets.options;

serveRunner({
  port,
  sendBufferBytes: sendBufferBytes === undefined ? undefined : sendBufferBytes / 2,
  held: () => server.stats().lines.open,
  counters: () => {
    const { refused: _byCode, closed: _byReason, ...counters } = server.stats().counters;
    return counters;
  },
  publish: async (data) => {
    try {
      return await channel.publish({ data });
    } catch (error) {
      if (error instanceof HoldlineError && error.code === 'HOLDLINE_PUBLISH_BUSY')
        return undefined;
      throw error;
    }
  },
  drain: () => void server.close(),
  stop: () => server.close({ drainMs: 0 }),
});
