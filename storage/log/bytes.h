/* Big-endian numbers in byte buffers. Private to storage/log. */
#pragma once

#include <glib.h>
#include <string.h>

static inline guint8 *log_put_u16(guint8 *at, guint16 n) {
  n = GUINT16_TO_BE(n);
  memcpy(at, &n, sizeof n);
  return at + sizeof n;
}

static inline guint8 *log_put_u32(guint8 *at, guint32 n) {
  n = GUINT32_TO_BE(n);
  memcpy(at, &n, sizeof n);
  return at + sizeof n;
}

static inline guint8 *log_put_u64(guint8 *at, guint64 n) {
  n = GUINT64_TO_BE(n);
  memcpy(at, &n, sizeof n);
  return at + sizeof n;
}

static inline guint16 log_get_u16(const guint8 *at) {
  guint16 n;
  memcpy(&n, at, sizeof n);
  return GUINT16_FROM_BE(n);
}

static inline guint32 log_get_u32(const guint8 *at) {
  guint32 n;
  memcpy(&n, at, sizeof n);
  return GUINT32_FROM_BE(n);
}

static inline guint64 log_get_u64(const guint8 *at) {
  guint64 n;
  memcpy(&n, at, sizeof n);
  return GUINT64_FROM_BE(n);
}
