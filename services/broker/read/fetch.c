/* Fetch: some partitions, once, perhaps after a wait for data.
 *
 *   scan ──all read, without waiting──► enough, an error, or no wait? ──yes──► answered
 *     (one partition alone waits at once)        │ no                            ▲
 *                                                └──► waiting: each partition ───┘ enough, an error, or time is up
 *                                                     waits for more than it has
 *
 * max_bytes is shared out: each partition may read its share of what is left, and what it does not use goes back. The
 * first partition rotates from call to call, so that a full one does not starve the others. What a read brings beyond
 * the budget (its first batch comes whatever its size) is dropped unless it is the first of the answer.
 *
 * Invariants: while scanning, `budget` is max_bytes less what results hold and what reads in flight may bring, not
 * below 0; at most one read of a partition is in flight; the call is answered once. Thread: the front's loop. Failure
 * modes: a partition that can't be read has a status of its own; a client that goes ends the reads. */
#include "services/broker/read/fetched.h"
#include "services/broker/read/service.h"
#include "services/broker/read/source.h"
#include "storage/log/batch.h"

#define IN_FLIGHT_MAX 16
/* The least share of a partition, so that many partitions do not make for tiny reads. */
#define SHARE_BYTES_MIN ((gsize)64 << 10)

typedef struct Fetch Fetch;

typedef struct {
  Fetch *fetch;
  const Milena__V1__FetchPartition *wanted;
  gsize max_bytes; /* of this partition */
  SourceRead *read, *result;
  gsize share, bytes; /* taken from the budget: by `read`, by `result` */
} FetchPart;

struct Fetch {
  ReadService *service;
  RpcCall *call;
  RpcMessage *request; /* a reference: parts point into it */
  gboolean no_proxy;
  Milena__V1__Format format;
  guint32 max_bytes;
  gsize min_bytes;
  gint64 wait_until_us, deadline_us;
  FetchPart *parts;
  guint count, first; /* parts; the one that is served first */
  guint started, in_flight;
  gsize budget, bytes; /* left of max_bytes; in results */
  gboolean failed, waiting, answered, draining;
  Timer timer; /* at wait_until_us */
};

static void scan(Fetch *fetch);

/* ---- the answer ---- */

static Milena__V1__FetchedPartition *part_message(FetchPart *part, ReadMemory *memory, ExpandLimits *limits) {
  SourceRead *result = part->result;
  Expanded piece = {0};
  gint64 next_offset = part->wanted->offset;
  g_autoptr(Failure) damage = NULL;
  if (result->batches != NULL && result->batches->len > 0) {
    g_autoptr(Expander) expander =
        expander_new(result->origin.topic, part->wanted->partition, g_steal_pointer(&result->batches), next_offset,
                     EXPAND_STOP_NONE, part->fetch->format);
    damage = expander_next(expander, memory, limits, &piece);
    next_offset = expander_next_offset(expander);
  }
  limits->at_least_one = limits->at_least_one && piece.counted_records == 0;
  limits->bytes = piece.counted_bytes;
  limits->records -= MIN(limits->records, piece.counted_records);
  Milena__V1__FetchedPartition *message =
      fetched_partition_new(memory, &result->origin, part->wanted->partition, &result->bounds, next_offset);
  fetched_partition_set_piece(message, &piece);
  fetched_partition_set_failure(memory, message, result->failure != NULL ? result->failure : damage);
  return message;
}

static guint parts_with_data(const Fetch *fetch) {
  guint count = 0;
  for (guint i = 0; i < fetch->count; i++)
    count += fetch->parts[i].bytes > 0;
  return count;
}

static void answer(Fetch *fetch) {
  if (fetch->answered)
    return;
  fetch->answered = TRUE;
  timer_clear(front_timers(fetch->service->front), &fetch->timer);
  g_autoptr(ReadMemory) memory = read_memory_new();
  Milena__V1__FetchResponse response = MILENA__V1__FETCH_RESPONSE__INIT;
  response.n_partitions = fetch->count;
  response.partitions = read_memory_alloc(memory, fetch->count * sizeof *response.partitions);
  ExpandLimits limits = {.records = EXPAND_RECORDS_MAX, .at_least_one = TRUE};
  gsize left = fetch->max_bytes;
  guint sharers = parts_with_data(fetch);
  for (guint turn = 0; turn < fetch->count; turn++) {
    guint index = (fetch->first + turn) % fetch->count;
    FetchPart *part = &fetch->parts[index];
    gsize share = fetch->format == MILENA__V1__FORMAT__FORMAT_BATCHES ? left : left / MAX(sharers, 1);
    limits.bytes = MIN(part->max_bytes, share); /* batches were shared out when they were read */
    sharers -= part->bytes > 0;
    response.partitions[index] = part_message(part, memory, &limits);
    left -= MIN(left, limits.bytes); /* now: what was used */
  }
  gsize owner_count;
  GBytes *const *owners = read_memory_owners(memory, &owner_count);
  rpc_call_reply(fetch->call, &response.base, owners, owner_count);
}

