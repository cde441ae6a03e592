/* A client: writes the values 0, 1, 2 ... in batches, with libmilena's rule for retries:
 *
 *   - the oldest unanswered batch and the four behind it may be on their way, answered or not: not the next one, since
 *     leaders remember five. They are sent again, unchanged, until they are answered
 *   - OVERLOADED, UNKNOWN_OUTCOME, and a gap or an unknown producer while an earlier batch is unanswered: again, later
 *   - who gives up on a batch does not know what became of it, and so goes on with the next epoch, from sequence 0;
 *     values that were given up are not sent again
 *
 * Rules checked here:
 *   1. a client's values are in the log in rising order, hence none twice
 *   2. an acknowledged batch is in the log, at the offset that it was acknowledged with
 *   3. a batch that is still unanswered is never refused as too old, of a stale epoch, or (the oldest one) as a gap
 *   4. once the faults have ended, everything is answered */
#include "tests/sim/idempotence_internal.h"

#define IN_FLIGHT_MAX 5
#define RETRY_US 30000
#define TRIES_MAX 40

/* A batch that is not answered. */
typedef struct {
  guint32 sequence, count;
  guint64 first_value;
  guint batch; /* the client's first is 0 */
  guint tries;
} Try;

struct SimClient {
  SimWorld *world;
  guint number;
  gint64 producer_id;
  guint32 epoch, next_sequence;
  guint64 next_value;
  guint batches, batches_left;
  Milena__V1__Acks acks;
  GQueue in_flight;     /* of Try, owned, oldest first */
  GArray *acknowledged; /* gint64: offset of each value, -1 when it was not */

  gint64 next_found; /* lowest value that may come next in the log */
};

/* A timer of one try: it may have been answered, or given up, meanwhile. */
typedef struct {
  SimClient *client;
  guint32 epoch, sequence;
} Reminder;

static Try *find_try(SimClient *client, guint32 epoch, guint32 sequence) {
  if (epoch != client->epoch)
    return NULL;
  for (GList *link = client->in_flight.head; link; link = link->next) {
    Try *try = link->data;
    if (try->sequence == sequence)
      return try;
  }
  return NULL;
}

static void on_reminder(gpointer data);

static void send_try(SimClient *client, Try *try) {
  SimWorld *world = client->world;
  SimRequest request = {.client = client->number,
                        .producer_id = client->producer_id,
                        .epoch = client->epoch,
                        .sequence = try->sequence,
                        .count = try->count,
                        .first_value = try->first_value,
                        .acks = client->acks};
  try->tries++;
  sim_send(world->sim, &world->faults, &request, sizeof request, world->take, world->host);
  Reminder *reminder = g_new(Reminder, 1);
  *reminder = (Reminder){client, client->epoch, try->sequence};
  sim_after(world->sim, sim_between(world->sim, RETRY_US / 2, RETRY_US), on_reminder, reminder, g_free);
}

static gboolean has_room(SimClient *client) {
  const Try *oldest = g_queue_peek_head(&client->in_flight);
  return !oldest || client->batches - oldest->batch < IN_FLIGHT_MAX;
}

static void fill(SimClient *client) {
  while (client->batches_left > 0 && has_room(client)) {
    Try *try = g_new0(Try, 1);
    *try = (Try){.sequence = client->next_sequence,
                 .count = 1 + sim_below(client->world->sim, 4),
                 .first_value = client->next_value,
                 .batch = client->batches++};
    const gint64 none = -1;
    for (guint32 i = 0; i < try->count; i++)
      g_array_append_val(client->acknowledged, none);
    client->next_sequence += try->count;
    client->next_value += try->count;
    client->batches_left--;
    g_queue_push_tail(&client->in_flight, try);
    send_try(client, try);
  }
}

/* What it acknowledged may be gone, as its acks or the run's faults allow. */
static gboolean may_lose(const SimClient *client) {
  const SimWorld *world = client->world;
  return world->gave_up || (world->replicated && client->acks != MILENA__V1__ACKS__ACKS_ALL);
}

/* All that is unanswered has an unknown outcome now. */
static void give_up(SimClient *client) {
  client->world->result->give_ups++;
  g_queue_clear_full(&client->in_flight, g_free);
  client->epoch++;
  client->next_sequence = 0;
  fill(client);
}

