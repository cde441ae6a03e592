/* Replicas of one partition under a controller, at random: brokers that crash and lose what was not synced, freeze, are
 * fenced while they still believe to lead, hear of elections late, lose their disks. One process, no network: messages
 * are calls, made whenever chance says so.
 *
 * Checked after each step: what was ever below a leader's high watermark is in the log of every clean leader, with the
 * same value at the same offset (leader completeness, consistent reads); a producer that was told yes finds its record
 * there; two logs that have the same epoch at an offset have the same value there (log matching). */
#include <string.h>

#include "controller/metadata/partition_rules.h"
#include "services/broker/replica/replica.h"
#include "tests/shim/shim.h"

#define BROKERS 4
#define STEPS 1000
#define LAG_MAX_MS 50

/* ---- A broker ---- */

/* A batch of one record in a log, with the hot record that was written with it. */
typedef struct {
  gint64 value;
  gint32 epoch;
  gboolean synced;
  GByteArray *hot;
} Stored;

typedef struct Pending Pending;
struct Pending {
  ReplicaAppend append;
  gboolean submitted_by_client;
  gint64 value;
};

typedef struct {
  gint32 id;
  gboolean up;
  guint64 epoch; /* of its registration */
  Replica *replica;
  GPtrArray *log;     /* of Stored, by offset: memory and disk alike; unsynced ones go at a crash */
  GPtrArray *pending; /* of Pending, on their way to the disk, in order */
  guint64 registered; /* it leads by no version before this one */
  guint64 seen;       /* version of the partition's metadata that it has applied */
  gint32 attached;    /* leader epoch in which its position was accepted; -1 */
} Node;

/* ---- The world ---- */

typedef struct {
  GRand *random;
  gint64 now_ms;
  Node nodes[BROKERS + 1];
  /* The controller. */
  PartitionState state;
  PartitionRules rules;
  char standings[BROKERS + 1];
  GArray *history; /* of PartitionState: every version */
  guint64 registrations;
  GArray *committed; /* of gint64: values below the highest high watermark */
  gint64 next_value;
  gint32 clean_epoch; /* epochs below it led before records were lost on purpose */
  const char *wrong;
} World;

static gint32 pick(World *world, gint32 count) {
  return g_rand_int_range(world->random, 0, count);
}

static void stored_free(gpointer data) {
  Stored *stored = data;
  g_byte_array_unref(stored->hot);
  g_free(stored);
}

static BrokerStanding standing(gint32 id, gpointer data) {
  return ((const char *)data)[id - 1] == '.' ? BROKER_READY : BROKER_GONE;
}

/* ---- The controller ---- */

/* What changed becomes the next version, with the epochs that partition_state_record gives. */
static void publish(World *world) {
  const PartitionState *before = &g_array_index(world->history, PartitionState, world->history->len - 1);
  PartitionState *state = &world->state;
  if (state->leader_id == before->leader_id && broker_ids_equal(&state->in_sync, &before->in_sync) &&
      broker_ids_equal(&state->eligible, &before->eligible))
    return;
  state->partition_epoch++;
  state->leader_epoch += state->leader_id != before->leader_id;
  g_array_append_val(world->history, *state);
}

static void fence(World *world, Node *node) {
  world->standings[node->id - 1] = 'x';
  partition_lose_broker(&world->state, &world->rules, node->id);
  publish(world);
}

/* ---- Checks ---- */

static void expect(World *world, gboolean right, const char *wrong) {
  if (!right && !world->wrong)
    world->wrong = wrong;
}

/* What a leader's high watermark has passed is committed for ever. */
static void check_watermark(World *world, const Node *node) {
  gint64 high_watermark = replica_high_watermark(node->replica);
  if (!replica_leads(node->replica))
    return;
  expect(world, high_watermark <= node->log->len, "a high watermark beyond the log");
  for (gint64 i = world->committed->len; i < high_watermark; i++)
    g_array_append_val(world->committed, ((Stored *)node->log->pdata[i])->value);
}

