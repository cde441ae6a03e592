/* Subscribe: partitions as a stream that the client steers.
 *
 *   waiting for init ──init──► finding starts ──► open ──half-close──► finding ends ──► emptying ──► finished
 *                                                ▲  │ seek
 *                                                └──┘ (finding its place; the cursor is held)
 *
 * Invariants: the client's next frame is asked for only when the one before was done with, and the stream is not held
 * back: so seeks are answered in order, and a client that sends and does not read costs no memory. Data of a partition
 * that follows a SeekDone is from the new place. What is sent never passes the credit by more than one frame; failures
 * need none. After the half-close a stream whose credit is spent ends too: no more can come.
 *
 * Thread: the front's loop. The state lives until the call has closed. */
#include "services/broker/read/credit.h"
#include "services/broker/read/cursor.h"
#include "services/broker/read/fetched.h"
#include "services/broker/read/resolve.h"
#include "services/broker/read/service.h"

typedef enum { WAITING_FOR_INIT, FINDING_STARTS, OPEN, FINDING_ENDS, EMPTYING } SubscribePhase;

typedef struct {
  ReadService *service;
  RpcCall *call;
  SubscribePhase phase;
  RpcMessage *init; /* a reference: starts are taken from it */
  guint32 max_bytes;
  ReadCredit credit;
  GPtrArray *finds; /* of SourceFind: starts, later ends; as many as partitions */
  Resolver *resolver;
  CursorSet *set;
  Cursor *seeking; /* while a seek is under way */
  SourceFind *seek;
  guint64 seek_id;
  gboolean busy, finished;
  gboolean wants_frame; /* the next frame is to be asked for once the stream is not busy */
} Subscribe;

static void finish(Subscribe *subscribe, Failure *failure) {
  subscribe->finished = TRUE;
  if (subscribe->set != NULL)
    cursor_set_run(subscribe->set, FALSE);
  rpc_call_finish(subscribe->call, failure);
}

static void next_frame(Subscribe *subscribe) {
  subscribe->wants_frame = subscribe->busy && !subscribe->finished;
  if (!subscribe->busy && !subscribe->finished)
    rpc_call_read(subscribe->call);
}

/* ---- flowing ---- */

static void send_frame(Subscribe *subscribe, const Milena__V1__SubscribeResponse *response, ReadMemory *memory) {
  gsize owner_count;
  GBytes *const *owners = read_memory_owners(memory, &owner_count);
  RpcSendResult result = rpc_call_send(subscribe->call, &response->base, owners, owner_count);
  subscribe->busy = result == RPC_BUSY;
  subscribe->finished |= result == RPC_CLOSED;
  if (subscribe->set != NULL && (subscribe->busy || subscribe->finished))
    cursor_set_run(subscribe->set, FALSE);
}

/* Send one failure, or one piece within the credit. Returns FALSE when there is none now. */
static gboolean send_piece(Subscribe *subscribe) {
  g_autoptr(ReadMemory) memory = read_memory_new();
  gboolean is_open = read_credit_is_open(&subscribe->credit);
  ExpandLimits limits = {
      .bytes = is_open ? (gsize)MIN(subscribe->max_bytes, read_credit_bytes(&subscribe->credit)) : 0,
      .records = MIN(EXPAND_RECORDS_MAX, read_credit_records(&subscribe->credit)),
      .at_least_one = TRUE,
  };
  CursorFrame frame;
  if (!cursor_set_next(subscribe->set, &limits, memory, &frame))
    return FALSE;
  Milena__V1__SubscribeResponse response = MILENA__V1__SUBSCRIBE_RESPONSE__INIT;
  response.frame_case = MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_DATA;
  response.data = cursor_frame_message(&frame, memory);
  failure_free(frame.failure);
  read_credit_take(&subscribe->credit, frame.piece.counted_records, frame.piece.counted_bytes);
  send_frame(subscribe, &response, memory);
  return TRUE;
}

static void flow(gpointer user_data) {
  Subscribe *subscribe = user_data;
  while (!subscribe->busy && !subscribe->finished && send_piece(subscribe))
    ;
  gboolean is_through = cursor_set_is_over(subscribe->set) || !read_credit_is_open(&subscribe->credit);
  if (subscribe->phase == EMPTYING && !subscribe->busy && !subscribe->finished && is_through)
    finish(subscribe, NULL);
}

