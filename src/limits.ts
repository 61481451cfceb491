/**
 * Every bound that is not an option: what it limits, its unit, what it costs, and last the file, or
 * the main ones, that enforce it. Bounds that operators tune are options (options/table.ts).
 * Relations between bounds are asserted at the bottom.
 */

/**
 * Largest write of one cork, bytes. With its chunk header (length + 4 + hex digits) it fits
 * uWebSockets' cork buffer of 16,384 and leaves as one send(); builds before 20.64 may lose bytes
 * of a larger one. core/pump.ts, native-notes/cork-size.md,
 * native-notes/oversized-cork-loses-bytes.md
 */
export const CORK_WRITE_BYTES_MAX = 16_376;

/**
 * Largest write to a line where the build loses no bytes of a large cork and nothing is encrypted:
 * what one segment of the kernel holds, so that 60 KiB cost about as much as two corks. A line that
 * refuses bytes holds so much more in user space. native/builds.ts,
 * native-notes/oversized-cork-loses-bytes.md
 */
export const LARGE_WRITE_BYTES_MAX = 60 * 1024;

/** Prelude and replay written in the same cork as the response head, bytes. core/openings.ts */
export const OPENING_BYTES_MAX = 15_000;

/** Replay within those, bytes; the rest is for prelude and gap notice. core/openings.ts */
export const REPLAY_OPENING_BYTES_MAX = OPENING_BYTES_MAX - 256;

/**
 * Share of the loop's time that the compressor may take, and how much of it may be saved up, ms.
 * Past it slices go out in stored blocks, as large as plain, until COMPRESS_SHARED_LINES lines have
 * asked for one: what many read is always compressed. core/compressor.ts
 */
export const COMPRESS_TIME_SHARE = 0.15;
export const COMPRESS_CREDIT_MS_MAX = 100;

/**
 * What the compressor may be charged beyond its share, ms, for what many lines read: 7 s later it
 * has time again for what few read. core/compressor.ts
 */
export const COMPRESS_DEBT_MS_MAX = 1_000;

/** Lines of one slice past that time. core/compressed-slices.ts */
export const COMPRESS_SHARED_LINES = 16;

/**
 * Plain bytes of a slice of several events that is compressed; fewer where that would not fit a
 * cork. 1.5 ms. core/compressed-slices.ts
 */
export const COMPRESS_SLICE_BYTES_MAX = 128 * 1024;

/**
 * Plain bytes of a larger event that is compressed, 3 ms; others go out in stored blocks.
 * core/compressed-slices.ts, core/history-lines.ts
 */
export const COMPRESS_BLOCK_BYTES_MAX = 256 * 1024;

/**
 * Times in a sweep that the id moves to which compressed lines are brought, at most: as many slices
 * are made in the next sweep, and a line waits for an event up to one part of a sweep longer than a
 * plain one. The first where slices have at most COMPRESS_SMALL_BYTES plain bytes, 0.1 ms each.
 * core/compressed-slices.ts
 */
export const COMPRESS_SMALL_HEADS_PER_SWEEP = 64;
export const COMPRESS_HEADS_PER_SWEEP = 16;
export const COMPRESS_SMALL_BYTES = 8 * 1024;

/**
 * Slices of different dictionaries for lines at one cursor, 20 µs or more each; lines that could
 * use another get the best of them. core/compressed-slices.ts
 */
export const COMPRESS_VARIANTS_MAX = 4;

/**
 * Bytes of compressed slices that all groups together keep while they are written; those of other
 * groups are dropped above it, and made again. core/compressor.ts
 */
export const COMPRESS_KEPT_BYTES_MAX = 16 * 1024 * 1024;

/** The least body of an answer to a poll that is compressed, bytes. core/compressor.ts */
export const COMPRESS_BODY_BYTES_MIN = 512;

/** Channel name, characters (all ASCII). http/request.ts */
export const CHANNEL_NAME_CHARS_MAX = 128;

/** Channels on one line. http/request.ts */
export const CHANNELS_PER_LINE_MAX = 16;

/** Event type, characters. core/event.ts */
export const EVENT_TYPE_CHARS_MAX = 64;

/**
 * Largest id and position: 2^53 − 1, the largest exact integer. core/position.ts,
 * log/memory-log.ts
 */
export const ID_MAX = Number.MAX_SAFE_INTEGER;

/**
 * Request head, bytes, where uWebSockets was loaded before the server could say how much
 * (`--max-header-bytes`). native/load.ts, native-notes/header-limit.md
 */
export const REQUEST_HEAD_BYTES_UNSET = 4 * 1024;

/**
 * Header names of a page that the answer to a preflight repeats, characters in all: the head of an
 * answer that nobody reads stays small. Browsers refuse those left out. http/origins.ts
 */
export const PREFLIGHT_ECHO_CHARS_MAX = 512;

/**
 * Parameters of a query, of which each unknown name is compared with the known ones. 400 above it.
 * http/query.ts
 */
export const QUERY_PARAMETERS_MAX = 64;

/** Request body, bytes: one batch. 413 above it. transports/publish.ts */
export const BODY_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Pieces of a body after which others are read first. A body in segments of an Ethernet has so many
 * in 700 KB. http/exchange.ts
 */
export const BODY_PIECES_PER_TURN_MAX = 512;

/**
 * Time in which a body must bring BODY_PROGRESS_BYTES_MIN more bytes or its end, ms; else 408.
 * uWebSockets itself closes without an answer 8–12 s after the last 160 KiB. http/body.ts,
 * native-notes/ten-second-timer.md
 */
export const BODY_PROGRESS_MS_MAX = 7_000;
export const BODY_PROGRESS_BYTES_MIN = 160 * 1024;

/** First buffer for a body of unknown length, bytes; it doubles when full. http/body.ts */
export const BODY_ROOM_BYTES_MIN = 4 * 1024;

/**
 * Answers that clients have not read, bytes over all sockets; a body shared by several counts once.
 * Above it the answer that has made no progress for longest is dropped and its socket closed.
 * http/pending-answers.ts
 */
export const PENDING_ANSWER_BYTES_MAX = 16 * 1024 * 1024;

/**
 * One answer to a poll with `limit` while half of PENDING_ANSWER_BYTES_MAX is unread, bytes: a
 * socket takes that much at once, so clients that read lose nothing to those that do not.
 * http/pending-answers.ts
 */
export const CROWDED_BODY_BYTES_MAX = 64 * 1024;

/** Body that is written in one piece behind `Connection: close`, bytes. http/exchange.ts */
export const CLOSING_BODY_BYTES_MAX = 8 * 1024;

/**
 * Answers without a body between two that close their connection, on average: uWebSockets does not
 * say whether the socket took them, and a client that never reads costs about 16 KiB of heads.
 * http/exchange.ts
 */
