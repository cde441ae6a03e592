/* What operators ask for: topics at first; then moves, maintenance, elections and other settings, by chance; and once
 * the faults have ended, what mends the cluster.
 *
 * Invariants: one request is under way at a time; while a broker's loss is not known to the controllers nothing is
 * asked for that could make it worse than a promise stands. Failure modes: none; what is refused is asked again, or
 * not. */
#include <string.h>

#include "controller/metadata/commands.h"
#include "controller/metadata/records.h"
#include "tests/sim/cluster/office.h"

#define SETUP_EVERY_US 100000
#define MEND_EVERY_US 300000
#define PATIENCE_US 800000

static MetadataContext context_of(Cluster *cluster, guint64 version) {
  MetadataContext context = {.version = version, .now_ms = 1700000000000 + sim_now_us(cluster->sim) / 1000};
  for (guint i = 0; i < sizeof context.random; i += 8) {
    guint64 random = sim_random(cluster->sim);
    memcpy(context.random + i, &random, sizeof random);
  }
  return context;
}

static void ask(Cluster *cluster, AdminFunc admin, void (*answered)(Cluster *cluster, const Call *call)) {
  const Node *active = world_active(cluster->world);
  if (!active)
    return;
  Call *call = call_new(cluster, CALL_ADMIN, NULL, active->id);
  call->admin = admin;
  call->chance = sim_random(cluster->sim) >> 8;
  call->admin_answered = answered;
  call_start(call, PATIENCE_US);
  call_unref(call);
}

static void ignore(Cluster *cluster, const Call *call) {
  (void)cluster;
  (void)call;
}

/* ---- A cluster is set up ---- */

static guint members(const MetadataImage *image, const Cluster *cluster) {
  guint count = 0;
  for (guint id = 1; id <= cluster->shape.brokers; id++) {
    const MetadataBroker *broker = metadata_image_broker(image, (gint32)id);
    count += broker && !broker->fenced;
  }
  return count;
}

static Failure *create_topic(Cluster *cluster, const MetadataImage *tip, guint64 version, guint number,
                             GPtrArray *records) {
  Sim *sim = cluster->sim;
  MetadataContext context = context_of(cluster, version);
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  config.flush = sim_chance(sim, 750)   ? MILENA__V1__FLUSH__FLUSH_ALWAYS
                 : sim_chance(sim, 700) ? MILENA__V1__FLUSH__FLUSH_OS
                                        : MILENA__V1__FLUSH__FLUSH_INTERVAL;
  guint replicas = sim_chance(sim, 800) ? 3 : 1 + sim_below(sim, 4);
  replicas = MIN(replicas, cluster->shape.brokers);
  config.min_insync_replicas_presence_case = MILENA__V1__TOPIC_CONFIG__MIN_INSYNC_REPLICAS_PRESENCE_MIN_INSYNC_REPLICAS;
  guint minimum = sim_chance(sim, 650) ? 2 : 1 + sim_below(sim, 3);
  config.min_insync_replicas = MIN(replicas, minimum);
  config.unclean_leader_election = cluster->shape.careless && sim_chance(sim, 400);
  char name[16];
  g_snprintf(name, sizeof name, "topic-%u", number);
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = name;
  request.partitions = number == 0 ? cluster->shape.partitions : 1;
  request.replication_factor = replicas;
  request.config = &config;
  return metadata_command_create_topic(tip, &context, &request, records);
}

/* The next step that is not done. */
static Failure *set_up(Cluster *cluster, const MetadataImage *tip, guint64 version, guint64 chance,
                       GPtrArray *records) {
  (void)chance;
  if (!*metadata_image_cluster_id(tip)) {
    MetadataContext context = context_of(cluster, version);
    MetadataController controller = {.id = 1, .address = (char *)"c:7700", .peer_address = (char *)"c:7750"};
    return metadata_command_bootstrap(tip, &context, "", &controller, records);
  }
  for (guint number = 0; number < cluster->shape.topics; number++) {
    char name[16];
    g_snprintf(name, sizeof name, "topic-%u", number);
    if (!metadata_image_topic_by_name(tip, name) && members(tip, cluster) == cluster->shape.brokers)
      return create_topic(cluster, tip, version, number, records);
  }
  return NULL;
}

/* All partitions are led, and every replica is in sync. */
static gboolean is_up(const Cluster *cluster) {
  for (guint i = 0; i < cluster->parts->len; i++) {
    const MetadataPartition *metadata = part_in(cluster->parts->pdata[i], cluster->image, NULL);
    if (!metadata || metadata->leader_id < 0 || metadata->isr_count < metadata->replica_count)
      return FALSE;
  }
  return TRUE;
}

/* ---- Work ---- */

static gint32 any_id(const Cluster *cluster, guint64 chance) {
  return 1 + (gint32)(chance % cluster->shape.brokers);
}

static const Part *any_part(const Cluster *cluster, guint64 chance) {
  return cluster->parts->pdata[chance / 64 % cluster->parts->len];
}

