/**
 * The subjects of a stream, `<prefix>.<channel>`: segments of a channel's name are tokens, so that
 * NATS' wildcards work on them. A segment behind a `/` keeps it in front, as no segment can begin
 * with one: `org/7.a` is `org./7.a`. So any two channels have two subjects, and any service that
 * speaks NATS can publish to them. Our own subjects begin with a token in `$`, as no channel does.
 */

/** Tokens of a prefix; none of NATS' own begins like this. */
const PREFIX = /^[A-Za-z0-9-][\w-]*(?:\.[\w-]+)*$/;

/** The first token of marks of deletion. */
const DELETED = '$deleted';

/** What a subject is of. */
export interface SubjectMeaning {
  /** Of a channel, whose name is not checked; undefined for a subject of no channel. */
  readonly channel: string | undefined;
  readonly isDeletion: boolean;
}

export class Subjects {
  /** Everything under the prefix. */
  readonly all: string;
  readonly #events: string;
  readonly #deletions: string;
  /** What was asked for last: messages of one subject mostly come in a row. */
  #last: { readonly subject: string; readonly meaning: SubjectMeaning | undefined } | undefined;

  constructor(prefix: string) {
    this.all = `${prefix}.>`;
    this.#events = `${prefix}.`;
    this.#deletions = `${prefix}.${DELETED}.`;
  }

  /** Whether a prefix can be used. */
  static accepts(prefix: string): boolean {
    return PREFIX.test(prefix);
  }

  /** The subject of a channel's events. */
  ofEvents(channel: string): string {
    return this.#events + tokensOf(channel);
  }

  /** The subject of the marks that end a channel's history. */
  ofDeletions(channel: string): string {
    return this.#deletions + tokensOf(channel);
  }

  /** Undefined for a subject of others, which a stream that they made may have as well. */
  meaningOf(subject: string): SubjectMeaning | undefined {
    if (this.#last?.subject !== subject) this.#last = { subject, meaning: this.#read(subject) };
    return this.#last.meaning;
  }

  #read(subject: string): SubjectMeaning | undefined {
    if (!subject.startsWith(this.#events)) return undefined;
    const isDeletion = subject.startsWith(this.#deletions);
    const tokens = subject.slice((isDeletion ? this.#deletions : this.#events).length);
    return { channel: channelOf(tokens), isDeletion };
  }
}

function tokensOf(channel: string): string {
  return channel.replaceAll('/', './');
}

/** Undefined for tokens that no channel has. */
function channelOf(tokens: string): string | undefined {
  const channel = tokens.replaceAll('./', '/');
  return tokensOf(channel) === tokens && channel !== '' && !channel.startsWith('$')
    ? channel
    : undefined;
}
