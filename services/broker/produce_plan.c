/* Plain records become one batch for each partition they go to: the partition that the record names, else its key's,
 * else one partition for all of the call's records without a key, another at the next call.
 *
 * Records with a producer's sequence are one batch in one partition, which their keys or partitions say: only so does
 * a retry come to the same place as its first try, and is the same batch there.
 *
 * Batches are closed before they pass the topic's max_message_bytes, so a partition may get several. Records of one
 * partition keep their order. Thread: the front's loop. */
#include "controller/metadata/view.h"
#include "services/broker/produce_internal.h"
#include "storage/log/partitioner.h"

/* What a record's own tags and lengths, and those of its fields, take at most. */
#define RECORD_OVERHEAD_BYTES 48
#define HEADER_OVERHEAD_BYTES 24

/* The records that go to one partition. */
typedef struct {
  gint32 partition;
  GArray *indexes; /* of guint32: into the request's records */
} Group;

typedef struct {
  ProduceJob *job;
  const MetadataTopic *topic;
  gint64 now_ms;
  gsize max_bytes;
  gint32 rotated;           /* partition of the records without a key; -1: not chosen yet */
  GPtrArray *groups;        /* of Group, in the order of their first records; owned */
  GHashTable *by_partition; /* gint32 * in the Group → Group */
} Plan;

/* ---- choosing partitions ---- */

static gboolean has_leader(const MetadataPartition *partition) {
  return partition->leader_id >= 0;
}

/* The counter is shared by all loops: calls rotate, whatever loop they come to. */
static Failure *choose_rotated(Plan *plan) {
  const MetadataTopic *topic = plan->topic;
  gint *counter = &plan->job->producer->front->shard->broker->rotations[g_str_hash(topic->id) % BROKER_ROTATIONS];
  guint start = (guint)g_atomic_int_add(counter, 1);
  for (guint i = 0; i < topic->partition_count; i++) {
    guint partition = (start + i) % topic->partition_count;
    if (!has_leader(topic->partitions[partition]))
      continue;
    plan->rotated = (gint32)partition;
    return NULL;
  }
  return failure_new(FAILURE(LEADER_NOT_AVAILABLE), "no partition of topic '%s' has a leader now: try again soon",
                     topic->name);
}

static LogField record_key(const Milena__V1__Record *record) {
  switch (record->key_kind_case) {
  case MILENA__V1__RECORD__KEY_KIND_KEY:
    return log_field(record->key.data, record->key.len);
  case MILENA__V1__RECORD__KEY_KIND_KEY_TEXT:
    return log_field(record->key_text, strlen(record->key_text));
  default:
    return LOG_FIELD_NONE;
  }
}

static Failure *choose_partition(Plan *plan, const Milena__V1__Record *record, gint32 *ret_partition) {
  const MetadataTopic *topic = plan->topic;
  if (metadata_topic_is_compacted(topic) && !record_key(record).present)
    return produce_no_key(topic, "key");
  if (record->partition_choice_case == MILENA__V1__RECORD__PARTITION_CHOICE_PARTITION) {
    if (record->partition < 0)
      return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "a record's partition is negative"), "partition",
                                   "must be 0 or more");
    if ((guint32)record->partition >= topic->partition_count)
      return route_no_partition(topic, record->partition);
    *ret_partition = record->partition;
    return NULL;
  }
  LogField key = record_key(record);
  if (key.present) {
    *ret_partition = (gint32)log_partitioner_for_key(key.data, key.len, topic->partition_count);
    return NULL;
  }
  if (plan->job->input.sequence)
    return failure_add_violation(
        failure_new(FAILURE(INVALID_FIELD),
                    "a record of a producer with a sequence has neither a key nor a partition: its retry would go "
                    "elsewhere, and be written twice"),
        "partition", "give a partition or a key");
  Failure *failure = plan->rotated < 0 ? choose_rotated(plan) : NULL;
  if (!failure)
    *ret_partition = plan->rotated;
  return failure;
}

