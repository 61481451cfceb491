/**
 * Every bound that is not an option, with its unit, what it costs and who enforces it. Bounds that operators tune are options
 * (config.ts); the relations between the two kinds are asserted at the bottom and in config.ts.
 */

/**
 * Largest single write of one cork, bytes. With the chunk's own framing (length + 4 + hex digits) it fits uWebSockets' cork
 * buffer of 16,384, so it leaves as one send(); above it builds before 20.64 can lose bytes. Enforced by core/pump.ts.
 * native-notes/cork-size.md, native-notes/oversized-cork-loses-bytes.md
 */
export const CORK_WRITE_BYTES = 16_376;

/** Bytes of prelude and replay written inside the request handler, beside the response head in the same cork. transports/sse.ts */
export const OPENING_BYTES = 15_000;

/** Channel name, characters (all ASCII). transports/request.ts */
export const CHANNEL_NAME_CHARS = 128;

/** Channels on one line. transports/request.ts */
export const CHANNELS_PER_LINE = 16;

/** Event type, characters. core/event.ts */
export const EVENT_TYPE_CHARS = 64;

/** Largest id and position: 2^53 − 1, what a double holds exactly. core/position.ts */
export const LAST_POSSIBLE_ID = Number.MAX_SAFE_INTEGER;

/** Request head, bytes; given to uWebSockets before it loads. native/uws.ts, native-notes/header-limit.md */
export const REQUEST_HEAD_BYTES = 8 * 1024;

/** Request body, bytes: one batch. 413 above it. transports/publish.ts */
export const BODY_BYTES = 4 * 1024 * 1024;

/** Bodies being received, bytes over all requests; past it publishers are told 503. transports/publish.ts */
export const BODIES_IN_FLIGHT_BYTES = 64 * 1024 * 1024;

/**
 * Memory of publishes that are under way, bytes over all channels: bodies from their first byte, and what was read of them until it has
 * entered its ring. A channel may hold as much as is still free. core/publish-memory.ts
 */
export const PUBLISH_BYTES = 64 * 1024 * 1024;

/** Levels of arrays and objects in a client's JSON. 400 above it. transports/json.ts */
export const JSON_DEPTH_MAX = 128;

/** Events in one batch. 413 above it. transports/publish.ts */
export const BATCH_EVENTS = 10_000;

/** Most events that `last=N` counts back over the channels of a line; a larger N is as good as this one. core/start.ts */
export const LAST_EVENTS = 100_000;

/**
 * Bytes that one sweep over a channel's lines may have to write, over all of them: the bound on accept → deliver, since a sweep
 * writes about 2 GB/s. Divided by the lines it is the channel's working room: what it may hold beyond what every healthy line has
 * been given. core/channel.ts
 */
export const SWEEP_WORK_BYTES = 768 * 1024 * 1024;

/** Most working room of a channel, however few lines it has, in corks: memory beside what is kept for replay. core/channel.ts */
export const WORKING_ROOM_CORKS_MOST = 16;

/** What an event counts for in queue and working room beside its data: about the fixed bytes of its frame. core/intake.ts */
export const EVENT_COST_BYTES = 32;

/** Events that enter rings in one turn of the loop; the rest of a large batch follows in the next. core/intake.ts */
export const ENTERED_PER_TURN = 1_024;

/** Publishers that may wait for room, in all, and over WebSocket for the program's word. The next one is told 503 at once. core/intake.ts, transports/websocket.ts */
export const WAITING_PUBLISHERS = 1_024;

/** Bytes that waiting publishers may hold, in all. core/intake.ts */
export const WAITING_PUBLISH_BYTES = 32 * 1024 * 1024;

/** How long a publisher waits for room before it is told 503, ms. core/intake.ts */
export const PUBLISH_WAIT_MS = 2_000;

/** Channels known by name. A channel without lines and events is forgotten first; then subscribing is refused. core/channels.ts */
export const CHANNELS = 100_000;

/** A slice of the sweep, ms; then the loop runs accepts, publishes and health checks. core/pump.ts */
export const SWEEP_SLICE_MS = 2;

/** Corks between two looks at the clock, and a feed's turn before the next feed has one (about 6 µs a cork). core/pump.ts */
export const SWEEP_CHECK_CORKS = 32;

/** Rows that need nothing and together count as one cork. core/pump.ts */
export const IDLE_ROWS_PER_CORK = 256;

/** Corks a visit for a line that is still catching up, so that it cannot hold the sweep. core/pump.ts */
export const CATCH_UP_CORKS = 4;

/**
 * Grace of a healthy line that refuses bytes, ms: so long its channels evict nothing that it has not been given, and take no more than
 * their replay beyond its cursor (core/channel.ts). It goes on while the line takes, in each such time, what had entered at its
 * beginning. So a channel is never held below its replay per GRACE_MS, 10 MB/s by default. core/grace-windows.ts
 */
export const GRACE_MS = 100;

/** What a line that has proven itself is given where its channel has spent its budget, ms. core/grace.ts */
export const GRACE_MIN_MS = 50;

/**
 * What a channel may be held by lines that then turn out to have stalled, ms a second; as much is saved at the most. Costs that share
 * of the publishers' pace, and GRACE_MIN_MS for each proven line that stalls in GRACE_TRUST_SECONDS. core/grace.ts
 */
export const GRACE_BUDGET_MS_PER_SECOND = 100;

/** Most that a channel may have spent beyond its budget, ms: what proven lines do cannot deny young ones grace for longer than ten seconds. core/grace.ts */
export const GRACE_DEBT_MS_MAX = 10 * GRACE_BUDGET_MS_PER_SECOND;

