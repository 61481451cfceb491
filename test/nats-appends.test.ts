/** What counts as a repeat of a request: what NATS says, and what is there. */
import type { JetStreamManager, StoredMsg } from '@nats-io/jetstream';
import type { MsgHdrs } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { Appends } from '../src/log/nats/appends.js';
import type { Publisher } from '../src/log/nats/publisher.js';
import { messageOf } from '../src/log/nats/record.js';
import { Subjects } from '../src/log/nats/subjects.js';

const ENTRY = { channel: 'a', type: undefined, data: Buffer.from('x'), json: false };
const REQUEST = { key: 'k', digest: 'd', subscribers: 0 };
const SUBJECTS = new Subjects('holdline');
const ID = 7;

/** A message of the stream, of a request or of none. */
function stored(request?: { readonly key: string; readonly digest: string }): StoredMsg {
  const mark = { index: 0, count: 1, firstId: 0, subscribers: 0 };
  const { headers } = messageOf(
    ENTRY,
    request === undefined ? 'id' : `${request.key}.0`,
    SUBJECTS,
    request === undefined ? undefined : { ...request, ...mark },
  );
  return { header: headers } as unknown as StoredMsg;
}

/** NATS that has this at ID when it is asked, and whose oldest id is `firstId`. */
function managerWith(
  there: () => StoredMsg | null | undefined | Error,
  firstId = 1,
): JetStreamManager {
  return {
    streams: {
      getMessage: async () => {
        const found = there();
        if (found instanceof Error) throw found;
        return found;
      },
      info: async () => ({ state: { first_seq: firstId } }),
    },
  } as unknown as JetStreamManager;
}

const codeOf = (error: unknown): string => (error as { code: string }).code;

/** Appends once where NATS says that it has the message as ID, and has this there. */
async function outcome(there: StoredMsg | null | Error, firstId = 1): Promise<unknown> {
  const publisher = {
    publish: async () => [{ id: ID, isRepeat: true, isResent: false }],
  } as unknown as Publisher;
  const appends = new Appends(
    publisher,
    managerWith(() => there, firstId),
    'S',
    SUBJECTS,
  );
  return appends.append([ENTRY], REQUEST).catch(codeOf);
}

test.each([
  ['the same request', stored(REQUEST), 1, { ids: [ID], isRepeat: true }],
  [
    'another request with its key',
    stored({ ...REQUEST, digest: 'e' }),
    1,
    'HOLDLINE_IDEMPOTENCY_MISMATCH',
  ],
  ['the request of another key', stored({ ...REQUEST, key: 'l' }), 1, 'HOLDLINE_OUTCOME_UNKNOWN'],
  ['an event without a key', stored(), 1, 'HOLDLINE_OUTCOME_UNKNOWN'],
  ['nothing', null, 1, 'HOLDLINE_OUTCOME_UNKNOWN'],
  ['nothing any more', null, ID + 1, { ids: [ID], isRepeat: true }],
  ['what it does not say', new Error('timeout'), 1, 'HOLDLINE_OUTCOME_UNKNOWN'],
])('a message that NATS says it has is %s', async (_name, there, firstId, expected) => {
  expect(await outcome(there, firstId)).toEqual(expected);
});

test.each([
  ['itself', true, { ids: [ID], isRepeat: false }],
  ['another event', false, 'HOLDLINE_OUTCOME_UNKNOWN'],
])(
  'an event without a key that was sent again, and is there, is %s',
  async (_n, isSame, expected) => {
    let sent: StoredMsg | undefined;
    const publisher = {
      publish: async ([{ headers }]: [{ headers: MsgHdrs }]) => {
        sent = { header: headers } as unknown as StoredMsg;
        return [{ id: ID, isRepeat: true, isResent: true }];
      },
    } as unknown as Publisher;
    const manager = managerWith(() => (isSame ? sent : stored()));
    const appends = new Appends(publisher, manager, 'S', SUBJECTS);
    expect(await appends.append([ENTRY]).catch(codeOf)).toEqual(expected);
  },
);

test.each([
  ['themselves', false, { ids: [ID, ID + 1, ID + 2], isRepeat: true }],
  ['another event', true, 'HOLDLINE_OUTCOME_UNKNOWN'],
])('later entries of a batch that NATS says it has are %s', async (_n, isOther, expected) => {
  const messages = new Map<number, StoredMsg>();
  const publisher = {
    publish: async (sent: readonly { headers: MsgHdrs }[]) =>
      sent.map(({ headers }) => {
        const id = ID + messages.size;
        messages.set(id, { header: headers } as unknown as StoredMsg);
        return { id, isRepeat: true, isResent: false };
      }),
  } as unknown as Publisher;
  const manager = {
    streams: {
      getMessage: async (_stream: string, { seq }: { seq: number }) =>
        isOther && seq === ID + 2 ? stored() : messages.get(seq),
      info: async () => ({ state: { first_seq: 1 } }),
    },
  } as unknown as JetStreamManager;
  const appends = new Appends(publisher, manager, 'S', SUBJECTS);
  expect(await appends.append([ENTRY, ENTRY, ENTRY], REQUEST).catch(codeOf)).toEqual(expected);
});