static void group_free(gpointer data) {
  Group *group = data;
  g_array_unref(group->indexes);
  g_free(group);
}

static void plan_init(Plan *plan, ProduceJob *job, const MetadataTopic *topic) {
  *plan = (Plan){.job = job,
                 .topic = topic,
                 .now_ms = g_get_real_time() / 1000,
                 .max_bytes = metadata_topic_max_message_bytes(topic),
                 .rotated = -1,
                 .groups = g_ptr_array_new_with_free_func(group_free),
                 .by_partition = g_hash_table_new(g_int_hash, g_int_equal)};
}

static void plan_clear(Plan *plan) {
  g_hash_table_unref(plan->by_partition);
  g_ptr_array_unref(plan->groups);
}

static Group *plan_group_of(Plan *plan, gint32 partition) {
  Group *group = g_hash_table_lookup(plan->by_partition, &partition);
  if (group)
    return group;
  group = g_new0(Group, 1);
  *group = (Group){.partition = partition, .indexes = g_array_new(FALSE, FALSE, sizeof(guint32))};
  g_hash_table_insert(plan->by_partition, &group->partition, group);
  g_ptr_array_add(plan->groups, group);
  return group;
}

static Failure *plan_group(Plan *plan) {
  const ProduceInput *input = &plan->job->input;
  for (guint32 i = 0; i < input->n_records; i++) {
    gint32 partition = -1;
    Failure *failure = choose_partition(plan, input->records[i], &partition);
    if (failure) {
      g_autofree char *path = g_strdup_printf("records[%u]", i);
      return failure_prefix_violations(failure, path);
    }
    g_array_append_val(plan_group_of(plan, partition)->indexes, i);
  }
  return NULL;
}

/* A sequence counts the records of one partition. */
static Failure *check_one_partition(const Plan *plan) {
  if (!plan->job->input.sequence || plan->groups->len == 1)
    return NULL;
  const Group *first = plan->groups->pdata[0], *other = plan->groups->pdata[1];
  g_autofree char *path = g_strdup_printf("records[%u]", g_array_index(other->indexes, guint32, 0));
  return failure_add_violation(
      failure_new(FAILURE(INVALID_FIELD),
                  "records of a producer with a sequence must go to one partition, but records[0] goes to %d and %s to "
                  "%d: send them in requests of their own, with sequences of their own",
                  first->partition, path, other->partition),
      path, "goes to another partition than the first record");
}

/* ---- building batches ---- */

/* An upper bound of what the record adds to a batch. */
static gsize record_bytes_bound(const Milena__V1__Record *record) {
  gsize bytes = RECORD_OVERHEAD_BYTES + record_key(record).len;
  if (record->value_kind_case == MILENA__V1__RECORD__VALUE_KIND_VALUE)
    bytes += record->value.len;
  else if (record->value_kind_case == MILENA__V1__RECORD__VALUE_KIND_VALUE_TEXT)
    bytes += strlen(record->value_text);
  for (size_t i = 0; i < record->n_headers; i++) {
    const Milena__V1__Header *header = record->headers[i];
    bytes += HEADER_OVERHEAD_BYTES + strlen(header->key);
    if (header->value_kind_case == MILENA__V1__HEADER__VALUE_KIND_VALUE)
      bytes += header->value.len;
    else if (header->value_kind_case == MILENA__V1__HEADER__VALUE_KIND_VALUE_TEXT)
      bytes += strlen(header->value_text);
  }
  return bytes;
}

/* The batch is the next one of the request's producer. */
static void set_producer(const Plan *plan, LogBatch *batch) {
  const Milena__V1__ProducerSequence *sequence = plan->job->input.sequence;
  if (!sequence)
    return;
  batch->producer_id = sequence->producer_id;
  batch->producer_epoch = sequence->producer_epoch;
  batch->first_sequence = sequence->first_sequence;
  log_batch_seal(batch);
}

