/* See partitions.h.
 *
 * Each command runs against the tip, its records are proposed, and the call is answered with the metadata right after
 * them. Who asks for an election that may cost records is logged (REPLICATION.md, rule 13); the host logs each such
 * election itself, also those that a topic's setting allows. Owning thread: the host's loop. */
#include "services/controller/partitions.h"

#include "controller/metadata/partition_rules.h"
#include "controller/metadata/placement.h"
#include "controller/metadata/view.h"
#include "services/base/slog.h"
#include "services/controller/proposal.h"

/* Leaderships that go back at once, so that a returning broker is not flooded. */
#define BALANCE_AT_ONCE 200
/* In one answer. */
#define ELECTED_MAX 10000

struct Partitions {
  Host *host;
  gint64 balance_interval_ms;
  GSource *timer;
};

/* A call that waits for its records. */
typedef struct WaitingCall WaitingCall;
struct WaitingCall {
  RpcCall *call;
  /* @image: the metadata with the records */
  void (*reply)(const WaitingCall *waiting, MetadataImage *image);
  GPtrArray *records;  /* what was proposed: for the answer */
  GPtrArray *results;  /* of Failure, NULL for what was accepted: AlterInSync's */
  GPtrArray *asked;    /* of char *, "partition:topic id": the partitions that a reassignment named */
  GPtrArray *warnings; /* of char *: of that reassignment */
  gint32 broker_id;
  guint count;
};

static void waiting_free(gpointer data) {
  WaitingCall *waiting = data;
  g_clear_pointer(&waiting->records, g_ptr_array_unref);
  g_clear_pointer(&waiting->results, g_ptr_array_unref);
  g_clear_pointer(&waiting->asked, g_ptr_array_unref);
  g_clear_pointer(&waiting->warnings, g_ptr_array_unref);
  g_free(waiting);
}

static void answer(RpcCall *call, MetadataImage *image, gpointer data) {
  (void)call;
  const WaitingCall *waiting = data;
  waiting->reply(waiting, image);
}

/* Carry out a command that ended well or not.
 *
 * @failure: of the command; taken
 * @waiting: with its records; taken */
static void carry_out(Host *host, Failure *failure, WaitingCall *waiting, gboolean validate_only) {
  proposal_carry_out(host, waiting->call, failure, g_ptr_array_ref(waiting->records), validate_only, answer, waiting,
                     waiting_free);
}

static WaitingCall *waiting_new(RpcCall *call, void (*reply)(const WaitingCall *waiting, MetadataImage *image)) {
  WaitingCall *waiting = g_new0(WaitingCall, 1);
  waiting->call = call;
  waiting->reply = reply;
  waiting->records = metadata_records_new();
  return waiting;
}

/* ---- who is in sync ---- */

static void reply_alter(const WaitingCall *waiting, MetadataImage *image) {
  guint count = waiting->results->len;
  g_autofree Milena__Internal__V1__InSyncResult *results = g_new(Milena__Internal__V1__InSyncResult, MAX(count, 1));
  g_autofree Milena__Internal__V1__InSyncResult **places = g_new(Milena__Internal__V1__InSyncResult *, MAX(count, 1));
  for (guint i = 0; i < count; i++) {
    milena__internal__v1__in_sync_result__init(&results[i]);
    places[i] = &results[i];
    if (waiting->results->pdata[i])
      results[i].status = failure_to_status(waiting->results->pdata[i]);
  }
  Milena__Internal__V1__AlterInSyncResponse response = MILENA__INTERNAL__V1__ALTER_IN_SYNC_RESPONSE__INIT;
  response.n_results = count;
  response.results = places;
  response.metadata_version = metadata_image_version(image);
  rpc_call_reply(waiting->call, &response.base, NULL, 0);
  for (guint i = 0; i < count; i++)
    if (results[i].status)
      google__rpc__status__free_unpacked(results[i].status, NULL);
}

static void free_result(gpointer failure) {
  failure_free(failure);
}

void partitions_alter_in_sync(Host *host, RpcCall *call, const Milena__Internal__V1__AlterInSyncRequest *request) {
  Failure *failure = host_check_active(host);
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  WaitingCall *waiting = waiting_new(call, reply_alter);
  waiting->results = g_ptr_array_new_with_free_func(free_result);
  g_ptr_array_set_size(waiting->results, (gint)request->n_proposals);
  failure = metadata_command_alter_all_in_sync(host_tip(host), request, waiting->records,
                                               (Failure **)waiting->results->pdata);
  carry_out(host, failure, waiting, FALSE);
}

static void reply_damage(const WaitingCall *waiting, MetadataImage *image) {
  Milena__Internal__V1__ReportDamageResponse response = MILENA__INTERNAL__V1__REPORT_DAMAGE_RESPONSE__INIT;
  response.metadata_version = metadata_image_version(image);
  rpc_call_reply(waiting->call, &response.base, NULL, 0);
}

