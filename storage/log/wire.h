/* The protobuf wire format, as far as records need it: varints, tags, skipping. Private to storage/log.
 *
 * Reading functions take [at, end) and give the place behind what they read, or NULL when the bytes are not that. */
#pragma once

#include <glib.h>

typedef enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 } WireType;

/* Tags of fields 1 to 15 take one byte. */
#define WIRE_TAG(field, type) ((guint8)((field) << 3 | (type)))
#define WIRE_VARINT_BYTES_MAX 10

static inline gsize wire_varint_bytes(guint64 n) {
  return 1 + (63 - (gsize)__builtin_clzll(n | 1)) / 7;
}

static inline guint8 *wire_put_varint(guint8 *at, guint64 n) {
  for (; n >= 0x80; n >>= 7)
    *at++ = (guint8)(n | 0x80);
  *at++ = (guint8)n;
  return at;
}

static inline guint64 wire_zigzag(gint64 n) {
  return ((guint64)n << 1) ^ (guint64)(n >> 63);
}

static inline gint64 wire_unzigzag(guint64 n) {
  return (gint64)((n >> 1) ^ (~(n & 1) + 1));
}

static inline const guint8 *wire_get_varint(const guint8 *at, const guint8 *end, guint64 *ret_n) {
  guint64 n = 0;
  for (guint shift = 0; shift < 70 && at < end; shift += 7) {
    guint8 byte = *at++;
    n |= (guint64)(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *ret_n = n;
      return at;
    }
  }
  return NULL;
}

/* A length and as many bytes. */
static inline const guint8 *wire_get_bytes(const guint8 *at, const guint8 *end, const guint8 **ret_data,
                                           gsize *ret_len) {
  guint64 len;
  at = wire_get_varint(at, end, &len);
  if (at == NULL || len > (guint64)(end - at))
    return NULL;
  *ret_data = at;
  *ret_len = (gsize)len;
  return at + len;
}

static inline const guint8 *wire_get_tag(const guint8 *at, const guint8 *end, guint64 *ret_field, guint *ret_type) {
  guint64 tag;
  at = wire_get_varint(at, end, &tag);
  if (at == NULL || tag >> 3 == 0 || tag > G_MAXUINT32)
    return NULL;
  *ret_field = tag >> 3;
  *ret_type = (guint)(tag & 7);
  return at;
}

/* Behind a field that this version does not know. Groups are not of proto3. */
static inline const guint8 *wire_skip(const guint8 *at, const guint8 *end, guint type) {
  guint64 number;
  const guint8 *data;
  gsize len;
  switch (type) {
  case WIRE_VARINT:
    return wire_get_varint(at, end, &number);
  case WIRE_BYTES:
    return wire_get_bytes(at, end, &data, &len);
  case WIRE_FIXED64:
    return end - at >= 8 ? at + 8 : NULL;
  case WIRE_FIXED32:
    return end - at >= 4 ? at + 4 : NULL;
  default:
    return NULL;
  }
}
