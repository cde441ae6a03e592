/* A coordinator in memory, for tests of Subscribe in a group: it takes the place of group_door.h at link time. One
 * group with one member; partitions are of FAKE_TOPIC. What it is asked is kept as words. All functions from the test's
 * thread.
 */
#pragma once

#include "services/broker/groups/group_door.h"

G_BEGIN_DECLS

/* @loop: of the service */
GroupDoor *fake_door_new(Loop *loop);
void fake_door_free(GroupDoor *door);

/* The member shall own "0@5 1": partitions, and what is committed. Answers a heartbeat that is held. */
void fake_door_assign(GroupDoor *door, const char *partitions);
/* All calls fail so from now on, held ones too; UNSPECIFIED: no more. */
void fake_door_fail(GroupDoor *door, FailureReason reason);
/* The coordinator does not know the member any more. */
void fake_door_fence(GroupDoor *door);
/* Commits are answered only by fake_door_release_commits. */
void fake_door_hold_commits(GroupDoor *door);
void fake_door_release_commits(GroupDoor *door);
/* What was asked: "join own= | own=0,1 | commit 0@5 | leave1"; heartbeats that say
 * nothing new of partitions are left out.
 * Owned by the caller. */
char *fake_door_story(GroupDoor *door);

G_END_DECLS
