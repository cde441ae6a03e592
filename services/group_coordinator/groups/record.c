/* Keys and values of __consumer_offsets; see record.h. No state. */
#include "services/group_coordinator/groups/record.h"

#include <string.h>

#include "services/base/invariant.h"

#define KEY_FORMAT 1
#define VALUE_FORMAT 1
/* No topic has so many: a number beyond is damage, and would cost as much as it is large. */
#define PARTITIONS_MAX 100000

static Failure *damaged(const char *what) {
  return failure_new(FAILURE(CORRUPT_LOG),
                     "A record of __consumer_offsets can't be read: its %s is damaged. Restore the partition from a "
                     "replica that is whole.",
                     what);
}

static Failure *newer(const char *what, guint format) {
  return failure_new(FAILURE(UNSUPPORTED),
                     "A record of __consumer_offsets has a %s of format %u, which is newer than this program: upgrade "
                     "this coordinator.",
                     what, format);
}

/* ---- keys ---- */

static void put_text(GByteArray *key, const char *text) {
  gsize length = strlen(text);
  INVARIANT(length >= 1 && length <= G_MAXUINT8, "names of groups, members and topics are 1 to 255 bytes");
  guint8 prefix = (guint8)length;
  g_byte_array_append(key, &prefix, 1);
  g_byte_array_append(key, (const guint8 *)text, length);
}

GBytes *groups_record_key(GroupsRecordKind kind, const char *group, const char *name, gint32 partition) {
  GByteArray *key = g_byte_array_sized_new(64);
  guint8 head[2] = {KEY_FORMAT, (guint8)kind};
  g_byte_array_append(key, head, sizeof head);
  if (kind != GROUPS_RECORD_FENCE)
    put_text(key, group);
  if (kind >= GROUPS_RECORD_MEMBER)
    put_text(key, name);
  if (kind == GROUPS_RECORD_OFFSET) {
    guint32 number = GUINT32_TO_BE((guint32)partition);
    g_byte_array_append(key, (const guint8 *)&number, sizeof number);
  }
  return g_byte_array_free_to_bytes(key);
}

/* What is left of a key. */
typedef struct {
  const guint8 *at;
  gsize left;
} KeyRest;

static gboolean take_text(KeyRest *rest, char **ret_text) {
  if (rest->left < 1 || rest->at[0] < 1 || rest->left - 1 < rest->at[0])
    return FALSE;
  gsize length = rest->at[0];
  const char *text = (const char *)rest->at + 1;
  if (!g_utf8_validate_len(text, length, NULL)) /* refuses NUL as well */
    return FALSE;
  *ret_text = g_strndup(text, length);
  rest->at += 1 + length;
  rest->left -= 1 + length;
  return TRUE;
}

static gboolean take_partition(KeyRest *rest, gint32 *ret_partition) {
  guint32 number;
  if (rest->left < sizeof number)
    return FALSE;
  memcpy(&number, rest->at, sizeof number);
  rest->at += sizeof number;
  rest->left -= sizeof number;
  *ret_partition = (gint32)GUINT32_FROM_BE(number);
  return *ret_partition >= 0 && *ret_partition < PARTITIONS_MAX;
}

static Failure *read_key(GBytes *key, GroupsDecoded *decoded) {
  KeyRest rest;
  rest.at = g_bytes_get_data(key, &rest.left);
  if (rest.left < 2)
    return damaged("key");
  if (rest.at[0] > KEY_FORMAT)
    return newer("key", rest.at[0]);
  if (rest.at[0] < 1 || rest.at[1] < GROUPS_RECORD_FENCE)
    return damaged("key");
  if (rest.at[1] > GROUPS_RECORD_OFFSET)
    return failure_new(FAILURE(UNSUPPORTED),
                       "A record of __consumer_offsets is of kind %u, which is newer than this program: upgrade this "
                       "coordinator.",
                       rest.at[1]);
  decoded->kind = rest.at[1];
  rest.at += 2;
  rest.left -= 2;
  gboolean whole = decoded->kind == GROUPS_RECORD_FENCE || take_text(&rest, &decoded->group);
  if (whole && decoded->kind >= GROUPS_RECORD_MEMBER)
    whole = take_text(&rest, &decoded->name);
  if (whole && decoded->kind == GROUPS_RECORD_OFFSET)
    whole = take_partition(&rest, &decoded->partition);
  return whole && rest.left == 0 ? NULL : damaged("key");
}

/* ---- values ---- */

GBytes *groups_record_value(const ProtobufCMessage *value) {
  gsize size = protobuf_c_message_get_packed_size(value);
  guint8 *bytes = g_malloc(MAX(size, 1));
  protobuf_c_message_pack(value, bytes);
  return g_bytes_new_take(bytes, size);
}