export const BODILESS_ANSWERS_PER_CLOSE = 64;

/**
 * Body of a small answer, bytes, and small answers between two whose socket is checked, on average:
 * a client that never reads costs about 12 KiB. http/exchange.ts
 */
export const SMALL_ANSWER_BYTES_MAX = 512;
export const SMALL_ANSWERS_PER_CHECK = 16;

/**
 * Time the rest of a body is read and discarded after a closing answer, ms, so that its client can
 * read the answer. http/exchange.ts
 */
export const CLOSE_LINGER_MS_MAX = 1_000;

/**
 * Time a connection stays open after the answer to a chunked request, ms: its final line break may
 * be in another packet, and to close before it would reset the connection, and with it the answer.
 * A client that has the answer closes by itself. http/exchange.ts
 */
export const CHUNKED_LINGER_MS = 200;

/**
 * Memory of publishes in progress, bytes over all channels, from the first byte of a body until its
 * events have entered their ring. A channel may hold as much as is still free.
 * core/publish-memory.ts
 */
export const PUBLISH_BYTES_MAX = 64 * 1024 * 1024;

/** Nested arrays and objects in a client's JSON, levels. 400 above it. transports/json.ts */
export const JSON_DEPTH_MAX = 128;

/**
 * Bytes of JSON for one byte of text (`\u0000`): a batch refuses longer lines unread.
 * transports/batch.ts
 */
export const JSON_GROWTH_MAX = 6;

/**
 * Batch that is parsed at once, bytes: about 0.2 ms. A larger one is parsed in steps.
 * transports/batch.ts, core/intake.ts
 */
export const BATCH_AT_ONCE_BYTES_MAX = 64 * 1024;

/**
 * Part of a batch that is parsed in one step, bytes: about 0.1 ms. A single line may be longer.
 * transports/batch.ts
 */
export const BATCH_STEP_BYTES = 32 * 1024;

/** Long work of all requests together in one turn of the loop, ms. transports/slices.ts */
export const WORK_SLICE_MS = 2;

/**
 * Bytes of one channel's publishes that a log which answers later has been given and has not
 * answered. They grow until it answers later than it would answer little by so many ms or so many
 * times that, whichever is more; how fast that is is seen again every so many ms. Publishes of
 * other channels stand behind as much. core/append-window.ts
 */
export const APPEND_WINDOW_BYTES_MIN = 8 * 1024;
export const APPEND_WINDOW_BYTES_MAX = 1024 * 1024;
export const APPEND_LATE_MS = 1;
export const APPEND_LATE_TIMES = 2;
export const APPEND_PROBE_MS = 10_000;

/** Events in one batch. 413 above it. transports/batch.ts */
export const BATCH_EVENTS_MAX = 10_000;

/**
 * Channels that the lines of one batch may name: each is asked for its right and its room in one
 * turn of the loop, 2 ms for 1,000 new ones. 413 above it. transports/batch.ts
 */
export const BATCH_CHANNELS_MAX = 1_000;

/**
 * Memory of batches over several channels from the first byte of a body until their events are in
 * the log, bytes over all credentials; it is apart from that of other publishes, because nobody
 * knows their channels before. A credential may hold as much as is still free.
 * core/named-batches.ts
 */
export const NAMED_BATCH_BYTES_MAX = 32 * 1024 * 1024;

/**
 * Time that a batch over several channels waits until events that were accepted before it have
 * entered, ms; then 503. A batch of 10,000 takes about 10 turns of the loop to enter; for lines it
 * never waits. core/named-batches.ts
 */
export const NAMED_BATCH_WAIT_MS_MAX = 500;

/**
 * Events that `last=N` counts back over the channels of a line; a larger N counts as this.
 * core/start.ts
 */
export const LAST_EVENTS_MAX = 100_000;

/**
 * Bytes that one sweep may write to all lines of a channel: it bounds accept → deliver, since a
 * sweep writes about 1.7 GB/s, and what the kernel holds for readers that take it later. Divided by
 * the lines it is the channel's in-flight window: what it may hold beyond what every healthy line
 * has been given. The second where writes are large, at about 3.3 GB/s. core/channels.ts
 */
export const SWEEP_WORK_BYTES_MAX = 256 * 1024 * 1024;
export const LARGE_SWEEP_WORK_BYTES_MAX = 896 * 1024 * 1024;

/**
 * In-flight window of a channel with few lines, corks: memory beside the replay. core/channel.ts
 */
export const IN_FLIGHT_WINDOW_CORKS_MAX = 16;

/**
 * What an event counts in queue and in-flight window beside its data, bytes: about the fixed part
 * of its frame. core/entry-queue.ts
 */
export const EVENT_COST_BYTES = 32;

/**
 * What a committed event costs beside its data while it is queued, bytes: an object, a view of its
 * data and the publisher's receipt. core/entrance.ts
 */
export const QUEUED_EVENT_BYTES = 256;

/**
 * Events of a channel that enter its ring in one turn of the loop, and events between two checks of
 * the clock. core/entrance.ts
 */
export const ENTERED_PER_TURN_MAX = 1_024;
export const ENTERED_PER_CHECK = 64;

/**
 * Batches over BATCH_AT_ONCE_BYTES_MAX that are parsed at a time, over all channels: one of 10,000
 * small events takes 2.5 MB beside its body. core/intake.ts
 */
export const CONCURRENT_READS_MAX = 16;

/**
 * Publishers in the admission queue, over all channels; those of one channel may be as many as are
 * still free. The next one gets 503 at once. As many publishes over WebSocket may wait for
 * `authorize`. core/intake.ts, transports/websocket.ts
 */
export const WAITING_PUBLISHERS_MAX = 1_024;

/**
 * Time a publisher waits for room, ms; then 503. Longer where the loop was held meanwhile.
 * core/intake.ts, workers/appends.ts
 */
export const PUBLISH_WAIT_MS_MAX = 2_000;

/**
 * Channels that something was published to, about 1.4 KiB each with one small event. Above it a
 * publish to a new name evicts a channel without lines: an empty one, else the one published to
 * longest ago. Where all have lines it is refused; what the log hands over, or keeps, is not, and
 * there are more until lines leave. core/channels.ts
 */
export const CHANNELS_MAX = 100_000;

/**
 * Names with lines to which nothing was ever published, about 1.5 KiB each; a line on one more is
 * refused. core/channels.ts
 */
export const READER_CHANNELS_MAX = 100_000;

/**
 * Channels checked in one search for a channel to forget, a ring to drop or frames to drop, under
 * 1 µs each. Those that must stay are set aside, and the next search goes on behind them.
 * core/ring-budget.ts, core/channel-orders.ts
 */
export const CHANNELS_CHECKED_MAX = 2_000;

