/* See broker.h: one replica's host, as services/broker/partition*.c are.
 *
 * A write has one holder: the replica, from accept until it lets go of it. Whatever is in `pending` is known to the
 * replica, or on its way to the disk.
 *
 * Invariants: batches, places and records agree; records of the array are those of the replica's log. */
#include "services/base/invariant.h"
#include "services/broker/replica/assignment.h"
#include "tests/sim/cluster/disk.h"
#include "tests/sim/cluster/rules.h"

/* An append, a retry that waits for its first try, or a batch of the leader's. */
typedef struct {
  ReplicaAppend append; /* first */
  Log *log;
  gboolean asked; /* by a client */
  SimRequest request;
} Pending;

Batch *batch_ref(Batch *batch) {
  return g_rc_box_acquire(batch);
}

void batch_unref(gpointer batch) {
  g_rc_box_release(batch);
}

guint64 batch_value(const Batch *batch, guint i) {
  return ((guint64)batch->client + 1) << 40 | (batch->first_value + i);
}

Log *log_find(const Broker *broker, guint64 log_id) {
  return g_hash_table_lookup(broker->logs, &log_id);
}

static Log *log_new(Broker *broker, guint64 log_id) {
  Log *log = g_new0(Log, 1);
  *log = (Log){.log_id = log_id, .broker = broker, .part = cluster_part(broker->cluster, log_id), .led_epoch = -1};
  log->batches = g_ptr_array_new_with_free_func(batch_unref);
  log->places = g_array_new(FALSE, FALSE, sizeof(guint));
  log->records = g_array_new(FALSE, FALSE, sizeof(Record));
  log->pending = g_hash_table_new_full(NULL, NULL, g_free, NULL);
  log->producers = log_producers_new();
  log_hot_init(&log->hot);
  g_queue_init(&log->writes);
  g_hash_table_insert(broker->logs, &log->log_id, log);
  return log;
}

void log_free(gpointer data) {
  Log *log = data;
  INVARIANT(!log->replica, "the replica is run dry before its log goes");
  g_ptr_array_unref(log->batches);
  g_array_unref(log->places);
  g_array_unref(log->records);
  g_hash_table_unref(log->pending);
  log_producers_free(log->producers);
  log_hot_clear(&log->hot);
  g_free(log);
}

/* ---- What the log holds ---- */

static void add_batch(Log *log, Batch *batch, guint place) {
  g_ptr_array_add(log->batches, batch_ref(batch));
  g_array_append_val(log->places, place);
  for (guint i = 0; i < batch->batch.record_count; i++) {
    const Record record = {batch_value(batch, i), batch->batch.leader_epoch};
    g_array_append_val(log->records, record);
  }
}

static void cut_batches(Log *log, gint64 end) {
  while (log->batches->len > 0) {
    const Batch *last = log->batches->pdata[log->batches->len - 1];
    if (last->batch.base_offset < end)
      break;
    g_ptr_array_set_size(log->batches, (gint)log->batches->len - 1);
    g_array_set_size(log->places, log->places->len - 1);
  }
  if (end < log->records->len)
    g_array_set_size(log->records, (guint)end);
  const Batch *last = log->batches->len > 0 ? log->batches->pdata[log->batches->len - 1] : NULL;
  if (last && log_batch_next_offset(&last->batch) > end)
    sim_violated(log->broker->cluster->sim, "broker %d cuts log %d at %d, in the middle of a batch", log->broker->id,
                 (int)log->log_id, (int)end);
}

gint64 log_stored_end(const Log *log, SimStage stage) {
  guint stored = sim_disk_count(log->broker->disk, stage);
  for (guint i = log->places->len; i-- > 0;) {
    const Batch *batch = log->batches->pdata[i];
    if (g_array_index(log->places, guint, i) < stored)
      return log_batch_next_offset(&batch->batch);
  }
  return 0;
}

/* ---- Recovery ---- */

static void recover_hot(Log *log, const GByteArray *bytes) {
  LogHot hot;
  g_autoptr(Failure) failure = log_hot_decode(bytes->data, bytes->len, log->log_id, &hot);
  INVARIANT(!failure, "what was encoded can be decoded");
  log_hot_clear(&log->hot);
  log->hot = hot;
}

