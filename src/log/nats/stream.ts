/**
 * The stream: found, or made by one of the nodes that want it. A stream starts at an id of its own,
 * not at 1, so that ids rise over the logs that a server has had. To start it, it is purged to that
 * id while it is empty; a stream with messages that is purged ahead of its end would lose them all.
 * So it is made with a subject that nobody else publishes to, and gets its own when it has started;
 * and the id stands in its description, so that another node can finish what its maker began.
 */
import {
  DiscardPolicy,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  type JetStreamManager,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream';
import { pause, type Clock } from '../../clock.js';
import { asError, HoldlineError } from '../../errors.js';
import {
  ID_MAX,
  IDEMPOTENCY_MS,
  NATS_STREAM_MS_MAX,
  NATS_RECONNECT_MS,
  NATS_REQUEST_MS_MAX,
} from '../../limits.js';
import type { StreamOptions } from './options.js';
import { Subjects } from './subjects.js';

const NS_PER_MS = 1e6;
const NOT_FOUND = 10_059;
const NAME_IN_USE = 10_058;
/**
 * Subjects overlap with those of another stream; or, seldom (5 of 3,000 on nats-server 2.9), two
 * nodes make this one at once, and NATS compares its subjects with its own.
 */
const SUBJECTS_TAKEN = 10_065;
/** More replicas than one server can have. Most other codes of 500 and above pass. */
const NO_REPLICAS = 10_074;
/** Too few servers of the cluster are there, as when it has just started. */
const NO_PEERS = 10_005;

/** Time that the maker of a stream has to start it before another node does, ms. */
const MAKER_MS = 2_000;

/**
 * A server that has not been heard for so long does not count, ms. They speak every second, and
 * elect another leader when they have not heard theirs for four.
 */
export const PEER_SILENT_MS = 2_000;

export const NO_MAJORITY = 'NATS has no majority of the servers that keep the stream';

/** Why a stream is not used that was put back, or whose leader is behind. */
export const AHEAD = 'the stream ends before ids that were given';

const DESCRIPTION = /^holdline: the first id is (\d{1,16})$/;

/** Whether the answer of NATS is that there is no such stream. */
export function isStreamMissing(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === NOT_FOUND;
}

/**
 * Whether the servers that keep the stream can agree on a message: a leader that has lost the
 * others goes on answering questions for ten seconds, as if nobody else took messages.
 */
export function hasMajority({ cluster }: StreamInfo, withinMs = PEER_SILENT_MS): boolean {
  const others = cluster?.replicas ?? [];
  const heard = others.filter(({ offline, active }) => !offline && active < withinMs * NS_PER_MS);
  return 2 * (1 + heard.length) > 1 + others.length;
}

/** First id − 1 of a stream; 0 for one that somebody else made. */
export function floorOf(info: StreamInfo): number {
  return firstIdOf(info.config) - 1;
}

function firstIdOf({ description }: Pick<StreamConfig, 'description'>): number {
  return Number(DESCRIPTION.exec(description ?? '')?.[1] ?? 1);
}

/**
 * Finds the stream, or makes it; `firstId` is that of one that is made. Rejects with
 * HOLDLINE_BAD_LOG for one that cannot be used, or when NATS does not answer in NATS_STREAM_MS_MAX.
 */
export async function openStream(
  manager: JetStreamManager,
  options: StreamOptions,
  firstId: number,
  clock: Clock,
): Promise<StreamInfo> {
  const { stream } = options;
  const fromMs = clock.nowMs();
  let isMaker = false;
  for (;;) {
    let problem: unknown;
    try {
      const info = await manager.streams.info(stream);
      const isStarting = info.config.subjects.includes(startingSubject(stream));
      if (!isStarting) return checked(info, options);
      if (isMaker || clock.nowMs() - fromMs > MAKER_MS) {
        await start(manager, options, info);
        continue;
      }
    } catch (error) {
      if (error instanceof HoldlineError) throw error;
      problem = error;
    }
    if (isStreamMissing(problem)) {
      const made = await make(manager, options, firstId, clock.nowMs() - fromMs <= MAKER_MS);
      isMaker ||= made === undefined;
      problem = made;
      if (isMaker) continue;
    }
    if (clock.nowMs() - fromMs > NATS_STREAM_MS_MAX) {
      const reason = problem === undefined ? 'another server is making it' : messageOf(problem);
      throw new HoldlineError('HOLDLINE_BAD_LOG', `the stream ${stream} cannot be used: ${reason}`);
    }
    await pause(clock, NATS_RECONNECT_MS);
  }
}

function startingSubject(stream: string): string {
  return `_holdline_starting.${stream}`;
}

/** Makes the stream, which is to be started. Returns what is wrong if it is worth another look. */
async function make(
  manager: JetStreamManager,
  options: StreamOptions,
  firstId: number,
  mayBeMadeByAnother: boolean,
): Promise<unknown> {
  try {
    await manager.streams.add(configOf(options, firstId));
    return undefined;
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.code === NAME_IN_USE) return error;
    if (error.code === SUBJECTS_TAKEN && mayBeMadeByAnother) return error;
    if (error.code === NO_PEERS || (error.status >= 500 && error.code !== NO_REPLICAS))
      return error;
    throw new HoldlineError(
      'HOLDLINE_BAD_LOG',
      `the stream ${options.stream} cannot be made: ${error.message}`,
    );
  }
}

