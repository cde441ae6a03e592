/* Subscribe: partitions as a stream that the client steers.
 *
 *   waiting for init ──init──► starting ──► open ──half-close──► finding ends ──► emptying ──► finished
 *                                          ▲  │ seek          └─ a group's ──► leaving ──────────►
 *                                          └──┘ (finding its place; the cursor is held)
 *
 * Starting finds where each partition starts, or joins the group. This file has what both kinds of stream share, and
 * the one without a group; subscribe_seek.c the seeks, subscribe_group.c the membership.
 *
 * Invariants: the client's next frame is asked for only when the one before was done with, and the stream is not held
 * back: so seeks are answered in order, and a client that sends and does not read costs no memory. Data of a partition
 * that follows a SeekDone is from the new place. What is sent never passes the credit by more than one frame; failures
 * need none. After the half-close a stream whose credit is spent ends too: no more can come.
 *
 * Thread: the front's loop. The state lives until the call has closed. */
#include "services/broker/read/subscribe_internal.h"

void subscribe_finish(Subscribe *subscribe, Failure *failure) {
  subscribe->finished = TRUE;
  if (subscribe->set != NULL)
    cursor_set_run(subscribe->set, FALSE);
  rpc_call_finish(subscribe->call, failure);
}

void subscribe_next_frame(Subscribe *subscribe) {
  subscribe->wants_frame = subscribe->busy && !subscribe->finished;
  if (!subscribe->busy && !subscribe->finished)
    rpc_call_read(subscribe->call);
}

/* ---- flowing ---- */

void subscribe_send(Subscribe *subscribe, const Milena__V1__SubscribeResponse *response, ReadMemory *memory) {
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
  if (frame.failure != NULL && subscribe->group != NULL &&
      subscribe_group_resets(subscribe, frame.cursor, frame.failure)) {
    failure_free(frame.failure);
    return TRUE;
  }
  Milena__V1__SubscribeResponse response = MILENA__V1__SUBSCRIBE_RESPONSE__INIT;
  response.frame_case = MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_DATA;
  response.data = cursor_frame_message(&frame, memory);
  failure_free(frame.failure);
  read_credit_take(&subscribe->credit, frame.piece.counted_records, frame.piece.counted_bytes);
  subscribe_send(subscribe, &response, memory);
  return TRUE;
}

void subscribe_flow(Subscribe *subscribe) {
  if (subscribe->phase == SUBSCRIBE_LEAVING)
    return;
  while (!subscribe->busy && !subscribe->finished && send_piece(subscribe))
    ;
  gboolean is_through = cursor_set_is_over(subscribe->set) || !read_credit_is_open(&subscribe->credit);
  if (subscribe->phase == SUBSCRIBE_EMPTYING && !subscribe->busy && !subscribe->finished && is_through)
    subscribe_finish(subscribe, NULL);
}

static void flow(gpointer user_data) {
  subscribe_flow(user_data);
}

void subscribe_make_set(Subscribe *subscribe, Milena__V1__Format format) {
  subscribe->set = cursor_set_new(subscribe->service->front, format, subscribe->max_bytes, flow, subscribe);
}

void subscribe_open(Subscribe *subscribe) {
  subscribe->phase = SUBSCRIBE_OPEN;
  cursor_set_run(subscribe->set, !subscribe->busy && !subscribe->finished);
  subscribe_next_frame(subscribe);
}

/* ---- init ---- */

static Failure *check_init(const Milena__V1__SubscribeInit *init, guint32 *ret_max_bytes) {
  gboolean in_group = *init->group != '\0';
  Milena__V1__Format format;
  Failure *failure = in_group ? subscribe_group_check(init) : read_request_count(init->n_partitions, "init.partitions");
  if (failure == NULL && !in_group && init->membership != NULL)
    failure =
        read_request_invalid("init.membership", "it goes with a group: name that in init.group, or leave both out");
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
    start->topic_id = read_memory_string(memory, cursor_topic_id(cursor));
    start->offset = cursor_position(cursor);
    ready.starts[i] = start;
  }
  Milena__V1__SubscribeResponse response = MILENA__V1__SUBSCRIBE_RESPONSE__INIT;
  response.frame_case = MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_READY;
  response.ready = &ready;
  subscribe_send(subscribe, &response, memory);
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
    subscribe_make_set(subscribe, format);
    failure = add_cursors(subscribe);
  }
  if (failure != NULL) {
    subscribe_finish(subscribe, failure);
    return;
  }
  send_ready(subscribe);
  subscribe_open(subscribe);
}

static void take_init(Subscribe *subscribe, RpcMessage *message, const Milena__V1__SubscribeInit *init) {
  gint64 deadline_us = read_deadline_us(subscribe->call, READ_FIND_MS);
  Failure *failure = read_check_draining(subscribe->service);
  if (failure == NULL)
    failure = check_init(init, &subscribe->max_bytes);
  for (gsize i = 0; failure == NULL && i < init->n_partitions; i++)
    failure = add_start(subscribe, init->partitions[i], i, deadline_us);
  if (failure != NULL) {
    subscribe_finish(subscribe, failure);
    return;
  }
  if (init->initial_credit != NULL) {
    subscribe->credit.metered = TRUE;
    read_credit_add(&subscribe->credit, init->initial_credit->records, init->initial_credit->bytes);
  }
  subscribe->init = rpc_message_ref(message);
  subscribe->phase = SUBSCRIBE_STARTING;
  if (*init->group != '\0')
    subscribe_group_begin(subscribe);
  else
    subscribe->resolver = resolver_new(subscribe->service->front, subscribe->finds, starts_found, subscribe);
}

