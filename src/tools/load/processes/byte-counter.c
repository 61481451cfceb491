/*
 * Holds most lines of a run and counts what comes on each, so that the client is not the limit. A read here takes a third of what it
 * takes in Node; on event streams the bytes are not even copied out of the kernel (MSG_TRUNC). What the lines say is checked on other
 * lines of the same server, which a client process reads in full. Streams in gzip are read: what all lines share is decoded once
 * (gzip-blocks.h).
 *
 * Commands are lines on stdin, answers are lines on stdout; the program ends when stdin does.
 *   open PORT FIRST_ROW KIND COUNT AT_ONCE BODY_BYTES STALL_MS REQUEST_BYTES, followed by the request itself:
 *     connects COUNT lines more, at most AT_ONCE of them without their first BODY_BYTES of body, decoded if it is gzip;
 *     KIND is 0 for a stream, 1 for a WebSocket, 2 for an event stream that asks for gzip, 3 for NDJSON that does;
 *     "opened FIRST_CONNECT_US LAST_COMPLETE_US", or "failed WHY", also when none gets further for STALL_MS
 *   nap US         from now on checks the sockets after naps of that length (nap.ts); 0 = sleeps until bytes come
 *   totals         "totals AT_US BYTES READS CPU_US OPEN CLOSED LEAST_BYTES MOST_BYTES GZIP_BYTES PLAIN_BYTES EVENTS BLOCKS INFLATED
 *                  DAMAGED COUNTED_BYTES"; the six before the last are of lines in gzip, the last is of others
 *   shape DATA_BYTES RUN_BYTES BEFORE_BYTES BETWEEN_BYTES AFTER_BYTES, followed by these four texts:
 *                  what events look like; "shaped"
 *   begin          counts the bytes and events of each line from 0; "begun"
 *   audit EVENTS LEAST_BYTES EVENT_BYTES
 *                  "audited LINES EVENTS SHORT LEAST_BYTES LEAST_EVENTS DISORDERED GAPS UNREAD PLAIN DAMAGED": of the PLAIN lines that
 *                  are no gzip one with at least LEAST_BYTES has had EVENTS, a short one as many as its bytes are. Of lines in gzip
 *                  the events are read; a short one has less than EVENTS, or other events than most. UNREAD lines, which no other
 *                  figure has, are gzip that was only counted.
 *   close          resets every line; "closed"
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "gzip-blocks.h"

enum {
  MAX_LINES = 65536,
  EVENTS_AT_ONCE = 1024,
  READ_BYTES = 1 << 20,
  COMMAND_BYTES = 512,
  MOST_HEAD_BYTES = 16384,
  /* Of the token that begins the data of each event of a run (event.ts). */
  RUN_BYTES = 8,
  REQUEST_BYTES = 4096,
  /* As in connection.ts: beyond that the kernel's search for a free port takes longer than the rest of a connect. */
  LINES_PER_ADDRESS = 1000,
  STDIN_ROW = MAX_LINES,
};

/* From connect to close; in ASKED nothing has been answered yet. */
enum { CONNECTING, ASKED, IN_HEAD, WAITING, COMPLETE, CLOSED };

/* What is asked for. */
enum { STREAM, WEBSOCKET, GZIP_SSE, GZIP_NDJSON };

/* What the answer is: gzip that is read, that is none or has other events than it should, or that only a client of its own can read. */
enum { PLAIN, GZIP, DAMAGED, UNREAD };

/* A masked pong without data (RFC 6455, 5.5.3). */
static const char PONG[6] = {(char)0x8a, (char)0x80, 0, 0, 0, 0};
enum { PING = 0x9, SHORT_LENGTH_MOST = 125, LENGTH_16 = 126, LENGTH_64 = 127 };

typedef struct {
  uint64_t body_bytes;
  uint64_t payload_left; /* WebSocket: of the frame that is being read */
  int fd;
  uint8_t state;
  uint8_t head_end_seen; /* of CR LF CR LF, bytes matched so far */
  uint8_t frame_head[10];
  uint8_t frame_head_bytes;
  uint8_t coding;
  uint8_t awaits_chunk_end;
  /* Gzip: what has come of a chunk or of the head, and what has been read. */
  uint8_t *pending;
  uint32_t pending_bytes;
  window *at;
  uint64_t plain_bytes, events, highest_id, sum;
  uint32_t disordered, gaps;
} line;

