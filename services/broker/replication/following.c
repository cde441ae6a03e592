/* One followed partition: from its position to the leader's records. See following.h for the states.
 *
 * Invariants: a partition is among its link's exactly while it is not OFF; the epoch that it follows is the one of the
 * metadata. Thread: the shard's loop. Failure modes: whatever goes wrong, the leader is asked anew, after a while;
 * while the disk has no room for what it has, it is not asked. */
#include "services/base/slog.h"
#include "services/broker/replication/replication_internal.h"

#define RETRY_MS 100
/* How often a replica that was held back by a full disk looks whether there is room again. */
#define ROOM_RETRY_MS 1000
/* A leader may hear of its election a little later than its followers: nobody needs to know. */
#define REFUSALS_QUIET 20

static void on_retry(Timer *timer, gpointer data);

static void retry_in(Partition *partition, gint64 delay_ms) {
  timer_set(partition->shard->timers, &partition->following.retry, g_get_monotonic_time() + delay_ms * 1000, on_retry,
            partition);
}

/* It was held back for want of room, and there is none yet: look again later. */
static gboolean lacks_room(Partition *partition) {
  Following *following = &partition->following;
  if (!following->held_back)
    return FALSE;
  following->held_back = !partition_has_room_to_follow(partition);
  if (following->held_back)
    retry_in(partition, ROOM_RETRY_MS);
  return following->held_back;
}

static void try_begin(Partition *partition) {
  Following *following = &partition->following;
  ReplicaPosition position;
  if (following->state != FOLLOWING_WANTS || timer_is_set(&following->retry) ||
      !replication_link_is_ready(following->link) || lacks_room(partition))
    return;
  if (replica_damage(partition->replica))
    (void)partition_mend(partition);
  if (!replica_position(partition->replica, &position))
    return; /* tried again when what is missing has come: the link, the retry's time, the storage */
  following->state = FOLLOWING_ASKED;
  replication_link_begin(following->link, partition, &position);
}

static void on_retry(Timer *timer, gpointer data) {
  (void)timer;
  try_begin(data);
}

static void ask_anew(Partition *partition, gint64 delay_ms) {
  Following *following = &partition->following;
  following->state = FOLLOWING_WANTS;
  if (delay_ms > 0)
    retry_in(partition, delay_ms);
  else
    try_begin(partition);
}

static void leave(Partition *partition) {
  Following *following = &partition->following;
  if (following->state == FOLLOWING_OFF)
    return;
  timer_clear(partition->shard->timers, &following->retry);
  following->state = FOLLOWING_OFF;
  replication_link_remove(g_steal_pointer(&following->link), partition);
}

void following_assigned(Partition *partition) {
  Following *following = &partition->following;
  Replication *replication = partition->shard->replication;
  gint32 leader_id = replica_follows(partition->replica);
  gint32 epoch = replica_leader_epoch(partition->replica);
  if (leader_id >= 0 && following->state != FOLLOWING_OFF && following->leader_epoch == epoch)
    return;
  leave(partition);
  if (leader_id < 0 || replication->stopped)
    return;
  following->leader_epoch = epoch;
  following->refusals = 0;
  following->state = FOLLOWING_WANTS;
  following->link = replication_link_get(replication, leader_id);
  replication_link_add(following->link, partition);
  try_begin(partition);
}

void following_written(Partition *partition) {
  Following *following = &partition->following;
  if (following->state == FOLLOWING_FOLLOWS)
    replication_link_progress(following->link, partition);
  else if (following->state == FOLLOWING_WANTS)
    try_begin(partition);
}

void following_look(Partition *partition) {
  try_begin(partition);
}

void following_link_opened(Partition *partition) {
  ask_anew(partition, 0);
}

void following_link_lost(Partition *partition) {
  partition->following.state = FOLLOWING_WANTS;
}

/* ---- what the leader says ---- */

static void refused(Partition *partition, const Milena__Internal__V1__FollowMatch *match) {
  g_autoptr(Failure) failure = failure_from_status(match->status);
  if (++partition->following.refusals % REFUSALS_QUIET == 0)
    slog_warning("the leader does not let this replica follow", "partition", partition->name, "tries",
                 SLOG_INT(partition->following.refusals), "error",
                 failure ? failure_message(failure) : "no reason was given", NULL);
  ask_anew(partition, RETRY_MS);
}

void following_take_match(Partition *partition, const Milena__Internal__V1__FollowMatch *match) {
  Following *following = &partition->following;
  if (match->leader_epoch != following->leader_epoch || following->state == FOLLOWING_WANTS)
    return; /* of an epoch, or a question, that is over */
  switch (match->verdict) {
  case MILENA__INTERNAL__V1__FOLLOW_VERDICT__FOLLOW_VERDICT_GOES_ON:
    following->state = FOLLOWING_FOLLOWS;
    following->refusals = 0;
    following_written(partition); /* what was synced since it asked would else be told with the next write alone */
    break;
  case MILENA__INTERNAL__V1__FOLLOW_VERDICT__FOLLOW_VERDICT_DIVERGED:
    ask_anew(partition, partition_cut(partition, match->epoch, match->end_offset) ? 0 : RETRY_MS);
    break;
  case MILENA__INTERNAL__V1__FOLLOW_VERDICT__FOLLOW_VERDICT_TOO_OLD:
    ask_anew(partition, match->end_offset > replica_log_end(partition->replica) &&
                                partition_begin_anew(partition, match->end_offset)
                            ? 0
                            : RETRY_MS);
    break;
  default:
    refused(partition, match);
  }
}

/* The disk is too full for what the leader has: the leader is told to send no more, and goes on without this replica,
 * which leaves those in sync by the ordinary rule. One that is not sent anything stays where it is. */
static void hold_back(Partition *partition) {
  Following *following = &partition->following;
  slog_warning("no room on the disk for what the leader has: this replica follows on once there is", "partition",
               partition->name, NULL);
  replication_link_end(following->link, partition);
  following->held_back = TRUE;
  ask_anew(partition, ROOM_RETRY_MS);
}

void following_take_records(Partition *partition, const Milena__Internal__V1__FollowedLog *log, const GArray *batches) {
  Following *following = &partition->following;
  if (following->state != FOLLOWING_FOLLOWS || log->leader_epoch != following->leader_epoch)
    return;
  if (batches->len > 0 && !partition_has_room_to_follow(partition)) {
    hold_back(partition);
    return;
  }
  if (!partition_follow(partition, log->leader_epoch, batches)) {
    ask_anew(partition, RETRY_MS);
    return;
  }
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_follow_watermark(partition->replica, log->leader_epoch, log->high_watermark, &out);
  (void)replica_follow_start(partition->replica, log->leader_epoch, log->log_start_offset);
  partition_settle(partition, &out);
  partition_save_start(partition);
}
