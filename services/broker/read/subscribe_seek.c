/* Seeks of a Subscribe stream: the cursor is held while its new place is looked for; no other frame of the client is
 * read meanwhile. Thread: the front's loop. */
#include "services/broker/read/subscribe_internal.h"

/* @failure: taken; NULL when it was done */
static void send_seek_done(Subscribe *subscribe, guint64 seek_id, gint64 offset, Failure *failure) {
  g_autoptr(ReadMemory) memory = read_memory_new();
  Milena__V1__SeekDone done = MILENA__V1__SEEK_DONE__INIT;
  done.seek_id = seek_id;
  done.offset = offset;
  if (failure != NULL)
    done.status = fetched_status_new(memory, failure);
  Milena__V1__SubscribeResponse response = MILENA__V1__SUBSCRIBE_RESPONSE__INIT;
  response.frame_case = MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_SEEK_DONE;
  response.seek_done = &done;
  subscribe_send(subscribe, &response, memory);
  failure_free(failure);
}

static void seek_found(SourceFind *find, gpointer user_data) {
  Subscribe *subscribe = user_data;
  if (subscribe->finished)
    return;
  Cursor *cursor = g_steal_pointer(&subscribe->seeking);
  gint64 offset = find->failure == NULL ? find->offset : subscribe->seek_from; /* else on as before */
  send_seek_done(subscribe, subscribe->seek_id, offset, g_steal_pointer(&find->failure));
  g_clear_pointer(&subscribe->seek, source_find_free);
  if (subscribe->group != NULL)
    subscribe_group_sought(subscribe, cursor, offset);
  else
    cursor_go(cursor, offset, EXPAND_STOP_NONE);
  subscribe_flow(subscribe);
  subscribe_next_frame(subscribe);
}

static Cursor *cursor_named(const Subscribe *subscribe, const char *topic, gint32 partition) {
  for (guint i = 0; i < cursor_set_count(subscribe->set); i++) {
    Cursor *cursor = cursor_set_get(subscribe->set, i);
    if (cursor_partition(cursor) == partition && g_str_equal(cursor_topic(cursor), topic))
      return cursor;
  }
  return NULL;
}

/* What a seek asks for. Returns NULL and the cursor and place, or why it can't be done. */
static Failure *check_seek(const Subscribe *subscribe, const Milena__V1__Seek *seek, Cursor **ret_cursor,
                           Place *ret_place) {
  *ret_cursor = cursor_named(subscribe, seek->topic, seek->partition);
  if (*ret_cursor == NULL) {
    g_autofree char *name = g_strdup_printf("%s/%d", seek->topic, seek->partition);
    return failure_set_resource(failure_new(FAILURE(UNKNOWN_PARTITION), "%s is not subscribed to in this stream", name),
                                "partition", name);
  }
  if (seek->position == NULL || seek->position->kind_case == MILENA__V1__POSITION__KIND__NOT_SET)
    return read_request_invalid("seek.position", "say where to go on: an end, an offset or a time");
  return read_request_place(seek->position, PLACE_LATEST, "seek.position", ret_place);
}

void subscribe_seek(Subscribe *subscribe, const Milena__V1__Seek *seek) {
  Cursor *cursor;
  Place place = {.kind = PLACE_LATEST};
  Failure *failure = check_seek(subscribe, seek, &cursor, &place);
  if (failure != NULL) {
    send_seek_done(subscribe, seek->seek_id, cursor != NULL ? cursor_position(cursor) : 0, failure);
    subscribe_next_frame(subscribe);
    return;
  }
  cursor_hold(cursor);
  subscribe->seek_from =
      subscribe->group != NULL ? subscribe_group_seek_begins(subscribe, cursor) : cursor_position(cursor);
  subscribe->seeking = cursor;
  subscribe->seek_id = seek->seek_id;
  subscribe->seek = resolver_find_new(cursor_topic(cursor), cursor_topic_id(cursor), cursor_partition(cursor), place,
                                      read_deadline_us(subscribe->call, READ_FIND_MS));
  subscribe->seek->done = seek_found;
  subscribe->seek->user_data = subscribe;
  source_find_start(subscribe->seek, subscribe->service->front);
}

void subscribe_seek_lost(Subscribe *subscribe, const Cursor *cursor) {
  if (subscribe->seeking != cursor)
    return;
  subscribe->seeking = NULL;
  g_clear_pointer(&subscribe->seek, source_find_free);
  Failure *failure = failure_new(FAILURE(NOT_ASSIGNED), "%s/%d was taken from this member while it was looked for",
                                 cursor_topic(cursor), cursor_partition(cursor));
  send_seek_done(subscribe, subscribe->seek_id, subscribe->seek_from, failure);
  subscribe_next_frame(subscribe);
}