void partitions_report_damage(Host *host, RpcCall *call, const Milena__Internal__V1__ReportDamageRequest *request) {
  WaitingCall *waiting = waiting_new(call, reply_damage);
  Failure *failure = host_check_active(host);
  if (!failure)
    failure = metadata_command_report_damage(host_tip(host), request, waiting->records);
  if (!failure)
    slog_warning("replicas are damaged: they count for nothing until they were fetched anew", "broker",
                 SLOG_INT(request->broker_id), "replicas", SLOG_INT(request->n_replicas), NULL);
  carry_out(host, failure, waiting, FALSE);
}

/* ---- elections ---- */

static void fill_elected(MetadataImage *image, const Milena__Internal__V1__PartitionRecord *record, gboolean unclean,
                         Milena__V1__ElectedLeader *elected) {
  const MetadataTopic *topic = metadata_image_topic_by_id(image, record->topic_id);
  milena__v1__elected_leader__init(elected);
  elected->topic = topic ? topic->name : (char *)"";
  elected->partition = record->partition;
  elected->leader_id = record->leader_id;
  elected->unclean = unclean;
}

static void reply_elect(const WaitingCall *waiting, MetadataImage *image) {
  guint count = MIN(waiting->records->len, ELECTED_MAX);
  g_autofree Milena__V1__ElectedLeader *elected = g_new(Milena__V1__ElectedLeader, MAX(count, 1));
  g_autofree Milena__V1__ElectedLeader **places = g_new(Milena__V1__ElectedLeader *, MAX(count, 1));
  for (guint i = 0; i < count; i++) {
    const MetadataRecord *record = waiting->records->pdata[i];
    fill_elected(image, record->partition, waiting->results->pdata[i] != NULL, &elected[i]);
    places[i] = &elected[i];
  }
  Milena__V1__ElectLeadersResponse response = MILENA__V1__ELECT_LEADERS_RESPONSE__INIT;
  response.n_elected = count;
  response.elected = places;
  rpc_call_reply(waiting->call, &response.base, NULL, 0);
}

static void audit(const MetadataImage *before, const MetadataRecord *record, RpcCall *call) {
  const MetadataTopic *topic = metadata_image_topic_by_id(before, record->partition->topic_id);
  slog_warning(metadata_cuts_damage(record) ? "somebody asked for an unclean election that cuts damage"
                                            : "somebody asked for an unclean election",
               "topic", topic ? topic->name : "", "partition", SLOG_INT(record->partition->partition), "leader",
               SLOG_INT(record->partition->leader_id), "leader_epoch", SLOG_INT(record->partition->leader_epoch),
               "asked_by", rpc_call_peer(call), NULL);
}

void partitions_elect(Host *host, RpcCall *call, const Milena__V1__ElectLeadersRequest *request) {
  WaitingCall *waiting = waiting_new(call, reply_elect);
  waiting->results = g_ptr_array_new();
  Failure *failure = host_check_active(host);
  if (!failure)
    failure = metadata_command_elect_leaders(host_tip(host), request, waiting->records);
  for (guint i = 0; i < waiting->records->len; i++) {
    const MetadataRecord *record = waiting->records->pdata[i];
    gboolean unclean = metadata_is_unclean(host_tip(host), record);
    g_ptr_array_add(waiting->results, unclean ? (gpointer)record : NULL);
    if (unclean && !request->validate_only)
      audit(host_tip(host), record, call);
  }
  carry_out(host, failure, waiting, request->validate_only);
}

static void balance_done(const Failure *failure, MetadataImage *image, gpointer data) {
  (void)image;
  (void)data;
  if (failure)
    slog_warning("leaderships could not go back to their preferred replicas, and will be tried again", "error",
                 failure_message(failure), NULL);
}

static gboolean balance(gpointer data) {
  Partitions *partitions = data;
  if (!host_is_active(partitions->host))
    return G_SOURCE_CONTINUE;
  g_autoptr(GPtrArray) records = metadata_records_new();
  metadata_command_balance_leaders(host_tip(partitions->host), BALANCE_AT_ONCE, records);
  if (records->len == 0)
    return G_SOURCE_CONTINUE;
  slog_info("leaderships go back to their preferred replicas", "partitions", SLOG_INT(records->len), NULL);
  host_propose(partitions->host, g_steal_pointer(&records), balance_done, NULL);
  return G_SOURCE_CONTINUE;
}

/* ---- moving ---- */

static void reply_reassign(const WaitingCall *waiting, MetadataImage *image) {
  Milena__V1__ReassignPartitionsResponse response = MILENA__V1__REASSIGN_PARTITIONS_RESPONSE__INIT;
  g_autoptr(GPtrArray) under_way = g_ptr_array_new_with_free_func((GDestroyNotify)metadata_view_reassignment_free);
  for (guint i = 0; i < waiting->asked->len; i++) {
    char *id = NULL;
    gint32 number = (gint32)g_ascii_strtoll(waiting->asked->pdata[i], &id, 10);
    const MetadataTopic *topic = metadata_image_topic_by_id(image, id + 1);
    const MetadataPartition *partition = topic ? metadata_topic_partition(topic, number) : NULL;
    if (partition && partition->target_count > 0)
      g_ptr_array_add(under_way, metadata_view_reassignment(topic, partition));
  }
  response.n_reassignments = under_way->len;
  response.reassignments = (Milena__V1__Reassignment **)under_way->pdata;
  response.n_warnings = waiting->warnings->len;
  response.warnings = (char **)waiting->warnings->pdata;
  rpc_call_reply(waiting->call, &response.base, NULL, 0);
}

