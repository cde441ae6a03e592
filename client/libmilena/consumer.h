/* A consumer from the inside: what the user's thread and the fetcher on the client's loop share, under one mutex.
 *
 *   a partition:   resolving (its start is no offset yet) ──ListOffsets──► fetching ──error that does not pass──►
 * resting ▲                                                    │   ▲                                   │ └── seek, or
 * reset after OFFSET_OUT_OF_RANGE ────────┘   └────────────── seek ───────────────┘
 *
 * Fetched batches wait in one queue, in the order of their arrival; the user's thread decodes them in poll. */
#pragma once

#include <glib.h>
#include <pthread.h>

#include "client/libmilena/client.h"
#include "storage/log/records.h"

G_BEGIN_DECLS

typedef struct Fetcher Fetcher;

typedef enum { PART_RESOLVING, PART_FETCHING, PART_RESTING } PartState;

/* A partition that is, or was, assigned. Reference-counted under the mutex: requests and batches hold it. */
typedef struct {
  guint refs;
  char *topic;
  gint32 partition;
  char *topic_id;     /* once known: a re-created topic is another one */
  guint32 generation; /* rises with every seek and reset: what was asked for before is dropped */
  gboolean assigned;
  gboolean paused; /* not fetched, not given */
  PartState state;
  MilenaPosition start; /* in RESOLVING */
  gint64 fetch_offset;  /* the next to ask for; in FETCHING */
  gint64 position;      /* the next to give to the user; -1 in RESOLVING */
  gint64 high_watermark;
  gint64 log_start_offset;
  gint64 committed;        /* by this consumer's group, as far as it knows; -1: nothing */
  gint32 given_epoch;      /* of the leader that the last record given was read from; -1: none */
  gboolean asked;          /* a request is under way */
  gboolean displaced;      /* that before it was given up, unanswered */
  guint64 queued_bytes;    /* fetched and not polled */
  gint64 not_before_us;    /* of the next try */
  guint failures;          /* in a row */
  gint64 missing_since_us; /* when the metadata had no such partition any more; 0 when it has */
  gint64 unknown_since_us; /* when its leader first did not know it; 0 when it does */
} Part;

/* What poll looks at next: a batch, a step forward without records, or an error. */
typedef struct {
  Part *part;
  guint32 generation;
  LogBatch batch;     /* without records: none */
  gint64 next_offset; /* behind it */
  gboolean moves;     /* the position becomes next_offset even if that is lower: after a reset */
  gint64 high_watermark;
  gint64 log_start_offset;
  gsize bytes;
  Failure *failure; /* owned */
} Chunk;

struct MilenaConsumer {
  MilenaClient *client;
  MilenaConsumerOptions options;
  Fetcher *fetcher;

  pthread_mutex_t mutex; /* guards what follows, and every Part and Chunk in it */
  pthread_cond_t arrived;
  GPtrArray *parts; /* of Part: those assigned; a reference each */
  GQueue chunks;    /* of Chunk */
  guint64 queued_bytes;
  Failure *trouble;    /* what is being waited out */
  struct Group *group; /* that it joined; NULL: none. Set and cleared by the user's thread */

  /* The user's thread alone: the batch that poll gives out of. */
  Chunk *current;
  LogRecordsReader *reader;
  GArray *records; /* of MilenaConsumedRecord */
  GArray *headers; /* of MilenaHeader */
  GStringChunk *names;
  MilenaRecordBatch batch;
};

/* All with the mutex held. */
Part *part_ref(Part *part);
void part_unref(Part *part);
/* Drop what was fetched and asked for, and go on at @position. */
void part_move(MilenaConsumer *consumer, Part *part, MilenaPosition position);
/* Queue an error that does not pass: the partition rests. @failure: taken. */
void part_rest(MilenaConsumer *consumer, Part *part, Failure *failure);
void consumer_push(MilenaConsumer *consumer, Chunk *chunk);
/* The partition, or NULL. */
Part *part_find(const GPtrArray *parts, const char *topic, gint32 partition);
/* Read one more partition; or one less. */
Part *part_assign(MilenaConsumer *consumer, const MilenaAssignment *assignment);
void part_unassign(MilenaConsumer *consumer, Part *part);
void chunk_free(Chunk *chunk);

Fetcher *fetcher_new(MilenaConsumer *consumer);
/* Look at the consumer, soon. Any thread. */
void fetcher_wake(Fetcher *fetcher);
/* Ends all requests. Any thread but the loop's. NULL is fine. */
void fetcher_free(Fetcher *fetcher);

G_END_DECLS
