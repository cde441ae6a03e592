/* BootstrapCluster; see quorum_admin.h.
 *
 *   checked ──► each of the others is asked who it is ──all fit, all empty──► this log begins ──a majority holds
 *   it──► answered
 *
 * The cluster's id comes from the request's id and the voters' folders unless one is given: so a retry finds the
 * cluster that its first try began, and the same request_id with other folders makes another. Owning thread: the host's
 * loop. Failure modes: nothing is written before all have answered; if no majority takes part afterwards, the answer
 * says so and the cluster goes on trying. */
#include <stdlib.h>
#include <string.h>

#include "services/controller/quorum_internal.h"

/* A voter of the cluster to be. */
typedef struct {
  MetadataController controller; /* strings are its own */
  RaftDirectory directory;
} Voter;

typedef struct {
  Operation *operation;
  Voter voters[RAFT_MEMBERS_MAX];
  guint count, asked;
  Failure *failure; /* the first of the others' */
  char cluster_id[METADATA_ID_BYTES];
} Bootstrap;

/* One question under way. */
typedef struct {
  Bootstrap *bootstrap;
  guint voter;
} Asked;

static const Milena__V1__BootstrapClusterRequest *request_of(const Operation *operation) {
  return rpc_message_body(operation->request);
}

static void clear(Operation *operation) {
  Bootstrap *bootstrap = operation->state;
  for (guint i = 0; i < bootstrap->count; i++) {
    g_free(bootstrap->voters[i].controller.address);
    g_free(bootstrap->voters[i].controller.peer_address);
  }
  failure_free(bootstrap->failure);
  g_free(bootstrap);
}

/* ---- Checking the request ---- */

static Failure *bad_list(const char *why) {
  return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "The list of controllers can't be: %s.", why),
                               "controllers", why);
}

static Failure *check_unlike(const Milena__V1__BootstrapClusterRequest *request, gsize i) {
  const Milena__V1__InitialController *controller = request->controllers[i];
  for (gsize j = 0; j < i; j++) {
    if (request->controllers[j]->id == controller->id)
      return bad_list("an id is there twice");
    if (strcmp(request->controllers[j]->peer_address, controller->peer_address) == 0)
      return bad_list("an address is there twice");
  }
  return NULL;
}

static Failure *check_list(const Host *host, const Milena__V1__BootstrapClusterRequest *request) {
  gboolean self = FALSE;
  if (request->n_controllers == 0 || request->n_controllers > RAFT_MEMBERS_MAX)
    return bad_list("it must name 1 to 9 of them");
  for (gsize i = 0; i < request->n_controllers; i++) {
    const Milena__V1__InitialController *controller = request->controllers[i];
    self |= controller->id == host_id(host);
    Failure *failure = controller->id <= 0 ? bad_list("ids begin at 1") : NULL;
    if (!failure)
      failure = quorum_check_address(controller->peer_address, "controllers.peer_address");
    if (!failure)
      failure = check_unlike(request, i);
    if (failure)
      return failure;
  }
  if (!self)
    return failure_new(FAILURE(INVALID_FIELD),
                       "The list does not name controller %d, which was asked to begin. Ask one of those on the list.",
                       host_id(host));
  if (*request->cluster_id && !metadata_uuid_valid(request->cluster_id))
    return failure_add_violation(
        failure_new(FAILURE(INVALID_FIELD), "\"%s\" is no UUID: leave it out, and one is made.", request->cluster_id),
        "cluster_id", "must be a UUID");
  return NULL;
}

/* ---- The cluster's id ---- */

/* Of the request's id and all folders, in the order of ids. */
static void derive_cluster_id(Bootstrap *bootstrap) {
  const Milena__V1__BootstrapClusterRequest *request = request_of(bootstrap->operation);
  guint8 random[16];
  if (*request->cluster_id) {
    g_autofree char *lower = g_ascii_strdown(request->cluster_id, -1);
    g_strlcpy(bootstrap->cluster_id, lower, sizeof bootstrap->cluster_id);
    return;
  }
  MetadataContext context = host_context(bootstrap->operation->admin->host);
  memcpy(random, context.random, sizeof random);
  if (*request->request_id) {
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    g_checksum_update(sum, (const guchar *)request->request_id, (gssize)strlen(request->request_id));
    for (guint i = 0; i < bootstrap->count; i++)
      g_checksum_update(sum, bootstrap->voters[i].directory.bytes, sizeof bootstrap->voters[i].directory.bytes);
    guint8 digest[32];
    gsize size = sizeof digest;
    g_checksum_get_digest(sum, digest, &size);
    memcpy(random, digest, sizeof random);
  }
  metadata_uuid(random, bootstrap->cluster_id);
}

/* ---- Beginning ---- */

static void reply(Operation *operation, const char *cluster_id) {
  MemberList list;
  members_fill(operation->admin->host, operation->admin->care, &list);
  Milena__V1__BootstrapClusterResponse response = MILENA__V1__BOOTSTRAP_CLUSTER_RESPONSE__INIT;
  response.cluster_id = (char *)cluster_id;
  response.n_controllers = list.count;
  response.controllers = list.pointers;
  rpc_call_reply(operation->call, &response.base, NULL, 0);
  operation_end(operation, NULL);
}

/* It has begun when a majority holds its first entries. */
static void look(Operation *operation) {
  const Bootstrap *bootstrap = operation->state;
  const Host *host = operation->admin->host;
  if (host_is_serving(host) && *metadata_image_cluster_id(host_image(host))) {
    reply(operation, host_cluster_id(host));
  } else if (operation_is_late(operation)) {
    operation_end(operation,
                  failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                              "The cluster %s has begun on controller %d, and no majority of its controllers "
                              "takes part yet: see that they run and reach each other.",
                              bootstrap->cluster_id, host_id(host)));
  }
}

