/* See office.h. A call travels to a controller, is served there on its loop, and its answer travels back; each way it
 * may be late or lost, and who asked gives up after a while. What was asked may be carried out all the same.
 *
 * Invariants: a call ends once for who asked. Failure modes: none. */
#include "tests/sim/cluster/office.h"

#include <string.h>

#include "controller/metadata/commands.h"
#include "controller/metadata/records.h"
#include "services/controller/sessions.h"

#define LOOK_MAX_US 100000

/* ---- Calls ---- */

static Call *call_ref(Call *call) {
  return g_rc_box_acquire(call);
}

static void call_clear(gpointer data) {
  Call *call = data;
  g_clear_pointer(&call->proposals, g_array_unref);
  g_clear_pointer(&call->damaged, g_array_unref);
  g_clear_pointer(&call->refusals, g_array_unref);
  g_clear_pointer(&call->image, metadata_image_unref);
}

void call_unref(gpointer call) {
  if (call)
    g_rc_box_release_full(call, call_clear);
}

Call *call_new(Cluster *cluster, CallKind kind, Broker *broker, guint64 controller) {
  Call *call = g_rc_box_new0(Call);
  call->cluster = cluster;
  call->kind = kind;
  call->controller = controller;
  if (broker) {
    call->broker_id = broker->id;
    call->life = broker->life;
    call->epoch = broker->epoch;
  }
  return call;
}

static guint asker(const Call *call) {
  return call->broker_id ? broker_endpoint(call->broker_id) : 0;
}

static void broker_hears(Broker *broker, gpointer data) {
  static void (*const ANSWERED[])(Broker * broker, const Call *call) = {
      [CALL_REGISTER] = membership_answered, [CALL_HEARTBEAT] = membership_answered,
      [CALL_FOLLOW] = membership_followed,   [CALL_ALTER] = proposals_answered,
      [CALL_DAMAGE] = damage_answered,
  };
  Call *call = data;
  if (call->life == broker->life)
    ANSWERED[call->kind](broker, call);
}

static void ended(Call *call) {
  if (call->over)
    return;
  call->over = TRUE;
  if (call->broker_id)
    broker_post(call->cluster->brokers[call->broker_id], broker_hears, call_ref(call), call_unref);
  else
    call->admin_answered(call->cluster, call);
}

static void answer_arrives(gpointer call) {
  ended(call);
}

/* The answer as it is now travels back. */
static void reply(Call *call) {
  if (!call->over)
    cluster_send(call->cluster, (guint)call->controller, asker(call), answer_arrives, call_ref(call), call_unref);
}

static void patience_ends(gpointer data) {
  Call *call = data;
  if (call->over)
    return;
  /* An answer that comes now is nobody's. */
  Call *late = call_ref(call);
  late->reason = FAILURE(DEADLINE_EXCEEDED);
  g_clear_pointer(&late->image, metadata_image_unref);
  ended(late);
  call_unref(late);
}

/* ---- What a controller does ---- */

static gint64 local_now_us(const Node *node) {
  return (gint64)((double)sim_now_us(node->world->sim) * (double)node->world->shape.tick_us /
                  (double)node->own_tick_us);
}

/* In force for this life and term; NULL when this controller is not active. */
static Office *open_office(Cluster *cluster, Node *node) {
  Office *office = &cluster->offices[node->id];
  guint64 term = machine_active_term(node->machine);
  if (term == 0)
    return NULL;
  if (office->life != node->life || !office->liveness) {
    liveness_free(office->liveness);
    office->liveness = liveness_new(cluster->shape.session_us / 1000);
    office->life = node->life;
    office->term = 0;
  }
  if (office->term != term)
    liveness_begin(office->liveness, local_now_us(node));
  office->term = term;
  return office;
}

/* Its connection is closed, and the process of that registration is not there. */
static gboolean is_gone(const Cluster *cluster, const MetadataBroker *metadata) {
  if (!cluster->shape.presence || !metadata)
    return FALSE;
  const Broker *broker = cluster->brokers[metadata->id];
  return !broker->up || strcmp(broker->process_id, metadata->process_id) != 0;
}

typedef struct {
  Call *call;
  Office *office;
} Waiting;

static void waiting_free(gpointer data) {
  Waiting *waiting = data;
  call_unref(waiting->call);
  g_free(waiting);
}