static line lines[MAX_LINES];
static int line_count, complete_count, closed_count;
static int first_row;
static int epoll_fd;
static int kind;
static uint64_t total_bytes, total_reads, total_gzip, total_plain, total_events, total_counted, total_damaged, body_bytes_wanted;
static long nap_us;
static char scratch[READ_BYTES];
static char refusal[256];
static double first_connect_us, last_complete_us;

static char request[REQUEST_BYTES];
static int request_bytes;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void answer(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
  putchar('\n');
  fflush(stdout);
}

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static double cpu_us(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

/* The first reason is kept, and the first line of an answer. */
static void refuse(int row, const char *what, const char *text, int text_bytes) {
  if (refusal[0] != 0) return;
  int at = snprintf(refusal, sizeof refusal, "line %d %s", row, what);
  for (int i = 0; i < text_bytes && text[i] >= ' ' && at < (int)sizeof refusal - 1; i++) refusal[at++] = text[i];
  refusal[at] = 0;
}

static void close_line(int row) {
  if (lines[row].state == CLOSED) return;
  if (lines[row].state == COMPLETE) complete_count--;
  lines[row].state = CLOSED;
  closed_count++;
  close(lines[row].fd);
}

/* What has not been read is read on in the next call; NULL for nothing. */
static void keep_pending(line *l, const uint8_t *bytes, size_t count) {
  l->pending = realloc(l->pending, count == 0 ? 1 : count);
  if (l->pending == NULL) die("realloc");
  memmove(l->pending, bytes, count);
  l->pending_bytes = (uint32_t)count;
}

/* From now on the bytes of the line are only counted. */
static void end_reading(line *l, uint8_t coding) {
  if (coding == DAMAGED) total_damaged++;
  l->coding = coding;
  if (l->at != NULL) l->at->lines--;
  l->at = NULL;
  free(l->pending);
  l->pending = NULL;
  l->pending_bytes = 0;
}

/* Reads frame heads and skips what is between them; a ping is answered. */
static void read_frames(line *l, const uint8_t *bytes, uint64_t count) {
  uint64_t at = 0;
  while (at < count) {
    if (l->payload_left > 0) {
      uint64_t skipped = count - at < l->payload_left ? count - at : l->payload_left;
      l->payload_left -= skipped;
      at += skipped;
      continue;
    }
    l->frame_head[l->frame_head_bytes++] = bytes[at++];
    if (l->frame_head_bytes < 2) continue;
    int length = l->frame_head[1] & 0x7f;
    int length_bytes = length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0;
    if (l->frame_head_bytes < 2 + length_bytes) continue;
    l->payload_left = length <= SHORT_LENGTH_MOST ? (uint64_t)length : 0;
    for (int i = 0; i < length_bytes; i++) l->payload_left = l->payload_left << 8 | l->frame_head[2 + i];
    l->frame_head_bytes = 0;
    if ((l->frame_head[0] & 0xf) == PING) send(l->fd, PONG, sizeof PONG, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
}

static void read_head(int row, int count) {
  line *l = &lines[row];
  const char *status = kind == WEBSOCKET ? "HTTP/1.1 101 " : "HTTP/1.1 200 ";
  if (l->state == ASKED && (count < 13 || memcmp(scratch, status, 13) != 0)) refuse(row, "was answered ", scratch, count);
  l->state = IN_HEAD;
  int at = 0;
  while (at < count && l->head_end_seen < 4) {
    char wanted = l->head_end_seen % 2 == 0 ? '\r' : '\n';
    if (scratch[at] == wanted) l->head_end_seen++;
    else l->head_end_seen = scratch[at] == '\r' ? 1 : 0;
    at++;
  }
  if (l->head_end_seen < 4) return;
  l->state = WAITING;
  /* Heads differ in length between servers: from here on only the body counts. */
  l->body_bytes = (uint64_t)(count - at);
  if (kind == WEBSOCKET) read_frames(l, (const uint8_t *)scratch + at, (uint64_t)(count - at));
}

/* A whole chunk is whole blocks: what a server flushed at once. */
static void read_block(line *l, const uint8_t *bytes, uint32_t count) {
  int why = 0;
  total_gzip += count;
  const step *s = find_step(l->at, bytes, count, &why);
  if (s == NULL) {
    end_reading(l, why == STEP_DAMAGED ? DAMAGED : UNREAD);
    return;
  }
  l->at->lines--;
  l->at = s->to;
  l->at->lines++;
  const reading *r = &s->read;
  total_plain += r->plain_bytes;
  l->plain_bytes += r->plain_bytes;
  l->gaps += r->gaps;
  if (r->events == 0) return;
  /* Of a block that is not in order, or that does not follow, it is not known what was new. */
  if (r->disordered == 0 && r->first_id > l->highest_id) {
    l->events += r->events;
    total_events += r->events;
    l->sum += r->sum;
  } else l->disordered += r->events;
  if (r->last_id > l->highest_id) l->highest_id = r->last_id;
}

/* Reads whole chunks (RFC 9112, 7.1); returns the bytes that were read. */
static size_t read_chunks(line *l, const uint8_t *bytes, size_t count) {
  size_t at = 0;
  while (at < count && l->coding == GZIP) {
    if (l->awaits_chunk_end) {
      if (count - at < 2) break;
      l->awaits_chunk_end = 0;
      if (bytes[at] != '\r' || bytes[at + 1] != '\n') end_reading(l, DAMAGED);
      at += 2;
      continue;
    }
    const uint8_t *feed = memchr(bytes + at, '\n', count - at);
    if (feed == NULL) break;
    size_t size = 0, digits = 0;
    const uint8_t *digit = bytes + at;
    for (; digits < 8; digit++, digits++) {
      int value = *digit >= '0' && *digit <= '9' ? *digit - '0' : (*digit | 32) >= 'a' && (*digit | 32) <= 'f' ? (*digit | 32) - 'a' + 10 : -1;
      if (value < 0) break;
      size = size * 16 + (size_t)value;
    }
    size_t start = (size_t)(feed - bytes) + 1;
    if (digits == 0 || (*digit != '\r' && *digit != ';' && *digit != ' ')) end_reading(l, DAMAGED);
    else if (size > READ_BYTES / 2) end_reading(l, UNREAD);
    else if (size == 0) return count;
    else if (start + size > count) break;
    else {
      /* uWebSockets writes the end of a chunk with the next one. */
      l->awaits_chunk_end = 1;
      read_block(l, bytes + start, (uint32_t)size);
      at = start + size;
    }
  }
  return l->coding == GZIP ? at : count;
}

/* The head of an answer to a request for gzip; returns its bytes, or 0 while it is not complete. */
static size_t read_gzip_head(int row, const uint8_t *bytes, size_t count) {
  static char head[MOST_HEAD_BYTES + 1];
  line *l = &lines[row];
  const uint8_t *end = memmem(bytes, count, "\r\n\r\n", 4);
  size_t head_bytes = end == NULL ? count : (size_t)(end - bytes) + 4;
  if (head_bytes > MOST_HEAD_BYTES || (count >= 13 && memcmp(bytes, "HTTP/1.1 200 ", 13) != 0)) {
    refuse(row, "was answered ", (const char *)bytes, (int)(count < 200 ? count : 200));
    return 0;
  }
  if (end == NULL) return 0;
  memcpy(head, bytes, head_bytes);
  head[head_bytes] = 0;
  l->state = WAITING;
  l->coding = strcasestr(head, "\r\ncontent-encoding: gzip\r\n") == NULL ? PLAIN : GZIP;
  if (l->coding == GZIP) {
    l->at = first_window();
    l->at->lines++;
    if (strcasestr(head, "\r\ntransfer-encoding: chunked\r\n") == NULL) end_reading(l, UNREAD);
  }
  return head_bytes;
}

/* Reads bytes of a line that asked for gzip, which lie behind those that are pending. */
static void read_gzip(int row, size_t fresh) {
  line *l = &lines[row];
  uint8_t *bytes = (uint8_t *)scratch;
  size_t count = l->pending_bytes + fresh;
  size_t at = 0;
  if (l->state < WAITING) {
    at = read_gzip_head(row, bytes, count);
    if (at == 0) {
      keep_pending(l, bytes, count);
      return;
    }
    fresh = count - at;
  }
  l->body_bytes += fresh;
  if (l->coding != GZIP) {
    total_counted += fresh;
    keep_pending(l, bytes, 0);
    return;
  }
  at += read_chunks(l, bytes + at, count - at);
  if (l->coding == GZIP && (at < count || l->pending_bytes > 0)) keep_pending(l, bytes + at, count - at);
}

static void read_line(int row) {
  line *l = &lines[row];
  int is_gzip = kind >= GZIP_SSE && (l->state < WAITING || l->coding == GZIP);
  int copied = kind == WEBSOCKET || is_gzip || l->state < WAITING;
  size_t room = sizeof scratch - l->pending_bytes;
  if (l->pending_bytes > 0) memcpy(scratch, l->pending, l->pending_bytes);
  ssize_t count = recv(l->fd, scratch + l->pending_bytes, room, MSG_DONTWAIT | (copied ? 0 : MSG_TRUNC));
  int more = count >= (ssize_t)room;
  if (count <= 0) {
    if (count < 0 && errno == EAGAIN) return;
    refuse(row, "was closed by the server", "", 0);
    close_line(row);
    return;
  }
  total_bytes += (uint64_t)count;
  total_reads++;
  if (is_gzip) read_gzip(row, (size_t)count);
  else if (l->state < WAITING) read_head(row, (int)count);
  else {
    l->body_bytes += (uint64_t)count;
    if (l->coding != GZIP) total_counted += (uint64_t)count;
    if (kind == WEBSOCKET) read_frames(l, (const uint8_t *)scratch, (uint64_t)count);
  }
  if (l->state == WAITING && (l->coding == GZIP ? l->plain_bytes : l->body_bytes) >= body_bytes_wanted) {
    l->state = COMPLETE;
    complete_count++;
    last_complete_us = now_us();
  }
  if (more) read_line(row);
}

static void watch(int operation, int fd, uint32_t events, uint32_t row) {
  struct epoll_event event = {.events = events, .data.u32 = row};
  if (epoll_ctl(epoll_fd, operation, fd, &event) != 0) die("epoll_ctl");
}

static void ask(int row) {
  int error = 0;
  socklen_t error_bytes = sizeof error;
  getsockopt(lines[row].fd, SOL_SOCKET, SO_ERROR, &error, &error_bytes);
  if (error != 0 || send(lines[row].fd, request, (size_t)request_bytes, MSG_NOSIGNAL) != request_bytes) {
    const char *why = strerror(error == 0 ? errno : error);
    refuse(row, "could not connect: ", why, (int)strlen(why));
    close_line(row);
    return;
  }
  lines[row].state = ASKED;
  /* Edge-triggered: everything that is there is read at once. */
  watch(EPOLL_CTL_MOD, lines[row].fd, EPOLLIN | EPOLLET, (uint32_t)row);
}

static void start_line(int row, int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  int on = 1;
  /* The port is chosen by connect(), which knows the whole address and finds one sooner. */
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  uint32_t nth = (uint32_t)(first_row + row) / LINES_PER_ADDRESS;
  uint32_t own = 127u << 24 | (nth / 250) << 8 | (1 + nth % 250);
  struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(own)};
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(fd, (struct sockaddr *)&from, sizeof from) != 0) die("bind");
  lines[row] = (line){.fd = fd, .state = CONNECTING};
  if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS) {
    refuse(row, "could not connect: ", strerror(errno), (int)strlen(strerror(errno)));
    close_line(row);
    return;
  }
  watch(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT, (uint32_t)row);
}

