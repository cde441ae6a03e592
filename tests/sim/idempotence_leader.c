/* The leader: hosts the real Replica on a simulated disk, as services/broker/partition_append.c hosts it on the store.
 *
 * Its disk holds records of a batch, the hot record and the producer's record, written together. After a crash the log,
 * the hot record and the producers are what the surviving records say, and nothing else.
 *
 * Rules checked here:
 *   1. no answer before the batch is as safe as the acks asked for: synced with flush=always, written otherwise
 *   2. what is recovered is a log without gaps, and its stored producers are those that its batches make
 *   3. the leader's answers name the offset at which the batch is */
#include <string.h>

#include "services/base/invariant.h"
#include "services/broker/replica/replica.h"
#include "tests/sim/idempotence_internal.h"

#define LOG_ID 1
#define BROKER_ID 1
#define RESTART_MAX_US 200000

/* What is on the disk. */
typedef struct {
  SimRequest request;
  LogBatch batch; /* stamped; without bytes */
  GByteArray *hot;
  guint8 producer[LOG_PRODUCER_VALUE_BYTES_MAX];
  gsize producer_len;
} Stored;

/* An append, or a retry that waits. */
typedef struct {
  ReplicaAppend append; /* first */
  SimLeader *leader;
  SimRequest request;
  guint record; /* its place on the disk; of a retry: of its first try */
} Pending;

struct SimLeader {
  SimWorld *world;
  SimDisk *disk;
  Replica *replica; /* NULL while it is down */
  gint32 epoch;
  Milena__V1__Flush flush;
  GHashTable *pending; /* set of Pending, owned */
  Stored *last;        /* what was written last, for a mistake on purpose */
};

static void stored_free(gpointer data) {
  Stored *stored = data;
  g_byte_array_unref(stored->hot);
  g_free(stored);
}

/* ---- answers ---- */

static void send_answer(SimLeader *leader, const SimRequest *request, const SimAnswer *answer) {
  SimWorld *world = leader->world;
  sim_send(world->sim, &world->faults, answer, sizeof *answer, sim_client_take,
           g_ptr_array_index(world->clients, request->client));
}

/* @failure: taken */
static void refuse(SimLeader *leader, const SimRequest *request, Failure *failure) {
  SimAnswer answer = {.epoch = request->epoch, .sequence = request->sequence, .offset = -1};
  answer.reason = failure_reason(failure);
  const char *expected = failure_get(failure, "expected");
  answer.expected = expected ? (guint32)g_ascii_strtoull(expected, NULL, 10) : 0;
  leader->world->result->refusals++;
  failure_free(failure);
  send_answer(leader, request, &answer);
}

/* Where the batch that covers @offset is on the disk. */
static guint find_record(SimLeader *leader, gint64 offset) {
  const GPtrArray *records = sim_disk_records(leader->disk);
  for (guint i = records->len; i-- > 0;) {
    const Stored *stored = g_ptr_array_index(records, i);
    if (stored->batch.base_offset <= offset)
      return i;
  }
  return G_MAXUINT;
}

static void check_answer(SimLeader *leader, const Pending *pending) {
  guint record = find_record(leader, pending->append.base_offset);
  const GPtrArray *records = sim_disk_records(leader->disk);
  const Stored *stored = record < records->len ? g_ptr_array_index(records, record) : NULL;
  Sim *sim = leader->world->sim;
  if (!stored || stored->request.client != pending->request.client ||
      stored->request.first_value != pending->request.first_value)
    sim_violated(sim, "an answer names offset %" G_GINT64_FORMAT ", where another batch is",
                 pending->append.base_offset);
  SimStage stage = leader->flush == MILENA__V1__FLUSH__FLUSH_ALWAYS ? SIM_SYNCED : SIM_WRITTEN;
  if (record >= sim_disk_count(leader->disk, stage))
    sim_violated(sim, "the batch at offset %" G_GINT64_FORMAT " was acknowledged before it was on the disk%s",
                 pending->append.base_offset, pending->append.duplicate ? ", as a duplicate" : "");
}

/* Act on an event of the replica, as partition_settle does. @heard: the process is alive to answer */
static void settle(SimLeader *leader, ReplicaOut *out, gboolean heard) {
  for (GList *link; (link = g_queue_pop_head_link(&out->answers));) {
    Pending *pending = link->data;
    ReplicaAppend *append = &pending->append;
    if (heard && append->failure) {
      refuse(leader, &pending->request, g_steal_pointer(&append->failure));
    } else if (heard) {
      check_answer(leader, pending);
      leader->world->result->duplicates += append->duplicate;
      SimAnswer answer = {.epoch = pending->request.epoch,
                          .sequence = pending->request.sequence,
                          .offset = append->base_offset,
                          .duplicate = append->duplicate};
      send_answer(leader, &pending->request, &answer);
    }
    g_clear_pointer(&append->failure, failure_free);
    if (!append->queued)
      g_hash_table_remove(leader->pending, pending);
  }
  for (GList *link; (link = g_queue_pop_head_link(&out->released));)
    g_hash_table_remove(leader->pending, link->data);
}