/* ---- reading ---- */

static void account(FetchPart *part, SourceRead *read) {
  Fetch *fetch = part->fetch;
  fetch->budget += part->share + part->bytes;
  fetch->bytes -= part->bytes;
  part->share = part->bytes = 0;
  gsize bytes = log_batch_array_payload_bytes(read->batches);
  if (bytes > fetch->budget && fetch->bytes > 0 && !fetch->waiting) {
    g_array_set_size(read->batches, 0);
    bytes = 0;
  }
  part->bytes = bytes;
  fetch->bytes += bytes;
  fetch->budget -= MIN(bytes, fetch->budget);
}

static gboolean is_enough(const Fetch *fetch) {
  return fetch->failed || fetch->draining || fetch->bytes >= fetch->min_bytes ||
         g_get_monotonic_time() >= fetch->wait_until_us;
}

static void part_read(FetchPart *part, gsize max_bytes, gsize min_bytes, gboolean wait);

/* Wait for more than is there. A part that has all that it may have waits for nothing. */
static void part_wait(FetchPart *part) {
  gsize max_bytes = MIN(part->max_bytes, part->bytes + part->fetch->budget);
  if (part->bytes + 1 <= max_bytes)
    part_read(part, max_bytes, part->bytes + 1, TRUE);
}

static void time_up(Timer *timer, gpointer data) {
  (void)timer;
  answer(data);
}

static void wait_begin(Fetch *fetch) {
  fetch->waiting = TRUE;
  timer_set(front_timers(fetch->service->front), &fetch->timer, fetch->wait_until_us, time_up, fetch);
  for (guint i = 0; i < fetch->count; i++)
    part_wait(&fetch->parts[i]);
}

static void part_done(SourceRead *read, gpointer data) {
  FetchPart *part = data;
  Fetch *fetch = part->fetch;
  gsize before = part->bytes;
  part->read = NULL;
  fetch->in_flight--;
  account(part, read);
  source_read_free(part->result);
  part->result = read;
  fetch->failed |= read->failure != NULL;
  if (fetch->answered)
    return;
  if (!fetch->waiting)
    scan(fetch);
  else if (is_enough(fetch))
    answer(fetch);
  else if (part->bytes > before) /* else its wait is over, or its leader drains: the others go on */
    part_wait(part);
}

static void part_read(FetchPart *part, gsize max_bytes, gsize min_bytes, gboolean wait) {
  Fetch *fetch = part->fetch;
  SourceRead *read = source_read_new();
  read->target = (SourceTarget){.topic = part->wanted->topic,
                                .topic_id = part->wanted->topic_id,
                                .partition = part->wanted->partition,
                                .no_proxy = fetch->no_proxy,
                                .deadline_us = fetch->deadline_us};
  read->from_offset = part->wanted->offset;
  read->max_bytes = max_bytes;
  read->min_bytes = min_bytes;
  read->wait_until_us = wait ? fetch->wait_until_us : 0;
  read->done = part_done;
  read->user_data = part;
  part->read = read;
  part->share = wait ? 0 : MIN(max_bytes, fetch->budget); /* the first that comes from a wait ends it */
  fetch->budget -= part->share;
  fetch->in_flight++;
  source_read_start(read, fetch->service->front);
}

/* Read what was not read yet; then answer, or wait. */
static void scan(Fetch *fetch) {
  if (fetch->count == 1 && fetch->started == 0) {
    fetch->started = 1;
    part_read(&fetch->parts[0], fetch->parts[0].max_bytes, fetch->min_bytes, TRUE);
    return;
  }
  while (fetch->started < fetch->count && fetch->in_flight < IN_FLIGHT_MAX) {
    FetchPart *part = &fetch->parts[(fetch->first + fetch->started) % fetch->count];
    gsize share = fetch->budget / (fetch->count - fetch->started);
    share = MIN(MAX(share, SHARE_BYTES_MIN), MIN(part->max_bytes, MAX(fetch->budget, 1)));
    fetch->started++;
    part_read(part, share, 0, FALSE);
  }
  if (fetch->in_flight > 0)
    return;
  if (fetch->count == 1 || is_enough(fetch))
    answer(fetch);
  else
    wait_begin(fetch);
}

