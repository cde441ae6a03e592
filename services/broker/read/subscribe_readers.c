/* What reads a member's partitions: where each starts, its cursor, and where it goes on when its place is not kept any
 * more.
 *
 *   WANTED: looking for the start, unless it is known ──► GAINED: a cursor, held ──► OWNED: reading
 *                                                                                     │   └─out of range─► looking
 *   LOST, GONE: no reader ◄───────────────────────────────────────────────────────────┘        (offset_reset) ◄┘
 *
 * A look that fails, since no leader answers say, is made again until the partition is lost. Thread: the front's loop.
 */
#include "services/base/invariant.h"
#include "services/broker/read/subscribe_group.h"

#define PAUSE_US ((gint64)500 * 1000)

typedef struct Reader Reader;
struct Reader {
  SubscribeGroup *group;
  MemberPartition *partition; /* outlives the reader */
  Cursor *cursor;             /* NULL while the client does not know the partition */
  gboolean going;             /* the client is ready: the cursor reads, or failed */
  SourceFind *find;           /* by offset_reset */
  Timer pause;                /* before it is looked for again */
};

static Timers *timers_of(const Reader *reader) {
  return front_timers(reader->group->subscribe->service->front);
}

static void stop_finding(Reader *reader) {
  timer_clear(timers_of(reader), &reader->pause);
  g_clear_pointer(&reader->find, source_find_free);
}

static void reader_free(Reader *reader) {
  Subscribe *subscribe = reader->group->subscribe;
  stop_finding(reader);
  if (reader->cursor != NULL) {
    subscribe_seek_lost(subscribe, reader->cursor);
    g_hash_table_remove(reader->group->readers, reader->cursor);
    cursor_set_remove(subscribe->set, reader->cursor);
  }
  reader->partition->reader = NULL;
  g_free(reader);
}

static Reader *reader_of(MemberPartition *partition, SubscribeGroup *group) {
  if (partition->reader != NULL)
    return partition->reader;
  Reader *reader = g_new0(Reader, 1);
  reader->group = group;
  reader->partition = partition;
  partition->reader = reader;
  return reader;
}

/* ---- reading ---- */

/* Nothing is committed, and the member wants no other start. */
static Failure *no_offset(const Reader *reader) {
  return failure_new(FAILURE(OFFSET_OUT_OF_RANGE),
                     "group %s has committed nothing for %s/%d, and the member's offset_reset is NONE: seek, commit an "
                     "offset, or join with EARLIEST or LATEST",
                     member_group(reader->group->member), reader->partition->topic, reader->partition->partition);
}

static void go(Reader *reader, gint64 offset) {
  reader->going = TRUE;
  if (offset >= 0)
    cursor_go(reader->cursor, offset, EXPAND_STOP_NONE);
  else
    cursor_fail(reader->cursor, no_offset(reader));
}

/* ---- looking ---- */

static void find(Reader *reader);

static void pause_over(Timer *timer, gpointer data) {
  (void)timer;
  find(data);
}

static void found(SourceFind *find, gpointer user_data) {
  Reader *reader = user_data;
  SubscribeGroup *group = reader->group;
  if (group->subscribe->finished)
    return;
  gboolean is_known = find->failure == NULL;
  gint64 offset = find->offset;
  g_clear_pointer(&reader->find, source_find_free);
  if (!is_known) {
    reader->partition->late = TRUE; /* the others do not wait for it */
    timer_set(timers_of(reader), &reader->pause, g_get_monotonic_time() + PAUSE_US, pause_over, reader);
  } else if (reader->going) {
    go(reader, offset);
  } else {
    member_start_found(group->member, reader->partition, offset);
  }
  subscribe_group_settle(group);
}

static void find(Reader *reader) {
  const MemberPartition *partition = reader->partition;
  gboolean earliest = member_offset_reset(reader->group->member) == MILENA__V1__OFFSET_RESET__OFFSET_RESET_EARLIEST;
  Place place = {.kind = earliest ? PLACE_EARLIEST : PLACE_LATEST};
  reader->find = resolver_find_new(partition->topic, partition->topic_id, partition->partition, place,
                                   g_get_monotonic_time() + READ_FIND_MS * G_TIME_SPAN_MILLISECOND);
  reader->find->done = found;
  reader->find->user_data = reader;
  source_find_start(reader->find, reader->group->subscribe->service->front);
}

/* ---- settling ---- */

static void hold_cursor(Reader *reader) {
  if (reader->cursor != NULL)
    return;
  const MemberPartition *partition = reader->partition;
  stop_finding(reader);
  reader->cursor =
      cursor_set_add(reader->group->subscribe->set, partition->topic, partition->topic_id, partition->partition);
  g_hash_table_insert(reader->group->readers, reader->cursor, reader);
}

static void settle(SubscribeGroup *group, MemberPartition *partition) {
  gboolean is_read =
      partition->state == MEMBER_GAINED || (partition->state == MEMBER_OWNED && !member_is_fenced(group->member));
  if (is_read) {
    Reader *reader = reader_of(partition, group);
    hold_cursor(reader);
    if (partition->state == MEMBER_OWNED && !reader->going && partition->assigned)
      go(reader, partition->start);
  } else if (partition->state == MEMBER_WANTED && !partition->start_known) {
    Reader *reader = reader_of(partition, group);
    if (reader->find == NULL && !timer_is_set(&reader->pause))
      find(reader);
  } else if (partition->state == MEMBER_WANTED && partition->reader != NULL) {
    stop_finding(partition->reader); /* found, or committed meanwhile */
  } else if (partition->state != MEMBER_WANTED && partition->reader != NULL) {
    reader_free(partition->reader);
  }
}

void subscribe_readers_settle(SubscribeGroup *group) {
  GPtrArray *partitions = member_partitions(group->member);
  for (guint i = 0; i < partitions->len; i++)
    settle(group, g_ptr_array_index(partitions, i));
  member_sweep(group->member);
}

void subscribe_readers_clear(SubscribeGroup *group) {
  GPtrArray *partitions = member_partitions(group->member);
  for (guint i = 0; i < partitions->len; i++) {
    const MemberPartition *partition = g_ptr_array_index(partitions, i);
    if (partition->reader != NULL)
      reader_free(partition->reader);
  }
}

/* ---- seeks and resets ---- */

static Reader *reader_with(const Subscribe *subscribe, const Cursor *cursor) {
  Reader *reader = g_hash_table_lookup(subscribe->group->readers, cursor);
  INVARIANT(reader != NULL, "in a group each cursor has a reader");
  return reader;
}

gboolean subscribe_group_resets(Subscribe *subscribe, Cursor *cursor, const Failure *failure) {
  Milena__V1__OffsetReset reset = member_offset_reset(subscribe->group->member);
  if (failure_reason(failure) != FAILURE(OFFSET_OUT_OF_RANGE) || reset == MILENA__V1__OFFSET_RESET__OFFSET_RESET_NONE)
    return FALSE;
  cursor_hold(cursor);
  find(reader_with(subscribe, cursor));
  return TRUE;
}

gint64 subscribe_group_seek_begins(Subscribe *subscribe, const Cursor *cursor) {
  Reader *reader = reader_with(subscribe, cursor);
  stop_finding(reader);
  gboolean was_read = reader->going && reader->partition->start >= 0;
  return was_read ? cursor_position(cursor) : reader->partition->start;
}

void subscribe_group_sought(Subscribe *subscribe, Cursor *cursor, gint64 offset) {
  Reader *reader = reader_with(subscribe, cursor);
  reader->partition->start = offset; /* before the acknowledgement: it starts there then */
  if (reader->going)
    go(reader, offset);
}