static void check_prefix(World *world, const Node *node, gint64 end, const char *wrong) {
  for (gint64 i = 0; i < MIN(end, (gint64)world->committed->len); i++)
    expect(world,
           i < node->log->len && ((Stored *)node->log->pdata[i])->value == g_array_index(world->committed, gint64, i),
           wrong);
}

static void check_node(World *world, const Node *node) {
  if (!node->up)
    return;
  expect(world, replica_log_end(node->replica) == node->log->len, "the replica and its log disagree");
  check_prefix(world, node, MIN(replica_high_watermark(node->replica), (gint64)node->log->len),
               "a read below the high watermark gives another value");
  /* The latest leader that the controller chose, once it knows, has all that is committed. */
  if (replica_leads(node->replica) && replica_leader_epoch(node->replica) == world->state.leader_epoch)
    check_prefix(world, node, G_MAXINT64, "a leader lacks what is committed");
}

static void check_matching(World *world) {
  for (gint32 a = 1; a <= BROKERS; a++)
    for (gint32 b = a + 1; b <= BROKERS; b++) {
      const GPtrArray *x = world->nodes[a].log, *y = world->nodes[b].log;
      for (guint i = 0; i < MIN(x->len, y->len); i++) {
        const Stored *s = x->pdata[i], *t = y->pdata[i];
        expect(world, s->epoch != t->epoch || s->value == t->value, "two values in one epoch at one offset");
      }
    }
}

/* ---- A broker's life ---- */

static void take(World *world, Node *node, ReplicaOut *out) {
  for (GList *link; (link = g_queue_pop_head_link(&out->answers));) {
    Pending *pending = link->data;
    const ReplicaAppend *append = &pending->append;
    if (!append->failure)
      expect(world,
             append->base_offset < world->committed->len || replica_high_watermark(node->replica) > append->base_offset,
             "told yes before it was committed");
    if (!append->failure && append->base_offset < (gint64)world->committed->len)
      expect(world, g_array_index(world->committed, gint64, append->base_offset) == pending->value,
             "told yes for a record that another one replaced");
    failure_free(append->failure);
    if (!append->queued)
      g_free(pending);
  }
  for (GList *link; (link = g_queue_pop_head_link(&out->released));) {
    expect(world, link->data != NULL, "an append is released without itself");
    g_free(link->data);
  }
  check_watermark(world, node);
}

static void submit(Node *node, Pending *pending, gint32 epoch) {
  Stored *stored = g_new0(Stored, 1);
  stored->value = pending->value;
  stored->epoch = epoch;
  stored->hot = g_byte_array_new();
  replica_encode_hot(node->replica, 1, &pending->append, stored->hot);
  replica_accept(node->replica, &pending->append);
  g_ptr_array_add(node->log, stored);
  g_ptr_array_add(node->pending, pending);
}

/* The disk synced the first few of what is on its way. */
static void sync_some(World *world, Node *node, guint most) {
  for (guint i = 0; i < most && node->pending->len > 0; i++) {
    Pending *pending = g_ptr_array_steal_index(node->pending, 0);
    if (pending->append.base_offset < (gint64)node->log->len)
      for (gint64 j = 0; j <= pending->append.base_offset; j++)
        ((Stored *)node->log->pdata[j])->synced = TRUE;
    ReplicaOut out = REPLICA_OUT_INIT;
    replica_local_progress(node->replica, &pending->append, REPLICA_SYNCED, &out);
    take(world, node, &out);
  }
}

static void assign(World *world, Node *node, guint64 version) {
  const PartitionState *state = &g_array_index(world->history, PartitionState, version);
  const ReplicaAssignment assignment = {
      .broker_id = node->id,
      .leader_id = state->leader_id == node->id && version < node->registered ? -1 : state->leader_id,
      .leader_epoch = state->leader_epoch,
      .partition_epoch = state->partition_epoch,
      .replicas = state->replicas.ids,
      .replica_count = state->replicas.count,
      .isr = state->in_sync.ids,
      .isr_count = state->in_sync.count,
      .min_insync_replicas = world->rules.min_in_sync,
      .flush = MILENA__V1__FLUSH__FLUSH_ALWAYS,
      .now_ms = world->now_ms};
  ReplicaOut out = REPLICA_OUT_INIT;
  if (!broker_ids_has(&state->replicas, node->id))
    replica_retire(node->replica, &out);
  else
    replica_assign(node->replica, &assignment, &out);
  node->seen = version;
  take(world, node, &out);
}

