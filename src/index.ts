/** Holdline as a library: the public names, written out. */
export { createServer } from './server/server.js';
export type { Hooks, LibraryEvent, LineInfo, Server, ServerChannel } from './server/server.js';
export type { Options } from './options/table.js';
export type { Authorize, AuthorizeRequest } from './http/guard.js';
export type { Stats } from './ops/ops.js';
export { HoldlineError } from './errors.js';