/* Handles every socket that has something. True when stdin has, too. */
static int handle_ready(int timeout_ms) {
  static struct epoll_event ready[EVENTS_AT_ONCE];
  if (nap_us > 0) {
    nanosleep(&(struct timespec){.tv_sec = nap_us / 1000000, .tv_nsec = nap_us % 1000000 * 1000}, NULL);
    timeout_ms = 0;
  }
  int commanded = 0;
  int count;
  do {
    count = epoll_wait(epoll_fd, ready, EVENTS_AT_ONCE, timeout_ms);
    if (count < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < count; i++) {
      uint32_t row = ready[i].data.u32;
      if (row == STDIN_ROW) commanded = 1;
      else if (lines[row].state == CONNECTING) ask((int)row);
      else if (lines[row].state != CLOSED) read_line((int)row);
    }
    /* There may be more behind a full answer: all of it is read before the next nap. */
  } while (nap_us > 0 && count == EVENTS_AT_ONCE && !commanded);
  return commanded;
}

static void read_exactly(char *target, int count) {
  for (int got = 0; got < count;) {
    ssize_t read_now = read(STDIN_FILENO, target + got, (size_t)(count - got));
    if (read_now <= 0) exit(0);
    got += (int)read_now;
  }
}

static void open_lines(const char *arguments) {
  int port, count, at_once, stall_ms;
  unsigned long long body_bytes;
  if (sscanf(arguments, "%d %d %d %d %d %llu %d %d", &port, &first_row, &kind, &count, &at_once, &body_bytes, &stall_ms,
             &request_bytes) != 8 ||
      request_bytes > REQUEST_BYTES || line_count + count > MAX_LINES) {
    answer("failed the order was: %s", arguments);
    return;
  }
  read_exactly(request, request_bytes);
  body_bytes_wanted = body_bytes;
  shape.is_sse = kind != GZIP_NDJSON;
  int wanted = line_count + count;
  int complete_before = complete_count;
  double progress_us = first_connect_us = last_complete_us = now_us();
  while (complete_count < wanted && refusal[0] == 0) {
    if (complete_count > complete_before) progress_us = now_us();
    complete_before = complete_count;
    if (now_us() - progress_us > stall_ms * 1e3) {
      snprintf(refusal, sizeof refusal, "%d of %d lines were complete after %d ms", complete_count, wanted, stall_ms);
      break;
    }
    while (line_count < wanted && line_count - complete_count < at_once) start_line(line_count++, port);
    handle_ready(10);
  }
  if (refusal[0] != 0) answer("failed %s", refusal);
  else answer("opened %.0f %.0f", first_connect_us, last_complete_us);
}