static gboolean held_is_sound(Milena__Internal__V1__GroupHeldTopic *const *topics, gsize count, gboolean with_epochs) {
  for (gsize i = 0; i < count; i++) {
    const Milena__Internal__V1__GroupHeldTopic *topic = topics[i];
    gsize id_bytes = strlen(topic->topic_id);
    if (!*topic->topic || id_bytes < 1 || id_bytes > G_MAXUINT8)
      return FALSE;
    if (topic->n_since_epochs != (with_epochs ? topic->n_partitions : 0))
      return FALSE;
    for (gsize k = 0; k < topic->n_partitions; k++)
      if (topic->partitions[k] < 0 || topic->partitions[k] >= PARTITIONS_MAX)
        return FALSE;
  }
  return TRUE;
}

static gboolean value_is_sound(GroupsRecordKind kind, const ProtobufCMessage *value) {
  switch (kind) {
  case GROUPS_RECORD_MEMBER: {
    const Milena__Internal__V1__GroupMemberValue *member = (const Milena__Internal__V1__GroupMemberValue *)value;
    return held_is_sound(member->assigned, member->n_assigned, TRUE) &&
           held_is_sound(member->revoking, member->n_revoking, TRUE);
  }
  case GROUPS_RECORD_TARGET: {
    const Milena__Internal__V1__GroupTargetValue *target = (const Milena__Internal__V1__GroupTargetValue *)value;
    return held_is_sound(target->topics, target->n_topics, FALSE);
  }
  case GROUPS_RECORD_OFFSET: {
    const Milena__Internal__V1__GroupOffsetValue *offset = (const Milena__Internal__V1__GroupOffsetValue *)value;
    return offset->offset >= 0 && *offset->topic;
  }
  case GROUPS_RECORD_FENCE:
  case GROUPS_RECORD_GROUP:
    return TRUE;
  }
  return FALSE;
}

static const struct {
  const char *what;
  const ProtobufCMessageDescriptor *type;
} KINDS[] = {
    [GROUPS_RECORD_FENCE] = {"fence", &milena__internal__v1__group_fence_value__descriptor},
    [GROUPS_RECORD_GROUP] = {"group", &milena__internal__v1__group_value__descriptor},
    [GROUPS_RECORD_MEMBER] = {"member", &milena__internal__v1__group_member_value__descriptor},
    [GROUPS_RECORD_TARGET] = {"target assignment", &milena__internal__v1__group_target_value__descriptor},
    [GROUPS_RECORD_OFFSET] = {"committed offset", &milena__internal__v1__group_offset_value__descriptor},
};

/* Each value's first field is its format. */
static guint32 format_of(GroupsRecordKind kind, const ProtobufCMessage *value) {
  switch (kind) {
  case GROUPS_RECORD_FENCE:
    return ((const Milena__Internal__V1__GroupFenceValue *)value)->format;
  case GROUPS_RECORD_GROUP:
    return ((const Milena__Internal__V1__GroupValue *)value)->format;
  case GROUPS_RECORD_MEMBER:
    return ((const Milena__Internal__V1__GroupMemberValue *)value)->format;
  case GROUPS_RECORD_TARGET:
    return ((const Milena__Internal__V1__GroupTargetValue *)value)->format;
  case GROUPS_RECORD_OFFSET:
    return ((const Milena__Internal__V1__GroupOffsetValue *)value)->format;
  }
  return 0;
}

static Failure *read_value(GBytes *bytes, GroupsDecoded *decoded) {
  gsize size;
  const guint8 *data = g_bytes_get_data(bytes, &size);
  const char *what = KINDS[decoded->kind].what;
  decoded->value = protobuf_c_message_unpack(KINDS[decoded->kind].type, NULL, size, data);
  if (!decoded->value)
    return damaged(what);
  guint32 format = format_of(decoded->kind, decoded->value);
  if (format > VALUE_FORMAT)
    return newer(what, format);
  if (format < 1 || !value_is_sound(decoded->kind, decoded->value))
    return damaged(what);
  return NULL;
}

Failure *groups_record_decode(GBytes *key, GBytes *value, GroupsDecoded *ret_decoded) {
  g_auto(GroupsDecoded) decoded = {0};
  Failure *failure = read_key(key, &decoded);
  if (!failure && value)
    failure = read_value(value, &decoded);
  if (failure)
    return failure;
  *ret_decoded = decoded;
  decoded = (GroupsDecoded){0};
  return NULL;
}

void groups_decoded_clear(GroupsDecoded *decoded) {
  g_free(decoded->group);
  g_free(decoded->name);
  protobuf_c_message_free_unpacked(decoded->value, NULL);
  *decoded = (GroupsDecoded){0};
}
