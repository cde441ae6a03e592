#include "client/cli/local_plan.h"

#include <string.h>

#define GROUP "cluster"
#define HOST "127.0.0.1"

static const struct {
  const char *word, *program;
  guint port, peer_port; /* from the base port; 0: none */
} KINDS[] = {
    [LOCAL_CONTROLLER] = {"controller", "milena-controller", 100, 150},
    [LOCAL_BROKER] = {"broker", "milena-broker", 0, 50},
    [LOCAL_COORDINATOR] = {"coordinator", "milena-group-coordinator", 200, 0},
};
/* The highest port is base_port + 249. */
#define PORTS_USED 250

static void node_free(gpointer data) {
  LocalNode *node = data;
  g_free(node->name);
  g_free(node);
}

static void add_nodes(LocalPlan *plan, LocalKind kind, guint count) {
  for (guint i = 0; i < count; i++) {
    LocalNode *node = g_new0(LocalNode, 1);
    node->kind = kind;
    node->id = (int)i + 1;
    node->name = g_strdup_printf("%s-%u", KINDS[kind].word, i + 1);
    node->program = KINDS[kind].program;
    node->port = (guint16)(plan->base_port + KINDS[kind].port + i);
    node->peer_port = KINDS[kind].peer_port ? (guint16)(plan->base_port + KINDS[kind].peer_port + i) : 0;
    g_ptr_array_add(plan->nodes, node);
  }
}

static LocalPlan *plan_new(const char *folder, guint controllers, guint brokers, guint coordinators, guint base_port) {
  LocalPlan *plan = g_new0(LocalPlan, 1);
  plan->folder = g_strdup(folder);
  plan->controllers = controllers;
  plan->brokers = brokers;
  plan->coordinators = coordinators;
  plan->base_port = base_port;
  plan->nodes = g_ptr_array_new_with_free_func(node_free);
  add_nodes(plan, LOCAL_CONTROLLER, controllers);
  add_nodes(plan, LOCAL_BROKER, brokers);
  add_nodes(plan, LOCAL_COORDINATOR, coordinators);
  return plan;
}

void local_plan_free(LocalPlan *plan) {
  if (!plan)
    return;
  g_free(plan->folder);
  g_ptr_array_unref(plan->nodes);
  g_free(plan);
}

char *local_plan_default_folder(void) {
  return g_build_filename(g_get_user_data_dir(), "milena", "local", NULL);
}

/* ---- Checks ---- */

static Failure *check_plan(guint controllers, guint brokers, guint coordinators, guint base_port) {
  if (controllers != 1 && controllers != 3 && controllers != 5)
    return failure_new(
        FAILURE(INVALID_FIELD),
        "--controllers is %u, but must be 1, 3 or 5: a majority must agree, so an even one adds nothing.", controllers);
  if (brokers < 1 || brokers > LOCAL_NODES_MAX)
    return failure_new(FAILURE(INVALID_FIELD), "--brokers is %u, but must be from 1 to %d.", brokers, LOCAL_NODES_MAX);
  if (coordinators > LOCAL_NODES_MAX)
    return failure_new(FAILURE(INVALID_FIELD), "--coordinators is %u, but must be from 0 to %d.", coordinators,
                       LOCAL_NODES_MAX);
  if (base_port < 1024 || base_port > 65536 - PORTS_USED)
    return failure_new(FAILURE(INVALID_FIELD), "--base-port is %u, but must be from 1024 to %d.", base_port,
                       65536 - PORTS_USED);
  return NULL;
}

static guint wished(gint wish, guint otherwise) {
  return wish >= 0 ? (guint)wish : otherwise;
}

Failure *local_plan_make(const char *folder, const LocalPlan *kept, const LocalWish *wish, gboolean running,
                         LocalPlan **ret_plan) {
  if (wish->controllers < -1 || wish->brokers < -1 || wish->coordinators < -1 || wish->base_port < -1)
    return failure_new(FAILURE(INVALID_FIELD), "numbers of processes and ports must not be negative.");
  guint controllers = wished(wish->controllers, kept ? kept->controllers : 1);
  guint brokers = wished(wish->brokers, kept ? kept->brokers : 3);
  guint coordinators = wished(wish->coordinators, kept ? kept->coordinators : 1);
  guint base_port = wished(wish->base_port, kept ? kept->base_port : LOCAL_BASE_PORT_DEFAULT);
  Failure *failure = check_plan(controllers, brokers, coordinators, base_port);
  if (failure)
    return failure;
  if (kept && controllers != kept->controllers)
    return failure_new(FAILURE(INVALID_FIELD),
                       "the cluster in '%s' has %u controllers, and it can't come up with %u: they are added and "
                       "removed one by one, with 'milena controllers'. Leave --controllers out, or name another folder "
                       "with --data.",
                       folder, kept->controllers, controllers);
  if (kept && brokers < kept->brokers)
    return failure_new(FAILURE(INVALID_FIELD),
                       "the cluster in '%s' has %u brokers, and each holds records: it can't come up with %u. Leave "
                       "--brokers out, or name another folder with --data.",
                       folder, kept->brokers, brokers);
  if (kept && running && (base_port != kept->base_port || coordinators < kept->coordinators))
    return failure_new(FAILURE(INVALID_FIELD),
                       "the cluster in '%s' runs at base port %u with %u coordinators: end it first with 'milena "
                       "local down', or name another folder with --data.",
                       folder, kept->base_port, kept->coordinators);
  *ret_plan = plan_new(folder, controllers, brokers, coordinators, base_port);
  (*ret_plan)->bootstrapped = kept && kept->bootstrapped;
  return NULL;
}

