/* See read_fixture.h. */
#include "tests/unit/read/read_fixture.h"

ReadFixture *read_fixture_new(void) {
  ReadFixture *fixture = g_new0(ReadFixture, 1);
  fixture->rpc = fixture_new(NULL, 1000);
  fixture->front = fake_front_new(fixture->rpc->server_loop);
  fixture->door = fake_door_new(fixture->rpc->server_loop);
  fixture->service = read_service_new(fixture->front, fixture->door);
  rpc_server_add_service(fixture->rpc->server, CONSUMER, READ_SERVICE_HANDLERS, fixture->rpc->server_loop,
                         fixture->service);
  fixture_start(fixture->rpc);
  return fixture;
}

void read_fixture_free(ReadFixture *fixture) {
  if (fixture == NULL)
    return;
  fixture_free(fixture->rpc);
  read_service_free(fixture->service);
  fake_door_free(fixture->door);
  fake_front_free(fixture->front);
  g_free(fixture);
}

RpcMessage *read_fixture_call(ReadFixture *fixture, const char *method, const ProtobufCMessage *request,
                              Failure **ret_failure) {
  RpcMessage *response = NULL;
  *ret_failure = rpc_client_unary_sync(fixture->rpc->client, fixture->rpc->address, CONSUMER, method, request,
                                       fixture_deadline_us(20000), &response);
  return response;
}

Recorder *read_fixture_open(ReadFixture *fixture, const char *method, const ProtobufCMessage *request,
                            gboolean reads_on) {
  Recorder *recorder = recorder_open(fixture->rpc, fixture->rpc->address, CONSUMER, method, G_MAXINT64, reads_on);
  recorder_send(recorder, request);
  return recorder;
}

gboolean read_fixture_wait_most(const gint *value, gint most) {
  gint64 until = fixture_deadline_us(10000);
  while (g_atomic_int_get(value) > most) {
    if (g_get_monotonic_time() > until)
      return FALSE;
    g_usleep(500);
  }
  return TRUE;
}

void read_fixture_look(Recorder *recorder, void (*func)(gpointer data), gpointer data) {
  loop_call_and_wait(recorder->fixture->client_loop, func, data);
}

char *read_fixture_records(const Milena__V1__FetchedPartition *fetched) {
  GString *text = g_string_new(NULL);
  for (gsize i = 0; i < fetched->n_records; i++)
    g_string_append_printf(text, "%s%d:%" G_GINT64_FORMAT, i > 0 ? " " : "", fetched->partition,
                           fetched->records[i]->offset);
  for (gsize i = 0; i < fetched->n_batches; i++)
    g_string_append_printf(text, "%s%d:%" G_GINT64_FORMAT, i > 0 ? " " : "", fetched->partition,
                           fetched->batches[i]->stamp->base_offset);
  return g_string_free(text, FALSE);
}