/* ---- the call ---- */

static void draining(RpcCall *call, gpointer state) {
  (void)call;
  Fetch *fetch = state;
  fetch->draining = TRUE;
  if (fetch->waiting) {
    answer(fetch);
  } else if (fetch->count == 1 && fetch->wait_until_us != 0 && fetch->parts[0].read != NULL) {
    FetchPart *part = &fetch->parts[0]; /* again, without the wait */
    g_clear_pointer(&part->read, source_read_free);
    fetch->in_flight--;
    part_read(part, part->max_bytes, 0, FALSE);
  }
}

static void closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  Fetch *fetch = state;
  timer_clear(front_timers(fetch->service->front), &fetch->timer);
  for (guint i = 0; i < fetch->count; i++) {
    source_read_free(fetch->parts[i].read);
    source_read_free(fetch->parts[i].result);
  }
  g_free(fetch->parts);
  rpc_message_unref(fetch->request);
  g_free(fetch);
}

static const RpcCallEvents EVENTS = {.draining = draining, .closed = closed};

static Failure *check_part(const Milena__V1__FetchPartition *part, gsize index) {
  g_autofree char *path = g_strdup_printf("partitions[%" G_GSIZE_FORMAT "]", index);
  Failure *failure = read_request_partition(part->topic, part->topic_id, part->partition, path);
  if (failure != NULL)
    return failure;
  g_autofree char *offset = g_strconcat(path, ".offset", NULL);
  if (part->offset < 0)
    return read_request_invalid(offset, "%" G_GINT64_FORMAT " is no offset; they count from 0", part->offset);
  return NULL;
}

static Failure *check(const Milena__V1__FetchRequest *body, Milena__V1__Format *ret_format, guint32 *ret_max_bytes,
                      gint64 *ret_wait_ms) {
  Failure *failure = read_request_count(body->n_partitions, "partitions");
  for (gsize i = 0; failure == NULL && i < body->n_partitions; i++)
    failure = check_part(body->partitions[i], i);
  if (failure == NULL)
    failure = read_request_format(body->format, "format", ret_format);
  if (failure == NULL)
    failure = read_request_max_bytes(body->max_bytes, "max_bytes", ret_max_bytes);
  if (failure == NULL)
    failure = read_request_wait(body->max_wait, "max_wait", ret_wait_ms);
  return failure;
}

void read_fetch(RpcCall *call, RpcMessage *request, gpointer user_data) {
  ReadService *service = user_data;
  const Milena__V1__FetchRequest *body = rpc_message_body(request);
  Milena__V1__Format format;
  guint32 max_bytes;
  gint64 wait_ms;
  Failure *failure = check(body, &format, &max_bytes, &wait_ms);
  if (failure != NULL) {
    rpc_call_finish(call, failure);
    return;
  }
  Fetch *fetch = g_new0(Fetch, 1);
  fetch->service = service;
  fetch->call = call;
  fetch->request = rpc_message_ref(request);
  fetch->no_proxy = body->no_proxy;
  fetch->format = format;
  fetch->max_bytes = max_bytes;
  fetch->budget = max_bytes;
  fetch->min_bytes = MIN(MAX(body->min_bytes, 1), max_bytes);
  fetch->draining = front_is_draining(service->front);
  if (wait_ms > 0 && !fetch->draining)
    fetch->wait_until_us = read_deadline_us(call, wait_ms);
  fetch->deadline_us = read_deadline_us(call, wait_ms + READ_FIND_MS);
  fetch->count = (guint)body->n_partitions;
  fetch->first = service->turn++ % fetch->count;
  fetch->parts = g_new0(FetchPart, fetch->count);
  for (guint i = 0; i < fetch->count; i++) {
    guint32 part_bytes = body->partitions[i]->max_bytes;
    fetch->parts[i] = (FetchPart){.fetch = fetch,
                                  .wanted = body->partitions[i],
                                  .max_bytes = part_bytes == 0 ? max_bytes : MIN(part_bytes, max_bytes)};
  }
  rpc_call_set_events(call, &EVENTS, fetch);
  scan(fetch);
}