/* ---- File ---- */

static char *plan_path(const char *folder) {
  return g_build_filename(folder, "local.conf", NULL);
}

Failure *local_plan_load(const char *folder, LocalPlan **ret_plan) {
  g_autofree char *path = plan_path(folder);
  if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
    *ret_plan = NULL;
    return NULL;
  }
  static const char *const KEYS[] = {"controllers", "brokers", "coordinators", "base-port"};
  gint numbers[G_N_ELEMENTS(KEYS)] = {0};
  g_autoptr(GKeyFile) file = g_key_file_new();
  g_autoptr(GError) error = NULL;
  gboolean good = g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &error);
  for (guint i = 0; good && i < G_N_ELEMENTS(KEYS); i++) {
    numbers[i] = g_key_file_get_integer(file, GROUP, KEYS[i], &error);
    good = error == NULL;
  }
  gboolean bootstrapped = good && g_key_file_get_boolean(file, GROUP, "bootstrapped", &error);
  if (!good || error)
    return failure_new(FAILURE(INVALID_FIELD), "the plan of the cluster in '%s' can't be read: %s.", path,
                       error ? error->message : "it is damaged");
  Failure *failure = check_plan((guint)numbers[0], (guint)numbers[1], (guint)numbers[2], (guint)numbers[3]);
  if (failure)
    return failure_prefix(failure, "in '%s'", path);
  *ret_plan = plan_new(folder, (guint)numbers[0], (guint)numbers[1], (guint)numbers[2], (guint)numbers[3]);
  (*ret_plan)->bootstrapped = bootstrapped;
  return NULL;
}

Failure *local_plan_save(const LocalPlan *plan) {
  g_autoptr(GKeyFile) file = g_key_file_new();
  g_key_file_set_comment(file, NULL, NULL, " The cluster of this folder, as 'milena local' keeps it.", NULL);
  g_key_file_set_integer(file, GROUP, "controllers", (gint)plan->controllers);
  g_key_file_set_integer(file, GROUP, "brokers", (gint)plan->brokers);
  g_key_file_set_integer(file, GROUP, "coordinators", (gint)plan->coordinators);
  g_key_file_set_integer(file, GROUP, "base-port", (gint)plan->base_port);
  g_key_file_set_boolean(file, GROUP, "bootstrapped", plan->bootstrapped);
  g_autofree char *path = plan_path(plan->folder);
  g_autoptr(GError) error = NULL;
  if (!g_key_file_save_to_file(file, path, &error))
    return failure_new(FAILURE(INTERNAL), "the plan of the cluster can't be kept: %s.", error->message);
  return NULL;
}

/* ---- Nodes ---- */

LocalNode *local_plan_find(const LocalPlan *plan, const char *name) {
  for (guint i = 0; i < plan->nodes->len; i++) {
    LocalNode *node = plan->nodes->pdata[i];
    if (!strcmp(node->name, name))
      return node;
  }
  return NULL;
}

char *local_plan_path(const LocalPlan *plan, const LocalNode *node, const char *suffix) {
  g_autofree char *file = g_strconcat(node->name, suffix, NULL);
  return g_build_filename(plan->folder, file, NULL);
}

char *local_node_address(const LocalNode *node) {
  return g_strdup_printf(HOST ":%u", node->port);
}

char *local_node_peer_address(const LocalNode *node) {
  return g_strdup_printf(HOST ":%u", node->peer_port);
}

/* The controllers' peer addresses, for all that talk to them. */
static char *controller_peers(const LocalPlan *plan) {
  GString *out = g_string_new(NULL);
  for (guint i = 0; i < plan->nodes->len; i++) {
    const LocalNode *node = plan->nodes->pdata[i];
    if (node->kind == LOCAL_CONTROLLER)
      g_string_append_printf(out, "%s%d=" HOST ":%u", out->len ? "," : "", node->id, node->peer_port);
  }
  return g_string_free(out, FALSE);
}

static void add_flag(GStrvBuilder *words, const char *flag, const char *value) {
  g_strv_builder_add_many(words, flag, value, NULL);
}

char **local_plan_command(const LocalPlan *plan, const LocalNode *node, const char *executable) {
  g_autoptr(GStrvBuilder) words = g_strv_builder_new();
  g_autofree char *id = g_strdup_printf("%d", node->id);
  g_autofree char *listen = local_node_address(node);
  g_autofree char *peer_listen = local_node_peer_address(node);
  g_autofree char *controllers = controller_peers(plan);
  g_autofree char *data = local_plan_path(plan, node, "");
  g_strv_builder_add(words, executable);
  add_flag(words, "--id", id);
  add_flag(words, "--listen", listen);
  if (node->peer_port)
    add_flag(words, "--peer-listen", peer_listen);
  add_flag(words, "--controllers", controllers);
  if (node->kind != LOCAL_COORDINATOR)
    add_flag(words, "--data-dir", data);
  return g_strv_builder_end(words);
}
