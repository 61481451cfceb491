/**
 * Every bound that is not an option, with its unit, what it costs and who enforces it. Bounds that
 * operators tune are options (config.ts); the relations between the two kinds are asserted at the
 * bottom and in config.ts.
 */

/**
 * Largest single write of one cork, bytes. With the chunk's own framing (length + 4 + hex digits)
 * it fits uWebSockets' cork buffer of 16,384, so it leaves as one send(); above it builds before
 * 20.64 can lose bytes. Enforced by core/pump.ts. native-notes/cork-size.md,
 * native-notes/oversized-cork-loses-bytes.md
 */
export const CORK_WRITE_BYTES_MAX = 16_376;

/**
 * Bytes of prelude and replay written inside the request handler, beside the response head in the
 * same cork. transports/sse.ts
 */
export const OPENING_BYTES_MAX = 15_000;

/** Bytes of replay in one slice of the opening; the rest is for prelude and gap. core/hub.ts */
export const REPLAY_OPENING_BYTES_MAX = OPENING_BYTES_MAX - 256;

/** Channel name, characters (all ASCII). http/request.ts */
export const CHANNEL_NAME_CHARS_MAX = 128;

/** Channels on one line. http/request.ts */
export const CHANNELS_PER_LINE_MAX = 16;

/** Event type, characters. core/event.ts */
export const EVENT_TYPE_CHARS_MAX = 64;

/** Largest id and position: 2^53 − 1, what a double holds exactly. core/position.ts */
export const ID_MAX = Number.MAX_SAFE_INTEGER;

/**
 * Request head, bytes; given to uWebSockets before it loads. native/uws.ts,
 * native-notes/header-limit.md
 */
export const REQUEST_HEAD_BYTES_MAX = 8 * 1024;

/** Request body, bytes: one batch. 413 above it. transports/publish.ts */
export const BODY_BYTES_MAX = 4 * 1024 * 1024;

/**
 * How long a body may take for its next BODY_PROGRESS_BYTES_MIN, ms, or for its end; then it is
 * told 408. uWebSockets itself closes in silence 8–12 s after the last 160 KiB. http/body.ts,
 * native-notes/ten-second-timer.md
 */
export const BODY_PROGRESS_MS_MAX = 7_000;
export const BODY_PROGRESS_BYTES_MIN = 160 * 1024;

/**
 * First room for a body whose length is not told, bytes; doubled whenever it is full. http/body.ts
 */
export const BODY_ROOM_BYTES_MIN = 4 * 1024;

/**
 * Answers that their sockets have not taken, bytes over all sockets; a body that several are given
 * counts once. Past it the answer that has not moved for longest is given up and its socket closed:
 * 64 KiB for each of 256 readers that stand still with different bodies. http/pending-answers.ts
 */
export const PENDING_ANSWER_BYTES_MAX = 16 * 1024 * 1024;

/**
 * Bytes of one answer to a poll with `limit` while answers of half PENDING_ANSWER_BYTES_MAX are not
 * read: what a socket takes at once, so that nobody who reads is given up for those who do not.
 * http/pending-answers.ts, core/poll.ts
 */
export const CROWDED_BODY_BYTES_MAX = 64 * 1024;

/**
 * Largest body of an answer that is written in one piece behind `Connection: close`, bytes.
 * http/exchange.ts
 */
export const CLOSING_BODY_BYTES_MAX = 8 * 1024;

/**
 * Answers without a body on one connection, on average: each closes it with that chance, since
 * uWebSockets does not tell whether the socket has taken the ones before. About 16 KiB of heads for
 * who never reads. http/exchange.ts
 */
export const BODILESS_ANSWERS_PER_CLOSE = 64;

/**
 * Body of an answer that is small, bytes, and how many of those are written on average before one
 * is looked at whether the socket takes it: about 12 KiB for who never reads. http/exchange.ts
 */
export const SMALL_ANSWER_BYTES_MAX = 512;
export const SMALL_ANSWERS_PER_CHECK = 16;

/**
 * How long the rest of a chunked body is read off after a refusal, ms, so that its client reads the
 * refusal. http/exchange.ts
 */
export const CLOSE_LINGER_MS_MAX = 1_000;