function configOf(options: StreamOptions, firstId: number): StreamConfig & { name: string } {
  const { events, bytes, ageMs } = options.retention;
  const windowMs = ageMs > 0 ? Math.min(ageMs, IDEMPOTENCY_MS) : IDEMPOTENCY_MS;
  return {
    name: options.stream,
    description: `holdline: the first id is ${firstId}`,
    subjects: [startingSubject(options.stream)],
    num_replicas: options.replicas,
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    max_msgs: events > 0 ? events : -1,
    max_bytes: bytes > 0 ? bytes : -1,
    max_age: ageMs * NS_PER_MS,
    duplicate_window: windowMs * NS_PER_MS,
    allow_direct: true,
  } as StreamConfig & { name: string };
}

/**
 * All steps may be repeated, and by any node: the id is that of the description. Servers that
 * replicate a stream (2.9) do not take the first message after such a purge, and agree only then:
 * so one is published until it is taken, right below the first id.
 */
async function start(
  manager: JetStreamManager,
  { stream, prefix }: StreamOptions,
  { config, state }: StreamInfo,
): Promise<void> {
  const isReplicated = config.num_replicas > 1;
  const firstId = firstIdOf(config) - Number(isReplicated);
  if (state.messages === 0 && state.last_seq < firstId - 1)
    await manager.streams.purge(stream, { seq: firstId });
  // A second one, of another node, takes an id that no entry gets.
  if (isReplicated && state.last_seq < firstId)
    await manager
      .jetstream()
      .publish(startingSubject(stream), '', { timeout: NATS_REQUEST_MS_MAX });
  await manager.streams.update(stream, { subjects: [new Subjects(prefix).all] });
}

function checked(info: StreamInfo, options: StreamOptions): StreamInfo {
  const problem = problemOf(info, options);
  if (problem === undefined) return info;
  throw new HoldlineError(
    'HOLDLINE_BAD_LOG',
    `the stream ${options.stream} cannot be used: ${problem}`,
  );
}

/** Why the stream cannot be used; undefined when it can. */
function problemOf({ config, state }: StreamInfo, { prefix }: StreamOptions): string | undefined {
  const { subjects, discard, retention, max_msgs_per_subject: eachMax } = config;
  const { all } = new Subjects(prefix);
  if (!subjects.includes(all))
    return `its subjects must include ${all} (--nats-prefix; they are ${subjects.join(', ')})`;
  if (retention !== RetentionPolicy.Limits || discard !== DiscardPolicy.Old)
    return 'its retention must be "limits", its discard policy "old"';
  if (eachMax > 0)
    return `it may not forget messages amid others (max_msgs_per_subject is ${eachMax}, and must be -1)`;
  return state.last_seq > ID_MAX - 1 ? `its sequence is above ${ID_MAX}` : undefined;
}

function messageOf(error: unknown): string {
  return asError(error).message;
}

/** What of the stream is not as the options ask, in words; empty when all is. */
export function differences({ config }: StreamInfo, options: StreamOptions): string {
  const wanted = configOf(options, 1);
  const names = ['num_replicas', 'max_msgs', 'max_bytes', 'max_age', 'duplicate_window'] as const;
  return names
    .filter((name) => config[name] !== wanted[name])
    .map((name) => `${name} is ${config[name]}, and the options ask for ${wanted[name]}`)
    .join('; ');
}
