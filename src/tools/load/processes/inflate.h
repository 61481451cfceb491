/*
 * Decodes raw deflate (RFC 1951), for the byte counter: short and not fast, since it decodes a block once for all lines. It is not
 * zlib, which a machine with a compiler may lack, and with which the checked lines are decoded.
 */
#ifndef INFLATE_H
#define INFLATE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What inflate_part says of a part of a stream, where it does not return how many bytes it decodes to. */
enum {
  /* It is not deflate, or refers to what is not there. */
  INFLATE_DAMAGED = -1,
  /* It ends within a block, or within a byte: what follows cannot be decoded by itself. */
  INFLATE_OPEN = -2,
  /* The stream has ended. */
  INFLATE_OVER = -3,
  INFLATE_TOO_LONG = -4,
};

enum { INFLATE_CODE_BITS_MOST = 15, INFLATE_LITERALS = 288, INFLATE_DISTANCES = 30 };

typedef struct {
  uint16_t count[INFLATE_CODE_BITS_MOST + 1];
  uint16_t symbol[INFLATE_LITERALS];
} inflate_code;

typedef struct {
  const uint8_t *in;
  size_t in_bytes, in_at;
  uint8_t *out;
  size_t out_at, out_most;
  uint32_t bits;
  int bit_count;
  /* One of the above, once something is wrong. */
  int fault;
} inflate_state;

static int inflate_bits(inflate_state *s, int count) {
  while (s->bit_count < count) {
    if (s->in_at == s->in_bytes) {
      if (s->fault == 0) s->fault = INFLATE_OPEN;
      return 0;
    }
    s->bits |= (uint32_t)s->in[s->in_at++] << s->bit_count;
    s->bit_count += 8;
  }
  int value = (int)(s->bits & ((1u << count) - 1));
  s->bits >>= count;
  s->bit_count -= count;
  return value;
}

/* Canonical codes, shortest first (RFC 1951, 3.2.2). */
static int inflate_symbol(inflate_state *s, const inflate_code *code) {
  int value = 0, first = 0, index = 0;
  for (int length = 1; length <= INFLATE_CODE_BITS_MOST; length++) {
    value |= inflate_bits(s, 1);
    if (s->fault != 0) return 0;
    int count = code->count[length];
    if (value - count < first) return code->symbol[index + value - first];
    index += count;
    first = (first + count) << 1;
    value <<= 1;
  }
  s->fault = INFLATE_DAMAGED;
  return 0;
}

/* How many codes are left over; negative when there are too many. */
static int inflate_build(inflate_code *code, const uint8_t *lengths, int count) {
  memset(code->count, 0, sizeof code->count);
  for (int symbol = 0; symbol < count; symbol++) code->count[lengths[symbol]]++;
  int left = 1;
  for (int length = 1; length <= INFLATE_CODE_BITS_MOST; length++) {
    left = (left << 1) - code->count[length];
    if (left < 0) return left;
  }
  uint16_t offset[INFLATE_CODE_BITS_MOST + 1];
  offset[1] = 0;
  for (int length = 1; length < INFLATE_CODE_BITS_MOST; length++)
    offset[length + 1] = (uint16_t)(offset[length] + code->count[length]);
  for (int symbol = 0; symbol < count; symbol++)
    if (lengths[symbol] != 0) code->symbol[offset[lengths[symbol]]++] = (uint16_t)symbol;
  code->count[0] = 0;
  return left;
}

static int inflate_used(const inflate_code *code) {
  int used = 0;
  for (int length = 1; length <= INFLATE_CODE_BITS_MOST; length++) used += code->count[length];
  return used;
}

