#include "client/cli/move_plan.h"

#include <string.h>

#include "client/cli/text.h"

#define ID_AT(ids, i) g_array_index((ids), gint32, (i))

/* A broker, and what it holds with what was planned. */
typedef struct {
  const MilenaBroker *broker;
  guint replicas;
} Load;

static void move_clear(gpointer data) {
  g_array_unref(((PlannedMove *)data)->replicas);
}

MovePlan *move_plan_new(void) {
  MovePlan *plan = g_array_new(FALSE, FALSE, sizeof(PlannedMove));
  g_array_set_clear_func(plan, move_clear);
  return plan;
}

void move_plan_free(MovePlan *plan) {
  if (plan)
    g_array_unref(plan);
}

static gboolean has_id(const GArray *ids, gint32 id) {
  for (guint i = 0; i < ids->len; i++)
    if (ID_AT(ids, i) == id)
      return TRUE;
  return FALSE;
}

/* ---- Words ---- */

static Failure *parse_ids(const char *text, GArray *ids) {
  g_auto(GStrv) parts = g_strsplit(text, ",", -1);
  Failure *failure = NULL;
  for (char **part = parts; *part && !failure; part++) {
    gint64 id = 0;
    failure = text_number("a broker's id", *part, 0, G_MAXINT32, &id);
    gint32 short_id = (gint32)id;
    if (!failure && has_id(ids, short_id))
      failure = failure_new(FAILURE(INVALID_FIELD), "broker %d stands twice in '%s'.", short_id, text);
    if (!failure)
      g_array_append_val(ids, short_id);
  }
  return failure;
}

Failure *move_plan_add_words(MovePlan *plan, const char *words) {
  const char *sign = strchr(words, '=');
  if (!sign || !sign[1])
    return failure_new(FAILURE(INVALID_FIELD),
                       "'%s' is no move: write a partition and the brokers that shall hold it, the preferred leader "
                       "first, such as 0=1,2,3.",
                       words);
  g_autofree char *number = g_strndup(words, (gsize)(sign - words));
  gint64 partition = 0;
  Failure *failure = text_number("the partition", number, 0, G_MAXINT32, &partition);
  for (guint i = 0; i < plan->len && !failure; i++)
    if (g_array_index(plan, PlannedMove, i).partition == partition)
      failure = failure_new(FAILURE(INVALID_FIELD), "partition %s stands there twice.", number);
  g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(gint32));
  if (!failure)
    failure = parse_ids(sign + 1, ids);
  if (failure)
    return failure;
  PlannedMove move = {(gint32)partition, g_steal_pointer(&ids)};
  g_array_append_val(plan, move);
  return NULL;
}

/* ---- Plans ---- */

static Load *find_load(GArray *loads, gint32 id) {
  for (guint i = 0; i < loads->len; i++) {
    Load *load = &g_array_index(loads, Load, i);
    if (load->broker->id == id)
      return load;
  }
  return NULL;
}

static guint count_in_rack(GArray *loads, const GArray *ids, const char *rack) {
  guint count = 0;
  for (guint i = 0; i < ids->len; i++) {
    const Load *load = find_load(loads, ID_AT(ids, i));
    count += load && *rack && !strcmp(load->broker->rack, rack);
  }
  return count;
}

/* The place of the replica that is the least needed; never the first while another may go. */
static guint place_to_leave(GArray *loads, const GArray *ids) {
  guint place = ids->len - 1, worst = 0;
  for (guint i = ids->len; i-- > 0;) {
    const Load *load = find_load(loads, ID_AT(ids, i));
    gboolean gone = !load || load->broker->fenced;
    guint badness = gone ? 1000 : i == 0 ? 0 : 1 + count_in_rack(loads, ids, load->broker->rack);
    if (badness > worst) {
      worst = badness;
      place = i;
    }
  }
  return place;
}

static gboolean takes_replicas(const MilenaBroker *broker, const MoveWish *wish) {
  return !broker->fenced && !broker->drained && !broker->stopping && !broker->disk_low && broker->id != wish->away_from;
}

/* Returns NULL when there is none. */
static Load *best_to_add(GArray *loads, const GArray *ids, const MoveWish *wish) {
  Load *best = NULL;
  guint best_rack = 0;
  for (guint i = 0; i < loads->len; i++) {
    Load *load = &g_array_index(loads, Load, i);
    if (!takes_replicas(load->broker, wish) || has_id(ids, load->broker->id))
      continue;
    guint rack = count_in_rack(loads, ids, load->broker->rack);
    if (best && (rack > best_rack || (rack == best_rack && load->replicas >= best->replicas)))
      continue;
    best = load;
    best_rack = rack;
  }
  return best;
}