static Failure *check_one_batch(const Plan *plan) {
  if (!plan->job->input.sequence)
    return NULL;
  return failure_new(FAILURE(RECORD_TOO_LARGE),
                     "the records of a producer with a sequence must fit into one batch, of %" G_GSIZE_FORMAT
                     " bytes at most (max_message_bytes of topic '%s'): send fewer at once",
                     plan->max_bytes, plan->topic->name);
}

/* Make an item of what the builder holds: the records of @group with indexes[from .. to). */
static Failure *plan_close_batch(Plan *plan, const Group *group, guint from, guint to) {
  const GArray *indexes = group->indexes;
  LogRecordsBuilder *builder = plan->job->producer->builder;
  LogBatch batch = LOG_BATCH_INIT;
  Failure *failure = log_records_builder_finish(builder, MILENA__V1__COMPRESSION__COMPRESSION_NONE, &batch);
  if (failure)
    return failure;
  gsize bytes = log_batch_payload_bytes(&batch);
  if (bytes > plan->max_bytes) {
    log_batch_clear(&batch);
    return failure_new(FAILURE(RECORD_TOO_LARGE),
                       "records[%u] makes a batch of %" G_GSIZE_FORMAT
                       " bytes, but topic '%s' takes at most %" G_GSIZE_FORMAT " (max_message_bytes)",
                       g_array_index(indexes, guint32, from), bytes, plan->topic->name, plan->max_bytes);
  }
  ProduceItem *item = produce_job_add_item(plan->job);
  item->topic_name = plan->topic->name;
  item->topic_id = plan->topic->id;
  item->partition = group->partition;
  set_producer(plan, &batch);
  item->batch = batch;
  item->checked = TRUE;
  item->record_indexes = g_array_sized_new(FALSE, FALSE, sizeof(guint32), to - from);
  g_array_append_vals(item->record_indexes, &g_array_index(indexes, guint32, from), to - from);
  return NULL;
}

static Failure *plan_build_group(Plan *plan, const Group *group) {
  const GArray *indexes = group->indexes;
  const ProduceInput *input = &plan->job->input;
  LogRecordsBuilder *builder = plan->job->producer->builder;
  guint from = 0;
  for (guint i = 0; i < indexes->len; i++) {
    guint32 index = g_array_index(indexes, guint32, i);
    const Milena__V1__Record *record = input->records[index];
    if (i > from && log_records_builder_bytes(builder) + record_bytes_bound(record) > plan->max_bytes) {
      Failure *failure = check_one_batch(plan);
      if (!failure)
        failure = plan_close_batch(plan, group, from, i);
      if (failure)
        return failure;
      from = i;
    }
    Failure *failure = log_records_builder_add_proto(builder, record, plan->now_ms);
    if (failure) {
      g_autofree char *path = g_strdup_printf("records[%u]", index);
      return failure_prefix_violations(failure, path);
    }
  }
  return plan_close_batch(plan, group, from, indexes->len);
}

/* Forget the items that were made: the request fails as a whole. */
static void plan_undo(ProduceJob *job) {
  job->undone -= job->items->len;
  g_ptr_array_set_size(job->items, 0);
  log_records_builder_reset(job->producer->builder);
}

Failure *produce_plan_records(ProduceJob *job, const MetadataTopic *topic) {
  INVARIANT(job->items->len == 0, "plain records are planned before anything else of the job");
  Plan plan;
  plan_init(&plan, job, topic);
  Failure *failure = plan_group(&plan);
  if (!failure)
    failure = check_one_partition(&plan);
  for (guint i = 0; i < plan.groups->len && !failure; i++)
    failure = plan_build_group(&plan, plan.groups->pdata[i]);
  plan_clear(&plan);
  if (failure) {
    plan_undo(job);
    return failure;
  }
  job->planned_by = metadata_image_ref(front_image(job->producer->front));
  return NULL;
}
