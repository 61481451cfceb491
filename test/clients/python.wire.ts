/**
 * Readers in Python: what is special about `iter_lines()` of requests, and how it is read instead.
 */
import { expect, onTestFinished, test } from 'vitest';
import { hostedForTest } from '../support/hosted.js';
import { inPython } from './support/makes.js';
import { Program } from './support/program.js';

async function open(library: string) {
  const server = await hostedForTest();
  const program = new Program();
  const close = await inPython(library)(`${server.url}/c`, program);
  onTestFinished(() => void close());
  await server.statsUntil('its line', ({ lines }) => lines.open === 1);
  return { server, program };
}

// urllib3 waits for the line break behind a chunk, which uWebSockets sends in front of the next
// one: native-notes/head-leaves-with-first-write.md
test('requests, iter_lines: an event comes with the next one or the next heartbeat', async () => {
  const { server, program } = await open('iter_lines');
  await server.publish('c', '{"n":1}');
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(program.numbers).toEqual([]);
  await server.publish('c', '{"n":2}');
  await program.waitFor('the first', () => program.numbers.length > 0);
  expect(program.numbers).toEqual([1]);
});

test.each(['requests', 'httpx'])(
  '%s as the reader uses it: an event comes at once',
  async (library) => {
    const { server, program } = await open(library);
    await server.publish('c', '{"n":1}');
    await program.waitFor('it', () => program.numbers.length > 0);
    expect(program.numbers).toEqual([1]);
  },
);
