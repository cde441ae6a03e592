/* Entries and formats; see entry.h. No state. */
#include "controller/raft/entry.h"

#include <string.h>

RaftEntry *raft_entry_new(guint64 index, guint64 term, RaftEntryKind kind, GBytes *data) {
  RaftEntry *entry = g_new(RaftEntry, 1);
  *entry = (RaftEntry){1, index, term, kind, data ? data : g_bytes_new_static("", 0)};
  return entry;
}

RaftEntry *raft_entry_ref(RaftEntry *entry) {
  g_atomic_int_inc(&entry->refs);
  return entry;
}

void raft_entry_unref(RaftEntry *entry) {
  if (!entry || !g_atomic_int_dec_and_test(&entry->refs))
    return;
  g_bytes_unref(entry->data);
  g_free(entry);
}

static void entry_drop(gpointer entry) {
  raft_entry_unref(entry);
}

GPtrArray *raft_entries_new(void) {
  return g_ptr_array_new_with_free_func(entry_drop);
}

gboolean raft_configuration_votes(const RaftConfiguration *configuration, guint64 id) {
  for (guint i = 0; i < configuration->voter_count; i++)
    if (configuration->voters[i] == id)
      return TRUE;
  return FALSE;
}

/* ---- Formats ---- */

static GBytes *pack(const ProtobufCMessage *message) {
  gsize size = protobuf_c_message_get_packed_size(message);
  guint8 *bytes = g_malloc(size + 1);
  protobuf_c_message_pack(message, bytes);
  return g_bytes_new_take(bytes, size);
}

static Failure *damaged(const char *what) {
  return failure_new(FAILURE(CORRUPT_LOG), "A %s of the controller's log does not decode: it is damaged.", what);
}

static Failure *check_format(const char *what, guint32 format) {
  if (format == RAFT_FORMAT)
    return NULL;
  if (format < RAFT_FORMAT)
    return damaged(what);
  return failure_new(FAILURE(UNSUPPORTED),
                     "A %s of the controller's log has format %u, and this version knows formats up to %d: it was "
                     "written by a newer Milena. Upgrade this process.",
                     what, format, RAFT_FORMAT);
}

GBytes *raft_entry_encode(const RaftEntry *entry) {
  Milena__Internal__V1__RaftEntry message = MILENA__INTERNAL__V1__RAFT_ENTRY__INIT;
  message.format = RAFT_FORMAT;
  message.index = entry->index;
  message.term = entry->term;
  message.kind = entry->kind;
  message.data.data = (guint8 *)g_bytes_get_data(entry->data, &message.data.len);
  return pack(&message.base);
}

Failure *raft_entry_decode(const void *data, gsize size, RaftEntry **ret_entry) {
  Milena__Internal__V1__RaftEntry *message = milena__internal__v1__raft_entry__unpack(NULL, size, data);
  if (!message)
    return damaged("entry");
  Failure *failure = check_format("entry", message->format);
  gboolean known = message->kind >= RAFT_ENTRY_KIND(EMPTY) && message->kind <= RAFT_ENTRY_KIND(CONFIGURATION);
  if (!failure && (!known || message->index == 0 || message->term == 0))
    failure = damaged("entry");
  if (!failure)
    *ret_entry = raft_entry_new(message->index, message->term, message->kind,
                                g_bytes_new(message->data.data, message->data.len));
  milena__internal__v1__raft_entry__free_unpacked(message, NULL);
  return failure;
}

GBytes *raft_hard_state_encode(const RaftHardState *state) {
  Milena__Internal__V1__RaftHardState message = MILENA__INTERNAL__V1__RAFT_HARD_STATE__INIT;
  message.format = RAFT_FORMAT;
  message.term = state->term;
  message.vote = state->vote;
  message.commit = state->commit;
  return pack(&message.base);
}

