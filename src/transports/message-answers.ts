/**
 * Answers to what clients send over WebSockets: receipts and refusals, and the end of a client that
 * does not read them or does not speak the protocol.
 */
import type { HeldBytes } from '../core/held-bytes.js';
import type { Hub } from '../core/hub.js';
import type { Counters } from '../counters.js';
import { CLOSE_CODES, isTemporary } from '../errors.js';
import { knownError } from '../http/answer.js';
import type { Refusable, Refusals } from '../http/refusals.js';
import { REFUSED_MESSAGES_MAX, UNREAD_ANSWERS_BYTES_MAX } from '../limits.js';
import { closeMessages, sendMessage, Unread, type MessageSocket } from '../native/messages.js';

/** What is counted of a socket: messages refused for good since its last publish. */
export interface RefusedMessages {
  refused: number;
}

export class MessageAnswers {
  readonly unread: Unread;
  readonly #hub: Pick<Hub<MessageSocket>, 'addressOf' | 'stalled'>;
  readonly #counters: Counters;
  readonly #refusals: Refusals;
  readonly #report: (error: unknown) => void;

  /** `report` gets every error that is not the client's fault. */
  constructor(
    hub: Pick<Hub<MessageSocket>, 'addressOf' | 'stalled'>,
    counters: Counters,
    held: HeldBytes,
    refusals: Refusals,
    report: (error: unknown) => void,
  ) {
    this.unread = new Unread(held);
    this.#hub = hub;
    this.#counters = counters;
    this.#refusals = refusals;
    this.#report = report;
  }

  /** Answers a publish with its id. `ref` is the JSON of the message's, empty if it has none. */
  accept(socket: MessageSocket, id: number, ref: string): void {
    (socket.session as RefusedMessages).refused = 0;
    this.#reply(socket, `{"ok":{${ref === '' ? '' : `"ref":${ref},`}"id":${id}}}`);
  }

  /**
   * Answers a message with the error. Closes with `closeCode` if there is one, and otherwise after
   * REFUSED_MESSAGES_MAX permanent refusals in a row. A client that is gone is refused nothing.
   */
  refuse(socket: MessageSocket, error: unknown, ref: string, closeCode?: number): void {
    const known = knownError(error);
    if (known !== error) this.#report(error);
    if (!socket.isOpen) return;
    const { code, message } = known;
    this.#refusals.note('messages_refused_total', known, new RefusedMessage(this.#hub, socket));
    const tail = ref === '' ? '' : `,"ref":${ref}`;
    this.#reply(socket, `{"error":{"code":"${code}","message":${JSON.stringify(message)}${tail}}}`);
    const session = socket.session as RefusedMessages;
    if (!isTemporary(known)) session.refused++;
    const close =
      closeCode ?? (session.refused >= REFUSED_MESSAGES_MAX ? CLOSE_CODES.policy : undefined);
    if (close === undefined || !socket.isOpen) return;
    this.#counters.websockets_closed_refused_total++;
    closeMessages(socket, close, code);
  }

  /** Sends one line of JSON of the server's own. */
  #reply(socket: MessageSocket, json: string): void {
    if (!socket.isOpen || sendMessage(socket, `${json}\n`)) return;
    this.#hub.stalled(socket.handle, socket);
    if (socket.isOpen) this.owe(socket, json.length + 1, 'answers are not read');
  }

  /**
   * Counts bytes that were answered and not taken. A client that does not read its answers is
   * closed before they fill the memory.
   */
  owe(socket: MessageSocket, answerBytes: number, reason: string): void {
    if (socket.unread.note(socket, answerBytes) <= UNREAD_ANSWERS_BYTES_MAX) return;
    this.#counters.websockets_closed_unread_total++;
    closeMessages(socket, CLOSE_CODES.tryAgainLater, reason);
  }
}

/** A message that was refused. */
class RefusedMessage implements Refusable {
  readonly method = 'MESSAGE';
  readonly transport = 'websocket';
  readonly #hub: Pick<Hub<MessageSocket>, 'addressOf'>;
  readonly #socket: MessageSocket;

  constructor(hub: Pick<Hub<MessageSocket>, 'addressOf'>, socket: MessageSocket) {
    this.#hub = hub;
    this.#socket = socket;
  }

  /** Of the client, also behind a trusted proxy; empty once its line is gone. */
  get address(): string {
    return this.#hub.addressOf(this.#socket.handle, this.#socket) ?? '';
  }
}
