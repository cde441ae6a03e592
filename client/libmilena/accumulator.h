/* What a producer has accepted and not reported yet: batches in a lane for each partition.
 *
 * Users' threads append; the sender, on the client's loop, takes batches out. It is a mailbox between them, bounded in
 * bytes, so it has a mutex of its own: held for moments, never while records are compressed or callbacks run.
 *
 *   open (takes records) ──full, flush, taken──► closed ──taken──► in flight ──► reported
 *                                                   ▲                  │
 *                                                   └── put back: retry┘                                            */
#pragma once

#include <glib.h>
#include <milena/milena.h>
#include <pthread.h>

#include "client/libmilena/sequence.h"
#include "client/libmilena/view.h"
#include "storage/log/records.h"

G_BEGIN_DECLS

typedef struct Accumulator Accumulator;
typedef struct Batch Batch;
typedef struct Lane Lane;
typedef struct TopicLanes TopicLanes;

/* Who wants to hear of a record. */
typedef struct {
  guint32 index; /* in its batch */
  MilenaDeliveryFunc done;
  gpointer user_data;
  gint64 timestamp_ms;
} BatchWaiter;

/* Some records of one partition. While it is in a lane it belongs to the mutex; once taken, to the sender. */
struct Batch {
  Lane *lane;
  guint64 number;             /* in the order of creation: what a flush waits for */
  GList outstanding;          /* in the accumulator's list, from creation until it is reported */
  LogRecordsBuilder *builder; /* until it is encoded */
  LogBatch encoded;           /* from then on */
  GArray *waiters;            /* of BatchWaiter, rising by index; NULL when nobody wants to hear */
  guint32 count;
  gsize bytes; /* of the buffer */
  gboolean closed;
  gint64 created_us;
  gint64 deadline_us;
  /* The sender's. */
  gint64 not_before_us; /* of the next try */
  gint64 sent_us;
  guint64 correlation_id;
  guint attempts;
  gboolean maybe_written; /* an earlier try had an unknown outcome */
  gboolean sequenced;     /* `encoded` has its producer and its sequence */
  gboolean written;       /* it was, as `receipt` says, and waits for its report behind an earlier batch */
  MilenaReceipt receipt;
  Failure *last; /* why the latest try failed; owned */
};

/* The batches of one partition that wait, oldest first; at most the last is open. */
struct Lane {
  TopicLanes *topic;
  gint32 partition;
  GQueue queue; /* of Batch */
  gboolean has_leader;
  gboolean active; /* in accumulator_active, */
  GList turn;      /* by this link */
  /* The sender's. */
  GQueue in_flight;        /* of Batch: taken and not answered, oldest first */
  gboolean draining;       /* a batch was put back: nothing is sent until all in flight are answered */
  Sequence sequence;       /* of an idempotent producer */
  gint64 missing_since_us; /* when the metadata had no such partition any more; 0 when it has */
};

struct TopicLanes {
  char *name;
  GPtrArray *lanes; /* of Lane, by partition, owned */
  gsize batch_limit;
  gboolean missing; /* the metadata does not have it any more */
  guint32 sticky;   /* where records without a key go now */
};

/* @options: borrowed, outlives it
 * @wake: tells the sender that there is something to look at; called on users' threads, with the mutex held */
Accumulator *accumulator_new(const MilenaProducerOptions *options, void (*wake)(gpointer data), gpointer wake_data);
/* Must be empty. NULL is fine. */
void accumulator_free(Accumulator *accumulator);

/* ---- users' threads ---- */

typedef struct {
  LogField key, value;
  const LogHeader *headers;
  gsize header_count;
  gint64 timestamp_ms;
  gint32 partition; /* or MILENA_PARTITION_ANY */
  MilenaDeliveryFunc done;
  gpointer user_data;
  gboolean urgent; /* no linger */
} AppendRecord;

/* Append a record to a batch of @topic_name.
 *
 * @wait_until_us: for how long to wait for room; 0: not at all
 *
 * Returns NULL, LIMIT_EXCEEDED with metadata "buffer_bytes", UNKNOWN_PARTITION, INVALID_FIELD, RECORD_TOO_LARGE, or
 * UNKNOWN_TOPIC when accumulator_learn was not called for the topic, or its topic has gone since. */
Failure *accumulator_append(Accumulator *accumulator, const char *topic_name, const AppendRecord *record,
                            gint64 wait_until_us);
/* Have lanes for the topic, which @view must know. */
void accumulator_learn(Accumulator *accumulator, const View *view, const char *topic_name);
/* Close everything and wait until all that was appended before is reported. Returns FALSE when the time is up. */
gboolean accumulator_flush(Accumulator *accumulator, gint64 deadline_us);
void accumulator_stats(Accumulator *accumulator, MilenaProducerStats *ret_stats);

/* ---- the sender, on the client's loop ---- */

/* Partitions and leaders may have changed. */
void accumulator_update(Accumulator *accumulator, const View *view);
/* Lanes with something in them, the one that had its turn longest ago first: a new array of borrowed pointers. Lanes
 * live as long as the accumulator. */
GPtrArray *accumulator_active(Accumulator *accumulator);

/* What a lane's first batch says. */
typedef struct {
  gboolean empty;
  gboolean open; /* more records may join it */
  gboolean due;  /* closed, or lingered long enough, or senders wait for room */
  gint64 due_us; /* when it will be, if not */
  gint64 not_before_us;
  gint64 deadline_us;
  guint attempts;
  gboolean sequenced, written;
} LaneHead;
void accumulator_peek(Accumulator *accumulator, Lane *lane, gint64 now_us, LaneHead *ret_head);
/* Take the first batch out, and have the lane wait behind all others for its next turn; closes the batch. Never NULL
 * for a lane that is not empty. */
Batch *accumulator_take(Accumulator *accumulator, Lane *lane);
/* Put a batch back, before all of its lane that came after it. */
void accumulator_put_back(Accumulator *accumulator, Batch *batch);
/* Encode a taken batch, once, but do not seal it: it gets its numbers first. Returns NULL or why it can't be. */
Failure *accumulator_encode(Accumulator *accumulator, Batch *batch);
/* A taken batch was reported: forget it, make room. */
void accumulator_finish(Accumulator *accumulator, Batch *batch, gboolean delivered, gboolean unknown);
void accumulator_count_sent(Accumulator *accumulator, const Batch *batch);
/* What keeps batches from leaving, for who waits for room; taken, NULL when all is well. */
void accumulator_set_trouble(Accumulator *accumulator, Failure *trouble);
/* The same, as a copy owned by the caller; NULL when all is well. */
Failure *accumulator_get_trouble(Accumulator *accumulator);

G_END_DECLS