static void begin(Bootstrap *bootstrap) {
  Operation *operation = bootstrap->operation;
  g_autoptr(GPtrArray) controllers = g_ptr_array_new();
  RaftConfiguration configuration = {.member_count = bootstrap->count};
  for (guint i = 0; i < bootstrap->count; i++) {
    Voter *voter = &bootstrap->voters[i];
    RaftMember *member = &configuration.members[i];
    member->id = (guint64)voter->controller.id;
    member->directory = voter->directory;
    g_strlcpy(member->address, voter->controller.peer_address, sizeof member->address);
    g_ptr_array_add(controllers, &voter->controller);
  }
  Failure *failure = raft_configuration_check(&configuration);
  gboolean only_check = request_of(operation)->validate_only;
  if (!failure && !only_check)
    failure = host_begin(operation->admin->host, &configuration, controllers, bootstrap->cluster_id);
  if (failure)
    operation_end(operation, failure);
  else if (only_check)
    reply(operation, "");
  else
    operation_watch(operation, look);
}

/* This controller holds a cluster already: is it the one that is asked for? */
static void compare(Bootstrap *bootstrap) {
  Operation *operation = bootstrap->operation;
  const Host *host = operation->admin->host;
  const RaftConfiguration *configuration = host_configuration(host);
  gboolean same = strcmp(bootstrap->cluster_id, host_cluster_id(host)) == 0;
  for (guint i = 0; i < bootstrap->count; i++)
    same &= raft_configuration_find(configuration, (guint64)bootstrap->voters[i].controller.id) != NULL;
  if (same)
    operation_watch(operation, look);
  else
    operation_end(operation,
                  failure_new(FAILURE(ALREADY_BOOTSTRAPPED),
                              "The controller %d belongs to the cluster %s already. Nothing was changed: to add "
                              "controllers to it, use AddController.",
                              host_id(host), host_cluster_id(host)));
}

static void all_answered(Bootstrap *bootstrap) {
  Operation *operation = bootstrap->operation;
  if (!operation_resume(operation))
    return;
  const Host *host = operation->admin->host;
  gboolean waits = !*host_cluster_id(host) && host_is_empty(host);
  if (bootstrap->failure) {
    operation_end(operation, g_steal_pointer(&bootstrap->failure));
    return;
  }
  derive_cluster_id(bootstrap);
  if (waits)
    begin(bootstrap);
  else
    compare(bootstrap);
}

/* ---- Asking ---- */

/* While this controller waits, so must the others; else what they are shows whether this is a retry. */
static Failure *check_identity(const Bootstrap *bootstrap, const Identity *identity) {
  const Host *host = bootstrap->operation->admin->host;
  const char *ours = host_cluster_id(host);
  gboolean fits = *ours ? !*identity->cluster_id || strcmp(identity->cluster_id, ours) == 0
                        : !*identity->cluster_id && identity->empty;
  if (fits)
    return NULL;
  return failure_new(
      FAILURE(ALREADY_BOOTSTRAPPED),
      "The controller %d at %s belongs to the cluster %s already. Start it with an empty folder, or leave "
      "it out. Nothing was changed.",
      identity->id, identity->peer_address, identity->cluster_id);
}

static void on_identity(const Failure *failure, const Identity *identity, gpointer data) {
  g_autofree Asked *asked = data;
  Bootstrap *bootstrap = asked->bootstrap;
  Voter *voter = &bootstrap->voters[asked->voter];
  Failure *refused = failure ? failure_copy(failure) : check_identity(bootstrap, identity);
  if (!refused) {
    voter->directory = identity->directory;
    voter->controller.address = g_strdup(identity->address);
  }
  if (refused && bootstrap->failure)
    failure_free(refused);
  else if (refused)
    bootstrap->failure = refused;
  if (--bootstrap->asked == 0)
    all_answered(bootstrap);
}

static gint compare_ids(gconstpointer a, gconstpointer b) {
  const Voter *x = a, *y = b;
  return x->controller.id - y->controller.id;
}

static void ask_all(Bootstrap *bootstrap) {
  Host *host = bootstrap->operation->admin->host;
  bootstrap->operation->waiting = TRUE;
  for (guint i = 0; i < bootstrap->count; i++) {
    const MetadataController *controller = &bootstrap->voters[i].controller;
    Asked *asked = g_new(Asked, 1);
    *asked = (Asked){bootstrap, i};
    identify(host, controller->id, controller->peer_address, bootstrap->operation->until_us, on_identity, asked);
  }
}

void quorum_admin_bootstrap(QuorumAdmin *admin, RpcCall *call, RpcMessage *message) {
  const Milena__V1__BootstrapClusterRequest *request = rpc_message_body(message);
  Failure *failure = check_list(admin->host, request);
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  Bootstrap *bootstrap = g_new0(Bootstrap, 1);
  bootstrap->operation = operation_new(admin, call, message);
  bootstrap->operation->state = bootstrap;
  bootstrap->operation->clear = clear;
  for (gsize i = 0; i < request->n_controllers; i++)
    bootstrap->voters[bootstrap->count++].controller = (MetadataController){
        .id = request->controllers[i]->id, .peer_address = g_strdup(request->controllers[i]->peer_address)};
  qsort(bootstrap->voters, bootstrap->count, sizeof *bootstrap->voters, compare_ids);
  bootstrap->asked = bootstrap->count;
  ask_all(bootstrap);
}