/* As the store cuts: the log, what its hot record says, and what producers did behind the end. */
static void recover_cut(Log *log, gint64 end) {
  cut_batches(log, end);
  log->hot.log_end_offset = MIN(log->hot.log_end_offset, end);
  log->hot.high_watermark = MIN(log->hot.high_watermark, end);
  log_epochs_truncate_end(log->hot.epochs, end);
  log_producers_truncate(log->producers, end, NULL);
}

static void recover_append(Log *log, const DiskRecord *record, guint place) {
  add_batch(log, record->batch, place);
  LogProducer producer;
  if (record->producer_len == 0)
    return;
  g_autoptr(Failure) failure = log_producer_decode(record->producer, record->producer_len, log->log_id,
                                                   record->batch->batch.producer_id, &producer);
  INVARIANT(!failure, "what was encoded can be decoded");
  log_producers_restore(log->producers, &producer);
}

static void recover_record(Broker *broker, const DiskRecord *record, guint place) {
  Log *log = log_find(broker, record->log_id);
  if (record->kind == DISK_DROP) {
    g_hash_table_remove(broker->logs, &record->log_id);
    return;
  }
  if (!log)
    log = log_new(broker, record->log_id);
  log->exists = TRUE;
  if (record->kind == DISK_CUT && !record->rotten && record->end <= log->records->len)
    log->damaged = FALSE; /* what did not read is gone */
  if (record->rotten || log->damaged) {
    log->damaged = TRUE;
    return;
  }
  recover_hot(log, record->hot);
  if (record->kind == DISK_CUT)
    recover_cut(log, record->end);
  else if (record->kind == DISK_APPEND)
    recover_append(log, record, place);
}

static void check_recovered(const Log *log) {
  if (log->hot.log_end_offset != log->records->len)
    sim_violated(log->broker->cluster->sim,
                 "broker %d finds log %d with %u records, and its hot record says that it ends at %d", log->broker->id,
                 (int)log->log_id, log->records->len, (int)log->hot.log_end_offset);
}

void logs_recover(Broker *broker) {
  g_hash_table_remove_all(broker->logs);
  const GPtrArray *records = sim_disk_records(broker->disk);
  for (guint i = 0; i < records->len; i++)
    recover_record(broker, records->pdata[i], i);
  GHashTableIter iter;
  gpointer log;
  g_hash_table_iter_init(&iter, broker->logs);
  while (g_hash_table_iter_next(&iter, NULL, &log))
    check_recovered(log);
}

static void begin(Log *log) {
  g_autoptr(Failure) damage = NULL;
  if (log->damaged)
    damage = failure_new(FAILURE(CORRUPT_LOG), "the log does not read behind offset %" G_GINT64_FORMAT,
                         log->hot.log_end_offset);
  log->replica = replica_new(&log->hot, damage);
  for (guint i = 0; i < log->part->clients.clients->len; i++) {
    const LogProducer *producer = log_producers_find(log->producers, i + 1);
    if (producer)
      replica_restore_producer(log->replica, producer);
  }
  log->state = LOG_OFF;
  log->leader = -1;
  log->led_epoch = -1;
  log->checked_watermark = 0;
}

GArray *logs_damaged(Broker *broker) {
  GArray *ids = g_array_new(FALSE, FALSE, sizeof(guint64));
  GHashTableIter iter;
  gpointer log;
  g_hash_table_iter_init(&iter, broker->logs);
  while (g_hash_table_iter_next(&iter, NULL, &log))
    if (((const Log *)log)->damaged)
      g_array_append_val(ids, ((const Log *)log)->log_id);
  return ids;
}

void logs_begin(Broker *broker) {
  GHashTableIter iter;
  gpointer log;
  g_hash_table_iter_init(&iter, broker->logs);
  while (g_hash_table_iter_next(&iter, NULL, &log))
    begin(log);
}

/* ---- Answers ---- */

