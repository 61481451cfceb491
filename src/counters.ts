/**
 * The counters: stable name, unit and a one-sentence meaning in one table that `/-/stats`, metrics
 * and tests read. The hot path adds to plain numbers; each counter has one writer.
 */

/** name → meaning. Names end in their unit; `_total` counts since the start. */
export const COUNTER_MEANINGS = {
  lines_opened_total: 'lines that were opened',
  lines_closed_total: 'lines that were closed, for whatever reason',
  lines_ended_total: 'lines that the server ended with an end event',
  lines_stalled_total: 'times a line refused bytes and was left alone until it drained',
  lines_resumed_total: 'times a stalled line drained and took bytes again',
  grace_failed_total:
    'times a line in grace held back its channels and took nothing: it is given none for a while',
  lines_closed_stalled_total:
    'lines that closed while stalled: a reader that took nothing for about ten seconds',
  gaps_total: 'gap events told to lines, at join and after a stall',
  gaps_at_join_total: 'gap events told to a line that came back from before what is held',
  gaps_slow_total:
    'gap events told to a line that stalled until the ring had moved past its cursor',
  slow_latest_total: 'slow lines that skipped to the newest event (--slow latest)',
  slow_closed_total: 'slow lines that were ended (--slow close)',
  events_accepted_total: 'events that were given an id',
  events_entered_total: 'events that entered a ring',
  events_evicted_total: 'events that left a ring, for room or with their channel',
  deliveries_total: 'events given to lines: the sum over lines of the events in the bytes written',
  writes_total: 'corked writes of events to lines',
  written_bytes_total: 'bytes of events written to lines',
  heartbeats_total: 'heartbeats written',
  sweeps_total: 'complete sweeps over the lines of a group',
  rings_dropped_total: 'channels whose ring was dropped for --replay-total',
  frames_dropped_total:
    'times the frames of a channel were let go for room; they are made from its records when they are needed',
  channels_forgotten_total:
    'channels without lines that were forgotten for another; what they lost is remembered',
  channels_refused_total:
    'new names that were published to and found no place: all channels have lines',
  reader_channels_refused_total:
    'new names that lines or polls asked for and found no place: too many have lines and no events',
  losses_forgotten_total:
    'records of what forgotten channels lost that were forgotten too; it is in the floor',
  requests_total: 'requests that reached a handler',
  refused_total: 'requests refused with an error status',
  refused_temporary_total:
    'event-stream requests refused for a temporary reason: 200, retry and the end',
  failed_keys_total: 'requests with a key that is not the right one',
  answers_pending_total: 'answers that their socket did not take at once',
  answers_unread_total: 'answers whose socket closed before it had taken them',
  answers_given_up_total:
    'answers given up, and their sockets closed, since too many bytes of answers were not read',
  publish_requests_total: 'publishes over HTTP and WebSocket that were accepted',
  publish_waited_total: 'publishes that waited for room',
  publish_aborted_total: 'publishes whose body was cut off by the client',
  deletions_total: 'channels whose history was deleted',
  idempotent_repeats_total:
    'publishes answered again for their idempotency key, without publishing',
  idempotency_evicted_total: 'idempotency keys forgotten before their time, for room',
  polls_answered_total: 'polls answered with events',
  polls_empty_total: 'polls answered 204: nothing had come',
  polls_waited_total: 'polls that had to wait',
  messages_received_total: 'messages that came over WebSocket',
  messages_refused_total: 'messages over WebSocket that were answered with an error',
  messages_withdrawn_total:
    'publishes over WebSocket that waited when their socket closed, and were not carried out',
  websockets_closed_refused_total:
    'lines over WebSocket closed for what they sent: no JSON, binary, too large, or refused many times',
  websockets_closed_too_large_total:
    'lines over WebSocket closed at the head of a message far over the limit',
  websockets_closed_unread_total:
    'lines over WebSocket closed for answers or pongs that they did not read',
  websockets_closed_control_total:
    'lines over WebSocket cut off for more pings and pongs in one turn of the loop than anybody needs',
  sockets_opened_total: 'sockets that were accepted',
  sockets_closed_total: 'sockets that closed',
  sockets_silent_closed_total:
    'sockets that had sent nothing, closed for others when no more could be accepted',
  sockets_refused_total: 'sockets closed at accept, above the cap',
} as const;

/** A counter's stable name. */
export type CounterName = keyof typeof COUNTER_MEANINGS;

/** Counters of one server, all starting at 0, plus refusals by code. */
export type Counters = Record<CounterName, number> & { refused: Record<string, number> };

/** A fresh set of counters: one object of one shape. */
export function makeCounters(): Counters {
  const zeros = Object.fromEntries(
    Object.keys(COUNTER_MEANINGS).map((name) => [name, 0]),
  ) as Record<CounterName, number>;
  return { ...zeros, refused: {} };
}