/**
 * Forgotten channels whose losses are remembered, 25 bytes each. Above it the oldest record goes,
 * and every channel without a record is taken to have lost as much, so a gap may be false.
 * core/losses.ts
 */
export const LOST_CHANNELS_MAX = 1_000_000;

/**
 * Steps of the age up to which a channel replays, of which each costs it about 60 B; an event goes
 * up to one step early. core/entry-ages.ts
 */
export const AGE_STEPS = 128;

/**
 * What a channel costs beside its ring, bytes: its objects, name and map entry.
 * core/channel-rings.ts
 */
export const CHANNEL_BYTES = 600;

/**
 * Time of one slice of a sweep, of events entering rings, of expired deadlines and of lines that
 * are ended, ms; then the loop runs accepts, publishes and health checks. core/pump.ts,
 * core/entrance.ts, core/deadlines.ts, core/line-ends.ts, core/page-turns.ts
 */
export const SWEEP_SLICE_MS = 2;

/**
 * The same of a sweep while the log has what publishers wait for and none waits for room, ms: its
 * answer, and each step on the way to it, waits for the end of a slice. core/pump.ts
 */
export const SWEEP_SLICE_AWAITED_MS = 0.25;

/**
 * Share of a group's lines that a sweep may have left while a log that answers later is given what
 * will have room when the sweep has ended. core/group.ts
 */
export const SWEEP_NEARLY_OVER_SHARE = 1 / 4;

/**
 * Corks between two checks of the clock, about 6 µs each; then the next group has its turn.
 * core/pump.ts
 */
export const SWEEP_CHECK_CORKS = 32;

/** Rows without work that count as one cork. core/pump.ts */
export const IDLE_ROWS_PER_CORK = 256;

/**
 * Corks in one visit to a line that is catching up, so that it cannot hold the sweep.
 * core/pump.ts
 */
export const CATCH_UP_CORKS_MAX = 4;

/**
 * Grace of a healthy line that refuses bytes, ms. Meanwhile its channels evict nothing it has not
 * been given, and take at most their replay beyond its cursor. It is renewed when the line has
 * taken all that had entered at its beginning, so a channel is never held below its replay per
 * GRACE_MS, 10 MB/s by default. core/grace.ts, core/grace-windows.ts
 */
export const GRACE_MS = 100;

/** Grace of a proven line whose channel has spent its budget, ms. core/grace.ts */
export const GRACE_MS_MIN = 50;

/**
 * Least window for a line that is not proven, ms: with less than twice that in the budget it is
 * given no grace. core/grace.ts
 */
export const GRACE_YOUNG_MS_MIN = 10;

/**
 * Time that lines which take nothing may hold a channel, ms a second. It costs publishers that
 * share of their pace, and GRACE_MS_MIN for each proven line that pauses in GRACE_TRUST_SECONDS.
 * core/grace.ts
 */
export const GRACE_BUDGET_MS_PER_SECOND = 100;

/**
 * Budget that may be saved up, ms. A window takes half of what is left at the most, so that one
 * line that fails leaves some to the next. core/grace.ts
 */
export const GRACE_BUDGET_MS_MAX = 200;

/**
 * Debt of a channel beyond that budget, ms: proven lines cannot deny young ones grace for longer
 * than ten seconds. core/grace.ts
 */
export const GRACE_DEBT_MS_MAX = 10 * GRACE_BUDGET_MS_PER_SECOND;

/**
 * Time after which a line counts as proven, seconds since it opened or last held its channels in
 * vain. core/grace.ts
 */
export const GRACE_TRUST_SECONDS = 10;

/**
 * Time in which a line in grace must take something while publishers are held for it, ms. A longer
 * pause is paid for also when it ends well: a reader that is merely slow drains every few ms.
 * core/grace-windows.ts
 */
export const GRACE_PAUSE_MS = 20;

/**
 * Time without any grace after a line held its channels in vain, seconds; then it is treated as a
 * young line. core/grace.ts
 */
export const GRACE_DISTRUST_SECONDS = 2;

/**
 * Delay of the loop at the end of a window, ms, above which the window is extended once by that
 * delay: sockets may have drained unnoticed. core/grace-windows.ts
 */
export const GRACE_LATE_MS = 5;

/**
 * Steps in one turn of the heartbeat wheel, which turns four times an interval: fewer steps make
 * larger bursts, which cost less a heartbeat. core/heartbeat.ts
 */
export const HEARTBEAT_TURN_STEPS = 16;

/** Step of the heartbeat wheel, ms. core/heartbeat.ts */
export const HEARTBEAT_STEP_MS_MIN = 10;

/** Time a poll may wait, seconds, and the time when `wait` is not given. http/request.ts */
export const POLL_WAIT_SECONDS_MAX = 60;
export const POLL_WAIT_DEFAULT_SECONDS = 25;

/**
 * Share of its time by which a waiting poll may be answered early, so that polls which began
 * together do not end together. core/waiting-polls.ts
 */
export const POLL_WAIT_JITTER = 0.1;

/** Events in one answer to a poll, and lines in one answer of `/-/connections`. http/request.ts */
export const POLL_EVENTS_MAX = 1_000;

/** One answer to a poll with `limit`, bytes; a single event may be larger. core/poll.ts */
export const POLL_BODY_BYTES_MAX = 1024 * 1024;

/**
 * What a line of the library holds that its reader has not asked for, bytes, beside one slice:
 * above it the line stalls. It costs as much external memory of V8; the kernel buffers as much for
 * a client by default. transports/library.ts
 */
export const LIBRARY_UNREAD_BYTES_MAX = 64 * 1024;

/** Events that `history` gives without a limit of the caller. server/arguments.ts */
export const HISTORY_EVENTS_DEFAULT = 100;

/**
 * Share of `--max-age` over which lines that opened together end, so that they do not come back
 * together. core/line-ends.ts
 */
export const LINE_AGE_JITTER = 0.2;

/**
 * Time after its end was due in which a line that is stalled or behind may still catch up, seconds:
 * one that is ended for its age, and one whose credential has expired. core/line-ends.ts
 */
export const LATE_END_SECONDS_MAX = 10;
export const LATE_EXPIRED_SECONDS_MAX = 1;

/**
 * Pause between two slices of SWEEP_SLICE_MS in which lines are ended that are due together, ms:
 * about 10,000 a second, at a fifth of the loop's time. Lines that somebody disconnects are ended
 * without pauses. core/line-ends.ts
 */
export const END_PAUSE_MS = 10;

/**
 * When an event stream that was ended for such a reason is to come back, ms: the least time, and
 * what it is spread over, more when many end together. Short, so that what comes meanwhile is still
 * held. core/line-ends.ts
 */
export const END_RETRY_MS_MIN = 100;
export const END_RETRY_SPREAD_MS_MIN = 400;

