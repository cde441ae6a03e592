/* A replica on broker 1, whose host a test is: the events, and what the last one came to. */
#pragma once

#include "services/broker/replica/replica.h"

G_BEGIN_DECLS

#define ALL MILENA__V1__ACKS__ACKS_ALL
#define LEADER MILENA__V1__ACKS__ACKS_LEADER
#define ALWAYS MILENA__V1__FLUSH__FLUSH_ALWAYS
#define OS MILENA__V1__FLUSH__FLUSH_OS

/* A replica on broker 1, and what its last event came to. */
typedef struct {
  Replica *replica;
  ReplicaOut out;
  guint64 partition_epoch;
} ReplicaCase;

void case_begin(ReplicaCase *c);
void case_end(ReplicaCase *c);
/* As a host does: take what came back out of its queues. */
void case_take_out(ReplicaCase *c);
/* Of replicas 1, 2 and 3; the first @isr_count are in sync. */
void case_assign(ReplicaCase *c, gint32 leader, gint32 epoch, guint isr_count, guint min_insync,
                 Milena__V1__Flush flush);
/* Append @count records. Returns the refusal; NULL when it was taken. */
Failure *case_append(ReplicaCase *c, ReplicaAppend *append, guint32 count, Milena__V1__Acks acks, gint32 epoch);
/* The storage reports it. */
void case_local(ReplicaCase *c, ReplicaAppend *append, ReplicaStage stage);
/* A follower says how far it has come. */
void case_peer(ReplicaCase *c, gint32 broker, gint64 written, gint64 synced);
/* @failure: taken */
void case_expect_refused(Failure *failure, FailureReason reason);

G_END_DECLS
