/* A broker in memory, for tests of the read path: a front whose partitions are arrays of batches. It takes the place
 * of front.h, timers.h and source.h at link time. All functions but new and free on the front's loop (fake_on_loop). */
#pragma once

#include "services/broker/front.h"
#include "storage/log/batch.h"

G_BEGIN_DECLS

#define FAKE_PARTITIONS 4
#define FAKE_TOPIC "t"
#define FAKE_TOPIC_ID "00000000-0000-0000-0000-00000000000a"

typedef struct {
  GArray *batches;
  gint64 log_start_offset, high_watermark;
  gint failures; /* so many answers fail with `reason` */
  FailureReason reason;
} FakePartition;

struct Front {
  Loop *loop; /* first: see fake_timers.c */
  FakePartition partitions[FAKE_PARTITIONS];
  GPtrArray *waiting; /* of SourceRead in flight that wait for data */
  gboolean draining;
  gboolean hasty; /* waits end at once, as a leader's that drains */
  /* Counts; read with g_atomic_int_get. */
  gint reads, reads_in_flight, waiting_reads, finds;
};

/* @loop: borrowed */
Front *fake_front_new(Loop *loop);
void fake_front_free(Front *front);

/* Run @func with @front on its loop, and wait. */
void fake_on_loop(Front *front, void (*func)(gpointer front));
/* Append @count records of @value_bytes (0: "v<offset>"), and wake who waits. From the test's thread. */
void fake_append(Front *front, gint32 partition, guint count, gsize value_bytes, Milena__V1__Compression compression);
/* The next @count answers of a partition fail. From the test's thread. */
void fake_fail(Front *front, gint32 partition, FailureReason reason, gint count);
void fake_set_log_start(Front *front, gint32 partition, gint64 offset);

G_END_DECLS