Failure *raft_hard_state_decode(const void *data, gsize size, RaftHardState *ret_state) {
  Milena__Internal__V1__RaftHardState *message = milena__internal__v1__raft_hard_state__unpack(NULL, size, data);
  if (!message)
    return damaged("hard state");
  Failure *failure = check_format("hard state", message->format);
  if (!failure)
    *ret_state = (RaftHardState){message->term, message->vote, message->commit};
  milena__internal__v1__raft_hard_state__free_unpacked(message, NULL);
  return failure;
}

static Milena__Internal__V1__RaftConfiguration configuration_message(const RaftConfiguration *configuration) {
  Milena__Internal__V1__RaftConfiguration message = MILENA__INTERNAL__V1__RAFT_CONFIGURATION__INIT;
  message.n_voters = configuration->voter_count;
  message.voters = (guint64 *)configuration->voters;
  return message;
}

static Failure *read_configuration(const Milena__Internal__V1__RaftConfiguration *message,
                                   RaftConfiguration *ret_configuration) {
  if (message->n_learners > 0)
    return failure_new(FAILURE(UNSUPPORTED), "The controllers' configuration has learners: it was written by a newer "
                                             "Milena. Upgrade this process.");
  if (message->n_voters == 0 || message->n_voters > RAFT_VOTERS_MAX)
    return damaged("configuration");
  RaftConfiguration configuration = {.voter_count = message->n_voters};
  for (gsize i = 0; i < message->n_voters; i++) {
    if (message->voters[i] == 0)
      return damaged("configuration");
    configuration.voters[i] = message->voters[i];
  }
  *ret_configuration = configuration;
  return NULL;
}

GBytes *raft_configuration_encode(const RaftConfiguration *configuration) {
  Milena__Internal__V1__RaftConfiguration message = configuration_message(configuration);
  return pack(&message.base);
}

Failure *raft_configuration_decode(const void *data, gsize size, RaftConfiguration *ret_configuration) {
  Milena__Internal__V1__RaftConfiguration *message = milena__internal__v1__raft_configuration__unpack(NULL, size, data);
  if (!message)
    return damaged("configuration");
  Failure *failure = read_configuration(message, ret_configuration);
  milena__internal__v1__raft_configuration__free_unpacked(message, NULL);
  return failure;
}

GBytes *raft_snapshot_meta_encode(const RaftSnapshotMeta *meta) {
  Milena__Internal__V1__RaftConfiguration configuration = configuration_message(&meta->configuration);
  Milena__Internal__V1__RaftSnapshotMeta message = MILENA__INTERNAL__V1__RAFT_SNAPSHOT_META__INIT;
  message.format = RAFT_FORMAT;
  message.index = meta->index;
  message.term = meta->term;
  message.configuration = &configuration;
  message.size_bytes = meta->size_bytes;
  message.crc32c = meta->crc32c;
  return pack(&message.base);
}

static Failure *read_snapshot_meta(const Milena__Internal__V1__RaftSnapshotMeta *message, RaftSnapshotMeta *ret_meta) {
  Failure *failure = check_format("snapshot", message->format);
  if (failure)
    return failure;
  if (!message->configuration || message->index == 0 || message->term == 0)
    return damaged("snapshot");
  RaftSnapshotMeta meta = {
      .index = message->index,
      .term = message->term,
      .size_bytes = message->size_bytes,
      .crc32c = message->crc32c,
  };
  failure = read_configuration(message->configuration, &meta.configuration);
  if (!failure)
    *ret_meta = meta;
  return failure;
}

Failure *raft_snapshot_meta_decode(const void *data, gsize size, RaftSnapshotMeta *ret_meta) {
  Milena__Internal__V1__RaftSnapshotMeta *message = milena__internal__v1__raft_snapshot_meta__unpack(NULL, size, data);
  if (!message)
    return damaged("snapshot");
  Failure *failure = read_snapshot_meta(message, ret_meta);
  milena__internal__v1__raft_snapshot_meta__free_unpacked(message, NULL);
  return failure;
}
