/* MurmurHash2, 32 bit, of bytes read little endian, with the seed and the folding that Kafka's clients agree on.
 * Stateless: the published algorithm (Austin Appleby, public domain), tested with Kafka's own vectors. */
#include "storage/log/partitioner.h"

#include <string.h>

#include "services/base/invariant.h"

#define MURMUR_SEED 0x9747b28cu
#define MURMUR_MULTIPLIER 0x5bd1e995u
#define MURMUR_SHIFT 24

gint32 log_partitioner_murmur2(gconstpointer data, gsize len) {
  const guint8 *at = data;
  guint32 hash = MURMUR_SEED ^ (guint32)len;
  for (; len >= 4; at += 4, len -= 4) {
    guint32 word;
    memcpy(&word, at, sizeof word);
    word = GUINT32_FROM_LE(word) * MURMUR_MULTIPLIER;
    word ^= word >> MURMUR_SHIFT;
    hash = (hash * MURMUR_MULTIPLIER) ^ (word * MURMUR_MULTIPLIER);
  }
  guint32 rest = 0;
  for (gsize i = 0; i < len; i++)
    rest |= (guint32)at[i] << (8 * i);
  if (len > 0)
    hash = (hash ^ rest) * MURMUR_MULTIPLIER;
  hash ^= hash >> 13;
  hash *= MURMUR_MULTIPLIER;
  hash ^= hash >> 15;
  return (gint32)hash;
}

guint32 log_partitioner_for_key(gconstpointer key, gsize len, guint32 partition_count) {
  INVARIANT(partition_count > 0, "a topic has at least one partition");
  /* Kafka drops the sign bit; an absolute value would differ. */
  return ((guint32)log_partitioner_murmur2(key, len) & 0x7fffffffu) % partition_count;
}
