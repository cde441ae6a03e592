/* The map from key to last offset: open addressing, keys by a digest.
 *
 * A key is told by 16 bytes of its SHA-256: two keys of one digest would be one key, and a record would be lost; nobody
 * finds two such. Invariants: at most 7/8 of the slots are taken; a slot of offset -1 is free; slots are never freed
 * one by one, so a probe ends at the first free one. Owner: one thread. */
#include <string.h>

#include "storage/log/compact.h"
#include "storage/log/records.h"

#define DIGEST_BYTES 16
#define SLOTS_MIN 1024
#define FREE (-1)

typedef struct {
  guint8 digest[DIGEST_BYTES];
  gint64 offset;
} Slot;

struct LogKeyMap {
  gsize slots_bound; /* grown on its own account up to this */
  Slot *slots;
  gsize slot_count; /* a power of two */
  guint count;
};

static Slot *slots_new(gsize count) {
  Slot *slots = g_new(Slot, count);
  for (gsize i = 0; i < count; i++)
    slots[i].offset = FREE;
  return slots;
}

LogKeyMap *log_key_map_new(gsize bytes_max) {
  LogKeyMap *map = g_new0(LogKeyMap, 1);
  map->slots_bound = SLOTS_MIN;
  while (map->slots_bound * 2 * sizeof(Slot) <= bytes_max)
    map->slots_bound *= 2;
  map->slot_count = SLOTS_MIN;
  map->slots = slots_new(map->slot_count);
  return map;
}

void log_key_map_free(LogKeyMap *map) {
  if (!map)
    return;
  g_free(map->slots);
  g_free(map);
}

void log_key_map_clear(LogKeyMap *map) {
  g_free(map->slots);
  map->slot_count = SLOTS_MIN;
  map->slots = slots_new(map->slot_count);
  map->count = 0;
}

guint log_key_map_count(const LogKeyMap *map) {
  return map->count;
}

static void digest(gconstpointer key, gsize len, guint8 ret_digest[DIGEST_BYTES]) {
  guint8 whole[32];
  gsize whole_len = sizeof whole;
  GChecksum *checksum = g_checksum_new(G_CHECKSUM_SHA256);
  if (len > 0)
    g_checksum_update(checksum, key, (gssize)len);
  g_checksum_get_digest(checksum, whole, &whole_len);
  g_checksum_free(checksum);
  memcpy(ret_digest, whole, DIGEST_BYTES);
}

/* The slot of a key, or the free one where it belongs. */
static Slot *find_slot(Slot *slots, gsize slot_count, const guint8 digest[DIGEST_BYTES]) {
  guint64 start;
  memcpy(&start, digest, sizeof start);
  for (gsize i = (gsize)start & (slot_count - 1);; i = (i + 1) & (slot_count - 1))
    if (slots[i].offset == FREE || memcmp(slots[i].digest, digest, DIGEST_BYTES) == 0)
      return &slots[i];
}

static gsize slots_for(gsize keys) {
  gsize slots = SLOTS_MIN;
  while (slots / 8 * 7 < keys)
    slots *= 2;
  return slots;
}

static void grow(LogKeyMap *map, gsize slot_count) {
  Slot *slots = slots_new(slot_count);
  for (gsize i = 0; i < map->slot_count; i++)
    if (map->slots[i].offset != FREE)
      *find_slot(slots, slot_count, map->slots[i].digest) = map->slots[i];
  g_free(map->slots);
  map->slots = slots;
  map->slot_count = slot_count;
}

gboolean log_key_map_add(LogKeyMap *map, const LogBatch *batch) {
  gsize slots = slots_for((gsize)map->count + batch->record_count);
  if (slots > map->slots_bound && map->count > 0)
    return FALSE;
  if (slots > map->slot_count)
    grow(map, slots);
  g_autoptr(LogRecordsReader) reader = NULL;
  g_autoptr(Failure) failure = log_records_reader_new(batch, &reader);
  LogRecord record;
  while (!failure && log_records_reader_next(reader, &record, &failure)) {
    if (!record.key.present)
      continue;
    Slot wanted = {.offset = record.offset};
    digest(record.key.data, record.key.len, wanted.digest);
    Slot *slot = find_slot(map->slots, map->slot_count, wanted.digest);
    map->count += slot->offset == FREE;
    *slot = wanted;
  }
  return TRUE;
}

gboolean log_key_map_find(const LogKeyMap *map, gconstpointer key, gsize len, gint64 *ret_offset) {
  if (map->count == 0)
    return FALSE;
  guint8 wanted[DIGEST_BYTES];
  digest(key, len, wanted);
  const Slot *slot = find_slot(map->slots, map->slot_count, wanted);
  if (slot->offset == FREE)
    return FALSE;
  *ret_offset = slot->offset;
  return TRUE;
}