/** Step of the deadline wheel, ms: a poll is answered early by at most this. core/deadlines.ts */
export const DEADLINE_STEP_MS = 25;

/**
 * Reads of what the log keeps at a time, over the hub; a page stays until its lines have been
 * written it. The rest wait in turn: lines as long as it takes, of clients that can be refused this
 * many. core/history-reads.ts
 */
export const HISTORY_READS_MAX = 32;
export const HISTORY_READS_WAITING_MAX = 4_096;

/** Time for one such read, ms; then it counts as failed. core/history-reads.ts */
export const HISTORY_READ_MS_MAX = 10_000;

/**
 * Events and bytes of data in one page for lines behind their rings; a single event may be larger.
 * A page and its frames take a few times that. core/history-lines.ts, core/past.ts
 */
export const HISTORY_PAGE_EVENTS_MAX = 1_000;
export const HISTORY_PAGE_BYTES_MAX = 256 * 1024;

/**
 * Pause after a failed read before lines are read for again, ms; it doubles up to the second value.
 * core/history-lines.ts
 */
export const HISTORY_RETRY_MS_MIN = 250;
export const HISTORY_RETRY_MS_MAX = 5_000;

/**
 * Bytes with which a ring is filled from the log when somebody first asks for its past, within
 * --replay-bytes: one read. core/refills.ts
 */
export const HISTORY_REFILL_BYTES_MAX = 1024 * 1024;

/**
 * Names that were asked for and of which the log keeps nothing, about 150 B each, that it is not
 * asked for again. core/empty-names.ts
 */
export const EMPTY_NAMES_MAX = 4_096;

/** Lines of a deleted channel that are ended in one turn of the loop. core/groups.ts */
export const DELETED_ENDS_PER_TURN_MAX = 128;

/**
 * Bytes of a message over WebSocket, or a line of a batch, beside its data: names and quotes.
 * transports/websocket.ts, transports/batch.ts
 */
export const MESSAGE_ENVELOPE_BYTES_MAX = 1_024;

/** `ref` of a message over WebSocket, characters. transports/message.ts */
export const REF_CHARS_MAX = 128;

/**
 * Bytes over the message limit for which the close is 1009 with a reason; beyond them uWebSockets
 * closes with 1006. native/messages.ts
 */
export const MESSAGE_SLACK_BYTES_MAX = 4 * 1024;

/**
 * Message of a client without the right to publish, bytes: enough to refuse it in words. A longer
 * one is closed by uWebSockets. native/messages.ts
 */
export const READER_MESSAGE_BYTES_MAX = 4 * 1024;

/**
 * Answers and pongs that a WebSocket leaves unread, bytes in the process; then it is closed.
 * transports/message-answers.ts, native/messages.ts
 */
export const UNREAD_ANSWERS_BYTES_MAX = 16 * 1024;

/**
 * Consecutive messages of a WebSocket that are refused for good; then it is closed.
 * transports/message-answers.ts
 */
export const REFUSED_MESSAGES_MAX = 16;

/**
 * Pings and pongs of a WebSocket in one turn of the loop, about 1 µs each; then it is closed.
 * transports/websocket.ts
 */
export const CONTROL_FRAMES_PER_TURN_MAX = 256;

/**
 * What a waiting publish over WebSocket costs beside its data, bytes: the objects around it.
 * transports/websocket.ts
 */
export const WAITING_MESSAGE_COST_BYTES = 512;

/**
 * Publishes of one WebSocket that wait their turn, bytes with that cost: as much as one batch. One
 * may always wait. transports/websocket.ts
 */
export const SOCKET_PUBLISH_BYTES_MAX = 4 * 1024 * 1024;

/** Idempotency key, characters. http/idempotency-key.ts */
export const IDEMPOTENCY_KEY_CHARS_MAX = 128;

/** Body of a request for a ticket, bytes, and the default of its `seconds`. server/tickets.ts */
export const TICKET_BODY_BYTES_MAX = 16 * 1024;
export const TICKET_DEFAULT_SECONDS = 15 * 60;

/**
 * Time until an EventSource comes back whose program does not heed `"reconnect":false` of a ticket
 * that has expired, ms. transports/subscribe.ts
 */
export const ENDED_RETRY_MS = 60 * 60 * 1_000;

/** Name of a user, characters. auth/rights.ts */
export const USER_CHARS_MAX = 128;

/**
 * Patterns for one action of a credential: each is compared with the name, about 50 ns.
 * auth/tokens.ts, options/credentials.ts
 */
export const PATTERNS_PER_ACTION_MAX = 64;

/**
 * Static keys: a request with a key is compared with all of them, about 0.2 µs each.
 * options/credentials.ts
 */
export const STATIC_KEYS_MAX = 64;

/** Channel policies: a new line is compared with them until one matches. options/credentials.ts */
export const POLICIES_MAX = 256;

/** File of an option, bytes, such as keys or a certificate. options/sources.ts */
export const OPTION_FILE_BYTES_MAX = 1024 * 1024;

/** JSON Web Token, characters; the head of the request is bounded as well. auth/tokens.ts */
export const TOKEN_CHARS_MAX = 8 * 1024;

/**
 * What clocks of issuers and nodes may differ, ms: tokens are accepted so much before `nbf` and
 * after `exp`. auth/tokens.ts, auth/tickets.ts, auth/revocations.ts
 */
export const CLOCK_TOLERANCE_MS = 5_000;

/**
 * Public keys of a JWKS URL: bytes of an answer, its keys, and the time that it may take, ms.
 * auth/jwks.ts
 */
export const JWKS_BYTES_MAX = 256 * 1024;
export const JWKS_KEYS_MAX = 64;
export const JWKS_FETCH_MS_MAX = 5_000;

/**
 * Age of a JWKS after which it is fetched again before it is used, ms, and the least time between
 * two fetches, so that tokens with keys that nobody knows fetch nothing more. auth/jwks.ts
 */
export const JWKS_AGE_MS_MAX = 10 * 60 * 1_000;
export const JWKS_COOLDOWN_MS = 5_000;

/** Time that a ticket may be used, ms; its channels; its characters. auth/tickets.ts */
export const TICKET_LIFETIME_MS_MAX = 60 * 60 * 1_000;
export const TICKET_CHANNELS_MAX = 16;
export const TICKET_CHARS_MAX = 4 * 1024;

/**
 * Users that are revoked, about 200 B each; the next revocation is refused, and none is forgotten
 * before its credentials have expired. auth/revocations.ts
 */
export const REVOCATIONS_MAX = 100_000;

/**
 * Idempotency keys that are kept, about 0.65 KB each, and how long, ms. Above the number the oldest
 * goes early, which is counted. log/kept-receipts.ts
 */
export const IDEMPOTENCY_KEYS_MAX = 100_000;
export const IDEMPOTENCY_MS = 2 * 60 * 1_000;