/**
 * Memory of publishes that are under way, bytes over all channels: bodies from their first byte,
 * and what was read of them until it has entered its ring. A channel may hold as much as is still
 * free. core/publish-memory.ts
 */
export const PUBLISH_BYTES_MAX = 64 * 1024 * 1024;

/** Levels of arrays and objects in a client's JSON. 400 above it. transports/json.ts */
export const JSON_DEPTH_MAX = 128;

/**
 * Bytes of JSON that a byte of text takes at the most (`\u0000`): a longer line of a batch is
 * refused unread. transports/batch.ts
 */
export const JSON_GROWTH_MAX = 6;

/**
 * A batch up to this size is read at once, bytes: about 0.2 ms. A larger one is read in slices.
 * transports/batch.ts
 */
export const BATCH_AT_ONCE_BYTES_MAX = 64 * 1024;

/**
 * What is read of a batch in one step, bytes: about 0.1 ms, then it is another's turn. One line may
 * be more. transports/batch.ts
 */
export const BATCH_STEP_BYTES = 32 * 1024;

/** Long work of all requests together in one turn of the loop, ms. transports/slices.ts */
export const WORK_SLICE_MS = 2;

/** Events in one batch. 413 above it. transports/publish.ts */
export const BATCH_EVENTS_MAX = 10_000;

/**
 * Most events that `last=N` counts back over the channels of a line; a larger N is as good as this
 * one. core/start.ts
 */
export const LAST_EVENTS_MAX = 100_000;

/**
 * Bytes that one sweep over a channel's lines may have to write, over all of them: the bound on
 * accept → deliver, since a sweep writes about 2 GB/s. Divided by the lines it is the channel's
 * in-flight window: what it may hold beyond what every healthy line has been given. core/channel.ts
 */
export const SWEEP_WORK_BYTES_MAX = 768 * 1024 * 1024;

/**
 * Most in-flight window of a channel, however few lines it has, in corks: memory beside what is
 * kept for replay. core/channel.ts
 */
export const IN_FLIGHT_WINDOW_CORKS_MAX = 16;

/**
 * What an event counts for in queue and in-flight window beside its data: about the fixed bytes of
 * its frame. core/intake.ts
 */
export const EVENT_COST_BYTES = 32;

/**
 * What a committed event takes beside its data while it waits in its channel's queue, bytes: an
 * object, a view of its data and what the publisher is told. core/intake.ts
 */
export const QUEUED_EVENT_BYTES = 256;

/**
 * Events of a channel that enter its ring in one turn of the loop, and between two looks at the
 * clock; the rest follows in the next. core/intake.ts
 */
export const ENTERED_PER_TURN_MAX = 1_024;
export const ENTERED_PER_CHECK = 64;

/**
 * Batches over BATCH_AT_ONCE_BYTES_MAX that are read at a time, over all channels, each in slices:
 * 2.5 MB beside its body for one of 10,000 small events. core/intake.ts
 */
export const CONCURRENT_READS_MAX = 16;

/**
 * Publishers that may wait for room, over all channels; those of one channel may be as many as are
 * still free. The next one is told 503 at once. Over WebSocket as many may wait for the program's
 * word. core/intake.ts, transports/websocket.ts
 */
export const WAITING_PUBLISHERS_MAX = 1_024;

/** How long a publisher waits for room before it is told 503, ms. core/intake.ts */
export const PUBLISH_WAIT_MS_MAX = 2_000;

/**
 * Channels that something was published to. Past it a publish to a new name forgets the one without
 * lines that was published to longest ago, those that hold nothing first; where all have lines it
 * is refused. About 1.4 KiB each with one small event. core/channels.ts
 */
export const CHANNELS_MAX = 100_000;

/**
 * Names that have lines and nothing was ever published to; a line on one more is refused. About 1.5
 * KiB each. core/channels.ts
 */
export const READER_CHANNELS_MAX = 100_000;

/**
 * Channels that are looked at in one search for one to forget, for rings to drop or for frames to
 * let go, under 1 µs each. Those that may not go are set aside, and the next search goes on behind
 * them; a publish to a new name is refused meanwhile. core/channels.ts
 */
export const CHANNELS_CHECKED_MAX = 2_000;