static Failure *reassign(Cluster *cluster, const MetadataImage *tip, guint64 version, guint64 chance,
                         GPtrArray *records) {
  (void)version;
  if (cluster->wounded)
    return NULL;
  const Part *part = any_part(cluster, chance);
  gint32 target[BROKERS_MAX];
  guint count = 1 + (guint)(chance / 7 % MIN(4, cluster->shape.brokers));
  for (guint i = 0; i < count; i++)
    target[i] = any_id(cluster, chance / 11 + i);
  Milena__V1__PartitionReassignment item = MILENA__V1__PARTITION_REASSIGNMENT__INIT, *items[] = {&item};
  item.topic = (char *)part->topic;
  item.partition = part->number;
  item.replicas = target;
  item.n_replicas = count;
  Milena__V1__ReassignPartitionsRequest request = MILENA__V1__REASSIGN_PARTITIONS_REQUEST__INIT;
  request.n_reassignments = 1;
  request.reassignments = items;
  return metadata_command_reassign_partitions(tip, &request, records);
}

static Failure *cancel(Cluster *cluster, const MetadataImage *tip, guint64 version, guint64 chance,
                       GPtrArray *records) {
  (void)cluster;
  (void)version;
  (void)chance;
  if (cluster->wounded && !cluster->healing)
    return NULL;
  Milena__V1__CancelReassignmentsRequest request = MILENA__V1__CANCEL_REASSIGNMENTS_REQUEST__INIT;
  guint count;
  return metadata_command_cancel_reassignments(tip, &request, records, &count);
}

static Failure *drain(Cluster *cluster, const MetadataImage *tip, guint64 version, guint64 chance, GPtrArray *records) {
  (void)version;
  return metadata_command_drain_broker(tip, any_id(cluster, chance), chance / 64 % 2 == 0, records);
}

static Failure *undrain_all(Cluster *cluster, const MetadataImage *tip, guint64 version, guint64 chance,
                            GPtrArray *records) {
  (void)version;
  (void)chance;
  for (guint id = 1; id <= cluster->shape.brokers; id++) {
    const MetadataBroker *broker = metadata_image_broker(tip, (gint32)id);
    if (broker && broker->drained)
      return metadata_command_drain_broker(tip, (gint32)id, FALSE, records);
  }
  return NULL;
}

static Failure *elect(const Part *part, const MetadataImage *tip, Milena__V1__ElectionType type, GPtrArray *records) {
  gint32 number = part->number;
  Milena__V1__ElectLeadersRequest request = MILENA__V1__ELECT_LEADERS_REQUEST__INIT;
  request.topic = (char *)part->topic;
  request.partitions = &number;
  request.n_partitions = 1;
  request.type = type;
  return metadata_command_elect_leaders(tip, &request, records);
}

static Failure *elect_preferred(Cluster *cluster, const MetadataImage *tip, guint64 version, guint64 chance,
                                GPtrArray *records) {
  (void)version;
  return elect(any_part(cluster, chance), tip, MILENA__V1__ELECTION_TYPE__ELECTION_TYPE_PREFERRED, records);
}

/* Of a partition whose records may be lost: the operator knows. */
static Failure *elect_unclean(Cluster *cluster, const MetadataImage *tip, guint64 version, guint64 chance,
                              GPtrArray *records) {
  (void)version;
  Part *part = (Part *)any_part(cluster, chance);
  if (!cluster->shape.careless || cluster->wounded)
    return NULL;
  part->unclean++;
  return elect(part, tip,
               chance % 3 == 0 ? MILENA__V1__ELECTION_TYPE__ELECTION_TYPE_UNCLEAN_CUTTING_DAMAGE
                               : MILENA__V1__ELECTION_TYPE__ELECTION_TYPE_UNCLEAN,
               records);
}

static Failure *update(const Part *part, const MetadataImage *tip, const char *path, Milena__V1__TopicConfig *config,
                       GPtrArray *records) {
  char *paths[] = {(char *)path};
  Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
  mask.n_paths = 1;
  mask.paths = paths;
  Milena__V1__UpdateTopicRequest request = MILENA__V1__UPDATE_TOPIC_REQUEST__INIT;
  request.name = (char *)part->topic;
  request.config = config;
  request.update_mask = &mask;
  const MetadataTopic *topic;
  return metadata_command_update_topic(tip, &request, records, &topic);
}

static Failure *change_minimum(Cluster *cluster, const MetadataImage *tip, guint64 version, guint64 chance,
                               GPtrArray *records) {
  (void)version;
  if (cluster->wounded)
    return NULL;
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  config.min_insync_replicas_presence_case = MILENA__V1__TOPIC_CONFIG__MIN_INSYNC_REPLICAS_PRESENCE_MIN_INSYNC_REPLICAS;
  config.min_insync_replicas = 1 + (guint32)(chance / 9 % 3);
  return update(any_part(cluster, chance), tip, "min_insync_replicas", &config, records);
}

