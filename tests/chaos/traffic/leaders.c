/* Who leads, and the end, when each broker leads in turn; see traffic.h. Thread: one at a time. */
#include "services/base/failure.h"
#include "tests/chaos/traffic/traffic_internal.h"

#define FACTOR 3
#define ADMIN_MS 5000
#define LOOK_AGAIN_MS 100
#define LEAD_S 60
#define READ_S 60

/* ---- Looking ---- */

gboolean traffic_look(Traffic *traffic, guint timeout_ms, TrafficView *ret_view) {
  MilenaTopic *topic = NULL;
  MilenaError *error = milena_admin_describe_topic(traffic->admin, TRAFFIC_TOPIC, (gint32)timeout_ms, &topic);
  milena_error_free(error);
  if (!topic)
    return FALSE;
  for (gsize i = 0; i < TRAFFIC_PARTITIONS && i < topic->partition_count; i++) {
    ret_view->leaders[i] = topic->partitions[i].leader_id;
    ret_view->in_sync[i] = (guint)topic->partitions[i].in_sync_replica_count;
  }
  gboolean is_all = topic->partition_count == TRAFFIC_PARTITIONS;
  milena_topic_free(topic);
  return is_all;
}

gboolean traffic_view_is_whole(const TrafficView *view) {
  for (guint i = 0; i < TRAFFIC_PARTITIONS; i++)
    if (view->leaders[i] < 0 || view->in_sync[i] != FACTOR)
      return FALSE;
  return TRUE;
}

guint32 traffic_view_led_by(const TrafficView *view, gint32 broker_id) {
  guint32 partitions = 0;
  for (guint i = 0; i < TRAFFIC_PARTITIONS; i++)
    partitions |= view->leaders[i] == broker_id ? 1u << i : 0;
  return partitions;
}

gint32 traffic_view_top(const TrafficView *view) {
  gint32 top = -1;
  for (guint i = 0; i < TRAFFIC_PARTITIONS; i++) {
    gint32 leader = view->leaders[i];
    if (leader >= 0 && (top < 0 || __builtin_popcount(traffic_view_led_by(view, leader)) >
                                       __builtin_popcount(traffic_view_led_by(view, top))))
      top = leader;
  }
  return top;
}

static char *text_of_view(const TrafficView *view) {
  GString *out = g_string_new(NULL);
  for (guint i = 0; i < TRAFFIC_PARTITIONS; i++)
    g_string_append_printf(out, "%s%u: leader %d, %u in sync", i ? "; " : "", i, view->leaders[i], view->in_sync[i]);
  return g_string_free(out, FALSE);
}

char *traffic_settle(Traffic *traffic, guint timeout_s) {
  gint64 until_us = g_get_monotonic_time() + timeout_s * G_USEC_PER_SEC;
  for (;;) {
    TrafficView view;
    gboolean is_seen = traffic_look(traffic, ADMIN_MS, &view);
    if (is_seen && traffic_view_is_whole(&view))
      return NULL;
    if (g_get_monotonic_time() > until_us)
      return is_seen ? text_of_view(&view) : g_strdup("nobody tells who leads");
    g_usleep(LOOK_AGAIN_MS * 1000);
  }
}

/* ---- Moving ---- */

/* @first: of each partition, the broker that is to lead it; the others follow in turn
 * @counts: of its replicas */
static MilenaError *reassign(Traffic *traffic, const gint32 first[TRAFFIC_PARTITIONS],
                             const gsize counts[TRAFFIC_PARTITIONS]) {
  gint32 orders[TRAFFIC_PARTITIONS][FACTOR];
  MilenaMove moves[TRAFFIC_PARTITIONS];
  for (gint32 i = 0; i < TRAFFIC_PARTITIONS; i++) {
    for (gint32 k = 0; k < FACTOR; k++)
      orders[i][k] = (first[i] - 1 + k) % FACTOR + 1;
    moves[i] = (MilenaMove){TRAFFIC_TOPIC, i, orders[i], counts[i]};
  }
  return milena_admin_reassign_partitions(traffic->admin, moves, TRAFFIC_PARTITIONS, false, ADMIN_MS, NULL);
}

static char *text_of_error(MilenaError *error) {
  char *text = error ? g_strdup(milena_error_message(error)) : NULL;
  milena_error_free(error);
  return text;
}

static char *lead_by(Traffic *traffic, const gint32 first[TRAFFIC_PARTITIONS]) {
  gsize counts[TRAFFIC_PARTITIONS];
  for (guint i = 0; i < TRAFFIC_PARTITIONS; i++)
    counts[i] = FACTOR;
  MilenaError *error = reassign(traffic, first, counts);
  if (!error)
    error = milena_admin_elect_leaders(traffic->admin, MILENA_ELECTION_PREFERRED, TRAFFIC_TOPIC, NULL, 0, false,
                                       ADMIN_MS, NULL);
  return text_of_error(error);
}

