/* A member of a consumer group that is a client's Subscribe stream: what its coordinator assigns, what the client was
 * told, and what it acknowledged. Pure: heartbeats' answers, acknowledgements and times come in; heartbeats, assignment
 * changes and what is to be read come out.
 *
 * A partition of the member goes through these states:
 *
 *   WANTED ──change sent──► GAINED ──acknowledged──► OWNED ──change sent──► LOST ──acknowledged──► GONE
 *     └──assignment without it──► GONE                └ read
 *
 * and the membership through these:
 *
 *   JOINING ──answer──► MEMBER ──coordinator fenced it──► FENCED ──what it owned was told and acknowledged──► JOINING
 *
 * Thread: the owner's. */
#pragma once

#include "milena/v1/consumer_service.pb-c.h"
#include "services/base/failure.h"
#include "services/broker/read/memory.h"

G_BEGIN_DECLS

typedef struct Member Member;

typedef enum {
  MEMBER_WANTED, /* assigned; the client does not know it yet */
  MEMBER_GAINED, /* the client was told, and has not acknowledged */
  MEMBER_OWNED,  /* the client's: read it, unless the member is fenced */
  MEMBER_LOST,   /* the client was told that it is lost, and has not acknowledged: for the coordinator it is owned */
  MEMBER_GONE,   /* nobody knows it any more: let its reader go */
} MemberPartitionState;

typedef struct {
  char *topic, *topic_id;
  gint32 partition;
  MemberPartitionState state;
  gboolean assigned;     /* it is in the coordinator's last assignment */
  gboolean committed;    /* `start` is the committed offset */
  gboolean start_known;  /* `start` counts */
  gboolean late;         /* its start is not found at once: changes do not wait for it */
  gint64 start;          /* -1 when it is known that there is none: nothing is committed, and offset_reset is NONE */
  struct Reader *reader; /* the owner's; NULL at first */
} MemberPartition;

/* @init: with group and membership; borrowed, and must outlive the member
 * @member_id: used when the client chose none: a UUID; @rack: likewise, may be ""; copied */
Member *member_new(const Milena__V1__SubscribeInit *init, const char *member_id, const char *rack);
void member_free(Member *member); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Member, member_free)

const char *member_group(const Member *member);
const char *member_id(const Member *member);
/* 0 while it is not a member: before the join, and while fenced. */
guint32 member_epoch(const Member *member);
/* Where it starts without a committed offset; never UNSPECIFIED. */
Milena__V1__OffsetReset member_offset_reset(const Member *member);
/* What it owned is read by others already: give nothing of it any more. */
gboolean member_is_fenced(const Member *member);

/* ---- Heartbeats: one at a time. ---- */

/* When the next heartbeat is to be sent, monotonic µs; G_MAXINT64 while none is wanted. It may be in the past; and
 * while one is under way it means: give that up, and send another, since there is news to tell. */
gint64 member_heartbeat_due_us(const Member *member);
/* The heartbeat to send now: it is under way then. In @memory, and in the member. */
Milena__V1__HeartbeatRequest *member_heartbeat(Member *member, gint64 now_us, ReadMemory *memory);
/* It was answered. */
void member_heartbeat_answered(Member *member, const Milena__V1__HeartbeatResponse *response, gint64 now_us);
/* It failed. Returns NULL to go on, or why the stream is to end: a failure of its own. */
Failure *member_heartbeat_failed(Member *member, const Failure *failure, gint64 now_us);
/* The heartbeat that leaves; NULL when there is nothing to leave. @for_good: even with an instance_id */
Milena__V1__HeartbeatRequest *member_leave(const Member *member, gboolean for_good, ReadMemory *memory);

/* ---- Partitions ---- */

/* All partitions, in no order: MemberPartition *. Borrowed until the next call that changes the member. */
GPtrArray *member_partitions(Member *member);
/* Where a WANTED partition without a committed offset starts. */
void member_start_found(Member *member, MemberPartition *partition, gint64 start);
/* Forget those that are GONE: after their readers were let go. */
void member_sweep(Member *member);

/* ---- What the client is told ---- */

typedef struct {
  guint64 id;
  gboolean fenced;
  const char *explanation;  /* borrowed */
  GPtrArray *gained, *lost; /* of MemberPartition *, by topic and number; owned by the caller */
} MemberChange;
/* The change to send now, if there is one: none while one is not acknowledged. It counts as sent. What is lost is sent
 * without waiting for where something that is gained starts. */
gboolean member_next_change(Member *member, gint64 now_us, MemberChange *ret_change);
void member_change_clear(MemberChange *change);
/* Partitions that are sorted like those of a change, as a message. In @memory. */
Milena__V1__TopicPartitions **member_topics(const GPtrArray *sorted, ReadMemory *memory, gsize *ret_count);
/* The client acknowledged a change. Returns INVALID_FIELD for one that was not sent. One that was acknowledged already
 * is fine. */
Failure *member_acknowledge(Member *member, guint64 assignment_id, gint64 now_us);
/* When the client must have acknowledged, monotonic µs; G_MAXINT64: nothing is to be acknowledged. */
gint64 member_acknowledge_by_us(const Member *member);
/* That time has passed: why the stream ends. Owned by the caller. */
Failure *member_overdue(const Member *member);

G_END_DECLS
