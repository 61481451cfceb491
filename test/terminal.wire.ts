/**
 * The tools on a terminal: Ctrl-C and SIGTERM at any moment leave it as it was, with the line of
 * the bar empty, no process behind and an exit code that says what happened.
 */

import { describe, expect, it } from 'vitest';
import { Pty, screenOf, type Ended } from './support/pty.js';
import { hostedForTest } from './support/hosted.js';
import { serverForTest } from './support/server.js';

/** Long enough for a machine that does other things beside. */
const RUN_MS = 150_000;

/** A code that changes a mode of the terminal, or a colour. */
// oxlint-disable-next-line no-control-regex -- It is what is looked for.
const MODE = /\u001B\[[?\d;]*[hlm]|\u001B[78]/;

/** The terminal is as it was, and the shell begins on an empty line. */
function expectRestored({ raw, screen, modes }: Ended): void {
  expect(raw).not.toMatch(MODE);
  expect(modes[1]).toBe(modes[0]);
  expect(screen.at(-1)).toBe('');
}

const CAPACITY = ['capacity', '--lines', '100', '--budget', '30s'];

/** Presses Ctrl-C at that moment. */
async function interrupted(pty: Pty, moment: RegExp): Promise<Ended> {
  await pty.until(moment);
  pty.pressCtrlC();
  return pty.ended();
}

function expectInterrupted(ended: Ended): void {
  // No line of the bar is left, whole or in part.
  expect([ended.exitCode, ended.screen]).toEqual([130, ['']]);
  expectRestored(ended);
}

/** A load that would take an hour. */
const load = (url: string): string[] =>
  `load --url ${url}/c --connections 20 --rate 20 --duration 1h --processes 2`.split(' ');

describe('capacity', () => {
  it.each([
    ['at its start', /measuring \[-+\] 0 %, starting/],
    ['while events are published', /measuring \[=+-+\] \d+ %, 10 lines/],
    ['while lines are opened', /measuring \[=+-+\] \d+ %, 20 lines(?!,)/],
  ])(
    'is ended by Ctrl-C %s',
    async (_, moment) => {
      expectInterrupted(await interrupted(new Pty(CAPACITY), moment));
    },
    RUN_MS,
  );

  it(
    'is ended by SIGTERM',
    async () => {
      const pty = new Pty(CAPACITY);
      await pty.until(/measuring \[=+-+\]/);
      pty.kill('SIGTERM');
      const ended = await pty.ended();
      expectRestored(ended);
      expect([ended.exitCode, ended.screen]).toEqual([130, ['']]);
    },
    RUN_MS,
  );

  it(
    'leaves a terminal that can be used even where it is killed',
    async () => {
      const pty = new Pty(CAPACITY);
      await pty.until(/measuring \[=+-+\]/);
      pty.kill('SIGKILL');
      const { raw, modes, exitCode } = await pty.ended();
      expect(raw).not.toMatch(MODE);
      expect([exitCode, modes[1]]).toEqual([137, modes[0]]);
    },
    RUN_MS,
  );
});

describe('load', () => {
  it(
    'is ended early by Ctrl-C while it publishes, and prints its table on a clean screen',
    async () => {
      const server = await hostedForTest();
      const pty = new Pty(load(server.url));
      await pty.until(/publishing \[-+\] 0 %, \d+ deliveries\/s/);
      pty.pressCtrlC();
      const ended = await pty.ended();
      expectRestored(ended);
      expect(ended.exitCode).toBe(0);
      expect(ended.screen[0]).toMatch(/^┌─+┬─+┐$/);
      expect(ended.screen.join('\n')).toMatch(
        /│ lost +│ +0 │[^]*holdline: the run was ended early\n/,
      );
    },
    RUN_MS,
  );

  it(
    'waits for the last events after the first signal, and not after the second',
    async () => {
      const server = await serverForTest();
      const pty = new Pty(load(server.url));
      await pty.until(/publishing \[-+\] 0 %, [1-9]\d* deliveries\/s/);
      // It answers nothing any more, so the last events are never there.
      server.child.kill('SIGSTOP');
      await pty.until(/, 0 deliveries\/s/);
      pty.kill('SIGTERM');
      await pty.until(/waiting for the last events \[/);
      pty.pressCtrlC();
      const ended = await pty.ended();
      expectRestored(ended);
      expect(ended.screen.join('\n')).toContain('holdline: the run was ended early\n');
    },
    RUN_MS,
  );

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'is ended by %s while it connects, when it has nothing to print',
    async (signal) => {
      const server = await hostedForTest();
      const pty = new Pty([...load(server.url), '--ramp', '1/s']);
      await pty.until(/connecting \[=*-+\] [1-9]\d? %/);
      if (signal === 'SIGINT') pty.pressCtrlC();
      else pty.kill(signal);
      const ended = await pty.ended();
      expectRestored(ended);
      expect(ended.exitCode).toBe(130);
      expect(ended.screen).toEqual([
        expect.stringMatching(/^holdline: stopped when \d+ of 20 clients had subscribed$/),
        '',
      ]);
    },
    RUN_MS,
  );
});

describe('doctor', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)(
    'is ended by %s while it watches a stream',
    async (signal) => {
      const server = await hostedForTest();
      const pty = new Pty(['doctor', '--through', `${server.url}/doctor`, '--through-idle', '1h']);
      await server.statsUntil('its stream', ({ lines }) => lines.open > 0);
      if (signal === 'SIGINT') pty.pressCtrlC();
      else pty.kill(signal);
      const ended = await pty.ended();
      expect(ended.raw).not.toMatch(MODE);
      expect([ended.exitCode, ended.modes[1]]).toEqual([130, ended.modes[0]]);
      expect(ended.screen[0]).toMatch(/^holdline: checking http.* for about 3600 s$/);
    },
    RUN_MS,
  );
});

it('a screen is what its text leaves on it', () => {
  expect(screenOf('ab\rc')).toEqual(['cb']);
  expect(screenOf('bar 50 %\r\u001B[K')).toEqual(['']);
  expect(screenOf('bar\r\u001B[Ktext\r\nmore')).toEqual(['text', 'more']);
  expect(screenOf('bar^C\nx')).toEqual(['bar^C', '     x']);
  expect(() => screenOf('\u001B[?25l')).toThrow('unknown code');
});
