/* The brokers in one circle: the first of each rack, then the second of each, and so on. Each choice goes once around
 * and takes the best; of equals the first, and the circle is entered at another place each time. No state but the
 * counts. */
#include "controller/metadata/placement.h"

#include <string.h>

#include "controller/metadata/commands_internal.h"
#include "services/base/invariant.h"

typedef struct {
  const MetadataBroker *broker;
  guint rack, place_in_rack;
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

/* The number of the rack, and how many brokers it had before this one. */
static void enter_rack(GHashTable *racks, GArray *counts, Candidate *candidate) {
  gpointer number = g_hash_table_lookup(racks, candidate->broker->rack); /* from 1 */
  if (!number) {
    guint none = 0;
    g_array_append_val(counts, none);
    number = GUINT_TO_POINTER(counts->len);
    g_hash_table_insert(racks, candidate->broker->rack, number);
  }
  candidate->rack = GPOINTER_TO_UINT(number) - 1;
  candidate->place_in_rack = g_array_index(counts, guint, candidate->rack)++;
}

static void count_topic(MetadataPlacement *placement, const MetadataTopic *topic) {
  for (guint i = 0; i < placement->brokers->len; i++) {
    PlacementBroker *broker = &g_array_index(placement->brokers, PlacementBroker, i);
    for (guint j = 0; j < topic->partition_count; j++) {
      const MetadataPartition *partition = topic->partitions[j];
      broker->topic_leaders += partition->replicas[0] == broker->id;
      broker->topic_replicas += metadata_partition_has_replica(partition, broker->id) ? 1 : 0;
    }
  }
}

void metadata_placement_init(MetadataPlacement *placement, const MetadataImage *image, const MetadataTopic *topic) {
  g_autoptr(GArray) candidates = g_array_new(FALSE, FALSE, sizeof(Candidate));
  g_autoptr(GHashTable) racks = g_hash_table_new(g_str_hash, g_str_equal);
  g_autoptr(GArray) rack_counts = g_array_new(FALSE, FALSE, sizeof(guint));
  MetadataIter iter;
  metadata_iter_brokers(&iter, image, G_MININT32);
  for (const MetadataBroker *broker; (broker = metadata_iter_next_broker(&iter));) {
    if (!metadata_broker_takes_replicas(broker)) /* a full disk is no hindrance: a new replica is empty */
      continue;
    Candidate candidate = {.broker = broker};
    enter_rack(racks, rack_counts, &candidate);
    g_array_append_val(candidates, candidate);
  }
  g_array_sort(candidates, compare_candidates);
  placement->brokers = g_array_sized_new(FALSE, FALSE, sizeof(PlacementBroker), candidates->len);
  placement->turn = 0;
  for (guint i = 0; i < candidates->len; i++) {
    const Candidate *candidate = &g_array_index(candidates, Candidate, i);
    PlacementBroker broker = {.id = candidate->broker->id,
                              .rack = candidate->rack,
                              .leader_count = candidate->broker->leader_count,
                              .replica_count = candidate->broker->replica_count};
    g_array_append_val(placement->brokers, broker);
  }
  if (topic)
    count_topic(placement, topic);
}

void metadata_placement_clear(MetadataPlacement *placement) {
  g_clear_pointer(&placement->brokers, g_array_unref);
}

guint metadata_placement_count(const MetadataPlacement *placement) {
  return placement->brokers->len;
}

/* What was chosen for one partition so far. */
typedef struct {
  guint count;
  const PlacementBroker *brokers[METADATA_REPLICATION_FACTOR_MAX];
} Chosen;

static gboolean is_chosen(const Chosen *chosen, const PlacementBroker *broker) {
  for (guint i = 0; i < chosen->count; i++)
    if (chosen->brokers[i] == broker)
      return TRUE;
  return FALSE;
}

static gboolean shares_rack(const Chosen *chosen, const PlacementBroker *broker) {
  for (guint i = 0; i < chosen->count; i++)
    if (chosen->brokers[i]->rack == broker->rack)
      return TRUE;
  return FALSE;
}

static gboolean is_better(const Chosen *chosen, const PlacementBroker *a, const PlacementBroker *b) {
  if (chosen->count == 0) { /* the leader */
    if (a->topic_leaders != b->topic_leaders)
      return a->topic_leaders < b->topic_leaders;
    return a->leader_count < b->leader_count;
  }
  gboolean a_shares = shares_rack(chosen, a), b_shares = shares_rack(chosen, b);
  if (a_shares != b_shares)
    return b_shares;
  if (a->topic_replicas != b->topic_replicas)
    return a->topic_replicas < b->topic_replicas;
  return a->replica_count < b->replica_count;
}

static PlacementBroker *choose_next(MetadataPlacement *placement, const Chosen *chosen) {
  PlacementBroker *best = NULL;
  for (guint i = 0; i < placement->brokers->len; i++) {
    guint place = (placement->turn + i) % placement->brokers->len;
    PlacementBroker *broker = &g_array_index(placement->brokers, PlacementBroker, place);
    if (!is_chosen(chosen, broker) && (!best || is_better(chosen, broker, best)))
      best = broker;
  }
  return best;
}

void metadata_placement_choose(MetadataPlacement *placement, gint32 *ret_replicas, guint replica_count) {
  INVARIANT(replica_count <= placement->brokers->len && replica_count <= METADATA_REPLICATION_FACTOR_MAX,
            "a broker holds at most one replica of a partition");
  Chosen chosen = {0};
  for (guint i = 0; i < replica_count; i++) {
    PlacementBroker *broker = choose_next(placement, &chosen);
    chosen.brokers[chosen.count++] = broker;
    broker->topic_leaders += i == 0;
    broker->leader_count += i == 0;
    broker->topic_replicas++;
    broker->replica_count++;
    ret_replicas[i] = broker->id;
  }
  placement->turn = (placement->turn + 1) % placement->brokers->len;
}

/* ---- Racks of moves ---- */

typedef Milena__V1__PartitionReassignment Wish;

/* Another of the replicas stands in this broker's rack; NULL: none does, or it has none. */
static const MetadataBroker *beside(const MetadataImage *image, const Wish *wish, const MetadataBroker *broker) {
  for (gsize i = 0; i < wish->n_replicas; i++) {
    const MetadataBroker *other = metadata_image_broker(image, wish->replicas[i]);
    if (other && other->id != broker->id && *broker->rack && strcmp(other->rack, broker->rack) == 0)
      return other;
  }
  return NULL;
}

/* A broker that could hold a replica, in a rack without any; NULL: there is none. */
static const MetadataBroker *elsewhere(const MetadataImage *image, const Wish *wish) {
  MetadataIter iter;
  metadata_iter_brokers(&iter, image, G_MININT32);
  for (const MetadataBroker *broker; (broker = metadata_iter_next_broker(&iter));) {
    gboolean held = FALSE;
    for (gsize i = 0; i < wish->n_replicas; i++)
      held = held || wish->replicas[i] == broker->id;
    if (!held && *broker->rack && metadata_broker_standing(broker) == BROKER_READY && !beside(image, wish, broker))
      return broker;
  }
  return NULL;
}

static char *warning_of(const MetadataImage *image, const Wish *wish) {
  for (gsize i = 0; i < wish->n_replicas; i++) {
    const MetadataBroker *broker = metadata_image_broker(image, wish->replicas[i]);
    const MetadataBroker *other = broker ? beside(image, wish, broker) : NULL;
    const MetadataBroker *better = other ? elsewhere(image, wish) : NULL;
    if (better)
      return g_strdup_printf("Partition %d of \"%s\" is to be on the brokers %d and %d, both in rack \"%s\", which may "
                             "be lost as one, though broker %d stands in rack \"%s\".",
                             wish->partition, wish->topic, broker->id, other->id, broker->rack, better->id,
                             better->rack);
  }
  return NULL;
}

GPtrArray *metadata_placement_warnings(const MetadataImage *image,
                                       const Milena__V1__ReassignPartitionsRequest *request) {
  GPtrArray *warnings = g_ptr_array_new_with_free_func(g_free);
  for (gsize i = 0; i < request->n_reassignments && warnings->len < METADATA_WARNINGS_MAX; i++) {
    char *warning = warning_of(image, request->reassignments[i]);
    if (warning)
      g_ptr_array_add(warnings, warning);
  }
  return warnings;
}