static void answer(Log *log, const Pending *pending) {
  const ReplicaAppend *append = &pending->append;
  Cluster *cluster = log->broker->cluster;
  SimAnswer *told = g_new0(SimAnswer, 1);
  *told = (SimAnswer){.epoch = pending->request.epoch, .sequence = pending->request.sequence, .offset = -1};
  if (append->failure) {
    told->reason = failure_reason(append->failure);
    const char *expected = failure_get(append->failure, "expected");
    told->expected = expected ? (guint32)g_ascii_strtoull(expected, NULL, 10) : 0;
  } else {
    told->offset = append->base_offset;
    told->duplicate = append->duplicate;
    cluster->result->acknowledged++;
  }
  broker_tell(log->broker, "answers producer %u of log %d: value %d %s", pending->request.client + 1, (int)log->log_id,
              (int)pending->request.first_value, append->failure ? failure_message(append->failure) : "is appended");
  SimWorld *clients = &log->part->clients;
  clients->faults = cluster->world->faults;
  sim_send(cluster->sim, &clients->faults, told, sizeof *told, sim_client_take,
           g_ptr_array_index(clients->clients, pending->request.client));
  g_free(told);
}

static void drain(Log *log, ReplicaOut *out, gboolean heard) {
  for (GList *link; (link = g_queue_pop_head_link(&out->answers));) {
    Pending *pending = link->data;
    if (heard && pending->asked)
      answer(log, pending);
    g_clear_pointer(&pending->append.failure, failure_free);
    if (!pending->append.queued)
      g_hash_table_remove(log->pending, pending);
  }
  for (GList *link; (link = g_queue_pop_head_link(&out->released));)
    g_hash_table_remove(log->pending, link->data);
}

void log_settle(Log *log, ReplicaOut *out) {
  drain(log, out, TRUE);
  rules_log_changed(log);
  if (out->high_watermark_moved || out->leadership_changed)
    stream_log_moved(log);
}

/* The dead replica is run dry; nobody hears of it. */
static void run_dry(Log *log) {
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_retire(log->replica, &out);
  drain(log, &out, FALSE);
  for (Pending *pending; (pending = g_queue_pop_head(&log->writes));) {
    ReplicaOut progress = REPLICA_OUT_INIT;
    replica_local_progress(log->replica, &pending->append, pending->append.stage, &progress);
    drain(log, &progress, FALSE);
  }
  INVARIANT(g_hash_table_size(log->pending) == 0, "nothing waits in a dry replica");
  g_clear_pointer(&log->replica, replica_free);
}

void logs_end(Broker *broker) {
  GHashTableIter iter;
  gpointer log;
  g_hash_table_iter_init(&iter, broker->logs);
  while (g_hash_table_iter_next(&iter, NULL, &log))
    run_dry(log);
}

/* ---- Writes ---- */

/* The end of the log was written with another flush mode. */
static void sync_if_wanted(Log *log);

static void on_synced(Broker *broker, gpointer data) {
  (void)broker;
  Log *log = data;
  log->writes_in_flight--;
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_sync_over(log->replica, &out);
  log_settle(log, &out);
  stream_log_moved(log);
  sync_if_wanted(log);
}

static void sync_if_wanted(Log *log) {
  if (!log->exists || log->doomed || !replica_wants_sync(log->replica))
    return;
  DiskRecord *record = disk_record_new(DISK_HOT, log, NULL);
  record->done = on_synced;
  record->data = log;
  log->writes_in_flight++;
  disk_write(log->broker, record, SIM_SYNCED);
  replica_sync_begun(log->replica);
}

static void on_stored(Broker *broker, gpointer data) {
  (void)broker;
  Pending *pending = data;
  Log *log = pending->log;
  INVARIANT(g_queue_remove(&log->writes, pending), "a write ends once");
  log->writes_in_flight--;
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_local_progress(log->replica, &pending->append, pending->append.stage, &out);
  log_settle(log, &out);
  stream_log_moved(log);
}

static void submit(Log *log, Pending *pending, Batch *batch) {
  if (!log->exists)
    disk_write(log->broker, disk_record_new(DISK_CREATE, log, NULL), SIM_WRITTEN);
  log->exists = TRUE;
  DiskRecord *record = disk_record_new(DISK_APPEND, log, &pending->append);
  record->batch = batch_ref(batch);
  record->done = on_stored;
  record->data = pending;
  g_hash_table_add(log->pending, pending);
  g_queue_push_tail(&log->writes, pending);
  log->writes_in_flight++;
  guint place = disk_write(log->broker, record, pending->append.stage == REPLICA_SYNCED ? SIM_SYNCED : SIM_WRITTEN);
  replica_accept(log->replica, &pending->append);
  add_batch(log, batch, place);
  rules_appended(log, batch, !pending->append.followed);
}

