/* The network; see net.h.
 *
 * A host's namespace is made by a child that leaves for a new one; the parent opens it through /proc, and the child
 * ends. One direction is blocked with a permanent wrong entry in the sender's table of neighbours: the bridge delivers
 * such frames to nobody. That needs no packet filter and no kernel module, and it is silent, as a lost packet is.
 *
 * Invariants: blocked[from][to] and unplugged[host] say what is in force. Failure modes: a command of iproute2 that
 * fails ends the run, for a fault that was not put in force would be counted as one. */
#include "tests/chaos/net.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOSTS_MAX 16
#define WRONG_NEIGHBOUR "02:00:00:00:de:ad"

struct Net {
  guint hosts;
  gboolean can_cut;
  int outside; /* descriptors of namespaces, or -1 */
  int inside[HOSTS_MAX];
  char *addresses[HOSTS_MAX];
  char *outside_address;
  gboolean blocked[HOSTS_MAX + 1][HOSTS_MAX + 1]; /* the last is outside */
  gboolean unplugged[HOSTS_MAX];
};

/* ---- Going in ---- */

static gboolean write_text(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  gboolean done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
  if (fd >= 0)
    close(fd);
  return done;
}

/* As an unprivileged user: be root in a namespace of users, which owns the network. */
static gboolean enter_as_user(void) {
  g_autofree char *uids = g_strdup_printf("0 %u 1", (guint)getuid());
  g_autofree char *gids = g_strdup_printf("0 %u 1", (guint)getgid());
  return unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 && write_text("/proc/self/setgroups", "deny") &&
         write_text("/proc/self/uid_map", uids) && write_text("/proc/self/gid_map", gids);
}

char *net_enter(void) {
  g_autofree char *ip = g_find_program_in_path("ip");
  if (!ip)
    return g_strdup("there is no program 'ip' (package iproute2)");
  if (unshare(CLONE_NEWNET) == 0 || enter_as_user())
    return NULL;
  return g_strdup_printf("network namespaces may not be made here (%s)", g_strerror(errno));
}

/* ---- Commands ---- */

static void enter_namespace(gpointer data) {
  int fd = GPOINTER_TO_INT(data);
  if (fd >= 0 && setns(fd, CLONE_NEWNET) != 0)
    _exit(126);
}

void net_go_to_host(const Net *net, guint host) {
  enter_namespace(GINT_TO_POINTER(net->inside[host]));
}

static char *run_ip(int namespace, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Returns NULL, or why it failed. */
static char *run_ip(int namespace, const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_autofree char *words = g_strdup_vprintf(format, args);
  va_end(args);
  g_auto(GStrv) argv = g_strsplit(words, " ", -1);
  g_autofree char *err = NULL;
  g_autoptr(GError) error = NULL;
  int status = 0;
  if (!g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, enter_namespace,
                    GINT_TO_POINTER(namespace), NULL, &err, &status, &error))
    return g_strdup_printf("'%s' can't be started: %s", words, error->message);
  return status == 0 ? NULL : g_strdup_printf("'%s' failed: %s", words, g_strstrip(err));
}

static void must(char *failure) {
  if (failure)
    g_error("the network is not what it should be: %s", failure);
}

/* ---- Hosts ---- */

/* Returns the pid of a child that sits in a new namespace, or -1. */
static pid_t start_keeper(void) {
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) != 0)
    return -1;
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char ok = unshare(CLONE_NEWNET) == 0;
    if (write(ready[1], &ok, 1) == 1)
      pause();
    _exit(0);
  }
  char ok = 0;
  if (pid > 0 && (read(ready[0], &ok, 1) != 1 || !ok)) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    pid = -1;
  }
  close(ready[0]);
  close(ready[1]);
  return pid;
}

static char *wire_host(Net *net, guint host, pid_t keeper) {
  g_autofree char *path = g_strdup_printf("/proc/%d/ns/net", (int)keeper);
  net->inside[host] = open(path, O_RDONLY | O_CLOEXEC);
  int inside = net->inside[host];
  char *failure = run_ip(-1, "ip link add h%u type veth peer name eth0 netns %d", host, (int)keeper);
  if (!failure)
    failure = run_ip(-1, "ip link set h%u master bridge up", host);
  if (!failure)
    failure = run_ip(inside, "ip link set lo up");
  if (!failure)
    failure = run_ip(inside, "ip addr add %s/24 dev eth0", net->addresses[host]);
  return failure ? failure : run_ip(inside, "ip link set eth0 up");
}