/**
 * Concurrent duplicates that wait for the first publish with their idempotency key, in all. The
 * next one gets 503. core/idempotency.ts
 */
export const WAITING_DUPLICATES_MAX = 1_024;

/**
 * Wrong keys from one address within FAILED_KEYS_MS, then 429; addresses that are remembered (about
 * 150 B each); and the least time between two log entries, ms. http/failed-keys.ts
 */
export const FAILED_KEYS_MAX = 10;
export const FAILED_KEYS_MS = 10_000;
export const FAILED_KEY_ADDRESSES_MAX = 4_096;
export const FAILED_KEY_LOG_MS = 1_000;

/**
 * Delay of such a 429, ms, which slows down guessing, and answers that are delayed at a time; above
 * it they are sent at once. http/failed-keys.ts
 */
export const HELD_GUESS_MS = 500;
export const HELD_GUESSES_MAX = 256;

/**
 * Burst that `--publish-rate` allows after a pause, seconds of the rate; credentials whose rate is
 * remembered, about 200 B each; and time between two searches for those that can be forgotten, ms.
 * Above the number the oldest begins again with a full burst. http/publish-rates.ts
 */
export const RATE_BURST_SECONDS = 2;
export const RATE_BUCKETS_MAX = 10_000;
export const RATE_FORGET_MS = 10_000;

/**
 * Refusals of event streams that are held open, about 2 KiB and one of the SPARE_SOCKETS_MAX each,
 * and how long at most, ms; the next one is given at once. They are given early when fewer sockets
 * than this can still be accepted. http/held-refusals.ts
 */
export const HELD_REFUSALS_MAX = 16;
export const HELD_REFUSAL_MS_MAX = 30_000;

/**
 * Refused requests in one turn of the loop that keep their connection; each further one closes it.
 * A turn may bring 4,700 requests of one socket, at 9 µs a refusal. http/exchange.ts
 */
export const REFUSALS_PER_TURN_MAX = 512;

/** Bounds of the buckets of delivery times, seconds; each is a series. core/delivery-times.ts */
export const DELIVERY_SECONDS_BOUNDS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

/**
 * Those of the times in which the log commits, and in which it reads, seconds.
 * log/late-log.ts ops/server-rows.ts
 */
export const LOG_SECONDS_BOUNDS: readonly number[] = [
  0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
];

/** Those of lines by the events that they are behind. core/line-lag.ts */
export const LINE_LAG_BOUNDS: readonly number[] = [0, 1, 10, 100, 1_000, 10_000];

/** Those of collections of garbage, seconds: prom-client's own. ops/process-figures.ts */
export const GC_SECONDS_BOUNDS: readonly number[] = [0.001, 0.01, 0.1, 1, 2, 5];

/** Times that a scrape asks a ring how far a line is behind, about 0.2 µs each. core/line-lag.ts */
export const LINE_LAG_LOOKUPS_MAX = 8_192;

/**
 * Times that a scrape asks a ring what a line's dictionary may have, about 1 µs each.
 * core/compressed-lines.ts
 */
export const IN_STEP_LOOKUPS_MAX = 512;

/**
 * Channels with metrics of their own, three to five series each: those with most lines.
 * ops/metrics.ts
 */
export const CHANNELS_IN_METRICS_MAX = 20;

/**
 * Channels whose counters outlive workers that have ended, about 100 bytes each.
 * workers/metric-sums.ts
 */
export const GONE_CHANNELS_MAX = 1_000;

/** Least time between two refusals of the same code in the log, ms. refusal-log.ts */
export const REFUSAL_LOG_MS = 1_000;

/**
 * Least time between two faults in the log, ms; those between are counted.
 * serve/program-log.ts, server/hooks.ts
 */
export const FAULT_LOG_MS = 1_000;

/**
 * Reconnects a second that a restarted server should get; `retry` is widened so that a crash does
 * not bring all lines back at once. transports/subscribe.ts, core/line-ends.ts
 */
export const ACCEPTS_PER_SECOND = 10_000;

/** Time between two looks at an orderly end, ms. server/drain.ts */
export const DRAIN_TURN_MS = 10;

/**
 * Lines end evenly over this share of --drain; the rest is for those that have not taken what they
 * are owed. server/drain.ts
 */
export const DRAIN_SLOPE_SHARE = 0.8;

/**
 * Lines that end in a second at least, so that a server with few of them does not take all of
 * --drain: any other server can accept as many. server/drain.ts
 */
export const DRAIN_ENDS_PER_SECOND_MIN = 100;

/**
 * What a second signal leaves of the orderly end, ms; a third one ends the process.
 * serve/ending.ts
 */
export const DRAIN_HURRY_MS = 1_000;

/** Time between two lines of the log that say how far an orderly end is, ms. serve/command.ts */
export const DRAIN_PROGRESS_MS = 1_000;

/**
 * Time for the last bytes of ended lines to leave, ms, before all sockets are closed.
 * server/drain.ts
 */
export const DRAIN_LINGER_MS_MAX = 500;

/**
 * File descriptors below the limit that are kept for the process: without a free one the loop never
 * rests. options/settings.ts, native-notes/emfile-busy-loop.md
 */
export const RESERVED_FILES = 100;

/**
 * Sockets above `--max-connections` that are answered and told to come back; the next one is closed
 * at accept. native/uws.ts
 */
export const SPARE_SOCKETS_MAX = 64;

/**
 * Sockets of `--ops-listen`, above which the next one is closed at accept. They are kept apart from
 * those of lines, so that a full server still answers its operators. native/uws.ts
 */
export const OPS_SOCKETS_MAX = 32;

/**
 * Bytes of a unix socket's path: `sun_path` (unix(7)) less the byte that ends it.
 * options/place-kinds.ts
 */
export const UNIX_SOCKET_PATH_BYTES_MAX = 107;

/**
 * Ports that are tried in turn where the system is to choose one and a second listener must be able
 * to share it, which port 0 does not allow: another program may take one in between.
 * native/door.ts, workers/start.ts, native-notes/exclusive-port.md
 */
export const SHARED_PORT_TRIES_MAX = 5;

/**
 * When no more sockets can be accepted, those that have sent nothing for MUTE_AGE_MS_MIN are
 * closed, the oldest first, this many at once. The search runs at most every MUTE_CHECK_MS over
 * this many descriptors, about 3 µs each. native/mute-sockets.ts
 */
export const MUTE_AGE_MS_MIN = 50;
export const MUTE_CLOSED_AT_ONCE_MAX = 32;
export const MUTE_CHECK_MS = 50;
export const MUTE_DESCRIPTORS_CHECKED_MAX = 2_048;

/**
 * Least time between two readings of the kernel's socket table, ms (15,000 rows take about 25 ms,
 * in a thread), and the time after which a reading is abandoned. ops/memory/kernel-memory.ts
 */