/**
 * Channels that are no longer known and of which it is remembered what they lost, 25 bytes each.
 * Past it the oldest record is forgotten, and channels without one are taken to have lost as much:
 * gaps that may be none. core/losses.ts
 */
export const LOST_CHANNELS_MAX = 1_000_000;

/**
 * What a channel costs beside its ring, bytes: its objects, its name, its place in the map. Counted
 * with the ring, test/bounds.wire.ts. core/channel.ts
 */
export const CHANNEL_BYTES = 600;

/**
 * A slice of the sweep, ms; then the loop runs accepts, publishes and health checks. core/pump.ts
 */
export const SWEEP_SLICE_MS = 2;

/**
 * Corks between two looks at the clock, and a group's turn before the next group has one (about 6
 * µs a cork). core/pump.ts
 */
export const SWEEP_CHECK_CORKS = 32;

/** Rows that need nothing and together count as one cork. core/pump.ts */
export const IDLE_ROWS_PER_CORK = 256;

/**
 * Corks a visit for a line that is still catching up, so that it cannot hold the sweep.
 * core/pump.ts
 */
export const CATCH_UP_CORKS_MAX = 4;

/**
 * Grace of a healthy line that refuses bytes, ms: so long its channels evict nothing that it has
 * not been given, and take no more than their replay beyond its cursor (core/channel.ts). It goes
 * on while the line takes, in each such time, what had entered at its beginning. So a channel is
 * never held below its replay per GRACE_MS, 10 MB/s by default. core/grace-windows.ts
 */
export const GRACE_MS = 100;

/**
 * What a line that has proven itself is given where its channel has spent its budget, ms.
 * core/grace.ts
 */
export const GRACE_MS_MIN = 50;

/**
 * What a channel may be held by lines that then turn out to have stalled, ms a second; as much is
 * saved at the most. Costs that share of the publishers' pace, and GRACE_MS_MIN for each proven
 * line that stalls in GRACE_TRUST_SECONDS. core/grace.ts
 */
export const GRACE_BUDGET_MS_PER_SECOND = 100;

/**
 * Most that a channel may have spent beyond its budget, ms: what proven lines do cannot deny young
 * ones grace for longer than ten seconds. core/grace.ts
 */
export const GRACE_DEBT_MS_MAX = 10 * GRACE_BUDGET_MS_PER_SECOND;

/**
 * How long a line must have been open, or not have held its channels in vain, to count as proven,
 * seconds. core/grace.ts
 */
export const GRACE_TRUST_SECONDS = 10;

/**
 * How long a line is given no grace at all after it held its channels in vain, seconds; then it is
 * given what a young line is. core/grace.ts
 */
export const GRACE_DISTRUST_SECONDS = 2;

/**
 * When the loop comes so late to the end of a window, ms, it was away while sockets drained: those
 * in grace are given as much longer, once. core/grace-windows.ts
 */
export const GRACE_LATE_MS = 5;

/**
 * Steps in one turn of the heartbeat wheel, which turns four times an interval: fewer make larger
 * bursts, which cost less a beat. core/heartbeat.ts
 */
export const HEARTBEAT_TURN_STEPS = 16;

/** Shortest step of the heartbeat wheel, ms. core/heartbeat.ts */
export const HEARTBEAT_STEP_MS_MIN = 10;

/**
 * Longest time that a poll may wait, seconds, and what it waits when it does not say.
 * transports/poll.ts
 */
export const POLL_WAIT_SECONDS_MAX = 60;
export const POLL_WAIT_DEFAULT_SECONDS = 25;

/**
 * Share of its time by which a waiting poll may be answered earlier, so that polls that began
 * together do not end together.
 */
export const POLL_WAIT_JITTER = 0.1;

/** Most events in one answer to a poll. transports/poll.ts */
export const POLL_EVENTS_MAX = 1_000;

/**
 * Bytes of one answer to a poll with `limit`; one event goes out however large it is. core/poll.ts
 */
export const POLL_BODY_BYTES_MAX = 1024 * 1024;

/**
 * Step of the wheel of deadlines, ms: a waiting poll is answered that much early at the most.
 * core/deadlines.ts
 */
export const DEADLINE_STEP_MS = 25;

/** Lines of a deleted channel that are ended in one turn of the loop. core/hub.ts */
export const DELETED_ENDS_PER_TURN_MAX = 128;

