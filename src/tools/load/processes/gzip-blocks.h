/*
 * Blocks of gzip that many lines are given: the first line decodes and reads one, and what it has is kept; for the others it is found
 * by comparing the bytes. What a block decodes to depends on nothing but its bytes and the window before it, of which lines that have
 * decoded the same 32 KiB share one. A line whose block or window differs in one bit is not told what others were.
 */
#ifndef GZIP_BLOCKS_H
#define GZIP_BLOCKS_H

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "inflate.h"

enum {
  /* How far back deflate refers at most. */
  WINDOW_BYTES = 32768,
  /* The most that a block may decode to. */
  PLAIN_BYTES_MOST = 4 << 20,
  BUCKETS = 4096,
  /* The blocks and windows that are kept; beyond it all but the windows of lines are forgotten. */
  KEPT_BYTES_MOST = 256 << 20,
  /* When so many blocks have come and more than half had to be inflated, each line has its own: it is given up. */
  BLOCKS_TO_JUDGE = 20000,
  GZIP_HEADER_BYTES = 10,
  SHAPE_BYTES_MOST = 256,
};

/* What a block has. */
typedef struct {
  uint32_t plain_bytes, events, disordered, gaps;
  uint64_t first_id, last_id;
  /* The sum of a hash of each event, so that lines that had the same events have the same. */
  uint64_t sum;
} reading;

typedef struct window window;

typedef struct step {
  struct step *next;
  window *to;
  reading read;
  uint32_t block_bytes;
  uint8_t block[];
} step;

struct window {
  window *next_in_bucket;
  step *steps;
  uint64_t hash;
  /* Lines that are here. */
  uint32_t lines;
  uint32_t byte_count;
  /* Bytes at its end of an event that is not complete. */
  uint32_t carry;
  /* The header of the stream has been read. */
  uint32_t is_begun;
  uint8_t bytes[];
};

/* What an event of the run looks like (encoding.ts): texts before its id, between that and its data, and after it. */
typedef struct {
  int before_bytes, between_bytes, after_bytes, run_bytes, data_bytes, is_sse;
  char before[SHAPE_BYTES_MOST], between[SHAPE_BYTES_MOST], after[SHAPE_BYTES_MOST], run[SHAPE_BYTES_MOST];
} event_shape;

enum { STEP_DAMAGED = 1, STEP_UNREAD = 2 };

static window *buckets[BUCKETS];
static uint64_t kept_bytes, blocks_seen, blocks_inflated, judged_seen, judged_inflated;
static event_shape shape;
static uint8_t plain[WINDOW_BYTES + PLAIN_BYTES_MOST];

static uint64_t hash_of(const uint8_t *bytes, size_t count) {
  uint64_t hash = 0x9e3779b97f4a7c15u ^ count;
  for (; count >= 8; bytes += 8, count -= 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    hash = (hash ^ word) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
  }
  for (; count > 0; bytes++, count--) hash = (hash ^ *bytes) * 0xc4ceb9fe1a85ec53u;
  return hash ^ hash >> 29;
}

static window *window_of(const uint8_t *bytes, uint32_t byte_count, uint32_t carry, uint32_t is_begun) {
  uint64_t hash = hash_of(bytes, byte_count) + carry;
  window **bucket = &buckets[hash % BUCKETS];
  for (window *w = *bucket; w != NULL; w = w->next_in_bucket)
    if (w->hash == hash && w->byte_count == byte_count && w->carry == carry && w->is_begun == is_begun &&
        memcmp(w->bytes, bytes, byte_count) == 0)
      return w;
  window *w = malloc(sizeof *w + byte_count);
  if (w == NULL) {
    perror("malloc");
    exit(1);
  }
  *w = (window){.next_in_bucket = *bucket, .hash = hash, .byte_count = byte_count, .carry = carry, .is_begun = is_begun};
  memcpy(w->bytes, bytes, byte_count);
  kept_bytes += sizeof *w + byte_count;
  return *bucket = w;
}