export const KERNEL_READING_INTERVAL_MS = 10_000;
export const KERNEL_READING_MS_MAX = 5_000;

/**
 * Time between two readings of the process's own memory, ms: it learns what a line costs, and
 * feeds the budget. ops/memory/memory.ts
 */
export const MEMORY_CHECK_MS = 250;

/**
 * While memory is near its budget: least time between two collections that are asked for, ms (30 ms
 * of processor time each, and 0.1 ms for each megabyte given back), and the time over which the
 * least reading counts as use, ms. Uncounted use is noticed after both. ops/memory/live-memory.ts
 */
export const MEMORY_COLLECT_MS = 5_000;
export const MEMORY_SETTLE_MS = 1_000;

/**
 * Live objects on V8's heap above which no collection is asked for, bytes: its last step may stop
 * the loop for 1 ms a megabyte. Garbage then counts until V8 collects by itself, about half a
 * minute later. ops/memory/live-memory.ts
 */
export const MEMORY_COLLECT_HEAP_BYTES_MAX = 48 * 1024 * 1024;

/** Lines that `/-/connections` lists when `limit` is not given. ops/pages.ts */
export const RANKED_LINES_DEFAULT = 100;

/**
 * Channels that `/-/channels` lists when `limit` is not given; POLL_EVENTS_MAX is the most. Each
 * answer walks all channels, about 0.1 µs each. ops/channel-pages.ts
 */
export const LISTED_CHANNELS_DEFAULT = 100;

/** Users that `/-/channels/NAME` lists, about 150 B each. core/channel-listing.ts */
export const LISTED_USERS_MAX = 1_000;

/**
 * Window of the rates of channels, ms: a rate is over one window to two. A window ends with a step
 * of the heartbeat; a channel that was published to has five numbers. core/event-rates.ts
 */
export const RATE_WINDOW_MS = 10_000;

/**
 * Streams of `/-/watch`, in all and with one credential that is no operator's; 503 above it. Each
 * is written to as often as counts change, at most once a second for a channel. core/watchers.ts
 */
export const WATCHERS_MAX = 64;
export const WATCHERS_PER_CREDENTIAL_MAX = 16;

/**
 * Time between two tellings of changed counts, and how long a fall has to last, ms.
 * core/watchers.ts
 */
export const WATCH_TICK_MS = 1_000;

/**
 * Counts that are looked at for one cork of one watcher, about 0.1 µs each. core/watchers.ts
 */
export const WATCH_COUNTS_PER_TURN = 2_000;

/** Corks that one watcher is written in one turn of the loop, ~10 µs each. core/watchers.ts */
export const WATCH_CORKS_PER_TURN = 4;

/**
 * Channels whose count changes in one second, about 100 B each, while somebody watches: above it
 * all watchers are told everything again. core/subscriber-counts.ts
 */
export const WATCH_CHANGES_MAX = 100_000;

/**
 * Channels that lost their last subscriber before this second and are kept, about 150 B each, for
 * watchers that have not been told: above it they are forgotten, and such a watcher is told
 * everything again.
 * core/subscriber-counts.ts
 */
export const WATCH_GONE_MAX = 10_000;

/** Processes of `--workers`, about 60 MB each. options/kinds.ts */
export const WORKERS_MAX = 256;

/** Time between two looks at whether the log is up, for a warning, ms. server/log-watch.ts */
export const LOG_WATCH_MS = 1_000;

/** Servers of one NATS cluster that `--log` may name, ~100 B each. options/log-kinds.ts */
export const NATS_SERVERS_MAX = 16;

/**
 * Time a server that ends waits for its log to be closed, ms; what was acknowledged is kept before.
 * log/close-log.ts
 */
export const LOG_CLOSE_MS_MAX = 5_000;

/**
 * The same for a log that is still being opened, ms: it has acknowledged nothing.
 * server/log-life.ts
 */
export const LOG_OPENING_CLOSE_MS_MAX = 500;

/**
 * Share of the memory budget below which lines are admitted again after it was full.
 * ops/memory/budget.ts
 */
export const MEMORY_ADMIT_SHARE = 0.98;

// ── several processes on one port ────────────────────────────────────────────────────────────────

/**
 * Frame on the pipe between the supervisor and a worker, bytes: the largest publish fits, which
 * takes half of PUBLISH_BYTES_MAX. What is larger is no frame of ours. workers/frames.ts
 */
export const PIPE_FRAME_BYTES_MAX = 64 * 1024 * 1024;

/** Entries in one such frame, bytes, unless it has but one. workers/supervisor.ts */
export const RECORDS_FRAME_BYTES = 1024 * 1024;

/**
 * Of one channel, bytes on their way to a worker until they have entered its rings; above it the
 * channel's publishes wait. More than any in-flight window, so that sweeps do not starve.
 * workers/credit.ts
 */
export const CHANNEL_CREDIT_BYTES = 1024 * 1024;

/**
 * Of all channels, the same, and of a worker that is silent, in the supervisor's memory; above it
 * such a worker is ended. workers/credit.ts, workers/worker-processes.ts
 */
export const WORKER_CREDIT_BYTES = 64 * 1024 * 1024;

/** Time after which a worker looks again at queues of its channels, ms. workers/worker-log.ts */
export const ENTERED_CHECK_MS = 5;

/**
 * Time in which another process of the server answers, ms. workers/link.ts, workers/worker-log.ts
 */
export const WORKER_ANSWER_MS_MAX = 10_000;

/**
 * Time in which every worker answers what one of them was asked, ms; those that do not are named
 * in the answer. workers/supervisor.ts
 */
export const WORKERS_ASKED_MS_MAX = 2_000;

/**
 * Time between two pings of a worker, ms, and pings without an answer after which it is ended:
 * one that does not turn its loop for 5 s. workers/worker-processes.ts
 */
export const WORKER_PING_MS = 1_000;
export const WORKER_PINGS_MISSED_MAX = 5;

/** Time from the start of a worker until it listens, ms. workers/worker-processes.ts */
export const WORKER_START_MS_MAX = 30_000;

/**
 * Time after the drain, or after its pipe has closed, in which a worker has to end, ms.
 * workers/worker-processes.ts, workers/worker-process.ts
 */
export const WORKER_END_MS_MAX = 5_000;

/**
 * Pause before a worker is started again, ms: the first, doubled up to the longest for each that
 * had not served for WORKER_PROVEN_MS; after WORKER_DEATHS_MAX such deaths in a row, while no other
 * worker serves, the server ends. workers/restarts.ts
 */
export const WORKER_PAUSE_MS_MIN = 50;
export const WORKER_PAUSE_MS_MAX = 5_000;
export const WORKER_PROVEN_MS = 10_000;
export const WORKER_DEATHS_MAX = 8;

