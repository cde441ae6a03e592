/* The network loses what it should lose, and only that. */
#include "tests/chaos/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/shim/shim.h"

#define PORT 4000

/* A socket for datagrams that lives on that host: made by a thread that goes there and ends. */
typedef struct {
  const Net *net;
  guint host;
  int fd;
  guint sent;
} Post;

static gpointer open_post(gpointer data) {
  Post *post = data;
  if (post->host != NET_OUTSIDE)
    net_go_to_host(post->net, post->host);
  post->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  inet_pton(AF_INET, net_address(post->net, post->host), &address.sin_addr);
  if (bind(post->fd, (struct sockaddr *)&address, sizeof address) != 0)
    shim_fail(__FILE__, __LINE__, "bind: %s", g_strerror(errno));
  return NULL;
}

static Post post_new(const Net *net, guint host) {
  Post post = {.net = net, .host = host, .fd = -1};
  g_thread_join(g_thread_new("post", open_post, &post));
  return post;
}

/* What was sent before may come now: it is not what is waited for. */
static gboolean receives(const Post *post, guint8 mark, int timeout_ms) {
  struct pollfd poll_fd = {.fd = post->fd, .events = POLLIN};
  guint8 got;
  while (poll(&poll_fd, 1, timeout_ms) == 1 && recv(post->fd, &got, 1, 0) == 1)
    if (got == mark)
      return TRUE;
  return FALSE;
}

/* Says whether what is sent now arrives; a lost one is sent twice, for a first may wait for ARP. */
static gboolean arrives(Post *from, const Post *to) {
  guint8 mark = (guint8)((from->host + 1) * 64 + from->sent++ % 64);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  inet_pton(AF_INET, net_address(to->net, to->host), &address.sin_addr);
  for (guint i = 0; i < 2; i++) {
    if (sendto(from->fd, &mark, 1, 0, (struct sockaddr *)&address, sizeof address) == 1 && receives(to, mark, 500))
      return TRUE;
  }
  return FALSE;
}

static void check_cuts(Net *net) {
  Post zero = post_new(net, 0), one = post_new(net, 1), outside = post_new(net, NET_OUTSIDE);
  EXPECT_TRUE(arrives(&zero, &one) && arrives(&one, &zero) && arrives(&outside, &one) && arrives(&one, &outside));
  net_block(net, 0, 1);
  EXPECT_FALSE(arrives(&zero, &one));
  EXPECT_TRUE(arrives(&one, &zero));
  EXPECT_TRUE(arrives(&zero, &outside));
  net_block(net, 1, NET_OUTSIDE);
  EXPECT_FALSE(arrives(&one, &outside));
  EXPECT_TRUE(arrives(&outside, &one));
  net_heal(net);
  EXPECT_TRUE(arrives(&zero, &one) && arrives(&one, &outside));
  net_unplug(net, 0);
  EXPECT_FALSE(arrives(&zero, &one) || arrives(&one, &zero));
  EXPECT_TRUE(arrives(&one, &outside));
  net_block(net, NET_OUTSIDE, 1);
  net_plug(net, 0);
  EXPECT_TRUE(arrives(&zero, &one));
  EXPECT_FALSE(arrives(&outside, &one));
  net_heal(net);
  EXPECT_TRUE(arrives(&outside, &one));
  close(zero.fd);
  close(one.fd);
  close(outside.fd);
}

/* In a process of its own: the test's stays where it is. */
static int in_a_network(void) {
  g_autofree char *why = net_enter();
  if (why) {
    g_printerr("%s\n", why);
    return 77;
  }
  g_autoptr(Net) net = NULL;
  g_autofree char *failure = net_new(2, &net);
  if (failure) {
    g_printerr("%s\n", failure);
    return 1;
  }
  check_cuts(net);
  return shim_test_has_failed();
}

TEST(net, loses_what_it_should_and_no_more) {
  pid_t pid = fork();
  if (pid == 0)
    _exit(in_a_network());
  int status = 0;
  ASSERT_EQ_INT(pid, waitpid(pid, &status, 0));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    SKIP("network namespaces can't be made here");
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