static void on_done(Node *node, AnswerKind kind, const Failure *failure, gpointer data) {
  const Waiting *waiting = data;
  Call *call = waiting->call;
  if (call->over)
    return;
  if (kind == ANSWER_UNKNOWN)
    call->reason = FAILURE(UNKNOWN_OUTCOME);
  else if (kind == ANSWER_REFUSED)
    call->reason = failure ? failure_reason(failure) : FAILURE(NOT_CONTROLLER);
  else if (call->kind == CALL_REGISTER)
    liveness_heard(waiting->office->liveness, NODE_KIND(BROKER), call->broker_id, call->ret_epoch, local_now_us(node));
  else if (call->kind == CALL_HEARTBEAT)
    call->may_stop = liveness_has_left(waiting->office->liveness, NODE_KIND(BROKER), call->broker_id, call->ret_epoch);
  if (kind != ANSWER_UNKNOWN && kind != ANSWER_REFUSED)
    call->ret_version = metadata_image_version(machine_image(node->machine));
  reply(call);
}

/* @failure: of the command, taken; @records: taken */
static void carry_out(Call *call, Node *node, Office *office, Failure *failure, GPtrArray *records) {
  if (failure) {
    if (!call->over)
      call->reason = failure_reason(failure);
    cluster_tell(call->cluster, "controller %d refuses broker %d: %s", (int)node->id, call->broker_id,
                 failure_message(failure));
    failure_free(failure);
    g_ptr_array_unref(records);
    reply(call);
    return;
  }
  Waiting *waiting = g_new(Waiting, 1);
  *waiting = (Waiting){call_ref(call), office};
  MachineChange change = {records, on_done, waiting, waiting_free};
  machine_change(node->machine, &change);
}

static MetadataContext context_of(const Call *call, const Node *node) {
  MetadataContext context = {.version = raft_core_last_index(node->core) + 1,
                             .now_ms = 1700000000000 + sim_now_us(call->cluster->sim) / 1000};
  for (guint i = 0; i < sizeof context.random; i += 8) {
    guint64 random = sim_random(call->cluster->sim);
    memcpy(context.random + i, &random, sizeof random);
  }
  return context;
}

static Failure *register_broker(Call *call, Node *node, Office *office, GPtrArray *records) {
  const MetadataImage *tip = machine_tip(node->machine);
  gboolean gone = is_gone(call->cluster, metadata_image_broker(tip, call->broker_id));
  gboolean alive =
      sessions_may_live(office->liveness, tip, NODE_KIND(BROKER), call->broker_id, gone, local_now_us(node));
  MetadataContext context = context_of(call, node);
  Milena__Internal__V1__RegisterNodeRequest request = MILENA__INTERNAL__V1__REGISTER_NODE_REQUEST__INIT;
  request.kind = NODE_KIND(BROKER);
  request.id = call->broker_id;
  request.incarnation = call->incarnation;
  request.process_id = call->process_id;
  request.stopped_in_order = call->flag;
  request.damaged_log_ids = (guint64 *)(gpointer)call->damaged->data;
  request.n_damaged_log_ids = call->damaged->len;
  request.address = (char *)"b:7600";
  request.peer_address = (char *)"b:7650";
  return metadata_command_register_node(tip, &context, &request, alive, records, &call->ret_epoch);
}

static Failure *heartbeat(Call *call, Node *node, Office *office, GPtrArray *records) {
  Milena__Internal__V1__HeartbeatRequest request = MILENA__INTERNAL__V1__HEARTBEAT_REQUEST__INIT;
  request.kind = NODE_KIND(BROKER);
  request.id = call->broker_id;
  request.epoch = call->epoch;
  request.metadata_version = call->version;
  request.shutting_down = call->flag;
  SessionsHeartbeat heard;
  Failure *failure =
      sessions_heartbeat(office->liveness, machine_tip(node->machine), &request, local_now_us(node), records, &heard);
  if (!failure) {
    call->ret_epoch = heard.epoch;
    call->fenced = heard.fenced;
  }
  return failure;
}

