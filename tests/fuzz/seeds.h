/* Seeds: one well-formed input of each kind, from which libFuzzer sets out. */
#pragma once

#include <glib.h>
#include <protobuf-c/protobuf-c.h>

/* An input that is being put together, in the form that fuzz.h takes apart. */
typedef GByteArray Seed;

static inline Seed *seed_new(void) {
  return g_byte_array_new();
}

static inline void seed_number(Seed *seed, guint64 number, guint bytes) {
  for (guint i = 0; i < bytes; i++)
    g_byte_array_append(seed, &(guint8){(guint8)(number >> (8 * i))}, 1);
}

static inline void seed_bytes(Seed *seed, gconstpointer data, gsize len) {
  g_byte_array_append(seed, data, (guint)len);
}

static inline void seed_gbytes(Seed *seed, GBytes *bytes) {
  seed_bytes(seed, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
}

static inline void seed_chunk(Seed *seed, gconstpointer data, gsize len) {
  seed_number(seed, len, 2);
  seed_bytes(seed, data, len);
}

/* Write corpus/TARGET/NAME; frees the seed. */
void seed_write(const char *target, const char *name, Seed *seed);
/* The message's bytes, behind their length with @chunk. */
void seed_message(Seed *seed, const ProtobufCMessage *message, gboolean chunk);

/* The parts; each writes the seeds of some targets. */
void seeds_messages(void);
void seeds_words(void);
void seeds_groups(void);