/**
 * Rows, such as revocations, that are kept for workers where the log does not, ~200 B each; above
 * it the oldest goes. As many as there may be revocations. workers/rows.ts
 */
export const WORKER_ROWS_MAX = 100_000;

/**
 * Places for lines that a worker wants to have left at the most; it asks for twice as many.
 * workers/shares.ts
 */
export const SHARE_STEP_MAX = 256;

/** Time after which a worker looks again whether it should ask for places, ms. workers/parent.ts */
export const SHARE_LOOK_MS = 1_000;

/**
 * Answers about one channel in a frame, at about 500 bytes each: every worker is asked of each
 * channel of a page of `/-/channels`. workers/all-pages.ts
 */
export const LISTED_OVER_WORKERS_MAX = 64_000;

/**
 * Times at which the last id is remembered, and the least time between two, ms: 4 KB an hour.
 * workers/ring-history.ts
 */
export const ID_TIMES_MAX = 4_096;
export const ID_TIME_STEP_MS = 1_000;
/**
 * One commit of a log on disk: entries and bytes, unless one append has more; what else waits has
 * the next one. log/lmdb/append-queue.ts
 */
export const LOG_COMMIT_ENTRIES_MAX = 10_000;
export const LOG_COMMIT_BYTES_MAX = 8 * 1024 * 1024;

/**
 * Time after which what was answered is written, ms, with `--durability async`: a crash loses as
 * much. log/lmdb/log-thread.ts
 */
export const LOG_FLUSH_MS = 20;

/**
 * Ids that a log on disk may give before they are written, with `--durability async`: a crash
 * leaves such a hole. log/lmdb/store.ts
 */
export const LOG_ID_LEASE = 1_000_000;

/**
 * Holes in the ids of a log on disk that are told apart, one for each time that a process with
 * `--durability async` was killed: past it the two oldest become one, and what lies between them is
 * told as lost, too. log/lmdb/holes.ts
 */
export const LOG_HOLES_MAX = 100;

/**
 * How far a clock may go back, ms, until the times of a log on disk begin anew with it: the clock
 * was ahead. Below it they stand still, so an age is wrong by as much. log/lmdb/totals.ts
 */
export const LOG_CLOCK_BACK_MS_MAX = 60_000;

/** Time between two looks for what is to be forgotten, ms. log/lmdb/log-thread.ts */
export const LOG_SWEEP_MS = 1_000;

/** Events that one step of forgetting removes, about 5 ms. log/lmdb/store.ts */
export const LOG_REMOVALS_PER_STEP = 1_000;

/**
 * One slice of reading between two commits: events and bytes; a page has no more, and what is
 * published meanwhile waits for it. log/lmdb/pages.ts
 */
export const LOG_READ_SLICE_EVENTS = 250;
export const LOG_READ_SLICE_BYTES = 256 * 1024;

/**
 * Names of channels in a log on disk, about 100 B each there: above it those without an event are
 * forgotten, and a position of such a channel gets a gap notice that it may not need.
 * log/lmdb/store.ts
 */
export const LOG_CHANNELS_MAX = 1_000_000;

/** Rows that a log on disk keeps beside its events, such as revocations. log/lmdb/rows.ts */
export const LOG_ROWS_MAX = 100_000;

/**
 * Time from a failed write of a log on disk to the next try, ms; it doubles up to the second.
 * log/lmdb/log-thread.ts
 */
export const LOG_RETRY_MS = 500;
export const LOG_RETRY_MS_MAX = 5_000;

/**
 * Bytes that the thread of a log on disk writes and reads before it unmaps their pages: so many,
 * and the pages around them, count as memory of the process. log/lmdb/mapped-pages.ts
 */
export const LOG_TOUCHED_BYTES_MAX = 64 * 1024 * 1024;

/**
 * Room that there must be again for events, after a full disk, before they are taken, bytes.
 * log/lmdb/log-thread.ts
 */
export const LOG_PROBE_BYTES = 1024 * 1024;

/** Disk that the file of a log takes ahead of its use, in one step, bytes. log/lmdb/room.ts */
export const LOG_ROOM_STEP_BYTES = 4 * 1024 * 1024;

/**
 * What events leave of it to deletions and to what forgets, bytes; a disk that has less takes no
 * new log. log/lmdb/environment.ts, log/lmdb/store.ts
 */
export const LOG_ROOM_KEPT_BYTES = 3 * 1024 * 1024;

/**
 * Time from the end of a log's thread to the next start, ms; it doubles up to the second.
 * log/lmdb/thread-handle.ts
 */
export const LOG_RESTART_MS = 50;
export const LOG_RESTART_MS_MAX = 5_000;

/**
 * Time in which the thread of a log on disk has ended and answers nothing while something waits for
 * it, ms. Then the outcome of appends is said to be unknown, and what is asked is refused at once
 * until they are settled. log/lmdb/lmdb-log.ts
 */
export const LOG_OUTCOME_MS_MAX = 3_000;

/**
 * The same for a thread that is there, which may be in a large commit to a slow disk; and for the
 * supervisor of workers, which pings them every second. log/lmdb/lmdb-log.ts, workers/worker-log.ts
 */
export const LOG_SILENT_MS_MAX = 6_000;

/**
 * Time that a commit to a log on disk waits for a process that opens the log to read it, and the
 * other way round, ms. log/lmdb/commit-lock.ts
 */
export const LOG_COMMIT_LOCK_MS_MAX = 5_000;

/**
 * Time that a process that exits waits for the transaction that its log's thread is in, ms; then it
 * is killed, which a log stands. log/lmdb/thread-handle.ts
 */
export const LOG_EXIT_MS_MAX = 5_000;

/**
 * Time until NATS takes a connection when a server starts, ms. log/nats/connection.ts
 */
export const NATS_OPEN_MS_MAX = 10_000;

/**
 * Time until the stream is ready then, ms: three servers that were all away need 14 s to agree on
 * who leads it; also for its rows. log/nats/stream.ts, log/nats/rows.ts
 */
export const NATS_STREAM_MS_MAX = 30_000;

/** One attempt to connect to NATS, and the pause before the next, ms. log/nats/connection.ts */
export const NATS_CONNECT_MS_MAX = 2_000;

/**
 * Pause before another attempt to connect, to tail or to find the stream, ms.
 * log/nats/connection.ts, log/nats/stream.ts, log/nats/tail.ts
 */
export const NATS_RECONNECT_MS = 250;

/**
 * Between two pings on a connection to NATS, ms: it is given up when two are not answered.
 * log/nats/connection.ts
 */
export const NATS_PING_MS = 2_000;

/**
 * One question to JetStream, ms. log/nats/nats-log.ts, log/nats/rows.ts, log/nats/stream.ts
 */
export const NATS_REQUEST_MS_MAX = 2_000;