static void inflate_coded(inflate_state *s, const inflate_code *literals, const inflate_code *distances) {
  static const uint16_t length_base[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                         31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
  static const uint8_t length_extra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
  static const uint16_t distance_base[] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
                                           193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
  static const uint8_t distance_extra[] = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                           6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
  for (;;) {
    int symbol = inflate_symbol(s, literals);
    if (s->fault != 0 || symbol == 256) return;
    if (symbol < 256) {
      if (s->out_at == s->out_most) s->fault = INFLATE_TOO_LONG;
      else s->out[s->out_at++] = (uint8_t)symbol;
      continue;
    }
    symbol -= 257;
    if (symbol >= 29) s->fault = INFLATE_DAMAGED;
    if (s->fault != 0) return;
    size_t length = (size_t)(length_base[symbol] + inflate_bits(s, length_extra[symbol]));
    int distance_symbol = inflate_symbol(s, distances);
    if (s->fault == 0 && distance_symbol >= INFLATE_DISTANCES) s->fault = INFLATE_DAMAGED;
    if (s->fault != 0) return;
    size_t distance = (size_t)(distance_base[distance_symbol] + inflate_bits(s, distance_extra[distance_symbol]));
    if (s->fault != 0) return;
    if (distance > s->out_at) s->fault = INFLATE_DAMAGED;
    else if (length > s->out_most - s->out_at) s->fault = INFLATE_TOO_LONG;
    if (s->fault != 0) return;
    for (; length > 0; length--, s->out_at++) s->out[s->out_at] = s->out[s->out_at - distance];
  }
}

static void inflate_stored(inflate_state *s) {
  s->bits = 0;
  s->bit_count = 0;
  if (s->in_bytes - s->in_at < 4) {
    s->fault = INFLATE_OPEN;
    return;
  }
  const uint8_t *head = s->in + s->in_at;
  size_t length = (size_t)(head[0] | head[1] << 8);
  if ((head[2] | head[3] << 8) != (int)(~length & 0xffff)) s->fault = INFLATE_DAMAGED;
  else if (s->in_bytes - s->in_at - 4 < length) s->fault = INFLATE_OPEN;
  else if (s->out_most - s->out_at < length) s->fault = INFLATE_TOO_LONG;
  if (s->fault != 0) return;
  memcpy(s->out + s->out_at, head + 4, length);
  s->in_at += 4 + length;
  s->out_at += length;
}

static void inflate_fixed(inflate_state *s) {
  static inflate_code literals, distances;
  static int is_built;
  if (!is_built) {
    uint8_t lengths[INFLATE_LITERALS];
    for (int symbol = 0; symbol < INFLATE_LITERALS; symbol++)
      lengths[symbol] = symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
    inflate_build(&literals, lengths, INFLATE_LITERALS);
    memset(lengths, 5, INFLATE_DISTANCES);
    inflate_build(&distances, lengths, INFLATE_DISTANCES);
    is_built = 1;
  }
  inflate_coded(s, &literals, &distances);
}

static void inflate_dynamic(inflate_state *s) {
  static const uint8_t order[] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  static inflate_code literals, distances;
  uint8_t lengths[INFLATE_LITERALS + 32] = {0};
  int literal_count = inflate_bits(s, 5) + 257;
  int distance_count = inflate_bits(s, 5) + 1;
  int length_count = inflate_bits(s, 4) + 4;
  for (int nth = 0; nth < length_count; nth++) lengths[order[nth]] = (uint8_t)inflate_bits(s, 3);
  if (s->fault != 0) return;
  if (literal_count > 286 || distance_count > INFLATE_DISTANCES || inflate_build(&literals, lengths, 19) != 0) {
    s->fault = INFLATE_DAMAGED;
    return;
  }
  memset(lengths, 0, sizeof lengths);
  for (int at = 0; at < literal_count + distance_count;) {
    int symbol = inflate_symbol(s, &literals);
    if (s->fault != 0) return;
    if (symbol < 16) {
      lengths[at++] = (uint8_t)symbol;
      continue;
    }
    if (symbol == 16 && at == 0) s->fault = INFLATE_DAMAGED;
    int repeats = symbol == 16 ? 3 + inflate_bits(s, 2) : symbol == 17 ? 3 + inflate_bits(s, 3) : 11 + inflate_bits(s, 7);
    if (s->fault == 0 && at + repeats > literal_count + distance_count) s->fault = INFLATE_DAMAGED;
    if (s->fault != 0) return;
    uint8_t repeated = symbol == 16 ? lengths[at - 1] : 0;
    for (; repeats > 0; repeats--) lengths[at++] = repeated;
  }
  /* Only a code of one symbol may be incomplete (RFC 1951, 3.2.7). */
  int left = inflate_build(&literals, lengths, literal_count);
  int is_fine = lengths[256] != 0 && (left == 0 || (left > 0 && inflate_used(&literals) == 1));
  left = inflate_build(&distances, lengths + literal_count, distance_count);
  if (!is_fine || left < 0 || (left > 0 && inflate_used(&distances) > 1)) s->fault = INFLATE_DAMAGED;
  else inflate_coded(s, &literals, &distances);
}

/*
 * Decodes a part that begins with a block and ends where one does, at a byte. `out` begins with the `window_bytes` that were decoded
 * before it; what it decodes to follows. Returns how many bytes that is, at most out_most - window_bytes, or what is the matter.
 */
static long inflate_part(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t window_bytes, size_t out_most) {
  inflate_state s = {.in = in, .in_bytes = in_bytes, .out = out, .out_at = window_bytes, .out_most = out_most};
  while (s.fault == 0 && (s.in_at < in_bytes || s.bit_count > 0)) {
    int is_last = inflate_bits(&s, 1);
    int kind = inflate_bits(&s, 2);
    if (s.fault != 0) break;
    if (kind == 0) inflate_stored(&s);
    else if (kind == 1) inflate_fixed(&s);
    else if (kind == 2) inflate_dynamic(&s);
    else s.fault = INFLATE_DAMAGED;
    if (s.fault == 0 && is_last) s.fault = INFLATE_OVER;
  }
  return s.fault != 0 ? s.fault : (long)(s.out_at - window_bytes);
}

#endif
