/* How long records stay: see retention.h. Stateless. */
#include "storage/log/retention.h"

#include "storage/log/hot.h"

/* So many segments make up a retention: what is over stays for that part of it at most, on top. */
#define SEGMENTS_IN_RETENTION 4
#define ROLL_LEAST_MS (G_GINT64_CONSTANT(10) * 1000)
#define ROLL_LEAST_BYTES (G_GINT64_CONSTANT(16) << 20)

/* When everything up to a chunk's end was there, as far as can be said. */
static gint64 end_time(gint64 max_timestamp_ms, gint64 written_ms) {
  if (max_timestamp_ms <= 0)
    return written_ms;
  return MIN(max_timestamp_ms, written_ms);
}

/* Where chunk @i ends. */
static gint64 chunk_end(const LogChunk *chunks, guint count, const LogStand *stand, guint i) {
  return i + 1 < count ? chunks[i + 1].first_offset : stand->log_end_offset;
}

/* How many chunks are over by time. */
static guint over_by_time(const LogChunk *chunks, guint count, const LogStand *stand, const LogRetention *retention) {
  guint over = 0;
  for (; over < count; over++) {
    gboolean last = over + 1 == count;
    gint64 max_ms = last ? stand->max_timestamp_ms : chunks[over + 1].max_timestamp_before_ms;
    gint64 written_ms = chunks[over].closed_ms ? chunks[over].closed_ms : stand->last_append_timestamp_ms;
    if (end_time(max_ms, written_ms) >= retention->now_ms - retention->retention_ms)
      break;
  }
  return over;
}

/* How many chunks are over by size; never the last one. */
static guint over_by_size(const LogChunk *chunks, guint count, const LogStand *stand, const LogRetention *retention) {
  guint over = 0;
  while (over + 1 < count && stand->appended_bytes - chunks[over + 1].bytes_before >= retention->retention_bytes)
    over++;
  return over;
}

gint64 log_retention_start(const LogChunk *chunks, guint count, const LogStand *stand, const LogRetention *retention) {
  guint over = 0;
  if (retention->retention_ms >= 0)
    over = over_by_time(chunks, count, stand, retention);
  if (retention->retention_bytes >= 0)
    over = MAX(over, over_by_size(chunks, count, stand, retention));
  gint64 start = over > 0 ? chunk_end(chunks, count, stand, over - 1) : stand->log_start_offset;
  return MAX(stand->log_start_offset, MIN(start, stand->high_watermark));
}

/* ---- segments ---- */

LogRoll log_roll_for(gint64 shortest_ms, gint64 shortest_bytes, LogRoll most) {
  LogRoll roll = most;
  if (shortest_ms >= 0)
    roll.age_ms = MIN(most.age_ms, MAX(shortest_ms / SEGMENTS_IN_RETENTION, ROLL_LEAST_MS));
  if (shortest_bytes >= 0)
    roll.bytes = MIN(most.bytes, MAX(shortest_bytes / SEGMENTS_IN_RETENTION, ROLL_LEAST_BYTES));
  return roll;
}

LogRoll log_roll_now(LogRoll roll, guint segment_count, LogRoll most) {
  for (guint more = segment_count; more >= LOG_ROLL_DOUBLE_EVERY; more -= LOG_ROLL_DOUBLE_EVERY) {
    roll.age_ms = roll.age_ms > most.age_ms / 2 ? most.age_ms : roll.age_ms * 2;
    roll.bytes = roll.bytes > most.bytes / 2 ? most.bytes : roll.bytes * 2;
  }
  return roll;
}

/* ---- the clock ---- */

gboolean log_retention_clock(LogRetentionClock *clock, gint64 wall_ms, gint64 monotonic_ms, gboolean *ret_jumped) {
  gint64 ahead_ms = (wall_ms - clock->wall_ms) - (monotonic_ms - clock->monotonic_ms);
  *ret_jumped = clock->monotonic_ms != 0 && ahead_ms > LOG_RETENTION_JUMP_MS;
  clock->wall_ms = wall_ms;
  clock->monotonic_ms = monotonic_ms;
  if (*ret_jumped)
    clock->paused_until_ms = monotonic_ms + LOG_RETENTION_PAUSE_MS;
  return monotonic_ms >= clock->paused_until_ms;
}