static Failure *alter(Call *call, Node *node, GPtrArray *records) {
  const MetadataImage *tip = machine_tip(node->machine);
  guint count = call->proposals->len;
  g_autofree Milena__Internal__V1__InSyncProposal *protos = g_new(Milena__Internal__V1__InSyncProposal, count);
  g_autofree Milena__Internal__V1__InSyncProposal **places = g_new(Milena__Internal__V1__InSyncProposal *, count);
  Milena__Internal__V1__InSyncMember members[PARTS_MAX][BROKERS_MAX], *member_places[PARTS_MAX][BROKERS_MAX];
  for (guint i = 0; i < count; i++) {
    const Proposal *proposal = &g_array_index(call->proposals, Proposal, i);
    const Part *part = cluster_part(call->cluster, proposal->log_id);
    const MetadataTopic *topic = metadata_image_topic_by_name(tip, part->topic);
    milena__internal__v1__in_sync_proposal__init(&protos[i]);
    places[i] = &protos[i];
    protos[i].topic_id = topic ? (char *)topic->id : (char *)"";
    protos[i].partition = part->number;
    protos[i].leader_epoch = proposal->leader_epoch;
    protos[i].partition_epoch = proposal->partition_epoch;
    protos[i].n_members = proposal->members.count + 1;
    protos[i].members = member_places[i];
    for (guint k = 0; k <= proposal->members.count; k++) {
      milena__internal__v1__in_sync_member__init(&members[i][k]);
      member_places[i][k] = &members[i][k];
      members[i][k].broker_id = k == 0 ? call->broker_id : proposal->members.members[k - 1].broker_id;
      members[i][k].broker_epoch = k == 0 ? 0 : proposal->members.members[k - 1].broker_epoch;
      members[i][k].synced = k == 0 ? proposal->members.self_synced : proposal->members.members[k - 1].synced;
    }
  }
  Milena__Internal__V1__AlterInSyncRequest request = MILENA__INTERNAL__V1__ALTER_IN_SYNC_REQUEST__INIT;
  request.broker_id = call->broker_id;
  request.broker_epoch = call->epoch;
  request.n_proposals = count;
  request.proposals = places;
  Failure *refusals[PARTS_MAX] = {NULL};
  Failure *failure = metadata_command_alter_all_in_sync(tip, &request, records, refusals);
  g_autoptr(GArray) reasons = g_array_new(FALSE, FALSE, sizeof(FailureReason));
  for (guint i = 0; i < count; i++) {
    FailureReason reason = refusals[i] ? failure_reason(refusals[i]) : (FailureReason)0;
    if (refusals[i])
      cluster_tell(call->cluster, "controller %d refuses who is in sync of log %d, by broker %d: %s", (int)node->id,
                   (int)g_array_index(call->proposals, Proposal, i).log_id, call->broker_id,
                   failure_message(refusals[i]));
    g_array_append_val(reasons, reason);
    failure_free(refusals[i]);
  }
  if (!call->refusals)
    call->refusals = g_steal_pointer(&reasons);
  return failure;
}

static Failure *report_damage(Call *call, Node *node, GPtrArray *records) {
  const MetadataImage *tip = machine_tip(node->machine);
  Milena__Internal__V1__DamagedReplica replicas[PARTS_MAX], *places[PARTS_MAX];
  Milena__Internal__V1__ReportDamageRequest request = MILENA__INTERNAL__V1__REPORT_DAMAGE_REQUEST__INIT;
  request.broker_id = call->broker_id;
  request.broker_epoch = call->epoch;
  request.replicas = places;
  for (guint i = 0; i < call->damaged->len; i++) {
    const Part *part = cluster_part(call->cluster, g_array_index(call->damaged, guint64, i));
    const MetadataTopic *topic = metadata_image_topic_by_name(tip, part->topic);
    if (!topic)
      continue;
    guint place = (guint)request.n_replicas++;
    milena__internal__v1__damaged_replica__init(&replicas[place]);
    replicas[place].topic_id = (char *)topic->id;
    replicas[place].partition = part->number;
    places[place] = &replicas[place];
  }
  return metadata_command_report_damage(tip, &request, records);
}

static void serve_follow(Call *call, Node *node) {
  MetadataImage *image = machine_image(node->machine);
  call->hint = raft_core_leader(node->core);
  if (metadata_image_version(image) > call->version && *metadata_image_cluster_id(image))
    call->image = metadata_image_ref(image);
  reply(call);
}