static void stop(World *world, Node *node) {
  ReplicaOut out = REPLICA_OUT_INIT;
  node->up = FALSE;
  replica_retire(node->replica, &out);
  take(world, node, &out);
  /* Dead writes: the replica is run dry so that it can be freed; the log keeps what was synced. */
  for (guint i = 0; i < node->pending->len; i++) {
    Pending *pending = node->pending->pdata[i];
    ReplicaOut dry = REPLICA_OUT_INIT;
    replica_local_progress(node->replica, &pending->append, REPLICA_SYNCED, &dry);
    while (g_queue_pop_head_link(&dry.answers) || g_queue_pop_head_link(&dry.released))
      ;
    g_free(pending);
  }
  g_ptr_array_set_size(node->pending, 0);
  g_clear_pointer(&node->replica, replica_free);
}

/* It comes back with what was synced, and registers: the old registration ends with that (rule 9). */
static void start(World *world, Node *node) {
  g_auto(LogHot) hot;
  log_hot_init(&hot);
  if (node->log->len > 0) {
    const GByteArray *bytes = ((Stored *)node->log->pdata[node->log->len - 1])->hot;
    log_hot_clear(&hot);
    failure_free(log_hot_decode(bytes->data, bytes->len, 1, &hot));
  }
  node->replica = replica_new(&hot, NULL);
  node->up = TRUE;
  node->attached = -1;
  fence(world, node);
  node->epoch = ++world->registrations;
  node->registered = world->history->len;
}

static void crash(World *world, Node *node, gboolean disk_lost) {
  if (node->up)
    stop(world, node);
  while (node->log->len > 0 && (disk_lost || !((Stored *)node->log->pdata[node->log->len - 1])->synced))
    g_ptr_array_set_size(node->log, (gint)node->log->len - 1);
}

/* ---- What happens ---- */

static void produce(World *world, Node *node) {
  LogBatch batch = LOG_BATCH_INIT;
  batch.record_count = 1;
  Pending *pending = g_new0(Pending, 1);
  pending->value = ++world->next_value;
  Failure *failure = replica_prepare(node->replica, replica_leader_epoch(node->replica), &batch,
                                     MILENA__V1__ACKS__ACKS_ALL, world->now_ms, &pending->append);
  if (failure) {
    failure_free(failure);
    g_free(pending);
    return;
  }
  submit(node, pending, batch.leader_epoch);
}

static void cut(Node *node, gint64 end) {
  if (end < node->log->len)
    g_ptr_array_set_size(node->log, (gint)end);
  replica_truncated(node->replica, end);
  if (node->log->len > 0) { /* the store writes the new hot record with the cut */
    Stored *last = node->log->pdata[node->log->len - 1];
    replica_encode_hot(node->replica, 1, NULL, last->hot);
  }
}

/* One exchange of a follower with whom it believes to be its leader. */
static void follow(World *world, Node *node) {
  gint32 leader_id = replica_follows(node->replica);
  Node *leader = leader_id > 0 ? &world->nodes[leader_id] : NULL;
  ReplicaPosition position;
  if (!leader || !leader->up || !replica_position(node->replica, &position))
    return;
  ReplicaMatch match;
  gint32 epoch = 0;
  gint64 end = 0;
  Failure *failure = replica_match(leader->replica, &position, &match, &epoch, &end);
  if (failure) {
    failure_free(failure);
    return;
  }
  if (match == REPLICA_DIVERGED) {
    cut(node, replica_diverged(node->replica, epoch, end));
    return;
  }
  ReplicaOut out = REPLICA_OUT_INIT;
  if (!replica_follower_begins(leader->replica, node->id, node->epoch, &position, world->now_ms, &out))
    return;
  take(world, leader, &out);
  node->attached = position.leader_epoch;
}