/* Change @ids to what is wished. Returns FALSE when there are too few brokers. */
static gboolean fulfil(GArray *loads, GArray *ids, const MoveWish *wish) {
  guint wanted = wish->replication_factor ? wish->replication_factor : ids->len;
  guint place = ids->len; /* where a new one goes: the one that it stands for keeps its place */
  for (guint i = 0; i < ids->len; i++)
    if (ID_AT(ids, i) == wish->away_from)
      place = i;
  if (place < ids->len)
    g_array_remove_index(ids, place);
  while (ids->len > wanted)
    g_array_remove_index(ids, place_to_leave(loads, ids));
  for (; ids->len < wanted; place = ids->len) {
    Load *load = best_to_add(loads, ids, wish);
    if (!load)
      return FALSE;
    g_array_insert_val(ids, MIN(place, ids->len), load->broker->id);
    load->replicas++;
  }
  return TRUE;
}

/* Where the partition is, or is going to. */
static GArray *ids_of(const MilenaPartition *partition) {
  gboolean moving = partition->target_replica_count > 0;
  GArray *ids = g_array_new(FALSE, FALSE, sizeof(gint32));
  g_array_append_vals(ids, moving ? partition->target_replicas : partition->replicas,
                      (guint)(moving ? partition->target_replica_count : partition->replica_count));
  return ids;
}

static gboolean same_ids(const GArray *a, const GArray *b) {
  return a->len == b->len && memcmp(a->data, b->data, a->len * sizeof(gint32)) == 0;
}

Failure *move_plan_make(const MilenaTopic *topic, const MilenaBrokerList *brokers, const MoveWish *wish,
                        MovePlan *plan) {
  g_autoptr(GArray) loads = g_array_new(FALSE, FALSE, sizeof(Load));
  for (gsize i = 0; i < brokers->count; i++) {
    Load load = {&brokers->brokers[i], brokers->brokers[i].replica_count};
    g_array_append_val(loads, load);
  }
  for (gsize i = 0; i < topic->partition_count; i++) {
    g_autoptr(GArray) before = ids_of(&topic->partitions[i]), ids = ids_of(&topic->partitions[i]);
    if (!fulfil(loads, ids, wish))
      return failure_new(FAILURE(NOT_ENOUGH_BROKERS),
                         "partition %d of '%s' needs one more broker that is up, not drained, and has no replica of it "
                         "yet.",
                         topic->partitions[i].partition, topic->name);
    if (same_ids(before, ids))
      continue;
    PlannedMove move = {topic->partitions[i].partition, g_steal_pointer(&ids)};
    g_array_append_val(plan, move);
  }
  return NULL;
}

/* ---- Racks ---- */

static const MilenaBroker *find_broker(const MilenaBrokerList *brokers, gint32 id) {
  for (gsize i = 0; i < brokers->count; i++)
    if (brokers->brokers[i].id == id)
      return &brokers->brokers[i];
  return NULL;
}

/* One of @ids, other than @but, that stands in the rack; NULL: none does. */
static const MilenaBroker *held_in_rack(const GArray *ids, const MilenaBrokerList *brokers, const char *rack,
                                        gint32 but) {
  for (guint i = 0; i < ids->len; i++) {
    const MilenaBroker *broker = find_broker(brokers, ID_AT(ids, i));
    if (broker && broker->id != but && *rack && strcmp(broker->rack, rack) == 0)
      return broker;
  }
  return NULL;
}

/* A broker that could hold a replica, in a rack without any. */
static const MilenaBroker *free_rack(const GArray *ids, const MilenaBrokerList *brokers) {
  static const MoveWish ANY = {.away_from = -1};
  for (gsize i = 0; i < brokers->count; i++) {
    const MilenaBroker *broker = &brokers->brokers[i];
    if (*broker->rack && takes_replicas(broker, &ANY) && !held_in_rack(ids, brokers, broker->rack, -1))
      return broker;
  }
  return NULL;
}

Failure *move_plan_check_racks(const MovePlan *plan, const MilenaBrokerList *brokers) {
  for (guint i = 0; i < plan->len; i++) {
    const PlannedMove *move = &g_array_index(plan, PlannedMove, i);
    const MilenaBroker *better = free_rack(move->replicas, brokers);
    for (guint j = 0; better && j < move->replicas->len; j++) {
      const MilenaBroker *broker = find_broker(brokers, ID_AT(move->replicas, j));
      const MilenaBroker *other = broker ? held_in_rack(move->replicas, brokers, broker->rack, broker->id) : NULL;
      if (other)
        return failure_new(
            FAILURE(INVALID_FIELD),
            "partition %d would be on the brokers %d and %d, both in rack '%s', which may be lost as one, "
            "though broker %d stands in rack '%s': choose another, or say --ignore-racks.",
            move->partition, broker->id, other->id, broker->rack, better->id, better->rack);
    }
  }
  return NULL;
}
