/* See quorum.h. */
#include "tests/bench/quorum.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "milena/internal/v1/controller_service.pb-c.h"
#include "milena/v1/admin_service.pb-c.h"

#define WAIT_MS 30000
#define POLL_US 2000
#define CALL_MS 3000
#define HEARTBEAT_EVERY_MS 300
#define BROKER_ID 1

void quorum_fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_autofree char *sentence = g_strdup_vprintf(format, args);
  va_end(args);
  fprintf(stderr, "controllers_bench: %s\n", sentence);
  exit(1); /* the atexit handler ends the controllers */
}

static gint64 deadline(gint64 timeout_ms) {
  return g_get_monotonic_time() + timeout_ms * 1000;
}

/* ---- Processes ---- */

/* A port that is free now: bound, asked, let go. */
static guint16 free_port(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
      getsockname(fd, (struct sockaddr *)&address, &len) != 0)
    quorum_fail("there is no free port");
  close(fd);
  return ntohs(address.sin_port);
}

static void member_init(QuorumMember *member, const char *dir, guint number) {
  member->id = (gint32)number + 1;
  member->folder = g_strdup_printf("%s/controller-%d", dir, member->id);
  member->ready_file = g_strdup_printf("%s/controller-%d.ready", dir, member->id);
  member->log_file = g_strdup_printf("%s/controller-%d.log", dir, member->id);
  member->address = g_strdup_printf("127.0.0.1:%u", free_port());
  member->peer_address = g_strdup_printf("127.0.0.1:%u", free_port());
  if (g_mkdir_with_parents(member->folder, 0700) != 0)
    quorum_fail("the folder %s can't be made", member->folder);
}