/* Where every line begins. */
static window *first_window(void) { return window_of(plain, 0, 0, 0); }

/* Forgets all blocks, and the windows at which no line is. */
static void forget_blocks(void) {
  for (int nth = 0; nth < BUCKETS; nth++) {
    for (window **at = &buckets[nth]; *at != NULL;) {
      window *w = *at;
      while (w->steps != NULL) {
        step *s = w->steps;
        w->steps = s->next;
        kept_bytes -= sizeof *s + s->block_bytes;
        free(s);
      }
      if (w->lines > 0) at = &w->next_in_bucket;
      else {
        *at = w->next_in_bucket;
        kept_bytes -= sizeof *w + w->byte_count;
        free(w);
      }
    }
  }
}

static int starts_with(const uint8_t *at, const uint8_t *end, const char *text, int count) {
  return end - at >= count && memcmp(at, text, (size_t)count) == 0;
}

static int are_digits(const uint8_t *at, int count) {
  for (int nth = 0; nth < count; nth++)
    if (at[nth] < '0' || at[nth] > '9') return 0;
  return 1;
}

/* Where the event of the run that begins here ends; NULL for anything else. Offsets in the data are those of event.ts. */
static const uint8_t *read_event(const uint8_t *at, const uint8_t *end, reading *r) {
  enum { SEQUENCE_AT = 9, SEQUENCE_DIGITS = 10, DUE_AT = 20, DUE_DIGITS = 16, STAMP_BYTES = 37 };
  const uint8_t *from = at;
  if (shape.run_bytes == 0 || !starts_with(at, end, shape.before, shape.before_bytes)) return NULL;
  at += shape.before_bytes;
  uint64_t id = 0;
  int digits = 0;
  for (; at < end && *at >= '0' && *at <= '9' && digits < 16; at++, digits++) id = id * 10 + (uint64_t)(*at - '0');
  if (digits == 0 || id == 0 || !starts_with(at, end, shape.between, shape.between_bytes)) return NULL;
  const uint8_t *data = at + shape.between_bytes;
  if (end - data < shape.data_bytes + shape.after_bytes || shape.data_bytes < STAMP_BYTES) return NULL;
  at = data + shape.data_bytes;
  if (memcmp(data, shape.run, (size_t)shape.run_bytes) != 0 || !are_digits(data + SEQUENCE_AT, SEQUENCE_DIGITS) ||
      !are_digits(data + DUE_AT, DUE_DIGITS) || memcmp(at, shape.after, (size_t)shape.after_bytes) != 0)
    return NULL;
  if (r->events > 0 && id <= r->last_id) r->disordered++;
  if (r->events++ == 0) r->first_id = id;
  r->last_id = id;
  r->sum += hash_of(from, (size_t)(at - from));
  return at + shape.after_bytes;
}

/* Where the block or row that begins here ends; NULL when it is not all there. */
static const uint8_t *end_of_other(const uint8_t *at, const uint8_t *end) {
  for (;;) {
    const uint8_t *feed = memchr(at, '\n', (size_t)(end - at));
    if (feed == NULL) return NULL;
    if (!shape.is_sse || feed == at) return feed + 1;
    at = feed + 1;
  }
}

/* What is no event of the run may be one of another run, a position, a gap notice, a heartbeat; 0 when it is nothing a server sends. */
static int read_other(const uint8_t *at, const uint8_t *end, reading *r) {
  static const char *const FIELDS[] = {"id:", "event:", "data:", "retry:", ":"};
  if (shape.run_bytes > 0 && memmem(at, (size_t)(end - at), shape.run, (size_t)shape.run_bytes) != NULL) return 0;
  if (!shape.is_sse) {
    if (starts_with(at, end, "{\"gap\":", 7)) r->gaps++;
    return *at == '\n' || (*at == '{' && end[-2] == '}');
  }
  while (at < end) {
    const uint8_t *feed = memchr(at, '\n', (size_t)(end - at));
    int is_field = feed == at;
    for (size_t nth = 0; nth < sizeof FIELDS / sizeof *FIELDS && !is_field; nth++)
      is_field = starts_with(at, end, FIELDS[nth], (int)strlen(FIELDS[nth]));
    if (!is_field) return 0;
    if (starts_with(at, end, "event: gap\n", 11)) r->gaps++;
    at = feed + 1;
  }
  return 1;
}