static void refuse(Log *log, Pending *pending, Failure *failure) {
  pending->append.failure = failure;
  answer(log, pending);
  failure_free(failure);
  g_free(pending);
}

void log_produce(Log *log, gint32 leader_epoch, const SimRequest *request) {
  Sim *sim = log->broker->cluster->sim;
  Pending *pending = g_new0(Pending, 1);
  *pending = (Pending){.log = log, .asked = TRUE, .request = *request};
  Batch *batch = g_rc_box_new0(Batch);
  *batch = (Batch){.batch = LOG_BATCH_INIT, .client = request->client, .first_value = request->first_value};
  batch->batch.record_count = request->count;
  batch->batch.producer_id = request->producer_id;
  batch->batch.producer_epoch = request->epoch;
  batch->batch.first_sequence = request->sequence;
  Failure *failure = replica_prepare(log->replica, leader_epoch, &batch->batch, request->acks, sim_now_us(sim) / 1000,
                                     &pending->append);
  /* A store that is full: what was prepared does not happen. */
  if (!failure && !pending->append.duplicate && !log->broker->cluster->healing && sim_chance(sim, 10))
    failure = failure_new(FAILURE(OVERLOADED), "the store is full");
  if (failure) {
    refuse(log, pending, failure);
  } else if (pending->append.duplicate) {
    ReplicaOut out = REPLICA_OUT_INIT;
    g_hash_table_add(log->pending, pending);
    replica_await(log->replica, &pending->append, &out);
    log_settle(log, &out);
  } else {
    submit(log, pending, batch);
    rules_log_changed(log);
    stream_log_moved(log);
  }
  batch_unref(batch);
}

gboolean log_follow(Log *log, gint32 leader_epoch, Batch *batch) {
  Pending *pending = g_new0(Pending, 1);
  pending->log = log;
  Failure *failure = replica_follow(log->replica, leader_epoch, &batch->batch, &pending->append);
  if (failure) {
    broker_tell(log->broker, "does not take a batch of log %d: %s", (int)log->log_id, failure_message(failure));
    failure_free(failure);
    g_free(pending);
    return FALSE;
  }
  submit(log, pending, batch);
  return TRUE;
}

/* ---- Cuts ---- */

static void on_cut(Broker *broker, gpointer data) {
  (void)broker;
  Log *log = data;
  log->writes_in_flight--;
  stream_log_moved(log);
}

static void cut_at(Log *log, gint64 end) {
  broker_tell(log->broker, "cuts log %d from %d to %d", (int)log->log_id, (int)replica_log_end(log->replica), (int)end);
  log->broker->cluster->result->cuts++;
  rules_cut(log, end);
  cut_batches(log, end);
  if (!log->exists)
    return;
  DiskRecord *record = disk_record_new(DISK_CUT, log, NULL);
  record->end = end;
  record->done = on_cut;
  record->data = log;
  log->writes_in_flight++;
  disk_write(log->broker, record, SIM_SYNCED);
}

void log_cut(Log *log, gint32 epoch, gint64 end_offset) {
  gint64 end = replica_diverged(log->replica, epoch, end_offset);
  cut_at(log, end);
  replica_truncated(log->replica, end);
  rules_log_changed(log);
}

void log_mend(Log *log) {
  const MetadataPartition *metadata = log->broker->image ? part_in(log->part, log->broker->image, NULL) : NULL;
  gboolean others_count, given_up = replica_cuts_damage(log->replica);
  gint64 end;
  if (!metadata || (!given_up && replica_assignment_counts(metadata, log->broker->id, &others_count)) ||
      !replica_mend_end(log->replica, &end))
    return;
  ReplicaOut out = REPLICA_OUT_INIT;
  cut_at(log, end);
  replica_mended(log->replica, end, &out);
  log->damaged = FALSE;
  log_settle(log, &out);
}

