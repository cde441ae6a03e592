/* What the fetcher asks for next: which parts, of whom, in how many requests. See fetcher.c.
 *
 * Run when something changed: an answer, a poll, the metadata, a timer. The mutex is held throughout. */
#include "client/libmilena/fetcher_internal.h"

/* Fetches under way at one broker. */
#define FETCHES_PER_BROKER_MAX 4
/* Of one answer, however little prefetch_bytes allows. */
#define FETCH_BYTES_MIN (64u << 10)
/* A fetch that asked for what was not written yet, and is not answered for so long, is a long poll that waits. */
#define HELD_AFTER_US (20 * G_TIME_SPAN_MILLISECOND)

typedef struct {
  View *view;
  gint64 now_us;
  gint64 next_us;
  GHashTable *fetches; /* broker id (the ask's) → Ask that is being gathered */
  GHashTable *offsets; /* the same */
  guint32 fetch_bytes; /* of one answer */
  const Part *refused; /* the first for which there is no room: it comes first the next time */
} Pump;

static void pump_look_again(Pump *pump, gint64 at_us) {
  pump->next_us = MIN(pump->next_us, at_us);
}

static guint fetches_under_way(const Fetcher *fetcher, gint32 broker_id) {
  guint count = 0;
  for (guint i = 0; i < fetcher->asks->len; i++) {
    const Ask *ask = fetcher->asks->pdata[i];
    count += ask->kind == ASK_FETCH && ask->broker_id == broker_id;
  }
  return count;
}

/* Whether a part may be in a fetch now. */
static gboolean part_has_room(const Fetcher *fetcher, const Part *part) {
  const MilenaConsumerOptions *options = &fetcher->consumer->options;
  /* The next answer is on its way while the user still decodes the one before. */
  return part->queued_bytes < options->partition_fetch_bytes;
}

/* Whether one more answer fits. */
static gboolean fetcher_has_room(const Fetcher *fetcher, guint32 fetch_bytes) {
  guint64 held = fetcher->consumer->queued_bytes + fetcher->reserved_bytes;
  return held == 0 || held + fetch_bytes <= fetcher->consumer->options.prefetch_bytes;
}

static gboolean ask_waits(const Ask *ask, gint32 broker_id) {
  return ask->kind == ASK_FETCH && ask->broker_id == broker_id && ask->at_end && ask->sent_us > 0;
}

static gboolean ask_is_held(const Ask *ask, gint32 broker_id, gint64 now_us) {
  return ask_waits(ask, broker_id) && now_us >= ask->sent_us + HELD_AFTER_US;
}

/* Whether a long poll at a broker may be given up; where that is not clear yet, it is looked at again when it is. */
static gboolean pump_finds_held(const Fetcher *fetcher, Pump *pump, gint32 broker_id) {
  gboolean found = FALSE;
  for (guint i = 0; i < fetcher->asks->len; i++) {
    const Ask *ask = fetcher->asks->pdata[i];
    if (ask_is_held(ask, broker_id, pump->now_us))
      found = TRUE;
    else if (ask_waits(ask, broker_id))
      pump_look_again(pump, ask->sent_us + HELD_AFTER_US);
  }
  return found;
}

/* Give up the long polls at a broker that wait for new records; their parts go into @ask. */
static void take_over(Fetcher *fetcher, Pump *pump, Ask *ask) {
  for (guint i = fetcher->asks->len; i-- > 0;) {
    Ask *held = fetcher->asks->pdata[i];
    if (!ask_is_held(held, ask->broker_id, pump->now_us))
      continue;
    rpc_client_call_abandon(held->call);
    for (guint k = 0; k < held->parts->len; k++) {
      Part *part = ask_part(held, k);
      if (part == NULL)
        continue;
      part->displaced = TRUE;
      ask_add(ask, part);
    }
    ask_finish(held);
  }
}

/* The request that gathers parts for a broker; NULL when there can't be one more. */
static Ask *pump_ask(Fetcher *fetcher, Pump *pump, AskKind kind, gint32 broker_id, const char *address) {
  GHashTable *gathering = kind == ASK_FETCH ? pump->fetches : pump->offsets;
  Ask *ask = g_hash_table_lookup(gathering, &broker_id);
  if (ask != NULL)
    return ask;
  gboolean full = kind == ASK_FETCH && (fetches_under_way(fetcher, broker_id) >= FETCHES_PER_BROKER_MAX ||
                                        !fetcher_has_room(fetcher, pump->fetch_bytes));
  if (full && !pump_finds_held(fetcher, pump, broker_id))
    return NULL;
  ask = ask_new(fetcher, kind, broker_id, address);
  if (full)
    take_over(fetcher, pump, ask);
  ask->reserved_bytes = kind == ASK_FETCH ? pump->fetch_bytes : 0;
  fetcher->reserved_bytes += ask->reserved_bytes;
  g_ptr_array_add(fetcher->asks, ask);
  g_hash_table_insert(gathering, &ask->broker_id, ask);
  return ask;
}