static char *add_host(Net *net, guint host) {
  pid_t keeper = start_keeper();
  if (keeper < 0)
    return g_strdup_printf("a network namespace can't be made (%s)", g_strerror(errno));
  char *failure = wire_host(net, host, keeper);
  kill(keeper, SIGKILL);
  waitpid(keeper, NULL, 0);
  return failure;
}

char *net_new(guint hosts, Net **ret_net) {
  g_assert(hosts <= HOSTS_MAX);
  g_autoptr(Net) net = g_new0(Net, 1);
  net->hosts = hosts;
  net->can_cut = TRUE;
  net->outside_address = g_strdup("10.77.0.254");
  net->outside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  char *failure = run_ip(-1, "ip link set lo up");
  if (!failure)
    failure = run_ip(-1, "ip link add bridge type bridge");
  if (!failure)
    failure = run_ip(-1, "ip addr add %s/24 dev bridge", net->outside_address);
  if (!failure)
    failure = run_ip(-1, "ip link set bridge up");
  for (guint i = 0; i < hosts; i++) {
    net->inside[i] = -1;
    net->addresses[i] = g_strdup_printf("10.77.0.%u", i + 1);
  }
  for (guint i = 0; i < hosts && !failure; i++)
    failure = add_host(net, i);
  if (!failure)
    *ret_net = g_steal_pointer(&net);
  return failure;
}

Net *net_new_loopback(guint hosts) {
  g_assert(hosts <= HOSTS_MAX);
  Net *net = g_new0(Net, 1);
  net->hosts = hosts;
  net->outside = -1;
  net->outside_address = g_strdup("127.0.0.1");
  guint run = g_random_int(); /* so that two runs on one machine don't meet */
  for (guint i = 0; i < hosts; i++) {
    net->inside[i] = -1;
    net->addresses[i] = g_strdup_printf("127.%u.%u.%u", 1 + run % 250, run / 256 % 256, i + 1);
  }
  return net;
}

void net_free(Net *net) {
  if (!net)
    return;
  for (guint i = 0; i < net->hosts; i++) {
    if (net->inside[i] >= 0)
      close(net->inside[i]);
    g_free(net->addresses[i]);
  }
  if (net->outside >= 0)
    close(net->outside);
  g_free(net->outside_address);
  g_free(net);
}

gboolean net_can_cut(const Net *net) {
  return net->can_cut;
}

const char *net_address(const Net *net, guint host) {
  return host == NET_OUTSIDE ? net->outside_address : net->addresses[host];
}

/* ---- Cutting ---- */

static guint row_of(guint host) {
  return host == NET_OUTSIDE ? HOSTS_MAX : host;
}

static void set_neighbour(Net *net, guint from, guint to, gboolean blocked) {
  int namespace = from == NET_OUTSIDE ? net->outside : net->inside[from];
  const char *device = from == NET_OUTSIDE ? "bridge" : "eth0";
  if (net->blocked[row_of(from)][row_of(to)] == blocked)
    return;
  net->blocked[row_of(from)][row_of(to)] = blocked;
  if (blocked)
    must(run_ip(namespace, "ip neigh replace %s lladdr " WRONG_NEIGHBOUR " nud permanent dev %s", net_address(net, to),
                device));
  else
    must(run_ip(namespace, "ip neigh del %s dev %s", net_address(net, to), device));
}

void net_block(Net *net, guint from, guint to) {
  g_assert(net->can_cut);
  set_neighbour(net, from, to, TRUE);
}

static void set_plugged(Net *net, guint host, gboolean plugged) {
  g_assert(net->can_cut);
  if (net->unplugged[host] == !plugged)
    return;
  net->unplugged[host] = !plugged;
  must(run_ip(-1, "ip link set h%u %s", host, plugged ? "up" : "down"));
}

void net_unplug(Net *net, guint host) {
  set_plugged(net, host, FALSE);
}

void net_plug(Net *net, guint host) {
  set_plugged(net, host, TRUE);
}

void net_heal(Net *net) {
  for (guint host = 0; host < net->hosts; host++)
    if (net->unplugged[host])
      set_plugged(net, host, TRUE);
  for (guint from = 0; from <= HOSTS_MAX; from++)
    for (guint to = 0; to <= HOSTS_MAX; to++)
      if (net->blocked[from][to])
        set_neighbour(net, from == HOSTS_MAX ? NET_OUTSIDE : from, to == HOSTS_MAX ? NET_OUTSIDE : to, FALSE);
}