void quorum_member_start(Quorum *quorum, guint number) {
  QuorumMember *member = &quorum->members[number];
  g_autofree char *id = g_strdup_printf("%d", member->id);
  const char *words[] = {quorum->program,
                         "--id",
                         id,
                         "--listen",
                         member->address,
                         "--peer-listen",
                         member->peer_address,
                         "--data-dir",
                         member->folder,
                         "--ready-file",
                         member->ready_file,
                         quorum->count == 1 ? "--new-cluster" : NULL,
                         NULL};
  unlink(member->ready_file);
  int log = open(member->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  pid_t pid = fork();
  if (pid == 0) {
    dup2(log, STDERR_FILENO);
    dup2(log, STDOUT_FILENO);
    execv(quorum->program, (char **)words);
    _exit(127);
  }
  close(log);
  member->pid = pid;
}

static void member_end(QuorumMember *member, int signal) {
  if (!member->pid)
    return;
  kill(member->pid, signal);
  waitpid(member->pid, NULL, 0);
  member->pid = 0;
}

void quorum_member_kill(Quorum *quorum, guint number) {
  member_end(&quorum->members[number], SIGKILL);
}

gdouble quorum_member_mib(const Quorum *quorum, guint number, const char *line) {
  g_autofree char *path = g_strdup_printf("/proc/%d/status", quorum->members[number].pid), *text = NULL;
  const char *at = g_file_get_contents(path, &text, NULL, NULL) ? strstr(text, line) : NULL;
  return at ? g_ascii_strtod(at + strlen(line), NULL) / 1024 : 0;
}

/* ---- Calls ---- */

static Failure *call_admin(Quorum *quorum, RpcClient *client, guint number, const char *method,
                           const ProtobufCMessage *request, gint64 timeout_ms, RpcMessage **ret_response) {
  return rpc_client_unary_sync(client, quorum->members[number].address, &milena__v1__admin_service__descriptor, method,
                               request, deadline(timeout_ms), ret_response);
}

Failure *quorum_create_topic(Quorum *quorum, RpcClient *client, guint number, const char *name, guint32 partitions,
                             gint64 timeout_ms) {
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  g_autoptr(RpcMessage) response = NULL;
  request.name = (char *)name;
  request.partitions = partitions;
  return call_admin(quorum, client, number, "CreateTopic", &request.base, timeout_ms, &response);
}

/* What one controller says of all; owned by the caller, or NULL. */
static RpcMessage *list(Quorum *quorum, guint number) {
  Milena__V1__ListControllersRequest request = MILENA__V1__LIST_CONTROLLERS_REQUEST__INIT;
  RpcMessage *response = NULL;
  if (!quorum->members[number].pid)
    return NULL;
  failure_free(call_admin(quorum, quorum->client, number, "ListControllers", &request.base, CALL_MS, &response));
  return response;
}

/* The active one's own word, or FALSE. */
static gboolean ask_active(Quorum *quorum, guint number, guint64 *ret_lag) {
  g_autoptr(RpcMessage) message = list(quorum, number);
  if (!message)
    return FALSE;
  const Milena__V1__ListControllersResponse *response = rpc_message_body(message);
  *ret_lag = 0;
  for (gsize i = 0; i < response->n_controllers; i++)
    *ret_lag += response->controllers[i]->lag;
  return response->active_id == response->answered_by;
}

guint quorum_active(Quorum *quorum) {
  guint64 lag;
  if (quorum->count == 1)
    return 0;
  for (gint64 until = deadline(WAIT_MS); g_get_monotonic_time() < until; g_usleep(POLL_US))
    for (guint i = 0; i < quorum->count; i++)
      if (ask_active(quorum, i, &lag))
        return i;
  quorum_fail("no controller became active in %d s", WAIT_MS / 1000);
}

void quorum_settle(Quorum *quorum) {
  for (guint i = 0; i < quorum->count; i++)
    if (!quorum->members[i].pid)
      quorum_member_start(quorum, i);
  if (quorum->count == 1)
    return;
  for (gint64 until = deadline(WAIT_MS); g_get_monotonic_time() < until; g_usleep(POLL_US)) {
    guint64 lag = 0;
    gboolean all = TRUE;
    for (guint i = 0; i < quorum->count; i++) {
      g_autoptr(RpcMessage) message = list(quorum, i);
      const Milena__V1__ListControllersResponse *response = message ? rpc_message_body(message) : NULL;
      all = all && response && response->active_id > 0;
    }
    if (all && ask_active(quorum, quorum_active(quorum), &lag) && lag == 0)
      return;
  }
  quorum_fail("the controllers did not catch up in %d s", WAIT_MS / 1000);
}

/* ---- Beginning ---- */

static void bootstrap(Quorum *quorum) {
  Milena__V1__BootstrapClusterRequest request = MILENA__V1__BOOTSTRAP_CLUSTER_REQUEST__INIT;
  Milena__V1__InitialController controllers[QUORUM_MAX], *pointers[QUORUM_MAX];
  for (guint i = 0; i < quorum->count; i++) {
    controllers[i] = (Milena__V1__InitialController)MILENA__V1__INITIAL_CONTROLLER__INIT;
    controllers[i].id = quorum->members[i].id;
    controllers[i].peer_address = quorum->members[i].peer_address;
    pointers[i] = &controllers[i];
  }
  request.controllers = pointers;
  request.n_controllers = quorum->count;
  request.request_id = (char *)"bench";
  g_autoptr(Failure) failure = NULL;
  for (gint64 until = deadline(WAIT_MS); g_get_monotonic_time() < until; g_usleep(POLL_US * 50)) {
    g_autoptr(RpcMessage) response = NULL;
    g_clear_pointer(&failure, failure_free);
    failure = call_admin(quorum, quorum->client, 0, "BootstrapCluster", &request.base, CALL_MS * 3, &response);
    if (!failure)
      return;
  }
  quorum_fail("the cluster can't begin: %s", failure_message(failure));
}

/* One call to every controller's peer listener; the first answer, or NULL. */
static RpcMessage *ask_peers(Quorum *quorum, const char *method, const ProtobufCMessage *request) {
  for (guint i = 0; i < quorum->count; i++) {
    RpcMessage *response = NULL;
    g_autoptr(Failure) failure = rpc_client_unary_sync(quorum->client, quorum->members[i].peer_address,
                                                       &milena__internal__v1__controller_service__descriptor, method,
                                                       request, deadline(CALL_MS), &response);
    if (!failure)
      return response;
  }
  return NULL;
}

static guint64 register_broker(Quorum *quorum) {
  Milena__Internal__V1__RegisterNodeRequest request = MILENA__INTERNAL__V1__REGISTER_NODE_REQUEST__INIT;
  g_autofree char *incarnation = g_uuid_string_random(), *process = g_uuid_string_random();
  request.kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER;
  request.id = BROKER_ID;
  request.incarnation = incarnation;
  request.process_id = process;
  request.address = (char *)"127.0.0.1:1";
  request.peer_address = (char *)"127.0.0.1:1";
  for (gint64 until = deadline(WAIT_MS); g_get_monotonic_time() < until; g_usleep(POLL_US * 10)) {
    g_autoptr(RpcMessage) message = ask_peers(quorum, "RegisterNode", &request.base);
    if (message)
      return ((const Milena__Internal__V1__RegisterNodeResponse *)rpc_message_body(message))->epoch;
  }
  quorum_fail("the broker is not registered in %d s", WAIT_MS / 1000);
}

typedef struct {
  Quorum *quorum;
  guint64 epoch;
} Broker;

static gboolean heartbeat(const Broker *broker) {
  Milena__Internal__V1__HeartbeatRequest request = MILENA__INTERNAL__V1__HEARTBEAT_REQUEST__INIT;
  request.kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER;
  request.id = BROKER_ID;
  request.epoch = broker->epoch;
  request.metadata_version = G_MAXINT64;
  g_autoptr(RpcMessage) message = ask_peers(broker->quorum, "Heartbeat", &request.base);
  return message && !((const Milena__Internal__V1__HeartbeatResponse *)rpc_message_body(message))->fenced;
}

static gpointer run_broker(gpointer data) {
  g_autofree Broker *broker = data;
  while (!g_atomic_int_get(&broker->quorum->stopping)) {
    heartbeat(broker);
    g_usleep(HEARTBEAT_EVERY_MS * 1000);
  }
  return NULL;
}

void quorum_start(Quorum *quorum, const char *program, const char *dir, guint count) {
  *quorum = (Quorum){.program = program, .count = count, .client = rpc_client_new(NULL)};
  for (guint i = 0; i < count; i++) {
    member_init(&quorum->members[i], dir, i);
    quorum_member_start(quorum, i);
  }
  if (count > 1)
    bootstrap(quorum);
  Broker *broker = g_new(Broker, 1);
  *broker = (Broker){quorum, register_broker(quorum)};
  for (gint64 until = deadline(WAIT_MS); !heartbeat(broker) && g_get_monotonic_time() < until;)
    g_usleep(POLL_US * 10);
  quorum->broker = g_thread_new("broker", run_broker, broker);
}

void quorum_stop(Quorum *quorum) {
  g_atomic_int_set(&quorum->stopping, 1);
  if (quorum->broker)
    g_thread_join(quorum->broker);
  for (guint i = 0; i < quorum->count; i++) {
    QuorumMember *member = &quorum->members[i];
    member_end(member, SIGKILL);
    g_free(member->folder);
    g_free(member->ready_file);
    g_free(member->log_file);
    g_free(member->address);
    g_free(member->peer_address);
  }
  rpc_client_free(quorum->client);
}