/* The metadata has no leader for a part. */
static void part_without_leader(Fetcher *fetcher, Part *part, Pump *pump, const Failure *failure) {
  if (failure_reason(failure) == FAILURE(LEADER_NOT_AVAILABLE)) {
    fetcher_set_trouble(fetcher, failure); /* the next view wakes us */
    return;
  }
  if (!view_is_known(pump->view))
    return;
  if (part->missing_since_us == 0)
    part->missing_since_us = pump->now_us;
  if (pump->now_us >= part->missing_since_us + CLIENT_MISSING_GRACE_US)
    part_rest(fetcher->consumer, part, failure_copy(failure));
  else
    pump_look_again(pump, part->missing_since_us + CLIENT_MISSING_GRACE_US);
}

static void pump_part(Fetcher *fetcher, Part *part, Pump *pump) {
  if (part->asked || part->paused || part->state == PART_RESTING)
    return;
  if (part->state == PART_FETCHING && !part_has_room(fetcher, part))
    return;
  if (pump->now_us < part->not_before_us) {
    pump_look_again(pump, part->not_before_us);
    return;
  }
  gint32 leader_id;
  const char *address;
  g_autoptr(Failure) failure = view_leader(pump->view, part->topic, part->partition, &leader_id, &address);
  if (failure != NULL) {
    part_without_leader(fetcher, part, pump, failure);
    return;
  }
  part->missing_since_us = 0;
  Ask *ask = pump_ask(fetcher, pump, part->state == PART_FETCHING ? ASK_FETCH : ASK_OFFSETS, leader_id, address);
  if (ask != NULL)
    ask_add(ask, part);
  else if (pump->refused == NULL)
    pump->refused = part;
}

/* How many brokers lead the parts: each shall have its share of the prefetch. */
static guint count_leaders(const MilenaConsumer *consumer, const View *view) {
  g_autoptr(GArray) ids = g_array_sized_new(FALSE, FALSE, sizeof(gint32), consumer->parts->len); /* never moves */
  g_autoptr(GHashTable) leaders = g_hash_table_new(g_int_hash, g_int_equal);
  for (guint i = 0; i < consumer->parts->len; i++) {
    const Part *part = consumer->parts->pdata[i];
    gint32 leader_id;
    const char *address;
    g_autoptr(Failure) failure = view_leader(view, part->topic, part->partition, &leader_id, &address);
    if (failure != NULL)
      continue;
    g_array_append_val(ids, leader_id);
    g_hash_table_add(leaders, &g_array_index(ids, gint32, ids->len - 1));
  }
  return MAX(g_hash_table_size(leaders), 1);
}

static gboolean fetcher_on_timer(gpointer data) {
  Fetcher *fetcher = data;
  g_clear_pointer(&fetcher->timer, g_source_unref);
  fetcher_pump(fetcher);
  return G_SOURCE_REMOVE;
}

void fetcher_clear_timer(Fetcher *fetcher) {
  if (fetcher->timer == NULL)
    return;
  g_source_destroy(fetcher->timer);
  g_clear_pointer(&fetcher->timer, g_source_unref);
}

static void pump_send_all(Pump *pump) {
  GHashTableIter iter;
  gpointer ask;
  g_hash_table_iter_init(&iter, pump->offsets);
  while (g_hash_table_iter_next(&iter, NULL, &ask))
    ask_send_list_offsets(ask);
  g_hash_table_iter_init(&iter, pump->fetches);
  while (g_hash_table_iter_next(&iter, NULL, &ask))
    ask_send_fetch(ask, pump->fetch_bytes);
}

void fetcher_pump(Fetcher *fetcher) {
  MilenaConsumer *consumer = fetcher->consumer;
  const MilenaConsumerOptions *options = &consumer->options;
  g_autoptr(View) view = client_view(consumer->client);
  g_autoptr(GHashTable) fetches = g_hash_table_new(g_int_hash, g_int_equal);
  g_autoptr(GHashTable) offsets = g_hash_table_new(g_int_hash, g_int_equal);
  Pump pump = {view, g_get_monotonic_time(), G_MAXINT64, fetches, offsets, 0, NULL};
  pthread_mutex_lock(&consumer->mutex);
  guint64 share = options->prefetch_bytes / (FETCHES_PER_BROKER_MAX * (guint64)count_leaders(consumer, view));
  pump.fetch_bytes = (guint32)MIN(options->fetch_bytes, MAX(share, FETCH_BYTES_MIN));
  guint first = fetcher->rotation++;
  for (guint i = 0; i < consumer->parts->len; i++) {
    guint index = (first + i) % consumer->parts->len;
    pump_part(fetcher, consumer->parts->pdata[index], &pump);
    if (pump.refused == consumer->parts->pdata[index])
      fetcher->rotation = index;
  }
  pump_send_all(&pump);
  for (guint i = 0; i < fetcher->asks->len; i++) {
    const Ask *ask = fetcher->asks->pdata[i];
    pump_look_again(&pump, client_check(consumer->client, ask->address, ask->answer_us));
  }
  pthread_mutex_unlock(&consumer->mutex);
  /* One that fires early stays: a pump too many now and then costs less than a new timer for each. */
  if (pump.next_us == G_MAXINT64 || (fetcher->timer != NULL && fetcher->timer_us <= pump.next_us))
    return;
  fetcher_clear_timer(fetcher);
  fetcher->timer_us = pump.next_us;
  gint64 delay_ms = (MAX(pump.next_us - pump.now_us, 0) + 999) / 1000;
  fetcher->timer =
      loop_add_timeout(client_loop(consumer->client), (guint)MIN(delay_ms, G_MAXINT32), fetcher_on_timer, fetcher);
}