/* ---- init ---- */

static Failure *check_init(const Milena__V1__SubscribeInit *init, guint32 *ret_max_bytes) {
  if (*init->group != '\0') {
    Failure *failure = failure_new(FAILURE(UNSUPPORTED),
                                   "init.group: consumer groups are not supported by this version; leave it empty, and "
                                   "name partitions");
    return failure_add_violation(failure, "init.group", "consumer groups are not supported by this version");
  }
  Milena__V1__Format format;
  Failure *failure = read_request_count(init->n_partitions, "init.partitions");
  if (failure == NULL)
    failure = read_request_format(init->format, "init.format", &format);
  if (failure == NULL)
    failure = read_request_max_bytes(init->max_bytes, "init.max_bytes", ret_max_bytes);
  return failure;
}

/* Make the find of one partition: for an offset, the topic is what is to be found. */
static Failure *add_start(Subscribe *subscribe, const Milena__V1__SubscribePartition *partition, gsize index,
                          gint64 deadline_us) {
  g_autofree char *path = g_strdup_printf("init.partitions[%" G_GSIZE_FORMAT "]", index);
  g_autofree char *start = g_strconcat(path, ".start", NULL);
  Place place;
  Failure *failure = read_request_partition(partition->topic, partition->topic_id, partition->partition, path);
  if (failure == NULL)
    failure = read_request_place(partition->start, PLACE_LATEST, start, &place);
  if (failure != NULL)
    return failure;
  if (place.kind == PLACE_OFFSET)
    place.kind = PLACE_EARLIEST;
  g_ptr_array_add(subscribe->finds,
                  resolver_find_new(partition->topic, partition->topic_id, partition->partition, place, deadline_us));
  return NULL;
}

static gint64 start_of(const Subscribe *subscribe, guint index) {
  const Milena__V1__SubscribeRequest *request = rpc_message_body(subscribe->init);
  const Milena__V1__Position *start = request->init->partitions[index]->start;
  if (start != NULL && start->kind_case == MILENA__V1__POSITION__KIND_OFFSET)
    return start->offset;
  return ((const SourceFind *)g_ptr_array_index(subscribe->finds, index))->offset;
}

/* One cursor for each partition. Returns INVALID_FIELD when one is named twice. */
static Failure *add_cursors(Subscribe *subscribe) {
  g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  for (guint i = 0; i < subscribe->finds->len; i++) {
    const SourceFind *find = g_ptr_array_index(subscribe->finds, i);
    gint32 partition = find->target.partition;
    if (!g_hash_table_add(seen, g_strdup_printf("%s/%d", find->origin.topic_id, partition))) {
      g_autofree char *path = g_strdup_printf("init.partitions[%u]", i);
      return read_request_invalid(path, "%s/%d is named twice", find->origin.topic, partition);
    }
    cursor_go(cursor_set_add(subscribe->set, find->origin.topic, find->origin.topic_id, partition),
              start_of(subscribe, i), EXPAND_STOP_NONE);
  }
  return NULL;
}

static void send_ready(Subscribe *subscribe) {
  g_autoptr(ReadMemory) memory = read_memory_new();
  Milena__V1__SubscribeReady ready = MILENA__V1__SUBSCRIBE_READY__INIT;
  ready.n_starts = cursor_set_count(subscribe->set);
  ready.starts = read_memory_alloc(memory, ready.n_starts * sizeof *ready.starts);
  for (guint i = 0; i < ready.n_starts; i++) {
    const Cursor *cursor = cursor_set_get(subscribe->set, i);
    Milena__V1__SubscribeStart *start = read_memory_alloc(memory, sizeof *start);
    milena__v1__subscribe_start__init(start);
    start->topic = read_memory_string(memory, cursor_topic(cursor));
    start->partition = cursor_partition(cursor);
    start->offset = cursor_position(cursor);
    ready.starts[i] = start;
  }
  Milena__V1__SubscribeResponse response = MILENA__V1__SUBSCRIBE_RESPONSE__INIT;
  response.frame_case = MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_READY;
  response.ready = &ready;
  send_frame(subscribe, &response, memory);
}

