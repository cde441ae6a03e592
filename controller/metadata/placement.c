/* Round-robin over racks and brokers. No state.
 *
 * The brokers are put in one circle: the first of each rack, then the second of each, and so on. Successive partitions
 * begin at successive places of the circle, and a partition's replicas are successive places, so they stand in
 * different racks as far as there are racks. */
#include "controller/metadata/placement.h"

#include <string.h>

#include "services/base/invariant.h"

typedef struct {
  const MetadataBroker *broker;
  guint place_in_rack;
} Candidate;

/* By place in the rack, then rack, then id. */
static gint compare_candidates(gconstpointer a, gconstpointer b) {
  const Candidate *x = a, *y = b;
  if (x->place_in_rack != y->place_in_rack)
    return x->place_in_rack < y->place_in_rack ? -1 : 1;
  int order = strcmp(x->broker->rack, y->broker->rack);
  if (order != 0)
    return order;
  return x->broker->id < y->broker->id ? -1 : x->broker->id > y->broker->id;
}

void metadata_placement_init(MetadataPlacement *placement, const MetadataImage *image) {
  g_autoptr(GArray) candidates = g_array_new(FALSE, FALSE, sizeof(Candidate));
  g_autoptr(GHashTable) racks = g_hash_table_new(g_str_hash, g_str_equal);
  MetadataIter iter;
  metadata_iter_brokers(&iter, image, G_MININT32);
  for (const MetadataBroker *broker; (broker = metadata_iter_next_broker(&iter));) {
    if (broker->fenced)
      continue;
    guint place = GPOINTER_TO_UINT(g_hash_table_lookup(racks, broker->rack));
    g_hash_table_insert(racks, broker->rack, GUINT_TO_POINTER(place + 1));
    Candidate candidate = {broker, place};
    g_array_append_val(candidates, candidate);
  }
  g_array_sort(candidates, compare_candidates);
  placement->count = candidates->len;
  placement->ids = g_new(gint32, MAX(candidates->len, 1));
  for (guint i = 0; i < candidates->len; i++)
    placement->ids[i] = g_array_index(candidates, Candidate, i).broker->id;
}

void metadata_placement_clear(MetadataPlacement *placement) {
  g_clear_pointer(&placement->ids, g_free);
}

void metadata_placement_choose(const MetadataPlacement *placement, guint64 turn, gint32 *ret_replicas,
                               guint replica_count) {
  INVARIANT(replica_count <= placement->count, "a broker holds at most one replica of a partition");
  for (guint i = 0; i < replica_count; i++)
    ret_replicas[i] = placement->ids[(turn + i) % placement->count];
}
