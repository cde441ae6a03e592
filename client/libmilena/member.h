/* A member of a consumer group as it sees itself: what it owns, what it shall own, what it has to say. Pure: whoever
 * owns it does the calls (group.c) and tells the user (consumer_group.c), under the consumer's mutex.
 *
 *   out ──member_join──► joining ──answer──► in ──member_leave──► leaving ──answer──► out
 *                          ▲                  │
 *                          └───── thrown out ─┘   all it owned is lost: told to the user before anything new is
 *
 * What the coordinator says becomes `wanted`; the user's thread takes the difference to what it owns, lets go and takes
 * over, and then the member says so with its next heartbeat.
 *
 * Invariants
 *   1. `owned` changes by member_applied, member_take_lost and member_leave alone: with what the user was told.
 *   2. Whoever was thrown out takes over nothing before the user heard of the loss. */
#pragma once

#include <glib.h>

#include "milena/v1/group_service.pb-c.h"
#include "services/base/failure.h"
#include "services/rpc/message.h"

G_BEGIN_DECLS

/* A partition of the member's, and where its reading goes on. */
typedef struct {
  char *topic, *topic_id;
  gint32 partition;
  gint64 committed;       /* -1: nothing */
  gint32 committed_epoch; /* -1: not known */
} MemberPart;

/* What a member wants; all borrowed for its life. */
typedef struct {
  const char *group, *member_id;
  const char *instance_id, *client_id, *rack; /* "" for none */
  const char *const *topics;
  gsize topic_count;
  const char *topic_pattern; /* "" for none */
  gint64 rebalance_timeout_ms;
  Milena__V1__OffsetReset offset_reset;
} MemberWishes;

typedef enum { MEMBER_OUT, MEMBER_JOINING, MEMBER_IN, MEMBER_LEAVING } MemberState;

typedef struct Member Member;

Member *member_new(const MemberWishes *wishes);
void member_free(Member *member); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Member, member_free)

MemberState member_state(const Member *member);
guint32 member_epoch(const Member *member); /* 0: not in the group */
const char *member_explanation(const Member *member);
/* How often to call, as the coordinator says; 3 s before it said so. */
gint64 member_interval_ms(const Member *member);
/* What it owns: of MemberPart; borrowed. */
const GPtrArray *member_owned(const Member *member);

/* Begin, or begin again. */
void member_join(Member *member);
/* Say farewell with the next heartbeat, or at once when it is in no group. What it owned is no business of its any
 * more: the user was told before. */
void member_leave(Member *member);

/* There is something to say now: a join, a farewell, what was taken over or given up. */
gboolean member_has_news(const Member *member);
/* The next heartbeat, to be followed by member_answered, member_failed or member_unanswered. A reference of the
 * caller's.
 *
 * @max_wait_ms: how long the coordinator may hold the answer; 0: not */
RpcMessage *member_heartbeat(Member *member, gint64 max_wait_ms);
/* The answer. Returns NULL, or what is wrong with it. */
Failure *member_answered(Member *member, const Milena__V1__HeartbeatResponse *response);
/* It was refused. Returns TRUE when that does not pass: the member is out then. */
gboolean member_failed(Member *member, const Failure *failure);
/* There was no answer, or nobody waits for it: it may have been heard. */
void member_unanswered(Member *member);
/* Nobody polled for too long: it says farewell with the next heartbeat. All it owned is lost. */
void member_expire(Member *member);

/* The user must be told something: of a loss of everything first, then of changes. */
gboolean member_has_change(const Member *member);
/* All it owns is lost. */
gboolean member_lost_all(const Member *member);
/* Take that, to tell the user: from now on it owns nothing. Of MemberPart; owned by the caller. */
GPtrArray *member_take_lost(Member *member);
/* Copies of what it owns: of MemberPart; owned by the caller. */
GPtrArray *member_copy_owned(const Member *member);

/* The difference between what a member owns and what it shall own. */
typedef struct {
  GPtrArray *lost, *gained; /* of MemberPart, in the order of topics and numbers */
  guint32 version;          /* of the assignment; private, as the next */
  guint generation;
} MemberChange;

/* Take the change, to tell the user. Owned by the caller: member_change_clear. */
void member_take_change(Member *member, MemberChange *ret_change);
void member_change_clear(MemberChange *change);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MemberChange, member_change_clear)
/* The user was told. What came in the meantime is another change. */
void member_applied(Member *member, const MemberChange *change);

G_END_DECLS
