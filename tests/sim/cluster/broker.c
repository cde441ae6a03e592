/* See broker.h: the process and its disk.
 *
 * Invariants: nothing of a former life reaches this one; the logs' arrays are what the disk has, or has been given.
 * Failure modes: none; what breaks is a rule. */
#include "tests/sim/cluster/broker.h"

#include <string.h>

#include "services/base/invariant.h"
#include "tests/sim/cluster/disk.h"
#include "tests/sim/cluster/office.h"

typedef void (*BrokerFunc)(Broker *broker, gpointer data);

/* Something that waits for a broker: in its inbox, or for a time. */
typedef struct {
  Broker *broker;
  guint life;
  BrokerFunc func;
  gpointer data;
  GDestroyNotify free;
} Task;

static void task_free(gpointer data) {
  Task *task = data;
  if (task->free)
    task->free(task->data);
  g_free(task);
}

gboolean broker_runs(const Broker *broker) {
  return broker->up && !broker->frozen;
}

gint64 broker_now_ms(const Broker *broker) {
  return sim_now_us(broker->cluster->sim) / 1000 * broker->clock_per_mille / 1000;
}

void broker_post(Broker *broker, BrokerFunc func, gpointer data, GDestroyNotify free) {
  if (!broker->frozen) {
    if (broker->up)
      func(broker, data);
    if (free)
      free(data);
    return;
  }
  Task *task = g_new(Task, 1);
  *task = (Task){broker, broker->life, func, data, free};
  g_queue_push_tail(&broker->inbox, task);
}

static void time_has_come(gpointer data) {
  const Task *task = data;
  if (task->broker->up && task->broker->life == task->life)
    broker_post(task->broker, task->func, task->data, NULL);
}

void broker_after(Broker *broker, gint64 delay_us, BrokerFunc func, gpointer data, GDestroyNotify free) {
  INVARIANT(!free, "what waits for a time owns nothing: it may be thawed later");
  Task *task = g_new(Task, 1);
  *task = (Task){broker, broker->life, func, data, NULL};
  sim_after(broker->cluster->sim, delay_us * 1000 / broker->clock_per_mille, time_has_come, task, task_free);
}

/* ---- Life ---- */

void broker_new_disk(Broker *broker) {
  INVARIANT(!broker->up, "a disk is changed while the machine is off");
  Cluster *cluster = broker->cluster;
  if (broker->disk)
    g_ptr_array_add(cluster->scrap, broker->disk);
  broker->disk = disk_new(cluster);
  broker->clean = TRUE; /* a new folder */
  cluster_uuid(cluster, broker->incarnation);
  g_hash_table_remove_all(broker->logs);
}

Broker *broker_new(Cluster *cluster, gint32 id) {
  Broker *broker = g_new0(Broker, 1);
  *broker = (Broker){.cluster = cluster, .id = id, .clock_per_mille = 1000};
  g_queue_init(&broker->inbox);
  broker->logs = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, log_free);
  broker->proposals = g_array_new(FALSE, FALSE, sizeof(Proposal));
  broker->streams = g_ptr_array_new_with_free_func(stream_unref);
  broker_new_disk(broker);
  return broker;
}

void broker_start(Broker *broker) {
  INVARIANT(!broker->up, "what is down can start");
  Cluster *cluster = broker->cluster;
  broker->up = TRUE;
  broker->life++;
  broker->clock_per_mille = sim_between(cluster->sim, 900, 1100);
  broker->stopped_in_order = broker->clean;
  broker->stop_told = FALSE;
  broker->clean = FALSE;
  broker->epoch = 0;
  broker->fenced = TRUE;
  broker->leaving = FALSE;
  broker->lagging = 0;
  cluster_uuid(cluster, broker->process_id);
  broker_tell(broker, "starts%s", broker->stopped_in_order ? ", stopped in order before" : "");
  logs_begin(broker);
  membership_begin(broker);
  proposals_begin(broker);
}

/* The process is gone; its disk has what it has. */
static void end(Broker *broker) {
  streams_end(broker);
  logs_end(broker);
  broker->up = broker->frozen = FALSE;
  *broker->process_id = '\0';
  g_clear_pointer(&broker->call, call_unref);
  g_clear_pointer(&broker->asking, call_unref);
  g_clear_pointer(&broker->reporting, call_unref);
  g_clear_pointer(&broker->followed, metadata_image_unref);
  g_clear_pointer(&broker->image, metadata_image_unref);
  g_queue_clear_full(&broker->inbox, task_free);
  g_array_set_size(broker->proposals, 0);
  broker->flushing = broker->look_soon = FALSE;
}

void broker_kill(Broker *broker, SimCrash crash) {
  INVARIANT(broker->up, "what runs can end");
  broker_tell(broker, "%s", crash == SIM_KILLED ? "is killed" : "loses its power");
  end(broker);
  sim_disk_crash(broker->disk, crash);
  logs_recover(broker);
}

void broker_ends_in_order(Broker *broker) {
  broker_tell(broker, "has stopped in order");
  broker->cluster->result->clean_stops++;
  end(broker);
  disk_finish(broker->disk);
  broker->clean = broker->stopped_in_order || broker->stop_told;
  logs_recover(broker);
}

void broker_freeze(Broker *broker) {
  broker_tell(broker, "is frozen");
  broker->frozen = TRUE;
}

void broker_thaw(Broker *broker) {
  broker_tell(broker, "goes on, %u things waited", broker->inbox.length);
  broker->frozen = FALSE;
  while (!broker->frozen && broker->inbox.length > 0) {
    Task *task = g_queue_pop_head(&broker->inbox);
    if (broker->up && task->life == broker->life)
      task->func(broker, task->data);
    task_free(task);
  }
}

void broker_free(Broker *broker) {
  if (!broker)
    return;
  if (broker->up)
    end(broker);
  g_hash_table_unref(broker->logs);
  g_array_unref(broker->proposals);
  g_ptr_array_unref(broker->streams);
  sim_disk_free(broker->disk);
  g_free(broker);
}
