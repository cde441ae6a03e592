/* Records of __consumer_offsets: keys as bytes, values as the messages of group_log.proto.
 *
 *   key:  format (1 byte: 1) | kind (1 byte) | what it names
 *     FENCE   nothing: one for each partition
 *     GROUP   group
 *     MEMBER  group | member id
 *     TARGET  group | member id
 *     OFFSET  group | topic id | partition (4 bytes, big endian)
 *   where group, member id and topic id are each a length (1 byte, at least 1) and so many bytes of UTF-8.
 *
 * A key is the same bytes for the same thing, always: compaction goes by them. Bytes that can't be read are a Failure:
 * UNSUPPORTED when they are newer than this program, CORRUPT_LOG otherwise. No state. */
#pragma once

#include <glib.h>

#include "milena/internal/v1/group_log.pb-c.h"
#include "services/base/failure.h"

G_BEGIN_DECLS

typedef enum {
  GROUPS_RECORD_FENCE = 1,
  GROUPS_RECORD_GROUP = 2,
  GROUPS_RECORD_MEMBER = 3,
  GROUPS_RECORD_TARGET = 4,
  GROUPS_RECORD_OFFSET = 5
} GroupsRecordKind;

/* A record, read. */
typedef struct {
  GroupsRecordKind kind;
  char *group; /* not FENCE; owned */
  char *name;  /* MEMBER, TARGET: the member's id; OFFSET: the topic's id; owned */
  gint32 partition;
  ProtobufCMessage *value; /* of the kind's type; owned; NULL: a tombstone */
} GroupsDecoded;

/* @group: not for FENCE
 * @name: for MEMBER, TARGET, OFFSET
 * @partition: for OFFSET
 *
 * Returns the key's bytes, owned by the caller. */
GBytes *groups_record_key(GroupsRecordKind kind, const char *group, const char *name, gint32 partition);
/* The value's bytes, owned by the caller. */
GBytes *groups_record_value(const ProtobufCMessage *value);
/* @value: NULL for a tombstone
 * @ret_decoded: untouched on failure */
Failure *groups_record_decode(GBytes *key, GBytes *value, GroupsDecoded *ret_decoded);
void groups_decoded_clear(GroupsDecoded *decoded);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GroupsDecoded, groups_decoded_clear)

G_END_DECLS
