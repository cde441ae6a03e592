/* See replica_case.h. */
#include "tests/unit/broker/replica_case.h"

#include "tests/shim/shim.h"

void case_take_out(ReplicaCase *c) {
  while (g_queue_pop_head_link(&c->out.answers) || g_queue_pop_head_link(&c->out.released))
    ;
  c->out = (ReplicaOut)REPLICA_OUT_INIT;
}

void case_begin(ReplicaCase *c) {
  c->replica = replica_new(NULL, NULL);
  c->out = (ReplicaOut)REPLICA_OUT_INIT;
  c->partition_epoch = 0;
}

void case_end(ReplicaCase *c) {
  case_take_out(c);
  replica_free(c->replica);
}

void case_assign(ReplicaCase *c, gint32 leader, gint32 epoch, guint isr_count, guint min_insync,
                 Milena__V1__Flush flush) {
  static const gint32 ISR[] = {1, 2, 3};
  const ReplicaAssignment assignment = {.broker_id = 1,
                                        .leader_id = leader,
                                        .leader_epoch = epoch,
                                        .partition_epoch = ++c->partition_epoch,
                                        .replicas = ISR,
                                        .replica_count = 3,
                                        .isr = ISR,
                                        .isr_count = isr_count,
                                        .min_insync_replicas = min_insync,
                                        .flush = flush};
  case_take_out(c);
  replica_assign(c->replica, &assignment, &c->out);
}

Failure *case_append(ReplicaCase *c, ReplicaAppend *append, guint32 count, Milena__V1__Acks acks, gint32 epoch) {
  LogBatch batch = LOG_BATCH_INIT;
  batch.record_count = count;
  batch.max_timestamp_ms = 7;
  *append = (ReplicaAppend){0};
  Failure *failure = replica_prepare(c->replica, epoch, &batch, acks, 1000, append);
  if (!failure)
    replica_accept(c->replica, append);
  return failure;
}

void case_local(ReplicaCase *c, ReplicaAppend *append, ReplicaStage stage) {
  case_take_out(c);
  replica_local_progress(c->replica, append, stage, &c->out);
}

void case_peer(ReplicaCase *c, gint32 broker, gint64 written, gint64 synced) {
  const ReplicaPosition position = {replica_leader_epoch(c->replica), 0, 0, LOG_EPOCH_NONE};
  case_take_out(c);
  if (!replica_follower_end(c->replica, broker, NULL))
    replica_follower_begins(c->replica, broker, 1, &position, 0, &c->out);
  replica_follower_progress(c->replica, broker, 1, written, synced, 0, &c->out);
}

void case_expect_refused(Failure *failure, FailureReason reason) {
  EXPECT_TRUE(failure != NULL);
  EXPECT_EQ_INT(reason, failure ? failure_reason(failure) : 0);
  failure_free(failure);
}