/* ---- appends ---- */

static void on_stored(gpointer data) {
  Pending *pending = data;
  SimLeader *leader = pending->leader;
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_local_progress(leader->replica, &pending->append, pending->append.stage, &out);
  settle(leader, &out, TRUE);
}

static void write_batch(SimLeader *leader, Pending *pending, const LogBatch *batch) {
  Stored *stored = g_new0(Stored, 1);
  stored->request = pending->request;
  stored->batch = *batch;
  stored->hot = g_byte_array_new();
  replica_encode_hot(leader->replica, LOG_ID, &pending->append, stored->hot);
  if (pending->append.producer.producer_id)
    stored->producer_len = log_producer_encode(&pending->append.producer, LOG_ID, stored->producer);
  if (leader->world->bug == IDEMPOTENCE_BUG_SPLIT_WRITE && leader->last) {
    Stored own = *stored; /* each carries the record of the one before */
    memcpy(stored->producer, leader->last->producer, sizeof own.producer);
    stored->producer_len = leader->last->producer_len;
    stored->request = own.request;
    *leader->last = own;
  } else if (leader->world->bug == IDEMPOTENCE_BUG_SPLIT_WRITE) {
    leader->last = g_memdup2(stored, sizeof *stored);
    stored->producer_len = 0;
  }
  replica_accept(leader->replica, &pending->append);
  leader->world->result->records += batch->record_count;
  SimStage wants = pending->append.stage == REPLICA_SYNCED ? SIM_SYNCED : SIM_WRITTEN;
  sim_disk_write(leader->disk, stored, wants, on_stored, pending);
}

static LogBatch batch_of(const SimLeader *leader, const SimRequest *request) {
  LogBatch batch = LOG_BATCH_INIT;
  batch.record_count = request->count;
  if (leader->world->bug != IDEMPOTENCE_BUG_NO_TABLE)
    batch.producer_id = request->producer_id;
  batch.producer_epoch = request->epoch;
  batch.first_sequence = request->sequence;
  return batch;
}

static void await(SimLeader *leader, Pending *pending) {
  ReplicaOut out = REPLICA_OUT_INIT;
  if (leader->world->bug == IDEMPOTENCE_BUG_EARLY_DUPLICATE)
    pending->append.end_offset = 0;
  replica_await(leader->replica, &pending->append, &out);
  settle(leader, &out, TRUE);
}

void sim_leader_take(gpointer host, gconstpointer message) {
  SimLeader *leader = host;
  const SimRequest *request = message;
  SimWorld *world = leader->world;
  if (!leader->replica)
    return; /* nobody is there */
  Pending *pending = g_new0(Pending, 1);
  *pending = (Pending){.leader = leader, .request = *request};
  g_hash_table_add(leader->pending, pending);
  LogBatch batch = batch_of(leader, request);
  Failure *failure = replica_prepare(leader->replica, leader->epoch, &batch, request->acks,
                                     sim_now_us(world->sim) / 1000, &pending->append);
  /* A store that is full: what was prepared does not happen. */
  if (!failure && !pending->append.duplicate && !world->healing && sim_chance(world->sim, 20))
    failure = failure_new(FAILURE(OVERLOADED), "the store is full");
  if (failure) {
    g_hash_table_remove(leader->pending, pending);
    refuse(leader, request, failure);
  } else if (pending->append.duplicate) {
    await(leader, pending);
  } else {
    write_batch(leader, pending, &batch);
  }
}

/* ---- crashes and recovery ---- */

static gboolean same_producer(const LogProducer *a, const LogProducer *b) {
  if (!a || !b)
    return a == b;
  guint8 left[LOG_PRODUCER_VALUE_BYTES_MAX], right[LOG_PRODUCER_VALUE_BYTES_MAX];
  gsize len = log_producer_encode(a, LOG_ID, left);
  return len == log_producer_encode(b, LOG_ID, right) && memcmp(left, right, len) == 0;
}

/* What the disk says: the last hot record and, in @producers, the last record of each producer. */
static void read_disk(SimLeader *leader, LogHot *ret_hot, LogProducers *producers) {
  const GPtrArray *records = sim_disk_records(leader->disk);
  Sim *sim = leader->world->sim;
  g_autoptr(LogProducers) rebuilt = log_producers_new();
  gint64 end_offset = 0;
  log_hot_init(ret_hot);
  for (guint i = 0; i < records->len; i++) {
    const Stored *stored = g_ptr_array_index(records, i);
    if (stored->batch.base_offset != end_offset)
      sim_violated(sim, "the log has a gap or an overlap at offset %" G_GINT64_FORMAT, end_offset);
    end_offset = log_batch_next_offset(&stored->batch);
    if (stored->batch.producer_id)
      log_producers_add(rebuilt, &stored->batch);
    LogProducer producer;
    if (!stored->producer_len)
      continue;
    g_autoptr(Failure) failure =
        log_producer_decode(stored->producer, stored->producer_len, LOG_ID, stored->request.producer_id, &producer);
    if (!failure)
      log_producers_restore(producers, &producer);
  }
  if (records->len > 0) {
    const Stored *last = g_ptr_array_index(records, records->len - 1);
    log_hot_clear(ret_hot);
    g_autoptr(Failure) failure = log_hot_decode(last->hot->data, last->hot->len, LOG_ID, ret_hot);
    INVARIANT(!failure, "what was encoded can be decoded");
  }
  for (guint i = 0; i < leader->world->clients->len; i++) {
    if (!same_producer(log_producers_find(producers, i + 1), log_producers_find(rebuilt, i + 1)))
      sim_violated(sim, "what is stored of producer %u is not what its batches in the log make", i + 1);
  }
}

