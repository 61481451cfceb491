/**
 * The directory of a log and its tables: the one file that imports `lmdb`. Checks, before anything
 * is read, that the directory is a log of a schema that is known here.
 */
import { closeSync, openSync, readdirSync, statfsSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import type { Database, RootDatabase } from 'lmdb';
import { asError, HoldlineError } from '../../errors.js';
import { LOG_ROOM_KEPT_BYTES } from '../../limits.js';
import { badDirectory, badLog, noLogIn } from './bad-log.js';
import { COMMIT_LOCK_FILE, whileNothingCommits } from './commit-lock.js';
import { DATA_FILE, readHead } from './data-file.js';
import { EndGate } from './end-gate.js';
import { LOCK_FILE } from './lock.js';
import { makeDirectory } from './make-directory.js';

/** The one that is written; a log of a higher one is refused. */
export const SCHEMA = 1;

export const BALLAST_FILE = 'ballast';

/** What a directory may hold before there is a log in it. */
const OWN_FILES: ReadonlySet<string> = new Set([
  DATA_FILE,
  'lock.mdb',
  LOCK_FILE,
  COMMIT_LOCK_FILE,
  BALLAST_FILE,
  'lost+found',
]);

const BINARY = { keyEncoding: 'binary', encoding: 'binary' } as const;
const TABLES: ReadonlySet<string> = new Set([
  'facts',
  'names',
  'channels',
  'records',
  'order',
  'garbage',
  'receipts',
  'rows',
]);
const SCHEMA_KEY = Buffer.from('schema');

export type Table = Database<Buffer, Buffer>;

export interface Tables {
  readonly root: RootDatabase<Buffer, Buffer>;
  /** What the work of a transaction returns that is to change nothing. */
  readonly abort: object;
  /** Schema, totals and what else there is one of. */
  readonly facts: Table;
  /** Name → number of a channel. */
  readonly names: Table;
  /** Number → row of a channel. */
  readonly channels: Table;
  /** Number of a channel and id → record. */
  readonly records: Table;
  /** Id → where its record is, and when it was given. */
  readonly order: Table;
  /** Numbers of channels with records that a deletion has left behind. */
  readonly garbage: Table;
  /** End and id → receipt. */
  readonly receipts: Table;
  /** Kind and key → row. */
  readonly rows: Table;
}

export interface OpenTables {
  readonly tables: Tables;
  /** True when the log was made now. */
  readonly isNew: boolean;
}

/**
 * Opens the log of a directory; unless it is only read, makes what is missing. A copy has no free
 * pages, so one that is shorter than it says was cut, and is refused. Nothing is committed while a
 * log is opened to be read.
 */
export async function openTables(
  directory: string,
  {
    readOnly = false,
    isCopy = false,
    gate = new EndGate(),
  }: {
    readonly readOnly?: boolean;
    readonly isCopy?: boolean;
    readonly gate?: EndGate;
  } = {},
): Promise<OpenTables> {
  checkDirectory(directory, readOnly, isCopy);
  const lmdb = await loadLmdb();
  const openNow = (): Promise<OpenTables> => openWith(lmdb, directory, readOnly, gate);
  return readOnly ? whileNothingCommits(directory, openNow) : openNow();
}

async function openWith(
  { open, ABORT }: typeof import('lmdb'),
  directory: string,
  readOnly: boolean,
  gate: EndGate,
): Promise<OpenTables> {
  let root: RootDatabase<Buffer, Buffer>;
  try {
    root = gate.within(() =>
      open<Buffer, Buffer>({
        ...BINARY,
        path: directory,
        maxDbs: 16,
        // A commit is one fdatasync(2) and one synchronous write of the page that ends it.
        overlappingSync: false,
        noSubdir: false,
        readOnly,
      }),
    );
  } catch (error) {
    throw damaged(asError(error).message);
  }
  try {
    return gate.within(() => tablesOf(root, ABORT, directory, readOnly));
  } catch (error) {
    await root.close();
    throw error instanceof HoldlineError ? error : damaged(asError(error).message);
  }
}

function tablesOf(
  root: RootDatabase<Buffer, Buffer>,
  abort: object,
  directory: string,
  readOnly: boolean,
): OpenTables {
  const schema = schemaOf(root, directory);
  if (schema === undefined && readOnly) throw noLogIn(directory);
  const table = (name: string): Table => root.openDB<Buffer, Buffer>(name, BINARY);
  const tables: Tables = {
    root,
    abort,
    facts: table('facts'),
    names: table('names'),
    channels: table('channels'),
    records: table('records'),
    order: table('order'),
    garbage: table('garbage'),
    receipts: table('receipts'),
    rows: table('rows'),
  };
  return { tables, isNew: schema === undefined };
}

/** Within the transaction that makes a log: says which schema it has. */
export function writeSchema({ facts }: Pick<Tables, 'facts'>): void {
  void facts.put(SCHEMA_KEY, Buffer.from(String(SCHEMA)));
}

/**
 * The schema of the log; undefined when there is none yet, maybe because a crash came before it was
 * written. Throws HOLDLINE_BAD_LOG for what is no log, and for one that is newer than this program.
 */
function schemaOf(root: RootDatabase<Buffer, Buffer>, directory: string): number | undefined {
  // LMDB keeps tables under their names with a NUL behind.
  const names = [...root.getKeys()].map((key) => String(key).replace(/\0$/, ''));
  const found = names.includes('facts')
    ? root.openDB<Buffer, Buffer>('facts', BINARY).get(SCHEMA_KEY)
    : undefined;
  if (found === undefined) {
    const isEmpty = names.every(
      (name) =>
        TABLES.has(name) && [...root.openDB(name, BINARY).getKeys({ limit: 1 })].length === 0,
    );
    if (isEmpty) return undefined;
    throw badLog(
      `the directory ${JSON.stringify(directory)} holds an LMDB database of another program; give one of its own`,
    );
  }
  const schema = Number(found.toString());
  if (!Number.isSafeInteger(schema) || schema < 1) throw damaged('its schema cannot be read');
  if (schema > SCHEMA)
    throw badLog(
      `the log has schema ${schema} and this version knows schema ${SCHEMA}: it was written by a newer version; start that one, or restore a backup`,
    );
  return schema;
}

async function loadLmdb(): Promise<typeof import('lmdb')> {
  try {
    return await import('lmdb');
  } catch (error) {
    throw new HoldlineError(
      'HOLDLINE_NO_LIBRARY',
      `a log on disk needs the package lmdb, which cannot be loaded here: npm install lmdb (${asError(error).message})`,
    );
  }
}

function checkDirectory(directory: string, readOnly: boolean, isCopy: boolean): void {
  let names: string[];
  try {
    if (!readOnly) makeDirectory(directory);
    names = readdirSync(directory);
  } catch (error) {
    throw badDirectory(directory, error);
  }
  if (!names.includes(DATA_FILE)) {
    if (readOnly) throw noLogIn(directory);
    const foreign = names.find((name) => !OWN_FILES.has(name));
    if (foreign !== undefined)
      throw badLog(
        `the directory ${JSON.stringify(directory)} holds other files (${JSON.stringify(foreign)}); give an empty one, or one that is not there`,
      );
    const { bavail, bsize } = statfsSync(directory);
    if (bavail * bsize < LOG_ROOM_KEPT_BYTES)
      throw badLog(`the disk of ${JSON.stringify(directory)} has no room for a log`);
    // LMDB would let everyone read what it makes.
    for (const name of [DATA_FILE, 'lock.mdb'])
      closeSync(openSync(join(directory, name), 'a', 0o600));
    return;
  }
  checkHead(join(directory, DATA_FILE), readOnly, isCopy);
}

/**
 * LMDB reads its file through memory: a file that was cut would end the process with SIGBUS where
 * the rest is read. So it is refused where it is only read; where it is written, what is missing is
 * made zeros, which LMDB refuses as damaged.
 */
function checkHead(path: string, readOnly: boolean, isCopy: boolean): void {
  let head: ReturnType<typeof readHead>;
  let fileBytes: number;
  try {
    if (statSync(path).size === 0) return;
    // In this order: meanwhile a server may make it longer.
    head = readHead(path);
    fileBytes = statSync(path).size;
  } catch (error) {
    throw badLog(`${DATA_FILE} cannot be read: ${asError(error).message}`);
  }
  if (typeof head === 'string') throw damaged(head);
  const wanted = head.pages * head.pageBytes;
  if (fileBytes >= wanted) return;
  if (isCopy)
    throw badLog(`the copy was cut: ${fileBytes} bytes are there of ${wanted}; take another`);
  if (readOnly) throw damaged(`it was cut: ${fileBytes} bytes are there of ${wanted}`);
  // Who writes may make it whole: what is missing may be free.
  truncateSync(path, wanted);
}

function damaged(words: string): HoldlineError {
  return badLog(`${DATA_FILE} is damaged, or no LMDB file (${words}); restore a backup`);
}