static Failure *change_flush(Cluster *cluster, const MetadataImage *tip, guint64 version, guint64 chance,
                             GPtrArray *records) {
  static const Milena__V1__Flush MODES[] = {MILENA__V1__FLUSH__FLUSH_ALWAYS, MILENA__V1__FLUSH__FLUSH_ALWAYS,
                                            MILENA__V1__FLUSH__FLUSH_OS};
  (void)version;
  if (cluster->wounded)
    return NULL;
  const Part *part = any_part(cluster, chance);
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  config.flush = MODES[chance / 9 % G_N_ELEMENTS(MODES)];
  /* From now on a power cut may take the tail, whoever hears of it when. */
  for (guint i = 0; i < cluster->parts->len && config.flush != MILENA__V1__FLUSH__FLUSH_ALWAYS; i++) {
    Part *touched = cluster->parts->pdata[i];
    if (strcmp(touched->topic, part->topic) != 0)
      continue;
    touched->weak = TRUE;
    touched->flush_asked_us = sim_now_us(cluster->sim);
  }
  return update(part, tip, "flush", &config, records);
}

static void act(Cluster *cluster) {
  static const AdminFunc ACTS[] = {reassign, reassign,        reassign,       cancel,       drain,
                                   drain,    elect_preferred, change_minimum, change_flush, elect_unclean};
  ask(cluster, ACTS[sim_below(cluster->sim, G_N_ELEMENTS(ACTS))], ignore);
}

/* ---- After the faults ---- */

/* The last copy that counts is damaged, and leads: what is good of it is read, and that is all. */
static gboolean is_stuck(const Cluster *cluster, const Part *part, const MetadataPartition *metadata) {
  const Log *led = metadata->leader_id > 0 ? log_find(cluster->brokers[metadata->leader_id], part->log_id) : NULL;
  return led && led->replica && replica_leads(led->replica) && replica_damage(led->replica) &&
         metadata->isr_count + metadata->eligible_count == 1;
}

/* Where more failed than the promise stands, and nobody may lead, or who leads is damaged, what is there must do. */
static Failure *elect_what_is_left(Cluster *cluster, const MetadataImage *tip, guint64 version, guint64 chance,
                                   GPtrArray *records) {
  (void)version;
  (void)chance;
  for (guint i = 0; i < cluster->parts->len; i++) {
    Part *part = cluster->parts->pdata[i];
    const MetadataPartition *metadata = part_in(part, tip, NULL);
    gboolean stuck = is_stuck(cluster, part, metadata);
    if ((metadata->leader_id >= 0 && !stuck) || (!part->gave_up && part->void_epoch == 0))
      continue;
    part->unclean++;
    return elect(part, tip,
                 stuck ? MILENA__V1__ELECTION_TYPE__ELECTION_TYPE_UNCLEAN_CUTTING_DAMAGE
                       : MILENA__V1__ELECTION_TYPE__ELECTION_TYPE_UNCLEAN,
                 records);
  }
  return NULL;
}

/* A minimum that the replicas can't reach. */
static Failure *lower_minimum(Cluster *cluster, const MetadataImage *tip, guint64 version, guint64 chance,
                              GPtrArray *records) {
  (void)version;
  (void)chance;
  for (guint i = 0; i < cluster->parts->len; i++) {
    const Part *part = cluster->parts->pdata[i];
    const MetadataTopic *topic;
    const MetadataPartition *metadata = part_in(part, tip, &topic);
    if (metadata->replica_count >= topic->config->min_insync_replicas)
      continue;
    Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
    config.min_insync_replicas_presence_case =
        MILENA__V1__TOPIC_CONFIG__MIN_INSYNC_REPLICAS_PRESENCE_MIN_INSYNC_REPLICAS;
    config.min_insync_replicas = metadata->replica_count;
    return update(part, tip, "min_insync_replicas", &config, records);
  }
  return NULL;
}

static void mend(Cluster *cluster) {
  static const AdminFunc ACTS[] = {cancel, undrain_all, elect_what_is_left, lower_minimum};
  ask(cluster, ACTS[sim_below(cluster->sim, G_N_ELEMENTS(ACTS))], ignore);
}

static void wake(gpointer data) {
  Cluster *cluster = data;
  Sim *sim = cluster->sim;
  gint64 pause_us = SETUP_EVERY_US;
  if (!cluster->ready && is_up(cluster)) {
    cluster->ready = TRUE;
  } else if (!cluster->ready) {
    ask(cluster, set_up, ignore);
  } else if (cluster->healing) {
    mend(cluster);
    pause_us = MEND_EVERY_US;
  } else {
    act(cluster);
    pause_us = sim_between(sim, 0, cluster->shape.operator_us);
  }
  sim_after(sim, pause_us, wake, cluster, NULL);
}

void cluster_operator_start(Cluster *cluster) {
  sim_after(cluster->sim, SETUP_EVERY_US, wake, cluster, NULL);
}