char *traffic_shuffle(Traffic *traffic, GRand *random) {
  gint32 first[TRAFFIC_PARTITIONS];
  for (guint i = 0; i < TRAFFIC_PARTITIONS; i++)
    first[i] = g_rand_int_range(random, 1, FACTOR + 1);
  return lead_by(traffic, first);
}

char *traffic_shrink(Traffic *traffic, GRand *random) {
  gint32 first[TRAFFIC_PARTITIONS];
  gsize counts[TRAFFIC_PARTITIONS];
  for (guint i = 0; i < TRAFFIC_PARTITIONS; i++) {
    first[i] = g_rand_int_range(random, 1, FACTOR + 1);
    counts[i] = FACTOR - (gsize)g_rand_int_range(random, 0, 2);
  }
  return text_of_error(reassign(traffic, first, counts));
}

char *traffic_grow(Traffic *traffic) {
  gint32 first[TRAFFIC_PARTITIONS];
  gsize counts[TRAFFIC_PARTITIONS];
  for (gint32 i = 0; i < TRAFFIC_PARTITIONS; i++) {
    first[i] = i % FACTOR + 1;
    counts[i] = FACTOR;
  }
  return text_of_error(reassign(traffic, first, counts));
}

static char *lead_all_by(Traffic *traffic, gint32 broker_id) {
  gint32 first[TRAFFIC_PARTITIONS];
  for (guint i = 0; i < TRAFFIC_PARTITIONS; i++)
    first[i] = broker_id;
  gint64 until_us = g_get_monotonic_time() + LEAD_S * G_USEC_PER_SEC;
  for (;;) {
    g_autofree char *wrong = lead_by(traffic, first);
    TrafficView view;
    if (!wrong && traffic_look(traffic, ADMIN_MS, &view) && traffic_view_led_by(&view, broker_id) == TRAFFIC_ALL)
      return NULL;
    if (g_get_monotonic_time() > until_us)
      return g_strdup_printf("broker %d does not come to lead all: %s", broker_id, wrong ? wrong : "nothing is wrong");
    g_usleep(LOOK_AGAIN_MS * 1000);
  }
}

/* ---- Reading all ---- */

/* Behind everything that is known to be committed. */
static void find_ends(Traffic *traffic) {
  for (guint i = 0; i < traffic->ledger->sends->len; i++) {
    const LedgerSend *send = &g_array_index(traffic->ledger->sends, LedgerSend, i);
    if (send->outcome == LEDGER_OK)
      traffic->ends[send->partition] = MAX(traffic->ends[send->partition], send->offset + 1);
  }
}

static char *read_at(Traffic *traffic, gint32 broker_id) {
  g_autoptr(RpcClient) client = rpc_client_new(NULL);
  Actor *reader = actor_new(traffic, TRAFFIC_FINAL_READER + (guint32)broker_id);
  gint64 offsets[TRAFFIC_PARTITIONS] = {0}, high_watermarks[TRAFFIC_PARTITIONS] = {0};
  gint64 until_us = g_get_monotonic_time() + READ_S * G_USEC_PER_SEC;
  guint32 left = TRAFFIC_ALL;
  g_autoptr(Failure) failure = NULL;
  for (guint32 poll = 1; left && g_get_monotonic_time() < until_us; poll++) {
    failure_free(failure);
    failure =
        traffic_fetch(client, traffic->addresses[broker_id - 1], TRUE, left, offsets, reader, poll, high_watermarks);
    if (failure)
      g_usleep(LOOK_AGAIN_MS * 1000);
    for (guint i = 0; i < TRAFFIC_PARTITIONS; i++)
      if (offsets[i] >= traffic->ends[i] && offsets[i] >= high_watermarks[i])
        left &= ~(1u << i);
  }
  g_array_append_vals(traffic->ledger->reads, reader->ledger->reads->data, reader->ledger->reads->len);
  for (gint32 i = 0; i < TRAFFIC_PARTITIONS; i++) {
    LedgerWhole whole = {reader->number, i};
    g_array_append_val(traffic->ledger->wholes, whole);
  }
  actor_free(reader);
  guint partition = left ? (guint)__builtin_ctz(left) : 0;
  return left ? g_strdup_printf("partition %u, at broker %d: read to offset %" G_GINT64_FORMAT
                                ", and there was one before %" G_GINT64_FORMAT " (%s)",
                                partition, broker_id, offsets[partition], traffic->ends[partition],
                                failure ? failure_message(failure) : "no error")
              : NULL;
}

char *traffic_read_all(Traffic *traffic) {
  find_ends(traffic);
  for (gint32 id = 1; id <= (gint32)traffic->brokers; id++) {
    char *wrong = lead_all_by(traffic, id);
    if (!wrong)
      wrong = read_at(traffic, id);
    if (wrong)
      return wrong;
  }
  return NULL;
}