/** How long a line must have been open, or not have held its channels in vain, to count as proven, seconds. core/grace.ts */
export const GRACE_TRUST_SECONDS = 10;

/** How long a line is given no grace at all after it held its channels in vain, seconds; then it is given what a young line is. core/grace.ts */
export const GRACE_DISTRUST_SECONDS = 2;

/**
 * When the loop comes so late to the end of a window, ms, it was away while sockets drained: those in grace are given as much longer,
 * once. core/grace-windows.ts
 */
export const GRACE_LATE_MS = 5;

/** Steps in one turn of the heartbeat wheel, which turns four times an interval: fewer make larger bursts, which cost less a beat. core/heartbeat.ts */
export const HEARTBEAT_TURN_STEPS = 16;

/** Shortest step of the heartbeat wheel, ms. core/heartbeat.ts */
export const HEARTBEAT_STEP_MS = 10;

/** Longest time that a poll may wait, seconds, and what it waits when it does not say. transports/poll.ts */
export const POLL_WAIT_MOST_SECONDS = 60;
export const POLL_WAIT_SECONDS = 25;

/** Share of its time by which a waiting poll may be answered earlier, so that polls that began together do not end together. */
export const POLL_WAIT_JITTER = 0.1;

/** Most events in one answer to a poll. transports/poll.ts */
export const POLL_EVENTS = 1_000;

/** Bytes of one answer to a poll with `limit`; one event goes out however large it is. core/poll.ts */
export const POLL_BODY_BYTES = 1024 * 1024;

/** Step of the wheel of deadlines, ms: a waiting poll is answered that much early at the most. core/deadlines.ts */
export const DEADLINE_STEP_MS = 25;

/** Lines of a deleted channel that are ended in one turn of the loop. core/hub.ts */
export const DELETED_ENDS_PER_TURN = 128;

/** What a message over WebSocket may have beside the largest event: names, quotes and escapes, bytes. transports/websocket.ts */
export const MESSAGE_ENVELOPE_BYTES = 1_024;

/** Characters of a `ref` in a message over WebSocket. transports/websocket.ts */
export const REF_CHARS = 128;

/** Answers to publishes that a WebSocket may leave unread, bytes; then it is closed. native/uws.ts */
export const UNREAD_ANSWERS_BYTES = 64 * 1024;

/** Characters of an idempotency key. transports/request.ts */
export const IDEMPOTENCY_KEY_CHARS = 128;

/** Idempotency keys kept, and for how long, ms; past the number the oldest goes early, which is counted. log/kept-answers.ts */
export const IDEMPOTENCY_KEYS = 100_000;
export const IDEMPOTENCY_MS = 2 * 60 * 1_000;

/** Publishes that may wait for another with the same idempotency key, in all. The next one is told 503. core/idempotency.ts */
export const WAITING_TWINS = 1_024;

/** Reconnects a second that a restarted server is planned to take; widens `retry` so that a crash does not bring all back at once. */
export const ACCEPTS_PER_SECOND = 10_000;

/** A turn of the orderly end, ms, and lines ended in one at the least: 10,000 a second, so that they come back elsewhere in that time. server.ts */
export const DRAIN_TURN_MS = 10;
export const DRAIN_ENDS_PER_TURN = 100;

/** How long the last bytes of lines that were ended have to leave, ms, before all sockets are closed; no longer than any is open. server.ts */
export const DRAIN_LINGER_MS = 500;

/** File descriptors kept free for the process itself below the limit: without one the loop never rests. config.ts, native-notes/emfile-busy-loop.md */
export const RESERVED_FILES = 100;

/** Sockets above `--max-connections` that may still ask and be told to come back; the next is closed at accept. native/uws.ts */
export const SPARE_SOCKETS = 64;

/**
 * How often the rows of the kernel's own sockets are read at the most, ms: 15,000 take about 40 ms, in a thread. A reading that has
 * not ended after the second time is given up. ops/kernel-memory.ts
 */
export const KERNEL_READING_MS = 10_000;
export const KERNEL_READING_WAIT_MS = 5_000;

/** How often the process looks at its own memory, ms: while lines come, to learn what they cost, and always where a budget admits them by it. ops/memory.ts */
export const MEMORY_LOOK_MS = 250;

/**
 * How often freed memory is given back to the system at the most while the budget is used up, ms, and the least share of the budget
 * that is worth it: about 0.1 ms a megabyte, in which nothing else runs. ops/memory.ts
 */
export const MEMORY_TRIM_MS = 1_000;
export const MEMORY_TRIM_SHARE = 0.02;

/** Lines that `/-/connections` lists when it is not told how many; POLL_EVENTS is the most. ops/pages.ts */
export const RANKED_LINES = 100;

/** Share of the memory budget below which lines are admitted again after it was full. ops/memory-budget.ts */
export const MEMORY_ADMIT_SHARE = 0.98;

function assertRelation(holds: boolean, relation: string): void {
  if (!holds) throw new Error(`limits.ts: ${relation} does not hold`);
}
assertRelation(CORK_WRITE_BYTES + 4 + CORK_WRITE_BYTES.toString(16).length <= 16_384, 'one cork is one send');
assertRelation(OPENING_BYTES < CORK_WRITE_BYTES, 'the opening fits a cork beside the response head');
assertRelation(BODY_BYTES <= BODIES_IN_FLIGHT_BYTES, 'one body fits the bodies in flight');
assertRelation(BODY_BYTES <= WAITING_PUBLISH_BYTES, 'one batch fits the waiting room');
assertRelation(GRACE_MIN_MS < GRACE_MS, 'the least grace is shorter than a full one');
assertRelation(RESERVED_FILES > SPARE_SOCKETS, 'spare sockets fit under the file limit');
