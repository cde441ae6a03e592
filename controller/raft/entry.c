/* Entries and formats; see entry.h. No state. */
#include "controller/raft/format.h"

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

/* ---- Formats ---- */

GBytes *raft_entry_encode(const RaftEntry *entry) {
  Milena__Internal__V1__RaftEntry message = MILENA__INTERNAL__V1__RAFT_ENTRY__INIT;
  message.format = entry->kind == RAFT_ENTRY_KIND(CONFIGURATION) ? RAFT_FORMAT : 1;
  message.index = entry->index;
  message.term = entry->term;
  message.kind = entry->kind;
  message.data.data = (guint8 *)g_bytes_get_data(entry->data, &message.data.len);
  return raft_pack(&message.base);
}

Failure *raft_entry_decode(const void *data, gsize size, RaftEntry **ret_entry) {
  Milena__Internal__V1__RaftEntry *message = milena__internal__v1__raft_entry__unpack(NULL, size, data);
  if (!message)
    return raft_damaged("entry");
  Failure *failure = raft_check_format("entry", message->format, RAFT_FORMAT);
  gboolean known = message->kind >= RAFT_ENTRY_KIND(EMPTY) && message->kind <= RAFT_ENTRY_KIND(CONFIGURATION);
  if (!failure && (!known || message->index == 0 || message->term == 0))
    failure = raft_damaged("entry");
  if (!failure)
    *ret_entry = raft_entry_new(message->index, message->term, message->kind,
                                g_bytes_new(message->data.data, message->data.len));
  milena__internal__v1__raft_entry__free_unpacked(message, NULL);
  return failure;
}

GBytes *raft_hard_state_encode(const RaftHardState *state) {
  Milena__Internal__V1__RaftHardState message = MILENA__INTERNAL__V1__RAFT_HARD_STATE__INIT;
  message.format = 1;
  message.term = state->term;
  message.vote = state->vote;
  message.commit = state->commit;
  if (!raft_directory_is_unknown(&state->vote_directory))
    message.vote_directory = raft_directory_field(&state->vote_directory);
  return raft_pack(&message.base);
}

Failure *raft_hard_state_decode(const void *data, gsize size, RaftHardState *ret_state) {
  Milena__Internal__V1__RaftHardState *message = milena__internal__v1__raft_hard_state__unpack(NULL, size, data);
  if (!message)
    return raft_damaged("hard state");
  Failure *failure = raft_check_format("hard state", message->format, 1);
  RaftHardState state = {.term = message->term, .vote = message->vote, .commit = message->commit};
  if (!failure)
    failure = raft_directory_read(&message->vote_directory, "hard state", &state.vote_directory);
  if (!failure)
    *ret_state = state;
  milena__internal__v1__raft_hard_state__free_unpacked(message, NULL);
  return failure;
}

GBytes *raft_snapshot_meta_encode(const RaftSnapshotMeta *meta) {
  RaftConfigurationMessage configuration;
  raft_configuration_fill(&meta->configuration, &configuration);
  Milena__Internal__V1__RaftSnapshotMeta message = MILENA__INTERNAL__V1__RAFT_SNAPSHOT_META__INIT;
  message.format = RAFT_FORMAT;
  message.index = meta->index;
  message.term = meta->term;
  message.configuration = &configuration.base;
  message.size_bytes = meta->size_bytes;
  message.crc32c = meta->crc32c;
  return raft_pack(&message.base);
}

static Failure *read_snapshot_meta(const Milena__Internal__V1__RaftSnapshotMeta *message, RaftSnapshotMeta *ret_meta) {
  Failure *failure = raft_check_format("snapshot", message->format, RAFT_FORMAT);
  if (failure)
    return failure;
  if (!message->configuration || message->index == 0 || message->term == 0)
    return raft_damaged("snapshot");
  RaftSnapshotMeta meta = {
      .index = message->index,
      .term = message->term,
      .size_bytes = message->size_bytes,
      .crc32c = message->crc32c,
  };
  failure = raft_configuration_read(message->configuration, &meta.configuration);
  if (!failure)
    *ret_meta = meta;
  return failure;
}

Failure *raft_snapshot_meta_decode(const void *data, gsize size, RaftSnapshotMeta *ret_meta) {
  Milena__Internal__V1__RaftSnapshotMeta *message = milena__internal__v1__raft_snapshot_meta__unpack(NULL, size, data);
  if (!message)
    return raft_damaged("snapshot");
  Failure *failure = read_snapshot_meta(message, ret_meta);
  milena__internal__v1__raft_snapshot_meta__free_unpacked(message, NULL);
  return failure;
}
