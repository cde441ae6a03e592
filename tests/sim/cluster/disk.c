/* See disk.h, and the kernel's SimDisk for what a crash leaves. */
#include "tests/sim/cluster/disk.h"

static void record_free(gpointer data) {
  DiskRecord *record = data;
  if (record->batch)
    batch_unref(record->batch);
  if (record->hot)
    g_byte_array_unref(record->hot);
  g_free(record);
}

SimDisk *disk_new(Cluster *cluster) {
  return sim_disk_new(cluster->sim, cluster->shape.write_max_us, cluster->shape.sync_max_us, record_free);
}

DiskRecord *disk_record_new(DiskKind kind, const Log *log, const ReplicaAppend *append) {
  DiskRecord *record = g_new0(DiskRecord, 1);
  record->kind = kind;
  record->log_id = log->log_id;
  record->broker = log->broker;
  if (kind != DISK_DROP) {
    record->hot = g_byte_array_new();
    replica_encode_hot(log->replica, log->log_id, append, record->hot);
  }
  if (append && append->producer.producer_id)
    record->producer_len = log_producer_encode(&append->producer, log->log_id, record->producer);
  return record;
}

static void on_done(gpointer data) {
  const DiskRecord *record = data;
  if (record->done)
    broker_post(record->broker, record->done, record->data, NULL);
}

guint disk_write(Broker *broker, DiskRecord *record, SimStage wants) {
  guint place = sim_disk_records(broker->disk)->len;
  sim_disk_write(broker->disk, record, wants, on_done, record);
  return place;
}

void disk_finish(SimDisk *disk) {
  sim_disk_settle(disk);
}