static void on_reminder(gpointer data) {
  const Reminder *reminder = data;
  SimClient *client = reminder->client;
  Try *try = find_try(client, reminder->epoch, reminder->sequence);
  if (!try)
    return;
  if (try->tries >= TRIES_MAX && !client->world->healing)
    give_up(client);
  else if (!client->world->healing && sim_chance(client->world->sim, 3))
    give_up(client); /* its caller has lost patience, or its process was replaced */
  else
    send_try(client, try);
}

static void acknowledge(SimClient *client, Try *try, gint64 offset) {
  for (guint32 i = 0; i < try->count; i++)
    g_array_index(client->acknowledged, gint64, try->first_value + i) = offset + i;
  g_queue_remove(&client->in_flight, try);
  g_free(try);
  fill(client);
}

/* Rule 3. */
static void check_refusal(SimClient *client, const Try *try, const SimAnswer *answer) {
  Sim *sim = client->world->sim;
  gboolean oldest = g_queue_peek_head(&client->in_flight) == try;
  gint32 ahead = (gint32)(try->sequence - answer->expected);
  if (answer->reason == FAILURE(FENCED))
    sim_violated(sim, "a batch of the newest epoch was fenced");
  else if (answer->reason == FAILURE(SEQUENCE_MISMATCH) && ahead < 0 && !may_lose(client))
    sim_violated(sim, "an unanswered batch was refused as too old");
  else if (answer->reason == FAILURE(UNKNOWN_PRODUCER) && oldest && try->sequence == 0)
    sim_violated(sim, "the first batch of a producer was refused as unknown");
  /* What came before was acknowledged, and is lost: the producer begins anew, as libmilena does. */
  gboolean lost = answer->reason == FAILURE(SEQUENCE_MISMATCH) || answer->reason == FAILURE(UNKNOWN_PRODUCER);
  if (!sim_violation(sim) && lost && oldest && may_lose(client))
    give_up(client);
}

void sim_client_take(gpointer host, gconstpointer message) {
  SimClient *client = host;
  const SimAnswer *answer = message;
  Try *try = find_try(client, answer->epoch, answer->sequence);
  if (!try)
    return;
  if (answer->offset >= 0)
    acknowledge(client, try, answer->offset);
  else
    check_refusal(client, try, answer); /* its reminder sends it again */
}

/* ---- the end ---- */

gboolean sim_client_is_done(const SimClient *client) {
  return client->batches_left == 0 && g_queue_is_empty((GQueue *)&client->in_flight);
}

void sim_client_check_record(SimClient *client, gint64 offset, guint64 value) {
  Sim *sim = client->world->sim;
  if ((gint64)value < client->next_found)
    sim_violated(sim,
                 "value %" G_GUINT64_FORMAT " of producer %u is at offset %" G_GINT64_FORMAT
                 ", behind %" G_GINT64_FORMAT ": doubled, or out of order",
                 value, client->number + 1, offset, client->next_found - 1);
  client->next_found = (gint64)value + 1;
  gint64 told = g_array_index(client->acknowledged, gint64, value);
  if (told >= 0 && told != offset && !may_lose(client))
    sim_violated(sim,
                 "value %" G_GUINT64_FORMAT " of producer %u was acknowledged at offset %" G_GINT64_FORMAT
                 ", but is at %" G_GINT64_FORMAT,
                 value, client->number + 1, told, offset);
  g_array_index(client->acknowledged, gint64, value) = -1; /* found */
}

void sim_client_check_end(SimClient *client) {
  if (may_lose(client))
    return;
  for (guint i = 0; i < client->acknowledged->len; i++) {
    if (g_array_index(client->acknowledged, gint64, i) >= 0)
      sim_violated(client->world->sim, "value %u of producer %u was acknowledged, and is lost", i, client->number + 1);
  }
}

/* ---- life ---- */

SimClient *sim_client_new(SimWorld *world, guint number, guint batches) {
  SimClient *client = g_new0(SimClient, 1);
  *client = (SimClient){.world = world, .number = number, .producer_id = number + 1, .batches_left = batches};
  client->acks = sim_chance(world->sim, 700) ? MILENA__V1__ACKS__ACKS_ALL : MILENA__V1__ACKS__ACKS_LEADER;
  client->acknowledged = g_array_new(FALSE, FALSE, sizeof(gint64));
  g_queue_init(&client->in_flight);
  return client;
}

void sim_client_free(gpointer data) {
  SimClient *client = data;
  g_queue_clear_full(&client->in_flight, g_free);
  g_array_unref(client->acknowledged);
  g_free(client);
}

void sim_client_start(SimClient *client) {
  fill(client);
}