static void tell_totals(void) {
  uint64_t least = UINT64_MAX, most = 0;
  for (int row = 0; row < line_count; row++) {
    if (lines[row].body_bytes < least) least = lines[row].body_bytes;
    if (lines[row].body_bytes > most) most = lines[row].body_bytes;
  }
  answer("totals %.0f %llu %llu %.0f %d %d %llu %llu %llu %llu %llu %llu %llu %llu %llu", now_us(), (unsigned long long)total_bytes,
         (unsigned long long)total_reads, cpu_us(), complete_count, closed_count, (unsigned long long)(line_count == 0 ? 0 : least),
         (unsigned long long)most, (unsigned long long)total_gzip, (unsigned long long)total_plain, (unsigned long long)total_events,
         (unsigned long long)blocks_seen, (unsigned long long)blocks_inflated, (unsigned long long)total_damaged,
         (unsigned long long)total_counted);
}

static void take_shape(const char *arguments) {
  event_shape new = {.is_sse = shape.is_sse};
  if (sscanf(arguments, "%d %d %d %d %d", &new.data_bytes, &new.run_bytes, &new.before_bytes, &new.between_bytes, &new.after_bytes) != 5 ||
      new.data_bytes < 0 || new.run_bytes != RUN_BYTES || new.before_bytes < 1 || new.before_bytes > SHAPE_BYTES_MOST ||
      new.between_bytes < 1 || new.between_bytes > SHAPE_BYTES_MOST || new.after_bytes < 1 || new.after_bytes > SHAPE_BYTES_MOST) {
    answer("failed the order was: shape %s", arguments);
    return;
  }
  read_exactly(new.run, new.run_bytes);
  read_exactly(new.before, new.before_bytes);
  read_exactly(new.between, new.between_bytes);
  read_exactly(new.after, new.after_bytes);
  shape = new;
  /* Other events are those of the run from now on. */
  forget_blocks();
  answer("shaped");
}

