/* A consumer from the inside: what the user's thread and the fetcher on the client's loop share, under one mutex.
 *
 *   a partition:   resolving (its start is no offset yet) ──ListOffsets──► fetching ──error that does not pass──►
 * resting ▲                                                    │   ▲                                   │ └── seek, or
 * reset after OFFSET_OUT_OF_RANGE ────────┘   └────────────── seek ───────────────┘
 *
 * Fetched batches wait with their part, and parts that have some take turns; the user's thread decodes them in poll. */
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
  GQueue chunks;           /* of Chunk: fetched and not polled, in the order of offsets */
  GList turn;              /* in the consumer's `ready`, while there are chunks */
  guint64 queued_bytes;    /* of them */
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

/* A chunk that records are read from. */
typedef struct {
  Chunk *chunk;
  LogRecordsReader *reader;
} Opened;

/* What the latest poll gave: it borrows from here. The user's thread alone. */
typedef struct {
  GArray *opened;  /* of Opened, of one part, in the order of offsets */
  gboolean more;   /* the last of them has more records, for the next poll */
  GArray *records; /* of MilenaConsumedRecord */
  GArray *headers; /* of MilenaHeader */
  GStringChunk *names;
  gsize bytes; /* of keys and values */
  MilenaRecordBatch batch;
} Given;

struct MilenaConsumer {
  MilenaClient *client;
  MilenaConsumerOptions options;
  Fetcher *fetcher;

  pthread_mutex_t mutex; /* guards what follows, and every Part and Chunk in it */
  pthread_cond_t arrived;
  GPtrArray *parts; /* of Part: those assigned; a reference each */
  GQueue ready;     /* of Part, by their embedded links: those with chunks, in the order of their turns */
  guint64 queued_bytes;
  Failure *trouble;    /* what is being waited out */
  struct Group *group; /* that it joined; NULL: none. Set and cleared by the user's thread */

  Given given;
};

/* All with the mutex held. */
Part *part_ref(Part *part);
void part_unref(Part *part);
/* Drop what was fetched and asked for, and go on at @position. */
void part_move(MilenaConsumer *consumer, Part *part, MilenaPosition position);
/* Queue an error that does not pass: the partition rests. @failure: taken. */
void part_rest(MilenaConsumer *consumer, Part *part, Failure *failure);
/* @chunk: taken; of the part's generation */
void consumer_push(MilenaConsumer *consumer, Chunk *chunk);
/* The same for the part's first chunk, which was popped. */
void consumer_push_back(MilenaConsumer *consumer, Chunk *chunk);
/* The part's first chunk, or NULL; the next turn is that of the part that waited longest. */
Chunk *part_pop(MilenaConsumer *consumer, Part *part);
void part_drop_chunks(MilenaConsumer *consumer, Part *part);
/* The partition, or NULL. */
Part *part_find(const GPtrArray *parts, const char *topic, gint32 partition);
/* Read one more partition; or one less. */
Part *part_assign(MilenaConsumer *consumer, const MilenaAssignment *assignment);
void part_unassign(MilenaConsumer *consumer, Part *part);
void chunk_free(Chunk *chunk); /* NULL is fine */
/* Forget what the latest poll gave. The user's thread; the mutex is not held. */
void given_clear(MilenaConsumer *consumer);

Fetcher *fetcher_new(MilenaConsumer *consumer);
/* Look at the consumer, soon. Any thread. */
void fetcher_wake(Fetcher *fetcher);
/* Ends all requests. Any thread but the loop's. NULL is fine. */
void fetcher_free(Fetcher *fetcher);

G_END_DECLS
