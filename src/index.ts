/** Holdline as a library: the public names. Each is documented where it is declared. */
export { createServer } from './server/server.js';
export type {
  Hooks,
  ClosedLineInfo,
  LibraryEvent,
  LineInfo,
  Server,
  ServerChannel,
} from './server/api.js';
export type { Options } from './options/table.js';
export type { Authorize, AuthorizeRequest } from './http/authorize.js';
export type { Stats } from './ops/stats.js';
export { HoldlineError } from './errors.js';
