/* A stream's membership: see member.h for the states.
 *
 * Invariants
 *   1. At most one change is not acknowledged; `told_us` is when it was sent.
 *   2. Partitions in `by_key` are not GONE, and have keys of their own; all are in `partitions`.
 *   3. What the member says it owns is OWNED and LOST: it gives up nothing before the client has.
 *   4. A partition that was lost and comes back is taken from an assignment that was asked for after the client had
 *      acknowledged the loss: so its start is what was committed last.
 *   5. Fenced: the epoch is 0, nothing is WANTED or assigned, and no heartbeat is wanted until all that was owned was
 *      told and acknowledged; then the member joins anew, with its id.
 * Failure modes: a coordinator that does not answer changes nothing here, and is asked again; a member that the
 * coordinator does not know any more is fenced; every other refusal ends the stream.
 * Thread: the owner's. */
#include "services/broker/read/member_internal.h"

#include <string.h>

#include "services/base/invariant.h"

/* As long as a coordinator does not say. */
#define INTERVAL_DEFAULT_MS 3000

/* ---- life ---- */

static void partition_free(gpointer data) {
  MemberPartition *partition = data;
  g_free(partition->topic);
  g_free(partition->topic_id);
  g_free(partition);
}

static char *key_new(const char *topic_id, gint32 partition) {
  return g_strdup_printf("%s/%d", topic_id, partition);
}

const Milena__V1__SubscribeMembership *member_wishes(const Member *member) {
  return member->init->membership;
}

Member *member_new(const Milena__V1__SubscribeInit *init, const char *id, const char *rack) {
  Member *member = g_new0(Member, 1);
  member->init = init;
  member->id = g_strdup(*init->membership->member_id != '\0' ? init->membership->member_id : id);
  member->rack = g_strdup(*init->membership->rack != '\0' ? init->membership->rack : rack);
  member->offset_reset = init->membership->offset_reset;
  member->interval_ms = INTERVAL_DEFAULT_MS;
  member->explanation = g_strdup("");
  member->by_key = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  member->partitions = g_ptr_array_new_with_free_func(partition_free);
  return member;
}

void member_free(Member *member) {
  if (member == NULL)
    return;
  g_hash_table_unref(member->by_key);
  g_ptr_array_unref(member->partitions);
  g_free(member->explanation);
  g_free(member->id);
  g_free(member->rack);
  g_free(member);
}

const char *member_group(const Member *member) {
  return member->init->group;
}

const char *member_id(const Member *member) {
  return member->id;
}

guint32 member_epoch(const Member *member) {
  return member->epoch;
}

Milena__V1__OffsetReset member_offset_reset(const Member *member) {
  gboolean is_said = member->offset_reset != MILENA__V1__OFFSET_RESET__OFFSET_RESET_UNSPECIFIED;
  return is_said ? member->offset_reset : MILENA__V1__OFFSET_RESET__OFFSET_RESET_LATEST;
}

gboolean member_is_fenced(const Member *member) {
  return member->fenced;
}

GPtrArray *member_partitions(Member *member) {
  return member->partitions;
}

gint member_compare_partitions(gconstpointer a, gconstpointer b) {
  const MemberPartition *one = *(MemberPartition *const *)a, *other = *(MemberPartition *const *)b;
  int order = strcmp(one->topic_id, other->topic_id);
  return order != 0 ? order : (one->partition > other->partition) - (one->partition < other->partition);
}

/* ---- partitions ---- */

void member_let_go(Member *member, MemberPartition *partition) {
  g_autofree char *key = key_new(partition->topic_id, partition->partition);
  g_hash_table_remove(member->by_key, key);
  partition->state = MEMBER_GONE;
}

void member_sweep(Member *member) {
  for (guint i = member->partitions->len; i-- > 0;) {
    const MemberPartition *partition = g_ptr_array_index(member->partitions, i);
    INVARIANT(partition->state != MEMBER_GONE || partition->reader == NULL, "a partition outlives its reader");
    if (partition->state == MEMBER_GONE)
      g_ptr_array_remove_index_fast(member->partitions, i);
  }
}

void member_start_found(Member *member, MemberPartition *partition, gint64 start) {
  (void)member;
  partition->start = start;
  partition->start_known = TRUE;
}

static MemberPartition *partition_new(Member *member, const Milena__V1__AssignedTopic *topic, gint32 number) {
  MemberPartition *partition = g_new0(MemberPartition, 1);
  partition->topic = g_strdup(topic->topic);
  partition->topic_id = g_strdup(topic->topic_id);
  partition->partition = number;
  partition->start = -1;
  g_ptr_array_add(member->partitions, partition);
  g_hash_table_insert(member->by_key, key_new(topic->topic_id, number), partition);
  return partition;
}

static void assign_one(Member *member, const Milena__V1__AssignedTopic *topic,
                       const Milena__V1__AssignedPartition *assigned) {
  g_autofree char *key = key_new(topic->topic_id, assigned->partition);
  MemberPartition *partition = g_hash_table_lookup(member->by_key, key);
  if (partition == NULL)
    partition = partition_new(member, topic, assigned->partition);
  partition->assigned = TRUE;
  if (partition->state != MEMBER_WANTED)
    return;
  if (assigned->committed != NULL) {
    partition->committed = TRUE;
    member_start_found(member, partition, assigned->committed->offset);
  } else if (member_offset_reset(member) == MILENA__V1__OFFSET_RESET__OFFSET_RESET_NONE) {
    member_start_found(member, partition, -1);
  }
}

static void unassign_all(Member *member) {
  for (guint i = 0; i < member->partitions->len; i++)
    ((MemberPartition *)g_ptr_array_index(member->partitions, i))->assigned = FALSE;
}

/* What the client never heard of needs no telling. */
static void drop_unwanted(Member *member) {
  for (guint i = 0; i < member->partitions->len; i++) {
    MemberPartition *partition = g_ptr_array_index(member->partitions, i);
    if (partition->state == MEMBER_WANTED && !partition->assigned)
      member_let_go(member, partition);
  }
}

void member_assign(Member *member, const Milena__V1__Assignment *assignment) {
  unassign_all(member);
  member->owned_is_news |= member->version != assignment->version; /* each is answered, even if nothing is to be told */
  member->version = assignment->version;
  for (gsize i = 0; i < assignment->n_topics; i++)
    for (gsize j = 0; j < assignment->topics[i]->n_partitions; j++)
      assign_one(member, assignment->topics[i], assignment->topics[i]->partitions[j]);
  drop_unwanted(member);
}

/* ---- fencing ---- */

void member_rejoin_when_done(Member *member, gint64 now_us) {
  if (!member->fenced || g_hash_table_size(member->by_key) > 0)
    return;
  member->fenced = FALSE;
  member->due_us = now_us;
}

void member_fence(Member *member, const Failure *failure, gint64 now_us) {
  member->fenced = TRUE;
  member->epoch = member->version = 0;
  member->news = FALSE;
  unassign_all(member);
  drop_unwanted(member);
  g_free(member->explanation);
  member->explanation = g_strdup(failure_message(failure));
  member_rejoin_when_done(member, now_us);
}
