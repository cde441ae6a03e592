/* What a broker writes: one record a write, as the log store's write-ahead log has them. */
#pragma once

#include "tests/sim/cluster/broker.h"

G_BEGIN_DECLS

typedef enum { DISK_CREATE, DISK_APPEND, DISK_CUT, DISK_HOT, DISK_DROP } DiskKind;

typedef struct {
  DiskKind kind;
  guint64 log_id;
  Batch *batch;    /* APPEND */
  gint64 end;      /* CUT */
  GByteArray *hot; /* all but DROP */
  guint8 producer[LOG_PRODUCER_VALUE_BYTES_MAX];
  gsize producer_len; /* 0: none */
  gboolean rotten;    /* it does not read any more, nor does what comes behind it in its log */
  /* Whom to tell. */
  Broker *broker;
  void (*done)(Broker *broker, gpointer data);
  gpointer data;
} DiskRecord;

SimDisk *disk_new(Cluster *cluster);
/* @record: taken; its broker is told once it has reached the stage. Returns its place. */
guint disk_write(Broker *broker, DiskRecord *record, SimStage wants);
DiskRecord *disk_record_new(DiskKind kind, const Log *log, const ReplicaAppend *append);
/* Everything is written and synced: the store closes in order. */
void disk_finish(SimDisk *disk);

G_END_DECLS