/* ---- The metadata ---- */

static void on_dropped(Broker *broker, gpointer data) {
  Log *log = data;
  log->writes_in_flight--;
  broker_tell(broker, "has dropped log %d", (int)log->log_id);
  run_dry(log);
  g_hash_table_remove(broker->logs, &log->log_id);
}

static void try_drop(Broker *broker, gpointer data) {
  Log *log = log_find(broker, GPOINTER_TO_SIZE(data));
  if (!log || !log->doomed || log->dropping)
    return;
  gint64 left_us = log->doomed_us + broker->cluster->shape.grace_us - sim_now_us(broker->cluster->sim);
  if (left_us > 0 || log->writes_in_flight > 0) {
    broker_after(broker, MAX(left_us, 100000), try_drop, data, NULL);
    return;
  }
  DiskRecord *record = disk_record_new(DISK_DROP, log, NULL);
  record->done = on_dropped;
  record->data = log;
  log->dropping = TRUE;
  log->writes_in_flight++;
  disk_write(broker, record, SIM_WRITTEN);
}

static void retire(Log *log) {
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_retire(log->replica, &out);
  log->led_epoch = -1;
  log_settle(log, &out);
  following_assigned(log);
}

static void doom(Log *log) {
  if (log->doomed)
    return;
  broker_tell(log->broker, "has no replica %d any more", (int)log->log_id);
  log->doomed = TRUE;
  log->doomed_us = sim_now_us(log->broker->cluster->sim);
  retire(log);
  broker_after(log->broker, log->broker->cluster->shape.grace_us, try_drop, GSIZE_TO_POINTER(log->log_id), NULL);
}

static void trace_assignment(const Log *log, const MetadataPartition *metadata, gboolean leads) {
  GString *ids = g_string_new(NULL);
  for (guint i = 0; i < metadata->isr_count; i++)
    g_string_append_printf(ids, " %d", metadata->isr[i]);
  g_string_append(ids, metadata->eligible_count ? " and eligible" : "");
  for (guint i = 0; i < metadata->eligible_count; i++)
    g_string_append_printf(ids, " %d", metadata->eligible[i]);
  broker_tell(log->broker, "hears of log %d: leader %d of epoch %d, change %d, in sync%s%s", (int)log->log_id,
              metadata->leader_id, metadata->leader_epoch, (int)metadata->partition_epoch, ids->str,
              leads ? ": it leads" : "");
  g_string_free(ids, TRUE);
}

static void assign(Log *log, const MetadataTopic *topic, const MetadataPartition *metadata, gboolean may_lead) {
  if (log->dropping)
    return;
  log->doomed = FALSE;
  const ReplicaAssignment assignment =
      replica_assignment_of(topic, metadata, log->broker->id, may_lead, broker_now_ms(log->broker));
  ReplicaOut out = REPLICA_OUT_INIT;
  gboolean led = replica_leads(log->replica);
  gint32 before = replica_leader_epoch(log->replica);
  replica_assign(log->replica, &assignment, &out);
  gboolean leads = replica_leads(log->replica);
  if (out.leadership_changed)
    trace_assignment(log, metadata, leads);
  log->led_epoch = leads ? metadata->leader_epoch : -1;
  if (leads && (!led || before != metadata->leader_epoch))
    rules_leads(log);
  log_settle(log, &out);
  following_assigned(log);
  sync_if_wanted(log);
}

void logs_assign(Broker *broker, MetadataImage *image) {
  Cluster *cluster = broker->cluster;
  gboolean may_lead = replica_assignment_may_lead(image, broker->id, broker->epoch);
  for (guint i = 0; i < cluster->parts->len; i++) {
    const Part *part = cluster->parts->pdata[i];
    const MetadataTopic *topic;
    const MetadataPartition *metadata = part_in(part, image, &topic);
    if (!metadata)
      continue;
    Log *log = log_find(broker, metadata->log_id);
    if (!metadata_partition_has_replica(metadata, broker->id)) {
      if (log)
        doom(log);
      continue;
    }
    if (!log) {
      log = log_new(broker, metadata->log_id);
      begin(log);
    }
    assign(log, topic, metadata, may_lead);
  }
}