static void fetch(World *world, Node *node) {
  gint32 leader_id = replica_follows(node->replica);
  if (leader_id <= 0 || node->attached != replica_leader_epoch(node->replica))
    return;
  Node *leader = &world->nodes[leader_id];
  if (!leader->up || !replica_leads(leader->replica) || replica_leader_epoch(leader->replica) != node->attached)
    return;
  gint64 from = replica_log_end(node->replica);
  if (from < leader->log->len) {
    const Stored *stored = leader->log->pdata[from];
    LogBatch batch = LOG_BATCH_INIT;
    batch.record_count = 1;
    batch.base_offset = from;
    batch.leader_epoch = stored->epoch;
    Pending *pending = g_new0(Pending, 1);
    pending->value = stored->value;
    Failure *failure = replica_follow(node->replica, node->attached, &batch, &pending->append);
    expect(world, failure == NULL, "a follower that goes on refuses the next batch");
    if (failure) {
      failure_free(failure);
      g_free(pending);
      return;
    }
    submit(node, pending, stored->epoch);
  }
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_follow_watermark(node->replica, node->attached, replica_high_watermark(leader->replica), &out);
  take(world, node, &out);
}

static void acknowledge(World *world, Node *node) {
  gint32 leader_id = replica_follows(node->replica);
  if (leader_id <= 0 || node->attached != replica_leader_epoch(node->replica) || !world->nodes[leader_id].up)
    return;
  Node *leader = &world->nodes[leader_id];
  if (replica_leader_epoch(leader->replica) != node->attached)
    return;
  gint64 synced = 0;
  while (synced < node->log->len && ((Stored *)node->log->pdata[synced])->synced)
    synced++;
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_follower_progress(leader->replica, node->id, node->epoch, replica_log_end(node->replica), synced,
                            world->now_ms, &out);
  take(world, leader, &out);
}

static gboolean anybody(gint32 broker_id, guint64 broker_epoch, gpointer data) {
  (void)broker_id;
  (void)broker_epoch;
  (void)data;
  return TRUE;
}

/* The leader proposes; the controller compares and sets. */
static void propose(World *world, Node *node) {
  FollowersProposal proposal;
  const ReplicaTerms terms = {LAG_MAX_MS, world->now_ms, anybody, NULL};
  if (!replica_propose(node->replica, &terms, &proposal))
    return;
  const PartitionState *seen = &g_array_index(world->history, PartitionState, node->seen);
  gboolean current = world->state.leader_id == node->id && world->state.leader_epoch == seen->leader_epoch &&
                     world->state.partition_epoch == seen->partition_epoch;
  BrokerIds members = {.count = 1, .ids = {node->id}}, synced = {0};
  gboolean fit = TRUE;
  for (guint i = 0; i < proposal.count; i++) {
    gint32 id = proposal.members[i].broker_id;
    fit &= broker_ids_has(&world->state.in_sync, id) || (standing(id, world->standings) != BROKER_GONE &&
                                                         world->nodes[id].epoch == proposal.members[i].broker_epoch);
    broker_ids_add(&members, id);
  }
  if (!current)
    return; /* the metadata that it has not seen yet settles it */
  if (!fit) {
    ReplicaOut out = REPLICA_OUT_INIT;
    replica_proposal_refused(node->replica, &out);
    take(world, node, &out);
    return;
  }
  partition_set_in_sync(&world->state, &world->rules, &members, &synced);
  publish(world);
}

/* At most so many may lose their disks at once that one with everything remains. */
static gboolean may_lose_disk(World *world, const Node *node) {
  for (gint32 id = 1; id <= BROKERS; id++)
    if (id != node->id && (broker_ids_has(&world->state.in_sync, id) || broker_ids_has(&world->state.eligible, id)))
      return TRUE;
  return FALSE;
}