static void begin(void) {
  for (int row = 0; row < line_count; row++) {
    line *l = &lines[row];
    l->body_bytes = l->plain_bytes = l->events = l->sum = 0;
    l->disordered = l->gaps = 0;
  }
  answer("begun");
}

/* What most lines with so many events have had, if any is the sum of more than half of them. */
static uint64_t most_frequent_sum(uint64_t events) {
  uint64_t sum = 0;
  int votes = 0;
  for (int row = 0; row < line_count; row++) {
    const line *l = &lines[row];
    if (l->coding != GZIP || l->events != events) continue;
    if (votes == 0) sum = l->sum;
    votes += l->sum == sum ? 1 : -1;
  }
  return sum;
}

static void audit(const char *arguments) {
  unsigned long long events, least_bytes;
  double event_bytes;
  if (sscanf(arguments, "%llu %llu %lf", &events, &least_bytes, &event_bytes) != 3) {
    answer("failed the order was: audit %s", arguments);
    return;
  }
  uint64_t delivered = 0, least = UINT64_MAX, least_events = UINT64_MAX, disordered = 0, gaps = 0;
  int short_lines = 0, unread = 0, plain_lines = 0, damaged = 0;
  uint64_t sum = most_frequent_sum(events);
  for (int row = 0; row < line_count; row++) {
    const line *l = &lines[row];
    if (l->coding == UNREAD) {
      unread++;
      continue;
    }
    if (l->coding != PLAIN) {
      if (l->coding == DAMAGED) damaged++;
      if (l->events < least_events) least_events = l->events;
      int has_other = l->events == events && l->sum != sum;
      if (l->events < events || has_other) short_lines++;
      /* Which of them are other events is not known. */
      if (!has_other) delivered += l->events;
      disordered += l->disordered;
      gaps += l->gaps;
      continue;
    }
    plain_lines++;
    uint64_t bytes = l->body_bytes;
    if (bytes < least) least = bytes;
    if (bytes >= least_bytes) delivered += events;
    else {
      short_lines++;
      delivered += (uint64_t)((double)bytes / event_bytes);
    }
  }
  answer("audited %d %llu %d %llu %llu %llu %llu %d %d %d", line_count - unread, (unsigned long long)delivered, short_lines,
         (unsigned long long)(plain_lines == 0 ? 0 : least), (unsigned long long)(least_events == UINT64_MAX ? events : least_events),
         (unsigned long long)disordered, (unsigned long long)gaps, unread, plain_lines, damaged);
}

