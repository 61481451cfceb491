/** Holdline as a library: the public names, written out. */
export { createServer } from './server.js';
export type { Hooks, LibraryEvent, LineInfo, Server, ServerChannel } from './server.js';
export type { Options } from './config.js';
export type { Authorize, AuthorizeRequest } from './transports/guard.js';
export type { Stats } from './ops/ops.js';
export { HoldlineError } from './errors.js';
