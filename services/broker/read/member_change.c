/* What a stream's client is told of its membership, one change at a time, and its acknowledgements: see member.h.
 * States, invariants and owner: member.c. */
#include <string.h>

#include "services/base/times.h"
#include "services/broker/read/member_internal.h"

#define REBALANCE_DEFAULT_MS ((gint64)5 * 60 * 1000)

/* Sort the partitions that are to be told. Returns whether something is waited for before telling what is gained. */
static gboolean collect(const Member *member, MemberChange *change) {
  gboolean waits = FALSE;
  for (guint i = 0; i < member->partitions->len; i++) {
    MemberPartition *partition = g_ptr_array_index(member->partitions, i);
    if (partition->state == MEMBER_WANTED && partition->start_known)
      g_ptr_array_add(change->gained, partition);
    else if (partition->state == MEMBER_WANTED)
      waits |= !partition->late;
    else if (partition->state == MEMBER_OWNED && !partition->assigned)
      g_ptr_array_add(change->lost, partition);
  }
  g_ptr_array_sort(change->gained, member_compare_partitions);
  g_ptr_array_sort(change->lost, member_compare_partitions);
  return waits;
}

static void set_states(GPtrArray *partitions, MemberPartitionState state) {
  for (guint i = 0; i < partitions->len; i++)
    ((MemberPartition *)g_ptr_array_index(partitions, i))->state = state;
}

gboolean member_next_change(Member *member, gint64 now_us, MemberChange *ret_change) {
  if (member->unacknowledged)
    return FALSE;
  MemberChange change = {.gained = g_ptr_array_new(), .lost = g_ptr_array_new()};
  gboolean waits = collect(member, &change);
  if (change.lost->len == 0 && (waits || change.gained->len == 0)) {
    member_change_clear(&change);
    return FALSE;
  }
  set_states(change.gained, MEMBER_GAINED);
  set_states(change.lost, MEMBER_LOST);
  change.id = ++member->change_id;
  change.fenced = member->fenced;
  change.explanation = member->explanation;
  member->unacknowledged = TRUE;
  member->told_us = now_us;
  *ret_change = change;
  return TRUE;
}

Milena__V1__TopicPartitions **member_topics(const GPtrArray *sorted, ReadMemory *memory, gsize *ret_count) {
  Milena__V1__TopicPartitions **topics = read_memory_alloc(memory, sorted->len * sizeof *topics);
  gint32 *numbers = read_memory_alloc(memory, sorted->len * sizeof *numbers);
  gsize count = 0;
  for (guint i = 0; i < sorted->len; i++) {
    const MemberPartition *partition = g_ptr_array_index(sorted, i);
    numbers[i] = partition->partition;
    if (count == 0 || strcmp(topics[count - 1]->topic_id, partition->topic_id) != 0) {
      Milena__V1__TopicPartitions *topic = read_memory_alloc(memory, sizeof *topic);
      milena__v1__topic_partitions__init(topic);
      topic->topic = read_memory_string(memory, partition->topic);
      topic->topic_id = read_memory_string(memory, partition->topic_id);
      topic->partitions = &numbers[i];
      topics[count++] = topic;
    }
    topics[count - 1]->n_partitions++;
  }
  *ret_count = count;
  return topics;
}

void member_change_clear(MemberChange *change) {
  g_clear_pointer(&change->gained, g_ptr_array_unref);
  g_clear_pointer(&change->lost, g_ptr_array_unref);
}

Failure *member_acknowledge(Member *member, guint64 assignment_id, gint64 now_us) {
  if (assignment_id == 0 || assignment_id > member->change_id) {
    Failure *failure =
        failure_new(FAILURE(INVALID_FIELD),
                    "acknowledgement.assignment_id: there was no change %" G_GUINT64_FORMAT
                    " in this stream; acknowledge each as it comes (the last one was %" G_GUINT64_FORMAT ")",
                    assignment_id, member->change_id);
    return failure_add_violation(failure, "acknowledgement.assignment_id", "no such change in this stream");
  }
  if (assignment_id < member->change_id || !member->unacknowledged)
    return NULL;
  member->unacknowledged = FALSE;
  for (guint i = 0; i < member->partitions->len; i++) {
    MemberPartition *partition = g_ptr_array_index(member->partitions, i);
    if (partition->state == MEMBER_GAINED) {
      partition->state = MEMBER_OWNED;
    } else if (partition->state == MEMBER_LOST) {
      member->tell |= partition->assigned; /* it is back: from what was committed last */
      member_let_go(member, partition);
    }
  }
  member->owned_is_news = TRUE;
  member->news = TRUE;
  member->due_us = now_us;
  member_rejoin_when_done(member, now_us);
  return NULL;
}

static gint64 rebalance_timeout_ms(const Member *member) {
  const Google__Protobuf__Duration *timeout = member_wishes(member)->rebalance_timeout;
  return timeout != NULL ? times_duration_ms(timeout, REBALANCE_DEFAULT_MS) : REBALANCE_DEFAULT_MS;
}

gint64 member_acknowledge_by_us(const Member *member) {
  return member->unacknowledged ? member->told_us + rebalance_timeout_ms(member) * 1000 : G_MAXINT64;
}

Failure *member_overdue(const Member *member) {
  return failure_new(FAILURE(FENCED),
                     "the assignment change %" G_GUINT64_FORMAT " was not acknowledged within %" G_GINT64_FORMAT
                     " ms (rebalance_timeout): the member is out of group %s. Acknowledge changes as they come, or ask "
                     "for a longer time; then subscribe again",
                     member->change_id, rebalance_timeout_ms(member), member->init->group);
}
