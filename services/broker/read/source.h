/* Where partitions are read from, wherever they are led: this broker's shards, or another broker over its peer
 * listener. Finds the leader, follows it when it moves, and tries again until a deadline: reading changes nothing, so
 * trying again is always safe.
 *
 * Operations are made by the caller, run on the front's loop, and call `done` once, always later than start. Freeing
 * one at any time cancels it: `done` is not called any more. Thread: the front's loop. */
#pragma once

#include "milena/v1/common.pb-c.h"
#include "services/base/failure.h"
#include "services/broker/partition.h"
#include "services/broker/read/request.h"

G_BEGIN_DECLS

/* What an operation is about, as the caller named it. All borrowed from the caller until start returns. */
typedef struct {
  const char *topic, *topic_id; /* one may be "" */
  gint32 partition;
  gboolean no_proxy;  /* refuse what another broker leads */
  gint64 deadline_us; /* monotonic: give up finding a leader that answers */
} SourceTarget;

/* Where the answer came from. Owned by the operation. */
typedef struct {
  char *topic, *topic_id; /* as the caller named it until the topic was found; never NULL */
  gboolean has_hint;
  gint32 leader_id;
  char *leader_address; /* NULL or where clients reach it */
  gint32 leader_epoch;
  guint64 metadata_version;
} SourceOrigin;
void source_origin_clear(SourceOrigin *origin);

/* ---- reading ---- */

typedef struct SourceRead SourceRead;
struct SourceRead {
  /* In. */
  SourceTarget target;
  gint64 from_offset;
  gsize max_bytes, min_bytes;
  gint64 wait_until_us; /* wait for min_bytes so long; 0: not at all */
  void (*done)(SourceRead *read, gpointer user_data);
  gpointer user_data;

  /* Out. */
  GArray *batches; /* as in PartitionRead; NULL on failure */
  PartitionBounds bounds;
  SourceOrigin origin;
  Failure *failure;

  /* Private. */
  struct SourceReadState *state;
};
SourceRead *source_read_new(void);
void source_read_start(SourceRead *read, Front *front);
void source_read_free(SourceRead *read); /* NULL is fine */

/* ---- finding offsets ---- */

typedef struct SourceFind SourceFind;
struct SourceFind {
  /* In. */
  SourceTarget target;
  Place place;
  void (*done)(SourceFind *find, gpointer user_data);
  gpointer user_data;

  /* Out. */
  gint64 offset; /* of the place; for an offset: itself, if it is within the log, else OFFSET_OUT_OF_RANGE */
  gboolean has_timestamp;
  gint64 timestamp_ms; /* of the record found by time */
  SourceOrigin origin;
  Failure *failure;

  /* Private. */
  struct SourceFindState *state;
};
SourceFind *source_find_new(void);
void source_find_start(SourceFind *find, Front *front);
void source_find_free(SourceFind *find); /* NULL is fine */

/* ---- deleting the oldest records ---- */

/* It changes something, and trying again is safe all the same: what is below an offset can be deleted twice. */
typedef struct SourceTrim SourceTrim;
struct SourceTrim {
  /* In. */
  SourceTarget target;
  gint64 before_offset; /* -1: all that are committed */
  gboolean validate_only;
  void (*done)(SourceTrim *trim, gpointer user_data);
  gpointer user_data;

  /* Out. */
  gint64 log_start_offset; /* the first that is kept */
  SourceOrigin origin;
  Failure *failure;

  /* Private. */
  struct SourceTrimState *state;
};
SourceTrim *source_trim_new(void);
void source_trim_start(SourceTrim *trim, Front *front);
void source_trim_free(SourceTrim *trim); /* NULL is fine */

/* ---- looking up a topic ---- */

typedef struct SourceTopic SourceTopic;
struct SourceTopic {
  /* In. */
  SourceTarget target; /* partition is not looked at */
  void (*done)(SourceTopic *topic, gpointer user_data);
  gpointer user_data;

  /* Out. */
  char *name, *id;
  guint partition_count;
  Failure *failure;

  /* Private. */
  struct SourceTopicState *state;
};
SourceTopic *source_topic_new(void);
void source_topic_start(SourceTopic *topic, Front *front);
void source_topic_free(SourceTopic *topic); /* NULL is fine */

G_END_DECLS