/**
 * What a message over WebSocket may have beside the largest event: names, quotes and escapes,
 * bytes. transports/websocket.ts
 */
export const MESSAGE_ENVELOPE_BYTES_MAX = 1_024;

/** Characters of a `ref` in a message over WebSocket. transports/websocket.ts */
export const REF_CHARS_MAX = 128;

/**
 * What a message may be longer than the longest and still be answered with 1009, bytes; beyond it
 * is 1006. native/messages.ts
 */
export const MESSAGE_SLACK_BYTES_MAX = 4 * 1024;

/**
 * A message of those who may not publish, bytes: long enough to be told so. A longer one closes
 * natively. native/messages.ts
 */
export const READER_MESSAGE_BYTES_MAX = 4 * 1024;

/**
 * Answers and pongs that a WebSocket may leave unread, bytes in the process; then it is closed.
 * transports/websocket.ts
 */
export const UNREAD_ANSWERS_BYTES_MAX = 16 * 1024;

/**
 * Messages of a WebSocket that may be refused for good, one after the other; then it is closed.
 * transports/websocket.ts
 */
export const REFUSED_MESSAGES_MAX = 16;

/**
 * Pings and pongs of a WebSocket in one turn of the loop; then it is cut off: about 1 µs each.
 * transports/websocket.ts
 */
export const CONTROL_FRAMES_PER_TURN_MAX = 256;

/**
 * What a publish over WebSocket that waits costs beside its data, bytes: the objects around it.
 * transports/websocket.ts
 */
export const WAITING_MESSAGE_COST_BYTES = 512;

/**
 * Publishes of a WebSocket that may wait for their turn, bytes with that cost: as much as one
 * batch; one always. transports/websocket.ts
 */
export const SOCKET_PUBLISH_BYTES_MAX = 4 * 1024 * 1024;

/** Characters of an idempotency key. http/request.ts */
export const IDEMPOTENCY_KEY_CHARS_MAX = 128;

/**
 * Idempotency keys kept, about 0.65 KB each, and for how long, ms; past the number the oldest goes
 * early, which is counted. log/kept-receipts.ts
 */
export const IDEMPOTENCY_KEYS_MAX = 100_000;
export const IDEMPOTENCY_MS = 2 * 60 * 1_000;

/**
 * Publishes that may wait for another with the same idempotency key, in all. The next one is told
 * 503. core/idempotency.ts
 */
export const WAITING_DUPLICATES_MAX = 1_024;

/**
 * Wrong keys that an address may send in so many ms before it is told 429; the addresses that are
 * remembered (about 150 B each); and how often wrong keys are logged at the most, ms.
 * http/failed-keys.ts
 */
export const FAILED_KEYS_MAX = 10;
export const FAILED_KEYS_MS = 10_000;
export const FAILED_KEY_ADDRESSES_MAX = 4_096;
export const FAILED_KEY_LOG_MS = 1_000;

/**
 * How long the answer to one of those is kept back, ms, and how many may be at a time: who guesses
 * waits; past it, nobody does. router.ts
 */
export const HELD_GUESS_MS = 500;
export const HELD_GUESSES_MAX = 256;

/**
 * Requests that are refused in one turn of the loop and keep their connections; each further one
 * loses its, with what it has sent: a turn may bring 4,700 requests of one socket, at 9 µs a
 * refusal. http/exchange.ts
 */
export const REFUSALS_PER_TURN_MAX = 512;

/**
 * Faults are logged once in so many ms; those between are counted with the next. hooks.ts, main.ts
 */
export const FAULT_LOG_MS = 1_000;

/**
 * Reconnects a second that a restarted server is planned to take; widens `retry` so that a crash
 * does not bring all back at once.
 */
export const ACCEPTS_PER_SECOND = 10_000;

/**
 * A turn of the orderly end, ms, and lines ended in one at the least: 10,000 a second, so that they
 * come back elsewhere in that time. server.ts
 */
export const DRAIN_TURN_MS = 10;
export const DRAIN_ENDS_PER_TURN_MIN = 100;

/**
 * How long the last bytes of lines that were ended have to leave, ms, before all sockets are
 * closed; no longer than any is open. server.ts
 */