static void starts_found(gpointer user_data) {
  Subscribe *subscribe = user_data;
  if (subscribe->finished)
    return;
  const Milena__V1__SubscribeRequest *request = rpc_message_body(subscribe->init);
  Milena__V1__Format format;
  Failure *failure = failure_copy(resolver_failure(subscribe->resolver));
  if (failure == NULL)
    failure = read_request_format(request->init->format, "init.format", &format);
  if (failure == NULL) {
    subscribe->set = cursor_set_new(subscribe->service->front, format, subscribe->max_bytes, flow, subscribe);
    failure = add_cursors(subscribe);
  }
  if (failure != NULL) {
    finish(subscribe, failure);
    return;
  }
  subscribe->phase = OPEN;
  send_ready(subscribe);
  cursor_set_run(subscribe->set, !subscribe->busy && !subscribe->finished);
  next_frame(subscribe);
}

static void take_init(Subscribe *subscribe, RpcMessage *message, const Milena__V1__SubscribeInit *init) {
  gint64 deadline_us = read_deadline_us(subscribe->call, READ_FIND_MS);
  Failure *failure = read_check_draining(subscribe->service);
  if (failure == NULL)
    failure = check_init(init, &subscribe->max_bytes);
  for (gsize i = 0; failure == NULL && i < init->n_partitions; i++)
    failure = add_start(subscribe, init->partitions[i], i, deadline_us);
  if (failure != NULL) {
    finish(subscribe, failure);
    return;
  }
  if (init->initial_credit != NULL) {
    subscribe->credit.metered = TRUE;
    read_credit_add(&subscribe->credit, init->initial_credit->records, init->initial_credit->bytes);
  }
  subscribe->init = rpc_message_ref(message);
  subscribe->phase = FINDING_STARTS;
  subscribe->resolver = resolver_new(subscribe->service->front, subscribe->finds, starts_found, subscribe);
}

/* ---- seek ---- */

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
  send_frame(subscribe, &response, memory);
  failure_free(failure);
}

