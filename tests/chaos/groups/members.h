/* The members of the groups under test: child processes (member.c, stream_member.c), each in a slot of its group, that
 * come, leave, are frozen and killed; and what their notes say, as events of a ledger. Not for several threads; the
 * processes die with the thread that started them. */
#pragma once

#include "tests/chaos/records/ledger.h"

G_BEGIN_DECLS

typedef struct Members Members;

typedef struct {
  const char *program;        /* of a member; all borrowed */
  const char *stream_program; /* of one that is a stream */
  const char *bootstrap, *topic;
  const char *folder; /* for notes */
  guint slots;        /* of each group */
  gboolean are_wrong; /* those that shall commit before they process do so behind it, too */
} MembersOptions;

/* Through libmilena: group 0 commits after it processes, 1 before, 2 leaves that to the library, 3 is as 0 and has
 * instances. Group 4 is streams, at any broker. */
#define MEMBERS_GROUPS 5
#define MEMBERS_AT_MOST_ONCE 1
#define MEMBERS_STATIC 3
#define MEMBERS_STREAMS 4

/* "after", "before", "auto", "static", "streams": the groups' names; static. */
const char *members_group_name(guint group);

Members *members_new(const MembersOptions *options);
void members_free(Members *members); /* kills who is left; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Members, members_free)

/* Of all groups: a slot is a number below it, group by group. */
guint members_slots(const Members *members);
/* "after-2"; owned by the caller. */
char *members_name(const Members *members, guint slot);

/* Each does nothing where it is so already. */
void members_start(Members *members, guint slot);
void members_freeze(Members *members, guint slot);
void members_thaw(Members *members, guint slot);
void members_kill(Members *members, guint slot);
/* Ask it to leave; it ends some time. */
void members_ask_to_leave(Members *members, guint slot);
/* It polls too late, once. */
void members_slow_down(Members *members, guint slot);
/* It leaves, and is started again as soon as it has ended. Returns NULL or what went wrong, owned by the caller. */
char *members_restart(Members *members, guint slot, guint timeout_ms);
/* A slot of this group. */
guint members_any(const Members *members, guint group, GRand *random);

/* Collect who has ended. Returns a sentence for one that should not have, owned by the caller, or NULL. */
char *members_look(Members *members);
/* Take all living members' farewells, at most so long; then kill who is left. Returns NULL or who did not leave; owned
 * by the caller. */
char *members_stop(Members *members, guint timeout_ms);
/* Add what all notes say. After members_stop. Returns NULL, or what is no note; owned by the caller.
 *
 * @ret_slow: how often one polled too late */
char *members_tell(const Members *members, Ledger *ledger, guint *ret_slow);

G_END_DECLS