/**
 * Time in which NATS answers none of the messages on their way to it, ms: they are given up, and
 * publishes are refused at once until it answers again. log/nats/publisher.ts, log/nats/nats-log.ts
 */
export const NATS_SILENT_MS_MAX = 1_000;

/** Time for the answer to one message while others are answered, ms. log/nats/publisher.ts */
export const NATS_ACK_MS_MAX = 5_000;

/**
 * Messages on their way to NATS, and their bytes, each with so many for its subject and headers.
 * The rest waits within PUBLISH_BYTES_MAX. Of one channel they are as many as the append window
 * allows. log/nats/publisher.ts
 */
export const NATS_MESSAGE_OVERHEAD_BYTES = 256;
export const NATS_IN_FLIGHT_MAX = 2_048;
export const NATS_IN_FLIGHT_BYTES_MAX = 8 * 1024 * 1024;

/** Messages of a batch that are looked up at once, if NATS says it had them. log/nats/appends.ts */
export const NATS_LOOKUPS_MAX = 64;

/**
 * Between two heartbeats of the tail, ms, and how many may be missing before it is made again.
 * log/nats/tail.ts
 */
export const NATS_HEARTBEAT_MS = 500;
export const NATS_HEARTBEATS_MISSED_MAX = 3;

/** Messages that the tail hands over at once. log/nats/tail.ts */
export const NATS_TAIL_BATCH_MAX = 512;

/**
 * Time that a publisher waits until its server has read back what the stream has taken, and a
 * reader for a position that its server has not come to, ms. log/nats/nats-log.ts
 */
export const NATS_TAIL_WAIT_MS_MAX = 2_000;

/**
 * Between two looks at the state of the stream, and at whether there are rows that were not heard
 * of, ms. log/nats/stream-watch.ts
 */
export const NATS_LOOK_MS = 5_000;

/**
 * Messages of one request for history, and how much larger than asked for the newest of a channel
 * may be read. log/nats/reading.ts, log/nats/history.ts
 */
export const NATS_PULL_MAX = 512;

/**
 * How long NATS keeps a request for messages that it has counted and does not have any more, ms.
 * log/nats/reading.ts
 */
export const NATS_PULL_MS = 250;

/**
 * How long nothing comes of a request for history until another consumer is made to go on, ms, and
 * so many times what it took to make the first; twice as long each time that nothing came at all.
 * log/nats/reading.ts
 */
export const NATS_PULL_SILENT_MS = 100;
export const NATS_PULL_SILENT_TIMES = 4;

/**
 * How long nothing comes of a read of history until it fails, and a consumer lives that nobody
 * asks, ms. log/nats/reading.ts, log/nats/past.ts
 */
export const NATS_READ_MS_MAX = 5_000;

/**
 * How long a reading is kept that was left at the end of a page, ms, and how many are: the next
 * page mostly begins there. log/nats/kept-readings.ts
 */
export const NATS_READING_KEPT_MS = 1_000;
export const NATS_READINGS_KEPT_MAX = 32;

/**
 * After so long a read that met a copy of the stream which is behind tries another one, ms.
 * log/nats/reading.ts
 */
export const NATS_BEHIND_MS = 25;

/**
 * A stream that ends before ids that were given, for so long, was replaced or put back, ms: a new
 * leader is behind for a moment. log/nats/tail.ts
 */
export const NATS_BEHIND_MS_MAX = 3_000;

/**
 * Messages that a server reads at its start for the receipts in them: the newest, and no older than
 * IDEMPOTENCY_MS. Without data, about 5 µs each. log/nats/nats-log.ts
 */
export const NATS_RECEIPTS_READ_MAX = 100_000;

/**
 * Entries that are copied to NATS at once; time for which a copy waits for NATS that is away, ms:
 * less than IDEMPOTENCY_MS, within which what is sent again is kept once. log/nats/copy.ts
 */
export const NATS_COPY_BATCH_MAX = 1_000;
export const NATS_COPY_RETRY_MS_MAX = 60_000;

/** Channels whose last deletion is remembered, about 150 B each. log/nats/marks.ts */
export const NATS_MARKS_MAX = 10_000;

/**
 * Channels of which a server remembers what it has seen in the stream, about 400 B each; spans
 * without a message that it remembers of each, 16 B each. Past them a position that the stream no
 * longer has may be told of a gap where nothing was lost. log/nats/seen-ids.ts
 */
export const NATS_SEEN_CHANNELS_MAX = 50_000;
export const NATS_SEEN_SPANS_MAX = 8;

/**
 * How long `holdline load` waits for the server's host to answer its first connect, ms.
 * tools/load/clients/connection.ts
 */
export const LOAD_CONNECT_MS_MAX = 10_000;

/**
 * What a slow reader of `holdline load` may read in a second, B: a tenth of it is the buffer that
 * the slow readers of a process share. tools/load/kinds.ts
 */
export const LOAD_SLOW_BYTES_MAX = 64 * 1024 * 1024;

function assertRelation(holds: boolean, relation: string): void {
  if (!holds) throw new Error(`limits.ts: ${relation} does not hold`);
}
assertRelation(
  CORK_WRITE_BYTES_MAX + 4 + CORK_WRITE_BYTES_MAX.toString(16).length <= 16_384,
  'one cork is one send',
);
assertRelation(
  APPEND_WINDOW_BYTES_MIN < APPEND_WINDOW_BYTES_MAX,
  'what a log is given ahead has somewhere to grow',
);
assertRelation(
  OPENING_BYTES_MAX < CORK_WRITE_BYTES_MAX,
  'the opening fits a cork beside the response head',
);
assertRelation(
  8 * BODY_BYTES_MAX <= PUBLISH_BYTES_MAX,
  'several batches fit the memory of publishes',
);
assertRelation(
  2 * (BODY_BYTES_MAX + BATCH_EVENTS_MAX * QUEUED_EVENT_BYTES) <= NAMED_BATCH_BYTES_MAX,
  'the largest batch over several channels fits the memory of a credential',
);
assertRelation(
  NATS_COPY_RETRY_MS_MAX < IDEMPOTENCY_MS,
  'a batch that is copied again is still known to the stream',
);
assertRelation(
  LOG_COMMIT_LOCK_MS_MAX < LOG_SILENT_MS_MAX,
  'a commit that waits for its lock is no silence',
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
  RESERVED_FILES > 3 * OPS_SOCKETS_MAX,
  'sockets of operations take a third of the reserved files at most',
);
assertRelation(
  2 * HELD_REFUSALS_MAX < SPARE_SOCKETS_MAX,
  'held refusals leave most spare sockets to others',
);
assertRelation(
  RESERVED_FILES > MUTE_CLOSED_AT_ONCE_MAX,
  'sockets accepted in place of silent ones fit under the file limit',
);