/* Reads what has been decoded; -1 when it is damaged, else the bytes at its end of an event that is not complete. */
static long read_plain(const uint8_t *at, const uint8_t *end, reading *r) {
  while (at < end) {
    const uint8_t *next = read_event(at, end, r);
    if (next == NULL) {
      next = end_of_other(at, end);
      if (next == NULL) return end - at;
      if (!read_other(at, next, r)) return -1;
    }
    at = next;
  }
  return 0;
}

/* Decodes and reads a block after a window; NULL with `*why` when that cannot be done. */
static step *make_step(window *from, const uint8_t *block, uint32_t block_bytes, int *why) {
  const uint8_t *part = block;
  size_t part_bytes = block_bytes;
  if (!from->is_begun) {
    /* Flags would mean more of a header, which no server of streams sends. */
    if (part_bytes < GZIP_HEADER_BYTES || part[3] != 0) return *why = STEP_UNREAD, NULL;
    if (part[0] != 0x1f || part[1] != 0x8b || part[2] != 8) return *why = STEP_DAMAGED, NULL;
    part += GZIP_HEADER_BYTES;
    part_bytes -= GZIP_HEADER_BYTES;
  }
  memcpy(plain, from->bytes, from->byte_count);
  long count = inflate_part(part, part_bytes, plain, from->byte_count, sizeof plain);
  if (count < 0) return *why = count == INFLATE_DAMAGED ? STEP_DAMAGED : STEP_UNREAD, NULL;
  size_t end = from->byte_count + (size_t)count;
  reading r = {.plain_bytes = (uint32_t)count};
  long carry = read_plain(plain + from->byte_count - from->carry, plain + end, &r);
  if (carry < 0) return *why = STEP_DAMAGED, NULL;
  if (carry > WINDOW_BYTES) return *why = STEP_UNREAD, NULL;
  step *made = malloc(sizeof *made + block_bytes);
  if (made == NULL) {
    perror("malloc");
    exit(1);
  }
  size_t kept = end < WINDOW_BYTES ? end : WINDOW_BYTES;
  window *to = window_of(plain + end - kept, (uint32_t)kept, (uint32_t)carry, 1);
  *made = (step){.next = from->steps, .to = to, .read = r, .block_bytes = block_bytes};
  memcpy(made->block, block, block_bytes);
  kept_bytes += sizeof *made + block_bytes;
  return from->steps = made;
}

/* What a block is that follows a window; NULL with `*why` when it cannot be read. Valid until the next call. */
static const step *find_step(window *from, const uint8_t *block, uint32_t block_bytes, int *why) {
  blocks_seen++;
  judged_seen++;
  for (step **at = &from->steps; *at != NULL; at = &(*at)->next) {
    step *s = *at;
    if (s->block_bytes != block_bytes || memcmp(s->block, block, block_bytes) != 0) continue;
    /* The next line most likely asks for the same. */
    *at = s->next;
    s->next = from->steps;
    return from->steps = s;
  }
  blocks_inflated++;
  judged_inflated++;
  if (judged_seen >= BLOCKS_TO_JUDGE) {
    if (judged_inflated > judged_seen / 2) return *why = STEP_UNREAD, NULL;
    judged_seen = judged_inflated = 0;
  }
  if (kept_bytes > KEPT_BYTES_MOST) {
    from->lines++;
    forget_blocks();
    from->lines--;
  }
  return make_step(from, block, block_bytes, why);
}

#endif
