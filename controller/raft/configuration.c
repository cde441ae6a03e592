/* Who takes part, and how that is written; see entry.h. No state.
 *
 * Format 1 knew ids alone, and only ever had one voter. Format 2 has members. A format 1 that names several voters was
 * never written by anybody, and could not be told from a mixture of incarnations: it is refused. */
#include <string.h>

#include "controller/raft/format.h"

gboolean raft_directory_equal(const RaftDirectory *a, const RaftDirectory *b) {
  return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

gboolean raft_directory_is_unknown(const RaftDirectory *directory) {
  static const RaftDirectory UNKNOWN;
  return raft_directory_equal(directory, &UNKNOWN);
}

const RaftMember *raft_configuration_find(const RaftConfiguration *configuration, guint64 id) {
  for (guint i = 0; i < configuration->member_count; i++)
    if (configuration->members[i].id == id)
      return &configuration->members[i];
  return NULL;
}

const RaftMember *raft_configuration_find_exact(const RaftConfiguration *configuration, guint64 id,
                                                const RaftDirectory *directory) {
  const RaftMember *member = raft_configuration_find(configuration, id);
  if (!member || raft_directory_equal(&member->directory, directory))
    return member;
  gboolean any = raft_directory_is_unknown(&member->directory) && configuration->member_count == 1;
  return any ? member : NULL;
}

gboolean raft_configuration_votes(const RaftConfiguration *configuration, guint64 id) {
  const RaftMember *member = raft_configuration_find(configuration, id);
  return member && !member->learner;
}

guint raft_configuration_voter_count(const RaftConfiguration *configuration) {
  guint count = 0;
  for (guint i = 0; i < configuration->member_count; i++)
    count += configuration->members[i].learner ? 0 : 1;
  return count;
}

/* The member at @i against those before it. */
static Failure *check_unlike(const RaftConfiguration *configuration, guint i) {
  const RaftMember *member = &configuration->members[i];
  for (guint j = 0; j < i; j++) {
    const RaftMember *other = &configuration->members[j];
    if (other->id == member->id)
      return failure_new(FAILURE(DUPLICATE_ID),
                         "Two controllers have the id %" G_GUINT64_FORMAT ". Give each an id of its own.", member->id);
    if (raft_directory_equal(&other->directory, &member->directory))
      return failure_new(FAILURE(DUPLICATE_ID),
                         "The controllers %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT " have the same directory id: "
                         "one folder is a copy of the other. Give each a folder of its own.",
                         other->id, member->id);
  }
  return NULL;
}

Failure *raft_configuration_check(const RaftConfiguration *configuration) {
  for (guint i = 0; i < configuration->member_count; i++) {
    const RaftMember *member = &configuration->members[i];
    if (member->id == 0)
      return failure_new(FAILURE(INVALID_FIELD), "A controller has the id 0. Ids begin at 1.");
    if (raft_directory_is_unknown(&member->directory))
      return failure_new(FAILURE(INVALID_FIELD),
                         "The directory id of the controller %" G_GUINT64_FORMAT " is missing. The controller shows it "
                         "when it starts with an empty folder.",
                         member->id);
    Failure *failure = check_unlike(configuration, i);
    if (failure)
      return failure;
  }
  if (raft_configuration_voter_count(configuration) == 0)
    return failure_new(FAILURE(INVALID_FIELD), "No controller votes. Name at least one that does.");
  return NULL;
}

RaftEntry *raft_entry_new_bootstrap(const RaftConfiguration *configuration, guint64 id) {
  guint64 place = 1;
  for (guint i = 0; i < configuration->member_count; i++)
    place += !configuration->members[i].learner && configuration->members[i].id < id ? 1 : 0;
  return raft_entry_new(1, place, RAFT_ENTRY_KIND(CONFIGURATION), raft_configuration_encode(configuration));
}

guint64 raft_bootstrap_term(const RaftConfiguration *configuration) {
  return raft_configuration_voter_count(configuration);
}

/* ---- Formats ---- */

GBytes *raft_pack(const ProtobufCMessage *message) {
  gsize size = protobuf_c_message_get_packed_size(message);
  guint8 *bytes = g_malloc(size + 1);
  protobuf_c_message_pack(message, bytes);
  return g_bytes_new_take(bytes, size);
}

Failure *raft_damaged(const char *what) {
  return failure_new(FAILURE(CORRUPT_LOG), "A %s of the controller's log does not decode: it is damaged.", what);
}

Failure *raft_check_format(const char *what, guint32 format, guint32 newest) {
  if (format == 0)
    return raft_damaged(what);
  if (format <= newest)
    return NULL;
  return failure_new(FAILURE(UNSUPPORTED),
                     "A %s of the controller's log has format %u, and this version knows formats up to %u: it was "
                     "written by a newer Milena. Upgrade this process.",
                     what, format, newest);
}

ProtobufCBinaryData raft_directory_field(const RaftDirectory *directory) {
  return (ProtobufCBinaryData){sizeof directory->bytes, (guint8 *)directory->bytes};
}

Failure *raft_directory_read(const ProtobufCBinaryData *field, const char *what, RaftDirectory *ret_directory) {
  if (field->len != 0 && field->len != sizeof ret_directory->bytes)
    return raft_damaged(what);
  RaftDirectory directory = {0};
  if (field->len > 0)
    memcpy(directory.bytes, field->data, sizeof directory.bytes);
  *ret_directory = directory;
  return NULL;
}

void raft_configuration_fill(const RaftConfiguration *configuration, RaftConfigurationMessage *message) {
  message->base = (Milena__Internal__V1__RaftConfiguration)MILENA__INTERNAL__V1__RAFT_CONFIGURATION__INIT;
  message->base.format = RAFT_FORMAT;
  message->base.n_members = configuration->member_count;
  message->base.members = message->pointers;
  for (guint i = 0; i < configuration->member_count; i++) {
    const RaftMember *member = &configuration->members[i];
    message->members[i] = (Milena__Internal__V1__RaftMember)MILENA__INTERNAL__V1__RAFT_MEMBER__INIT;
    message->members[i].id = member->id;
    if (!raft_directory_is_unknown(&member->directory))
      message->members[i].directory = raft_directory_field(&member->directory);
    message->members[i].address = (char *)member->address;
    message->members[i].learner = member->learner;
    message->pointers[i] = &message->members[i];
  }
}

/* Format 1: one voter, known by its id alone. */
static Failure *read_first_format(const Milena__Internal__V1__RaftConfiguration *message,
                                  RaftConfiguration *ret_configuration) {
  if (message->n_voters != 1 || message->voters[0] == 0 || message->n_learners > 0 || message->n_members > 0)
    return raft_damaged("configuration");
  *ret_configuration = (RaftConfiguration){.members = {{.id = message->voters[0]}}, .member_count = 1};
  return NULL;
}

static Failure *read_member(const Milena__Internal__V1__RaftMember *message, RaftMember *ret_member) {
  RaftMember member = {.id = message->id, .learner = message->learner};
  if (member.id == 0 || strlen(message->address) > RAFT_ADDRESS_BYTES_MAX)
    return raft_damaged("configuration");
  g_strlcpy(member.address, message->address, sizeof member.address);
  Failure *failure = raft_directory_read(&message->directory, "configuration", &member.directory);
  if (!failure)
    *ret_member = member;
  return failure;
}

Failure *raft_configuration_read(const Milena__Internal__V1__RaftConfiguration *message,
                                 RaftConfiguration *ret_configuration) {
  if (message->format == 0)
    return read_first_format(message, ret_configuration);
  Failure *failure = raft_check_format("configuration", message->format, RAFT_FORMAT);
  if (failure)
    return failure;
  if (message->n_voters > 0 || message->n_learners > 0 || message->n_members > RAFT_MEMBERS_MAX)
    return raft_damaged("configuration");
  RaftConfiguration configuration = {0};
  for (gsize i = 0; i < message->n_members && !failure; i++) {
    failure = read_member(message->members[i], &configuration.members[i]);
    if (!failure && raft_configuration_find(&configuration, configuration.members[i].id))
      failure = raft_damaged("configuration");
    configuration.member_count++;
  }
  if (!failure && raft_configuration_voter_count(&configuration) == 0)
    failure = raft_damaged("configuration");
  if (!failure)
    *ret_configuration = configuration;
  return failure;
}

GBytes *raft_configuration_encode(const RaftConfiguration *configuration) {
  RaftConfigurationMessage message;
  raft_configuration_fill(configuration, &message);
  return raft_pack(&message.base.base);
}

Failure *raft_configuration_decode(const void *data, gsize size, RaftConfiguration *ret_configuration) {
  Milena__Internal__V1__RaftConfiguration *message = milena__internal__v1__raft_configuration__unpack(NULL, size, data);
  if (!message)
    return raft_damaged("configuration");
  Failure *failure = raft_configuration_read(message, ret_configuration);
  milena__internal__v1__raft_configuration__free_unpacked(message, NULL);
  return failure;
}