/* A FIN would leave thousands of ports in TIME_WAIT for a minute. */
static void close_lines(void) {
  struct linger at_once = {.l_onoff = 1, .l_linger = 0};
  for (int row = 0; row < line_count; row++) {
    end_reading(&lines[row], PLAIN);
    if (lines[row].state == CLOSED) continue;
    setsockopt(lines[row].fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(lines[row].fd);
  }
  line_count = complete_count = closed_count = 0;
  refusal[0] = 0;
  nap_us = 0;
  answer("closed");
}

static void take_command(void) {
  char command[COMMAND_BYTES];
  int length = 0;
  for (;;) {
    read_exactly(command + length, 1);
    if (command[length] == '\n') break;
    if (++length == COMMAND_BYTES) die("a command is too long");
  }
  command[length] = 0;
  if (strncmp(command, "open ", 5) == 0) open_lines(command + 5);
  else if (strncmp(command, "nap ", 4) == 0) nap_us = atol(command + 4);
  else if (strcmp(command, "totals") == 0) tell_totals();
  else if (strncmp(command, "shape ", 6) == 0) take_shape(command + 6);
  else if (strcmp(command, "begin") == 0) begin();
  else if (strncmp(command, "audit ", 6) == 0) audit(command + 6);
  else if (strcmp(command, "close") == 0) close_lines();
  else answer("failed there is no command %s", command);
}

int main(void) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) die("getrlimit");
  files.rlim_cur = files.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) die("setrlimit");
  if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
  watch(EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN, STDIN_ROW);
  for (;;) {
    if (handle_ready(-1)) take_command();
  }
}
