/** Holdline as a library: the public names. Each is documented where it is declared. */
export { createServer } from './server/create-server.js';
export type {
  Address,
  ClosedLineInfo,
  History,
  Hooks,
  LibraryEvent,
  LineInfo,
  Server,
  ServerChannel,
  Subscription,
} from './server/api.js';
export type { Gap, GapNotice, LineEnd, ReceivedEvent } from './transports/received.js';
export type { ChannelPolicy, StaticKey } from './options/credentials.js';
export type { Options } from './options/options.js';
export type { Authorize, AuthorizeAnswer, AuthorizeRequest } from './http/authorize.js';
export type { RefusalInfo } from './http/refusals.js';
export type { Stats } from './ops/stats.js';
export { HoldlineError } from './errors.js';
