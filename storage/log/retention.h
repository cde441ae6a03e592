/* How long records stay: which of a log's oldest are over, and how large segments may grow so that they go in time.
 *
 * A log is a row of *chunks*: what it has in one time segment each. A chunk goes as a whole, the oldest first:
 *
 * - by time, when the latest timestamp up to its end lies further back than the retention: as in Kafka a record from
 * the past does not pull its neighbours along. Two kinds of timestamps say nothing about when a record came: later ones
 * than its writing, and of 1970 or before (a producer that set none). Then the time of writing counts, so a timestamp
 * of the future keeps nothing for ever;
 * - by size, while what is left without it is at least the retention.
 *
 * Nothing at or above the high watermark goes. Pure; stateless. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* No bound. */
#define LOG_RETENTION_NONE (-1)

/* What a log has in one segment. */
typedef struct {
  gint64 first_offset;
  gint64 max_timestamp_before_ms; /* of all records in front of it, or LOG_TIMESTAMP_NONE */
  gint64 bytes_before;            /* LogHot.appended_bytes in front of it */
  gint64 closed_ms;               /* when nothing more was written to it; 0: it is still */
} LogChunk;

/* Where the log stands behind its chunks. */
typedef struct {
  gint64 log_start_offset, high_watermark, log_end_offset;
  gint64 max_timestamp_ms, last_append_timestamp_ms; /* as in LogHot */
  gint64 appended_bytes;
} LogStand;

typedef struct {
  gint64 retention_ms, retention_bytes; /* or LOG_RETENTION_NONE */
  gint64 now_ms;                        /* wall clock */
} LogRetention;

/* The log's start as it shall be: the present one, or behind what is over.
 *
 * @chunks: ascending */
gint64 log_retention_start(const LogChunk *chunks, guint count, const LogStand *stand, const LogRetention *retention);

/* ---- segments ---- */

/* A segment can go once the longest retention of what is in it is over, so short retentions want short segments. */
typedef struct {
  gint64 age_ms, bytes;
} LogRoll;

/* Where to roll segments for the shortest retentions in use.
 *
 * @shortest: in use on this broker, or LOG_RETENTION_NONE each
 * @most: as configured: never beyond */
LogRoll log_roll_for(gint64 shortest_ms, gint64 shortest_bytes, LogRoll most);
/* The same with so many segments alive: where longer retentions keep them, short ones gain nothing by more of them. So
 * the bounds double with every LOG_ROLL_DOUBLE_EVERY segments. */
LogRoll log_roll_now(LogRoll roll, guint segment_count, LogRoll most);
#define LOG_ROLL_DOUBLE_EVERY 32

/* ---- the clock ---- */

/* A wall clock that jumps ahead would end everything at once. So after a jump, seen against a clock that does not,
 * retention by time pauses for as long as it takes to set the clock right. */
typedef struct {
  gint64 wall_ms, monotonic_ms; /* as they were last; 0: never yet */
  gint64 paused_until_ms;       /* monotonic */
} LogRetentionClock;
#define LOG_RETENTION_JUMP_MS (G_GINT64_CONSTANT(10) * 60 * 1000)
#define LOG_RETENTION_PAUSE_MS (G_GINT64_CONSTANT(60) * 60 * 1000)

/* To be told every now and then. Returns TRUE while the wall clock is to be trusted. @ret_jumped: it jumped just now */
gboolean log_retention_clock(LogRetentionClock *clock, gint64 wall_ms, gint64 monotonic_ms, gboolean *ret_jumped);

G_END_DECLS