static void leader_start(gpointer data) {
  SimLeader *leader = data;
  LogHot hot;
  g_autoptr(LogProducers) producers = log_producers_new();
  read_disk(leader, &hot, producers);
  leader->replica = replica_new(&hot, NULL);
  log_hot_clear(&hot);
  for (guint i = 0; i < leader->world->clients->len && leader->world->bug != IDEMPOTENCE_BUG_FORGETS; i++) {
    const LogProducer *producer = log_producers_find(producers, i + 1);
    if (producer)
      replica_restore_producer(leader->replica, producer);
  }
  static const gint32 ISR[] = {BROKER_ID};
  const ReplicaAssignment assignment = {.broker_id = BROKER_ID,
                                        .leader_id = BROKER_ID,
                                        .leader_epoch = ++leader->epoch,
                                        .replicas = ISR,
                                        .replica_count = G_N_ELEMENTS(ISR),
                                        .isr = ISR,
                                        .isr_count = 1,
                                        .min_insync_replicas = 1,
                                        .flush = leader->flush};
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_assign(leader->replica, &assignment, &out);
  settle(leader, &out, TRUE);
}

static gint compare_pending(gconstpointer a, gconstpointer b) {
  gint64 left = ((const Pending *)a)->append.base_offset, right = ((const Pending *)b)->append.base_offset;
  return left < right ? -1 : left > right;
}

/* The dead replica is run dry, so that it can be freed; nobody hears of it. */
static void bury(SimLeader *leader) {
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_retire(leader->replica, &out);
  settle(leader, &out, FALSE);
  g_autoptr(GList) left = g_list_sort(g_hash_table_get_keys(leader->pending), compare_pending);
  for (GList *link = left; link; link = link->next) {
    Pending *pending = link->data;
    ReplicaOut progress = REPLICA_OUT_INIT;
    replica_local_progress(leader->replica, &pending->append, pending->append.stage, &progress);
    settle(leader, &progress, FALSE);
  }
  g_clear_pointer(&leader->replica, replica_free);
  g_clear_pointer(&leader->last, g_free);
}

void sim_leader_crash(SimLeader *leader) {
  if (!leader->replica)
    return;
  SimWorld *world = leader->world;
  gboolean power = leader->flush == MILENA__V1__FLUSH__FLUSH_ALWAYS && sim_chance(world->sim, 500);
  bury(leader);
  sim_disk_crash(leader->disk, power ? SIM_POWER_CUT : SIM_KILLED);
  world->result->crashes++;
  sim_after(world->sim, sim_between(world->sim, 0, RESTART_MAX_US), leader_start, leader, NULL);
}

/* ---- life ---- */

SimLeader *sim_leader_new(SimWorld *world, gboolean flush_os) {
  SimLeader *leader = g_new0(SimLeader, 1);
  leader->world = world;
  leader->flush = flush_os ? MILENA__V1__FLUSH__FLUSH_OS : MILENA__V1__FLUSH__FLUSH_ALWAYS;
  leader->epoch = -1;
  leader->disk = sim_disk_new(world->sim, 500, 5000, stored_free);
  leader->pending = g_hash_table_new_full(NULL, NULL, g_free, NULL);
  leader_start(leader);
  return leader;
}

void sim_leader_free(SimLeader *leader) {
  if (!leader)
    return;
  if (leader->replica)
    bury(leader);
  g_hash_table_unref(leader->pending);
  sim_disk_free(leader->disk);
  g_free(leader);
}

void sim_leader_visit(SimLeader *leader, void (*visit)(SimWorld *world, gint64 offset, guint client, guint64 value)) {
  LogHot hot;
  g_autoptr(LogProducers) producers = log_producers_new();
  read_disk(leader, &hot, producers);
  log_hot_clear(&hot);
  const GPtrArray *records = sim_disk_records(leader->disk);
  for (guint i = 0; i < records->len; i++) {
    const Stored *stored = g_ptr_array_index(records, i);
    for (guint32 j = 0; j < stored->batch.record_count; j++)
      visit(leader->world, stored->batch.base_offset + j, stored->request.client, stored->request.first_value + j);
  }
}
