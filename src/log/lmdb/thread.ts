/** The thread of a log on disk, see log-thread.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { LogThread } from './log-thread.js';
import type { ThreadData, ToThread } from './messages.js';

const port = parentPort;
if (port === null) throw new Error('this file is the thread of a log');
const thread = new LogThread(workerData as ThreadData, (message, buffers = []) =>
  port.postMessage(message, buffers),
);
if (await thread.open()) port.on('message', (message: ToThread) => thread.take(message));