static void seek_found(SourceFind *find, gpointer user_data) {
  Subscribe *subscribe = user_data;
  if (subscribe->finished)
    return;
  Cursor *cursor = g_steal_pointer(&subscribe->seeking);
  gint64 offset = find->failure == NULL ? find->offset : cursor_position(cursor); /* else on as before */
  send_seek_done(subscribe, subscribe->seek_id, offset, g_steal_pointer(&find->failure));
  g_clear_pointer(&subscribe->seek, source_find_free);
  cursor_go(cursor, offset, EXPAND_STOP_NONE);
  next_frame(subscribe);
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

static void take_seek(Subscribe *subscribe, const Milena__V1__Seek *seek) {
  Cursor *cursor;
  Place place = {.kind = PLACE_LATEST};
  Failure *failure = check_seek(subscribe, seek, &cursor, &place);
  if (failure != NULL) {
    send_seek_done(subscribe, seek->seek_id, cursor != NULL ? cursor_position(cursor) : 0, failure);
    next_frame(subscribe);
    return;
  }
  cursor_hold(cursor);
  subscribe->seeking = cursor;
  subscribe->seek_id = seek->seek_id;
  subscribe->seek = resolver_find_new(cursor_topic(cursor), cursor_topic_id(cursor), cursor_partition(cursor), place,
                                      read_deadline_us(subscribe->call, READ_FIND_MS));
  subscribe->seek->done = seek_found;
  subscribe->seek->user_data = subscribe;
  source_find_start(subscribe->seek, subscribe->service->front);
}

/* ---- half-close ---- */

static void ends_found(gpointer user_data) {
  Subscribe *subscribe = user_data;
  if (subscribe->finished)
    return;
  subscribe->phase = EMPTYING;
  for (guint i = 0; i < subscribe->finds->len; i++) {
    SourceFind *find = g_ptr_array_index(subscribe->finds, i);
    Cursor *cursor = cursor_set_get(subscribe->set, i);
    if (cursor_is_failed(cursor))
      continue;
    if (find->failure == NULL) {
      cursor_set_stop(cursor, find->offset);
    } else {
      cursor_hold(cursor);
      cursor_fail(cursor, g_steal_pointer(&find->failure));
    }
  }
  flow(subscribe);
}

static void take_half_close(Subscribe *subscribe) {
  if (subscribe->phase == WAITING_FOR_INIT) {
    finish(subscribe, read_request_invalid("init", "the first frame is missing: say what to read"));
    return;
  }
  gint64 deadline_us = read_deadline_us(subscribe->call, READ_FIND_MS);
  resolver_free(subscribe->resolver);
  g_ptr_array_set_size(subscribe->finds, 0);
  for (guint i = 0; i < cursor_set_count(subscribe->set); i++) {
    const Cursor *cursor = cursor_set_get(subscribe->set, i);
    g_ptr_array_add(subscribe->finds,
                    resolver_find_new(cursor_topic(cursor), cursor_topic_id(cursor), cursor_partition(cursor),
                                      (Place){.kind = PLACE_LATEST}, deadline_us));
  }
  subscribe->phase = FINDING_ENDS;
  subscribe->resolver = resolver_new(subscribe->service->front, subscribe->finds, ends_found, subscribe);
}

/* ---- the call ---- */

static void take_frame(Subscribe *subscribe, RpcMessage *message) {
  const Milena__V1__SubscribeRequest *request = rpc_message_body(message);
  gboolean is_init = request->frame_case == MILENA__V1__SUBSCRIBE_REQUEST__FRAME_INIT;
  if (request->frame_case == MILENA__V1__SUBSCRIBE_REQUEST__FRAME__NOT_SET) {
    finish(subscribe, read_request_invalid("frame", "an empty frame; send init, credit or seek"));
  } else if (subscribe->phase == WAITING_FOR_INIT && !is_init) {
    finish(subscribe, read_request_invalid("init", "the first frame must be init"));
  } else if (subscribe->phase != WAITING_FOR_INIT && is_init) {
    finish(subscribe, read_request_invalid("init", "only the first frame may be init"));
  } else if (is_init) {
    take_init(subscribe, message, request->init);
  } else if (request->frame_case == MILENA__V1__SUBSCRIBE_REQUEST__FRAME_SEEK) {
    take_seek(subscribe, request->seek);
  } else {
    read_credit_add(&subscribe->credit, request->credit->records, request->credit->bytes);
    flow(subscribe);
    next_frame(subscribe);
  }
}

static void message(RpcCall *call, RpcMessage *message, gpointer state) {
  (void)call;
  Subscribe *subscribe = state;
  if (subscribe->finished)
    return;
  if (message == NULL)
    take_half_close(subscribe);
  else
    take_frame(subscribe, message);
}

static void writable(RpcCall *call, gpointer state) {
  (void)call;
  Subscribe *subscribe = state;
  subscribe->busy = FALSE;
  if (subscribe->finished)
    return;
  if (subscribe->set != NULL) {
    cursor_set_run(subscribe->set, TRUE);
    flow(subscribe);
  }
  if (subscribe->wants_frame)
    next_frame(subscribe);
}

static void draining(RpcCall *call, gpointer state) {
  (void)call;
  Subscribe *subscribe = state;
  if (subscribe->finished)
    return;
  g_autoptr(ReadMemory) memory = read_memory_new();
  Milena__V1__Draining frame = MILENA__V1__DRAINING__INIT;
  frame.message = (char *)"the broker is stopping: subscribe at another one, from the next offsets";
  Milena__V1__SubscribeResponse response = MILENA__V1__SUBSCRIBE_RESPONSE__INIT;
  response.frame_case = MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_DRAINING;
  response.draining = &frame;
  send_frame(subscribe, &response, memory);
  if (!subscribe->finished)
    finish(subscribe, failure_new(FAILURE(DRAINING), "%s", frame.message));
}

static void closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  Subscribe *subscribe = state;
  source_find_free(subscribe->seek);
  resolver_free(subscribe->resolver);
  g_ptr_array_unref(subscribe->finds);
  cursor_set_free(subscribe->set);
  rpc_message_unref(subscribe->init);
  g_free(subscribe);
}

static const RpcCallEvents EVENTS = {.message = message, .writable = writable, .draining = draining, .closed = closed};

void read_subscribe(RpcCall *call, gpointer user_data) {
  Subscribe *subscribe = g_new0(Subscribe, 1);
  subscribe->service = user_data;
  subscribe->call = call;
  subscribe->finds = g_ptr_array_new_with_free_func((GDestroyNotify)source_find_free);
  rpc_call_set_events(call, &EVENTS, subscribe);
  next_frame(subscribe);
}