static void serve(Node *node, gpointer data) {
  Call *call = data;
  Cluster *cluster = call->cluster;
  cluster->events++;
  if (call->over && call->kind == CALL_FOLLOW)
    return;
  if (call->kind == CALL_FOLLOW) {
    serve_follow(call, node);
    return;
  }
  Office *office = open_office(cluster, node);
  if (!office) {
    guint64 leader = raft_core_leader(node->core);
    if (!call->over) {
      call->reason = FAILURE(NOT_CONTROLLER);
      call->hint = leader == node->id ? 0 : leader;
    }
    reply(call);
    return;
  }
  GPtrArray *records = metadata_records_new();
  Failure *failure = NULL;
  if (call->kind == CALL_REGISTER)
    failure = register_broker(call, node, office, records);
  else if (call->kind == CALL_HEARTBEAT)
    failure = heartbeat(call, node, office, records);
  else if (call->kind == CALL_ALTER)
    failure = alter(call, node, records);
  else if (call->kind == CALL_DAMAGE)
    failure = report_damage(call, node, records);
  else
    failure =
        call->admin(cluster, machine_tip(node->machine), raft_core_last_index(node->core) + 1, call->chance, records);
  carry_out(call, node, office, failure, records);
}

static void call_arrives(gpointer data) {
  Call *call = data;
  Node *node = call->cluster->world->nodes[call->controller];
  if (node->up) {
    node_post(node, serve, call_ref(call), call_unref);
    return;
  }
  if (!call->over)
    call->reason = FAILURE(PEER_UNREACHABLE);
  reply(call);
}

void call_start(Call *call, gint64 patience_us) {
  Cluster *cluster = call->cluster;
  cluster_send(cluster, asker(call), (guint)call->controller, call_arrives, call_ref(call), call_unref);
  sim_after(cluster->sim, patience_us, patience_ends, call_ref(call), call_unref);
}

/* ---- Sessions and balance ---- */

static void ignore(Node *node, AnswerKind kind, const Failure *failure, gpointer data) {
  (void)node;
  (void)kind;
  (void)failure;
  (void)data;
}

static void propose(Node *node, GPtrArray *records) {
  MachineChange change = {records, ignore, NULL, NULL};
  machine_change(node->machine, &change);
}

static void fence_broker(Cluster *cluster, Node *node, const Office *office, gint32 id) {
  const MetadataImage *tip = machine_tip(node->machine);
  const MetadataBroker *metadata = metadata_image_broker(tip, id);
  if (!metadata)
    return;
  gboolean gone = is_gone(cluster, metadata);
  g_autoptr(GPtrArray) records = metadata_records_new();
  if (!sessions_fence(office->liveness, tip, NODE_KIND(BROKER), id, gone, local_now_us(node), records))
    return;
  cluster_tell(cluster, "controller %d fences broker %d: %s", (int)node->id, id,
               gone ? "its process is gone" : "no heartbeat");
  cluster->result->fenced++;
  propose(node, g_steal_pointer(&records));
}

static void look(Node *node, gpointer data) {
  Cluster *cluster = data;
  Office *office = open_office(cluster, node);
  if (!office)
    return;
  liveness_tick(office->liveness, local_now_us(node));
  for (guint id = 1; id <= cluster->shape.brokers; id++)
    fence_broker(cluster, node, office, (gint32)id);
}

/* Several times a session, also by the fastest clock: else each look would find that the controller stood still. */
static gint64 look_every_us(const Cluster *cluster) {
  return MIN(LOOK_MAX_US, cluster->shape.session_us / 6);
}

static void look_all(gpointer data) {
  Cluster *cluster = data;
  for (guint id = 1; id <= NODES_MAX && !sim_violation(cluster->sim); id++)
    if (node_runs(cluster->world->nodes[id]))
      look(cluster->world->nodes[id], cluster);
  sim_after(cluster->sim, look_every_us(cluster), look_all, cluster, NULL);
}

static void balance(gpointer data) {
  Cluster *cluster = data;
  Node *node = world_active(cluster->world);
  if (node && node_runs(node) && open_office(cluster, node)) {
    GPtrArray *records = metadata_records_new();
    metadata_command_balance_leaders(machine_tip(node->machine), 2, records);
    propose(node, records);
  }
  sim_after(cluster->sim, cluster->shape.balance_us, balance, cluster, NULL);
}

void office_start(Cluster *cluster) {
  sim_after(cluster->sim, look_every_us(cluster), look_all, cluster, NULL);
  sim_after(cluster->sim, cluster->shape.balance_us, balance, cluster, NULL);
}

void offices_free(Cluster *cluster) {
  for (guint id = 1; id <= NODES_MAX; id++)
    liveness_free(cluster->offices[id].liveness);
}
