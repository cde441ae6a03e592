/* A host of groups that never was: topics of memory, and the log that the groups' records go to. For tests. */
#pragma once

#include "services/group_coordinator/groups/groups.h"

G_BEGIN_DECLS

typedef struct {
  GTree *topics;         /* name → FakeTopic */
  GArray *records;       /* GroupsRecord: the log, in its order */
  guint racks;           /* the leader of partition p is in the rack "r" with p modulo this; 0: nobody knows */
  guint next_id;         /* of topics and members that get one made */
  gint64 high_watermark; /* of every partition; -1: not known */
} FakeHost;

FakeHost *fake_host_new(void);
void fake_host_free(FakeHost *host);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FakeHost, fake_host_free)

/* Create it, or change its number of partitions; its id is its name with a number that is never the same again. */
void fake_host_set_topic(FakeHost *host, const char *name, gint32 partition_count);
void fake_host_remove_topic(FakeHost *host, const char *name);
/* The id of a topic, or NULL. */
const char *fake_host_topic_id(const FakeHost *host, const char *name);
GroupsHost fake_host_table(FakeHost *host);

/* Records of a turn go to the log: taken. */
void fake_host_append(FakeHost *host, GArray *records);
/* Forget the last records, so that @count are left. */
void fake_host_cut(FakeHost *host, guint count);
/* Keep the last record of each key of the first @count; also not its tombstone if @tombstones are to go. */
void fake_host_compact(FakeHost *host, guint count, gboolean tombstones);
/* Groups from the log. Fails the process when a record can't be read. */
Groups *fake_host_load(FakeHost *host, GroupsTime time);

G_END_DECLS