/* ---- half-close ---- */

static void ends_found(gpointer user_data) {
  Subscribe *subscribe = user_data;
  if (subscribe->finished)
    return;
  subscribe->phase = SUBSCRIBE_EMPTYING;
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
  subscribe_flow(subscribe);
}

static void take_half_close(Subscribe *subscribe) {
  if (subscribe->phase == SUBSCRIBE_WAITING_FOR_INIT) {
    subscribe_finish(subscribe, read_request_invalid("init", "the first frame is missing: say what to read"));
    return;
  }
  if (subscribe->group != NULL) {
    subscribe_group_half_close(subscribe);
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
  subscribe->phase = SUBSCRIBE_FINDING_ENDS;
  subscribe->resolver = resolver_new(subscribe->service->front, subscribe->finds, ends_found, subscribe);
}

/* ---- the call ---- */

/* A frame that only a stream in a group takes. */
static Failure *check_in_group(const Subscribe *subscribe, const char *frame) {
  return subscribe->group != NULL
             ? NULL
             : read_request_invalid(frame, "this stream is in no group: only a stream with init.group takes it");
}

static void take_open_frame(Subscribe *subscribe, RpcMessage *message) {
  const Milena__V1__SubscribeRequest *request = rpc_message_body(message);
  Failure *failure = NULL;
  switch (request->frame_case) {
  case MILENA__V1__SUBSCRIBE_REQUEST__FRAME_SEEK:
    subscribe_seek(subscribe, request->seek);
    return;
  case MILENA__V1__SUBSCRIBE_REQUEST__FRAME_CREDIT:
    read_credit_add(&subscribe->credit, request->credit->records, request->credit->bytes);
    subscribe_flow(subscribe);
    subscribe_next_frame(subscribe);
    return;
  case MILENA__V1__SUBSCRIBE_REQUEST__FRAME_COMMIT:
    failure = check_in_group(subscribe, "commit");
    if (failure == NULL) {
      subscribe_group_commit(subscribe, message);
      return;
    }
    break;
  case MILENA__V1__SUBSCRIBE_REQUEST__FRAME_ACKNOWLEDGEMENT:
    failure = check_in_group(subscribe, "acknowledgement");
    if (failure == NULL) {
      subscribe_group_acknowledge(subscribe, message);
      return;
    }
    break;
  default:
    failure = read_request_invalid("init", "only the first frame may be init");
    break;
  }
  subscribe_finish(subscribe, failure);
}

static void take_frame(Subscribe *subscribe, RpcMessage *message) {
  const Milena__V1__SubscribeRequest *request = rpc_message_body(message);
  gboolean is_init = request->frame_case == MILENA__V1__SUBSCRIBE_REQUEST__FRAME_INIT;
  if (request->frame_case == MILENA__V1__SUBSCRIBE_REQUEST__FRAME__NOT_SET)
    subscribe_finish(subscribe, read_request_invalid("frame", "an empty frame; send init, credit, seek, or in a group "
                                                              "commit or acknowledgement"));
  else if (subscribe->phase != SUBSCRIBE_WAITING_FOR_INIT)
    take_open_frame(subscribe, message);
  else if (is_init)
    take_init(subscribe, message, request->init);
  else
    subscribe_finish(subscribe, read_request_invalid("init", "the first frame must be init"));
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
    subscribe_flow(subscribe);
  }
  if (subscribe->wants_frame)
    subscribe_next_frame(subscribe);
}

static void draining(RpcCall *call, gpointer state) {
  (void)call;
  Subscribe *subscribe = state;
  if (subscribe->finished)
    return;
  if (subscribe->group != NULL)
    subscribe_group_stay(subscribe);
  g_autoptr(ReadMemory) memory = read_memory_new();
  Milena__V1__Draining frame = MILENA__V1__DRAINING__INIT;
  frame.message = (char *)"the broker is stopping: subscribe at another one, from the next offsets";
  Milena__V1__SubscribeResponse response = MILENA__V1__SUBSCRIBE_RESPONSE__INIT;
  response.frame_case = MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_DRAINING;
  response.draining = &frame;
  subscribe_send(subscribe, &response, memory);
  if (!subscribe->finished)
    subscribe_finish(subscribe, failure_new(FAILURE(DRAINING), "%s", frame.message));
}

static void closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  Subscribe *subscribe = state;
  subscribe->finished = TRUE; /* nothing is sent any more */
  subscribe->seeking = NULL;
  source_find_free(subscribe->seek);
  if (subscribe->group != NULL)
    subscribe_group_free(subscribe);
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
  subscribe_next_frame(subscribe);
}
