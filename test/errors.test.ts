/** Refusals are cheap to make, and the embedding program still gets the stack of its call. */
import { expect, test } from 'vitest';
import { asError, HoldlineError, withStack } from '../src/errors.js';
import { createServer } from '../src/index.js';

test('a refusal has no stack, a mistake at start has one', () => {
  expect(new HoldlineError('HOLDLINE_NOT_FOUND', 'nothing').stack).not.toMatch(/\n\s+at /);
  expect(new HoldlineError('HOLDLINE_BAD_OPTION', 'no').stack).toMatch(/\n\s+at /);
  expect(Error.stackTraceLimit).toBeGreaterThan(0);
});

test('a program is told where it called', async () => {
  const server = createServer({ port: 0 });
  const stackOf = (thrown: unknown): string => (thrown as Error).stack ?? '';
  let thrown: unknown;
  try {
    server.channel('a b');
  } catch (error) {
    thrown = error;
  }
  expect(stackOf(thrown)).toContain('errors.test.ts');
  const rejected: unknown = await server
    .channel('a')
    .publish({ data: 'x'.repeat(100_000) })
    .catch((error: unknown) => error);
  expect(stackOf(rejected)).toContain('errors.test.ts');
  await server.close();
});

test('what is no error becomes one, and what is no HoldlineError becomes one with its cause', () => {
  expect(asError('words').message).toBe('words');
  const cause = new TypeError('a mistake');
  expect(withStack(cause)).toMatchObject({
    code: 'HOLDLINE_INTERNAL',
    message: 'internal error: a mistake',
    cause,
  });
});
