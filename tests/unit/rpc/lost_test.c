/* A peer that speaks HTTP/2 and then drops the connection: what a client may conclude from it. */
#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "milena/v1/producer_service.pb-c.h"
#include "tests/shim/shim.h"
#include "tests/unit/rpc/fixture.h"

#define PRODUCER (&milena__v1__producer_service__descriptor)

typedef struct {
  int listener;
  char address[32];
  pthread_t thread;
} Dropper;

/* Takes connections until the listener is shut down: sends empty settings, reads until the call's headers must have
 * come, and closes. */
static void *dropper_run(void *data) {
  Dropper *dropper = data;
  static const guint8 SETTINGS[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
  int peer;
  while ((peer = accept(dropper->listener, NULL, NULL)) >= 0) {
    guint8 buffer[4096];
    gboolean alive = write(peer, SETTINGS, sizeof SETTINGS) == sizeof SETTINGS;
    gsize total = 0;
    while (alive && total < 150) { /* the preface and its settings are some 80 bytes, a call's headers twice that */
      ssize_t count = read(peer, buffer, sizeof buffer);
      alive = count > 0;
      total += MAX(count, 0);
    }
    close(peer);
  }
  return NULL;
}

static void dropper_start(Dropper *dropper) {
  dropper->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  if (bind(dropper->listener, (struct sockaddr *)&address, len) || listen(dropper->listener, 5) ||
      getsockname(dropper->listener, (struct sockaddr *)&address, &len))
    g_error("no listener for the test");
  g_snprintf(dropper->address, sizeof dropper->address, "127.0.0.1:%u", ntohs(address.sin_port));
  pthread_create(&dropper->thread, NULL, dropper_run, dropper);
}

static void dropper_stop(Dropper *dropper) {
  shutdown(dropper->listener, SHUT_RDWR);
  pthread_join(dropper->thread, NULL);
  close(dropper->listener);
}

TEST(lost, a_unary_call_has_an_unknown_outcome) {
  Dropper dropper;
  dropper_start(&dropper);
  g_autoptr(RpcClient) client = rpc_client_new(NULL);
  Milena__V1__ProduceRequest request = MILENA__V1__PRODUCE_REQUEST__INIT;
  g_autoptr(Failure) failure = rpc_client_unary_sync(client, dropper.address, PRODUCER, "Produce", &request.base,
                                                     fixture_deadline_us(10000), NULL);
  EXPECT_EQ_INT(FAILURE(UNKNOWN_OUTCOME), failure_reason(failure));
  EXPECT_FALSE(failure_is_retriable(failure));
  EXPECT_CONTAINS(failure_message(failure), dropper.address);
  dropper_stop(&dropper);
}

TEST(lost, a_stream_may_be_opened_again) {
  Dropper dropper;
  dropper_start(&dropper);
  g_autoptr(Fixture) fixture = fixture_new(NULL, 10);
  fixture_start(fixture);
  g_autoptr(Recorder) recorder =
      recorder_open(fixture, dropper.address, PRODUCER, "ProduceStream", fixture_deadline_us(10000), TRUE);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_EQ_INT(FAILURE(PEER_UNREACHABLE), failure_reason(recorder->failure));
  EXPECT_CONTAINS(failure_message(recorder->failure), dropper.address);
  dropper_stop(&dropper);
}
