/* ConsumerService over a real server and client on loopback, with partitions in memory. */
#pragma once

#include "milena/v1/consumer_service.pb-c.h"
#include "services/broker/read/read_service.h"
#include "tests/unit/read/fake_groups.h"
#include "tests/unit/read/fake_source.h"
#include "tests/unit/rpc/fixture.h"

G_BEGIN_DECLS

#define CONSUMER (&milena__v1__consumer_service__descriptor)

typedef struct {
  Fixture *rpc;
  Front *front;
  GroupDoor *door;
  ReadService *service;
} ReadFixture;

ReadFixture *read_fixture_new(void);
void read_fixture_free(ReadFixture *fixture);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReadFixture, read_fixture_free)

/* Call a unary method. Returns the answer's message, owned by the caller, or NULL with *@ret_failure set. */
RpcMessage *read_fixture_call(ReadFixture *fixture, const char *method, const ProtobufCMessage *request,
                              Failure **ret_failure);
/* Open a stream and send its first frame. */
Recorder *read_fixture_open(ReadFixture *fixture, const char *method, const ProtobufCMessage *request,
                            gboolean reads_on);
/* Wait until *@value (atomic) is at most @most; FALSE after 10 s. */
gboolean read_fixture_wait_most(const gint *value, gint most);

/* Run @func where the recorder's messages arrive, while more may come, and wait. */
void read_fixture_look(Recorder *recorder, void (*func)(gpointer data), gpointer data);

/* "0:0 0:1 2:5": partition and offset of each record, or batch, in order. Owned by the caller. */
char *read_fixture_records(const Milena__V1__FetchedPartition *fetched);

G_END_DECLS
