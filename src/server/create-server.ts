/**
 * The function that programs make a server with, in a file of its own: the types of server.ts reach
 * those of Node, which a program need not have.
 */
import type { Options } from '../options/options.js';
import type { Hooks, Server } from './api.js';
import { createServer as make } from './server.js';

/**
 * Makes a server, which serves from `listen` to `close`. The options are those of the command line
 * (`holdline serve --help`) in camel case, sizes in bytes and times in ms; environment and
 * configuration file are not read. Throws HOLDLINE_BAD_OPTION for an option, a hook or a schema
 * that is not valid.
 */
export function createServer(options?: Options & Hooks): Server {
  return make(options);
}
