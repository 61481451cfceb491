/** The options as an editor shows them: each with its words, and none but those of the table. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { OPTIONS_FILE, optionsSource } from '../scripts/write-options.js';
import { badOption } from '../src/options/refusals.js';
import { parseLogCommand } from '../src/tools/log/options.js';
import type { Options } from '../src/options/options.js';
import { OPTIONS, type OptionRow, type Settings } from '../src/options/table.js';

const DECLARED = readFileSync(new URL('../dist/options/options.d.ts', import.meta.url), 'utf8');

/** Compiles when the two are the same. */
type Same<A, B> = [A, B] extends [B, A] ? true : false;

test('src/options/options.ts is what the table says; npx tsx scripts/write-options.ts writes it', () => {
  expect(readFileSync(OPTIONS_FILE, 'utf8')).toBe(optionsSource());
});

test('they are the settings, all of which may be left out', () => {
  const same: Same<{ [Name in keyof Options]: Options[Name] }, Partial<Settings>> = true;
  expect(same).toBe(true);
});

test.each(Object.entries<OptionRow>(OPTIONS))(
  '%s has its help, what it takes, its flag and its default in the types of the package',
  (name, row) => {
    const end = DECLARED.indexOf(`    readonly ${name}?: `);
    const start = DECLARED.lastIndexOf('/**', end);
    const words = DECLARED.slice(start, end)
      .replaceAll(/\n\s*\* ?/g, ' ')
      .toLowerCase();
    for (const part of [row.help, row.kind.acceptedValue, `\`--${row.flag}\``, '@default '])
      expect(words).toContain(part.toLowerCase());
  },
);

test.each([
  ['https://ann:pass@w@id.example/keys', 'https://…@id.example/keys'],
  ['nats:me:hunter2@h:4222', 'nats:…@h:4222'],
  ['nats://me:hun/ter2@h:4222', 'nats://…@h:4222'],
  ['nats://me:hun?t#er2@h,tls://me:hun/ter2@g', 'nats://…@g'],
  ['nats:/me:hunter2@h', 'nats:…@h'],
  ['hunter2@h', '…@h'],
  ['lmdb:', 'lmdb:'],
  ['[{"channels":"a@b","x":1}]', String.raw`[{\"channels\":\"a@b\",\"x\":1}]`],
])('a refusal of %j shows no user and password of a URL', (given, shown) => {
  const { message } = badOption('--log', given, 'a URL');
  expect(message).toBe(`--log must be a URL (got "${shown}")`);
});

test('a URL where a command takes none, or another one, does not show a user and password', () => {
  const url = 'nats://user:secret@a.example:4222';
  const refused = (...args: string[]): string => {
    try {
      parseLogCommand(args, { env: {}, readFile: () => '' });
    } catch (error) {
      return (error as Error).message;
    }
    return '';
  };
  expect(refused('copy', 'lmdb:data', url)).toBe(
    'what a log is copied to must be nats://HOST:PORT, without user and path (got "nats://…@a.example:4222")',
  );
  expect(refused(url)).toMatch(/^"nats:\/\/…@a\.example:4222" is not one of backup, /);
  expect(refused('upgrade', url)).toBe('give the directory of a log');
  expect(refused('copy', 'lmdb:data', 'nats://a', '--nats-stream=A', url)).toMatch(
    /^"nats:\/\/…@a\.example:4222" is not an option; /,
  );
});

test('a copy of a log signs in at NATS in one way, as a server does', () => {
  const copy = (...flags: string[]): unknown =>
    parseLogCommand(['copy', 'lmdb:data', 'nats://a', ...flags], { env: {}, readFile: () => 'p' });
  expect(() => copy('--nats-user=u')).toThrow('--nats-user needs --nats-password');
  expect(() => copy('--nats-creds=c', '--nats-token-file=t')).toThrow(
    '--nats-creds and --nats-token-file exclude each other',
  );
  expect(copy('--nats-user=u', '--nats-password-file=p')).toMatchObject({
    command: { settings: { natsUser: 'u', natsPassword: 'p' } },
  });
});