static void lose_disk(World *world, Node *node) {
  if (!may_lose_disk(world, node))
    return;
  crash(world, node, TRUE);
  fence(world, node);
  partition_lose_replica(&world->state, &world->rules, node->id, FALSE);
  publish(world);
}

static void step(World *world) {
  Node *node = &world->nodes[1 + pick(world, BROKERS)];
  world->now_ms += pick(world, 4);
  gint32 what = pick(world, 100);
  if (!node->up) {
    if (what < 40)
      start(world, node);
    return;
  }
  if (what < 20 && replica_leads(node->replica))
    produce(world, node);
  else if (what < 35)
    sync_some(world, node, 3);
  else if (what < 45)
    follow(world, node);
  else if (what < 62)
    fetch(world, node);
  else if (what < 74)
    acknowledge(world, node);
  else if (what < 80)
    propose(world, node);
  else if (what < 90 && node->seen + 1 < world->history->len)
    assign(world, node, node->seen + 1 + (guint64)pick(world, (gint32)(world->history->len - node->seen - 1)));
  else if (what < 94 && node->seen >= world->history->len - 1) { /* unfenced once it has heard everything */
    world->standings[node->id - 1] = '.';
    partition_elect(&world->state, &world->rules);
    publish(world);
  } else if (what == 95)
    fence(world, node);
  else if (what == 96)
    crash(world, node, FALSE);
  else if (what == 97 && pick(world, 4) == 0)
    lose_disk(world, node);
  else if (what == 98) {
    partition_elect_preferred(&world->state, &world->rules);
    publish(world);
  }
}

static void world_init(World *world, guint32 seed) {
  *world = (World){.random = g_rand_new_with_seed(seed), .standings = "...."};
  world->rules = (PartitionRules){standing, world->standings, (guint)g_rand_int_range(world->random, 1, 4), FALSE};
  world->state = (PartitionState){
      .leader_id = 1, .replicas = {.count = 3, .ids = {1, 2, 3}}, .in_sync = {.count = 3, .ids = {1, 2, 3}}};
  world->history = g_array_new(FALSE, FALSE, sizeof(PartitionState));
  g_array_append_val(world->history, world->state);
  world->committed = g_array_new(FALSE, FALSE, sizeof(gint64));
  for (gint32 id = 1; id <= BROKERS; id++) {
    world->nodes[id] = (Node){.id = id,
                              .up = TRUE,
                              .epoch = ++world->registrations,
                              .replica = replica_new(NULL, NULL),
                              .log = g_ptr_array_new_with_free_func(stored_free),
                              .pending = g_ptr_array_new(),
                              .attached = -1};
    assign(world, &world->nodes[id], 0);
  }
}

static void world_clear(World *world) {
  for (gint32 id = 1; id <= BROKERS; id++) {
    Node *node = &world->nodes[id];
    if (node->up)
      stop(world, node);
    g_ptr_array_unref(node->log);
    g_ptr_array_unref(node->pending);
  }
  g_array_unref(world->history);
  g_array_unref(world->committed);
  g_rand_free(world->random);
}

TEST(replication, nothing_committed_is_ever_lost) {
  guint64 committed = 0, elections = 0;
  for (guint32 seed = 1; seed <= 2000; seed++) {
    World world;
    world_init(&world, seed);
    for (guint i = 0; i < STEPS && !world.wrong; i++) {
      step(&world);
      for (gint32 id = 1; id <= BROKERS; id++)
        check_node(&world, &world.nodes[id]);
      if (i % 16 == 0)
        check_matching(&world);
    }
    if (world.wrong)
      shim_fail(__FILE__, __LINE__, "seed %u: %s", seed, world.wrong);
    committed += world.committed->len;
    elections += (guint64)world.state.leader_epoch;
    world_clear(&world);
  }
  g_print("%" G_GUINT64_FORMAT " records committed, %" G_GUINT64_FORMAT " elections\n", committed, elections);
  EXPECT_TRUE(committed > 20000);
  EXPECT_TRUE(elections > 10000);
}