/* Which partitions to tell of: all that were named, so that a retry that changed nothing is answered as its first try.
 */
static GPtrArray *asked_partitions(const MetadataImage *image, const Milena__V1__ReassignPartitionsRequest *request) {
  GPtrArray *asked = g_ptr_array_new_with_free_func(g_free);
  for (gsize i = 0; i < request->n_reassignments; i++) {
    const Milena__V1__PartitionReassignment *item = request->reassignments[i];
    const MetadataTopic *topic = NULL;
    g_autoptr(Failure) unknown = metadata_image_find_topic(image, item->topic, item->topic_id, &topic);
    if (!unknown)
      g_ptr_array_add(asked, g_strdup_printf("%d:%s", item->partition, topic->id));
  }
  return asked;
}

void partitions_reassign(Host *host, RpcCall *call, const Milena__V1__ReassignPartitionsRequest *request) {
  WaitingCall *waiting = waiting_new(call, reply_reassign);
  Failure *failure = host_check_active(host);
  if (!failure)
    failure = metadata_command_reassign_partitions(host_tip(host), request, waiting->records);
  waiting->asked = asked_partitions(host_tip(host), request);
  waiting->warnings = metadata_placement_warnings(host_tip(host), request);
  carry_out(host, failure, waiting, request->validate_only);
}

static void reply_cancel(const WaitingCall *waiting, MetadataImage *image) {
  (void)image;
  Milena__V1__CancelReassignmentsResponse response = MILENA__V1__CANCEL_REASSIGNMENTS_RESPONSE__INIT;
  response.cancelled = waiting->count;
  rpc_call_reply(waiting->call, &response.base, NULL, 0);
}

void partitions_cancel(Host *host, RpcCall *call, const Milena__V1__CancelReassignmentsRequest *request) {
  WaitingCall *waiting = waiting_new(call, reply_cancel);
  Failure *failure = host_check_active(host);
  if (!failure)
    failure = metadata_command_cancel_reassignments(host_tip(host), request, waiting->records, &waiting->count);
  carry_out(host, failure, waiting, request->validate_only);
}

/* ---- brokers in maintenance ---- */

static void reply_drain(const WaitingCall *waiting, MetadataImage *image) {
  Milena__V1__DrainBrokerResponse response = MILENA__V1__DRAIN_BROKER_RESPONSE__INIT;
  response.broker = metadata_view_broker(metadata_image_broker(image, waiting->broker_id));
  rpc_call_reply(waiting->call, &response.base, NULL, 0);
  milena__v1__broker__free_unpacked(response.broker, NULL);
}

static void reply_undrain(const WaitingCall *waiting, MetadataImage *image) {
  Milena__V1__UndrainBrokerResponse response = MILENA__V1__UNDRAIN_BROKER_RESPONSE__INIT;
  response.broker = metadata_view_broker(metadata_image_broker(image, waiting->broker_id));
  rpc_call_reply(waiting->call, &response.base, NULL, 0);
  milena__v1__broker__free_unpacked(response.broker, NULL);
}

static void set_drained(Host *host, WaitingCall *waiting, gint32 broker_id, gboolean drained, gboolean validate_only) {
  waiting->broker_id = broker_id;
  Failure *failure = host_check_active(host);
  if (!failure)
    failure = metadata_command_drain_broker(host_tip(host), broker_id, drained, waiting->records);
  carry_out(host, failure, waiting, validate_only);
}

void partitions_drain(Host *host, RpcCall *call, const Milena__V1__DrainBrokerRequest *request) {
  set_drained(host, waiting_new(call, reply_drain), request->id, TRUE, request->validate_only);
}

void partitions_undrain(Host *host, RpcCall *call, const Milena__V1__UndrainBrokerRequest *request) {
  set_drained(host, waiting_new(call, reply_undrain), request->id, FALSE, request->validate_only);
}

/* ---- life ---- */

Partitions *partitions_new(Host *host, gint64 balance_interval_ms) {
  Partitions *partitions = g_new0(Partitions, 1);
  partitions->host = host;
  partitions->balance_interval_ms = balance_interval_ms;
  return partitions;
}

void partitions_start(Partitions *partitions) {
  if (partitions->balance_interval_ms > 0)
    partitions->timer =
        loop_add_timeout(host_loop(partitions->host), (guint)partitions->balance_interval_ms, balance, partitions);
}

void partitions_stop(Partitions *partitions) {
  if (!partitions->timer)
    return;
  g_source_destroy(partitions->timer);
  g_clear_pointer(&partitions->timer, g_source_unref);
}

void partitions_free(Partitions *partitions) {
  g_free(partitions);
}
