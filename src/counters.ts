/**
 * The counters: stable name, unit and meaning in one table that `/-/stats`, `/-/metrics` and tests
 * read. A counter is a plain number that only grows. Code adds to it where the thing it counts
 * happens and nowhere else; what can happen in two places (a gap notice at join or after a stall, a
 * publish over HTTP or WebSocket) is counted in both.
 */
import { CLOSE_REASONS, type CloseReason } from './errors.js';

/** name → meaning. Names end in their unit; `_total` counts since the start. */
export const COUNTER_MEANINGS = {
  lines_opened_total: 'lines opened',
  lines_closed_total: 'lines closed, for any reason',
  lines_ended_total: 'lines that the server ended with an end event',
  lines_stalled_total: 'times a line refused bytes; nothing is written to it until it drains',
  lines_resumed_total: 'times a stalled line drained and took bytes again',
  grace_failed_total:
    'lines in grace that held back their channels and took nothing; they get no grace for a while',
  grace_pauses_total:
    'pauses of lines in grace for which their channels were held, and that ended before the grace',
  lines_closed_stalled_total:
    'lines that closed while stalled, mostly after ten seconds in which the reader took nothing',
  gaps_total: 'gap notices sent to lines, at join and after a stall',
  gaps_at_join_total: 'gap notices sent at join: the position was older than what is held',
  gaps_slow_total: 'gap notices sent after a stall: the ring had moved past the line',
  slow_latest_total: 'slow lines that skipped to the newest event (--slow latest)',
  slow_closed_total: 'slow lines that were ended (--slow close)',
  events_accepted_total: 'events that got an id',
  events_entered_total: 'events that entered a ring',
  events_evicted_total: 'events that left a ring, for room or with their channel',
  deliveries_total: 'events written to lines: each event counts once for each line',
  writes_total: 'corked writes of events to lines',
  written_bytes_total: 'bytes of events written to lines',
  compress_blocks_total: 'blocks and bodies that the compressor made',
  compress_plain_bytes_total: 'bytes that it was given',
  compress_bytes_total: 'bytes that it made of them',
  compress_seconds_total: 'time that it took, seconds',
  compress_refused_total:
    'times that lines and polls were given plain bytes because it had used up its share of the time',
  compress_saved_bytes_total:
    'bytes of events that were not written to compressed lines, since fewer were',
  heartbeats_total: 'heartbeats written',
  sweeps_total: 'complete sweeps over the lines of a group',
  rings_dropped_total: 'rings dropped because all rings exceeded --replay-total',
  frames_dropped_total:
    'times the frames of a channel were dropped for room; they can be made again from its records',
  channels_forgotten_total:
    'channels without lines that were forgotten to make room; their losses are remembered',
  channels_refused_total: 'publishes to a new channel refused because all channels have lines',
  reader_channels_refused_total:
    'lines and polls on a new channel refused because too many channels have lines and no events',
  losses_forgotten_total:
    'records of lost events that were forgotten; they raise the floor of all channels',
  log_losses_total:
    'times the log forgot entries before this server had read them; lines are told of a gap',
  log_entries_lost_total:
    'entries that were acknowledged (--durability async) and that the log could not write until its end',
  log_records_refused_total:
    'records of other publishers in the log that a publish would refuse: skipped and told as a gap',
  history_reads_total: 'reads of what the log keeps: for rings, for lines behind them, for polls',
  history_events_total: 'events that those reads returned',
  queues_given_up_total:
    'times a channel had more waiting than it may hold and gave it up: its lines read it from the log',
  history_refused_total:
    'lines and polls refused because too many waited for reads of what the log keeps',
  requests_total: 'requests that reached a handler',
  refused_total: 'requests refused with an error status',
  refused_temporary_total:
    'event-stream requests of an EventSource refused for a temporary reason with 200, retry and the end',
  refused_ended_total:
    'event-stream requests of an EventSource with an expired ticket, answered with 200 and the end',
  refusals_held_total:
    'event-stream requests by fetch whose refusal with 503 was held for about --retry',
  refusals_released_total:
    'held refusals that were answered early: places or memory were short, or the server drained',
  lines_refused_address_total:
    'lines and waiting polls refused because their address had --max-lines-per-address',
  lines_refused_user_total:
    'lines and waiting polls refused because their user had --max-lines-per-user',
  lines_refused_rate_total: 'lines refused because more were opened in a second than --accept-rate',
  polls_refused_total: 'polls that were not let wait because --max-waiting-polls did',
  publishes_refused_rate_total:
    'publishes refused because their credential had published more than --publish-rate',
  failed_keys_total: 'requests with a wrong key',
  jwks_fetches_total: 'times the keys of --jwt-jwks were fetched',
  jwks_failures_total: 'times the keys of --jwt-jwks could not be fetched; known ones count on',
  tickets_made_total: 'tickets made for pages (POST /-/tickets)',
  answers_pending_total: 'answers that their socket did not take at once',
  answers_unread_total: 'answers whose socket closed before it had taken them',
  answers_given_up_total:
    'answers dropped, and their sockets closed, because too many bytes of answers were unread',
  publish_requests_total: 'publishes accepted over HTTP and WebSocket',
  publish_waited_total: 'publishes that waited for room',
  publish_aborted_total: 'publishes whose client left before the end of the body',
  deletions_total: 'deletions of channels that got an id',
  deletions_entered_total: 'deletions that have ended what their channel had',
  log_append_failures_total:
    'appends that the log did not confirm: it was down, or did not say whether it has the events',
  idempotent_repeats_total:
    'publishes answered with the first receipt for their idempotency key, and not published again',
  idempotency_evicted_total: 'idempotency keys forgotten early for room',
  watchers_opened_total: 'streams of /-/watch opened',
  watch_resets_total:
    'streams of /-/watch that were told all counts again because they had fallen far behind',
  revocations_total: 'users revoked by operators',
  polls_answered_total: 'polls answered with events',
  polls_empty_total: 'polls answered 204 because there were no events',
  polls_waited_total: 'polls that waited',
  messages_received_total: 'messages received over WebSocket',
  messages_refused_total: 'messages over WebSocket that were refused',
  messages_withdrawn_total:
    'publishes over WebSocket that were still waiting when their socket closed, and were dropped',
  websockets_closed_refused_total:
    'lines over WebSocket closed for their messages: not JSON, binary, too large, or refused many times',
  websockets_closed_too_large_total:
    'lines over WebSocket closed at the head of a message far above the limit',
  websockets_closed_unread_total:
    'lines over WebSocket closed because they did not read answers or pongs',
  websockets_closed_control_total:
    'lines over WebSocket closed because they sent too many pings and pongs in one turn of the loop',
  server_log_suppressed_total:
    'entries of the log on stdout left out because one like it came shortly before; the next one says how many',
  server_log_dropped_total:
    'entries of the log on stdout dropped because 1 MiB of it had not been taken',
  sockets_opened_total: 'sockets accepted',
  sockets_closed_total: 'sockets closed',
  sockets_silent_closed_total:
    'sockets that had sent nothing and were closed to make room for others',
  sockets_refused_total: 'sockets closed at accept because the cap was reached',
} as const;

/** A counter's stable name. */
export type CounterName = keyof typeof COUNTER_MEANINGS;

/** Counters of one server, its refusals by error code, and its closed lines by reason. */
export type Counters = Record<CounterName, number> & {
  /** Only codes that were there; they add up to the four counters of refusals. */
  refused: Record<string, number>;
  /** All reasons; they add up to lines_closed_total. */
  closed: Record<CloseReason, number>;
};

/** Counters at 0: one object of one shape. */
export function makeCounters(): Counters {
  const zeros = Object.fromEntries(
    Object.keys(COUNTER_MEANINGS).map((name) => [name, 0]),
  ) as Record<CounterName, number>;
  const closed = Object.fromEntries(CLOSE_REASONS.map((reason) => [reason, 0])) as Record<
    CloseReason,
    number
  >;
  return { ...zeros, refused: {}, closed };
}
