/* Appends records to one partition of __consumer_offsets, in order, each once, under a lease.
 *
 * It writes as the producer LOG_PRODUCER_COORDINATOR with the lease's epoch, and counts records from 0: so the leader
 * (this one or the next) refuses the appends of an older lease, and knows a batch again that is sent twice. What
 * gathers while batches are under way goes in the next one: one append and one fsync carry many records.
 *
 * Thread: the loop of its links. */
#pragma once

#include "services/base/timers.h"
#include "services/group_coordinator/broker_links.h"

G_BEGIN_DECLS

typedef struct Appender Appender;

typedef struct {
  /* Everything up to this record is safe, as acks=all says. @first: of the first batch alone, else NULL */
  void (*durable)(guint64 number, const BrokerReceipt *first, gpointer data);
  /* It has ended: no more callbacks. @failure: borrowed; FENCED: another has the lease
   * @may_be_written: what was not durable may be in the log; else it certainly is not */
  void (*failed)(const Failure *failure, gboolean may_be_written, gpointer data);
} AppenderEvents;

typedef struct {
  BrokerLinks *links;
  Timers *timers;
  const char *topic, *topic_id; /* copied */
  gint32 partition;
  guint32 lease_epoch;
  gint64 timeout_ms; /* how long a batch is tried */
  const AppenderEvents *events;
  gpointer data;
} AppenderOptions;

Appender *appender_new(const AppenderOptions *options);
/* Hears nothing more. Within `failed` too, but not within `durable`. NULL is fine. */
void appender_free(Appender *appender);

/* The leader, as the metadata has it: what is under way to another goes to this one.
 *
 * @address: its peer address; copied; NULL: there is none now
 * @leader_epoch: of the partition */
void appender_set_leader(Appender *appender, const char *address, gint32 leader_epoch);
/* Add a record behind the others. @number: rises by one; @value: NULL for a tombstone. Returns NULL, or
 * RECORD_TOO_LARGE. */
Failure *appender_add(Appender *appender, guint64 number, GBytes *key, GBytes *value, gint64 wall_ms);
/* Send what was added, or leave it to gather. */
void appender_flush(Appender *appender);
/* Nothing waits, and nothing is under way. */
gboolean appender_is_idle(const Appender *appender);
/* Bytes of records that are not durable yet. */
gsize appender_backlog_bytes(const Appender *appender);

G_END_DECLS