export const DRAIN_LINGER_MS_MAX = 500;

/**
 * File descriptors kept free for the process itself below the limit: without one the loop never
 * rests. config.ts, native-notes/emfile-busy-loop.md
 */
export const RESERVED_FILES = 100;

/**
 * Sockets above `--max-connections` that may still ask and be told to come back; the next is closed
 * at accept. native/uws.ts
 */
export const SPARE_SOCKETS_MAX = 64;

/**
 * When no socket may be accepted any more, those that have sent nothing for so many ms are closed,
 * so many at once, the oldest first. Looked for at most every so many ms, among so many descriptors
 * (about 3 µs each). native/mute-sockets.ts
 */
export const MUTE_AGE_MS_MIN = 50;
export const MUTE_CLOSED_AT_ONCE_MAX = 32;
export const MUTE_CHECK_MS = 50;
export const MUTE_DESCRIPTORS_CHECKED_MAX = 2_048;

/**
 * How often the rows of the kernel's own sockets are read at the most, ms: 15,000 take about 25 ms,
 * in a thread. A reading that has not ended after the second time is given up.
 * ops/memory/kernel-memory.ts
 */
export const KERNEL_READING_INTERVAL_MS = 10_000;
export const KERNEL_READING_MS_MAX = 5_000;

/**
 * How often the process looks at its own memory, ms: while lines come, to learn what they cost, and
 * always where a budget admits them by it. ops/memory/memory.ts
 */
export const MEMORY_CHECK_MS = 250;

/**
 * While resident memory has reached the budget: how often a collection is asked for at the most, ms
 * (some 30 ms of processor time, and
 * 0.1 ms a megabyte to give back what it frees), and for how long the process is looked at until the least that was seen is taken for
 * use, ms: use that nobody counts is seen after both at the latest. ops/memory/memory.ts
 */
export const MEMORY_COLLECT_MS = 5_000;
export const MEMORY_SETTLE_MS = 1_000;

/**
 * Live objects on V8's heap, bytes, past which no collection is asked for: its last step may stop
 * the loop for a millisecond a megabyte of them. Garbage then counts against the budget until V8
 * collects by itself, which takes it half a minute. ops/memory/memory.ts
 */
export const MEMORY_COLLECT_HEAP_BYTES_MAX = 48 * 1024 * 1024;

/**
 * Lines that `/-/connections` lists when it is not told how many; POLL_EVENTS_MAX is the most.
 * ops/pages.ts
 */
export const RANKED_LINES_DEFAULT = 100;

/**
 * Share of the memory budget below which lines are admitted again after it was full.
 * ops/memory/budget.ts
 */
export const MEMORY_ADMIT_SHARE = 0.98;

function assertRelation(holds: boolean, relation: string): void {
  if (!holds) throw new Error(`limits.ts: ${relation} does not hold`);
}
assertRelation(
  CORK_WRITE_BYTES_MAX + 4 + CORK_WRITE_BYTES_MAX.toString(16).length <= 16_384,
  'one cork is one send',
);
assertRelation(
  OPENING_BYTES_MAX < CORK_WRITE_BYTES_MAX,
  'the opening fits a cork beside the response head',
);
assertRelation(
  8 * BODY_BYTES_MAX <= PUBLISH_BYTES_MAX,
  'several batches fit the memory of publishes',
);
assertRelation(GRACE_MS_MIN < GRACE_MS, 'the least grace is shorter than a full one');
assertRelation(
  CLOSING_BODY_BYTES_MAX + 4 * 1024 <= CORK_WRITE_BYTES_MAX,
  'a closing answer is one send',
);
assertRelation(POLL_BODY_BYTES_MAX <= PENDING_ANSWER_BYTES_MAX, 'one answer to a poll may wait');
assertRelation(
  SOCKET_PUBLISH_BYTES_MAX < PUBLISH_BYTES_MAX / 2,
  'one WebSocket leaves room for publishes of others',
);
assertRelation(RESERVED_FILES > SPARE_SOCKETS_MAX, 'spare sockets fit under the file limit');
assertRelation(
  RESERVED_FILES > MUTE_CLOSED_AT_ONCE_MAX,
  'who takes the place of silent sockets fits under the file limit',
);
