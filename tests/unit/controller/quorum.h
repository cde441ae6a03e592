/* Several whole controllers in the test's process, each with its folder, and a client of all of them. */
#pragma once

#include "milena/internal/v1/raft_service.pb-c.h"
#include "milena/v1/admin_service.pb-c.h"
#include "services/controller/controller.h"
#include "services/rpc/client.h"

G_BEGIN_DECLS

#define QUORUM_MAX 6

typedef struct {
  char *folder, *listen, *peer_listen;
  Controller *controller; /* NULL: it is stopped */
} Member;

typedef struct {
  Member members[QUORUM_MAX + 1]; /* by id, from 1 */
  RpcClient *client;
  guint snapshot_entries;
} Quorum;

void quorum_init(Quorum *quorum);
void quorum_clear(Quorum *quorum);
/* Start it, with the addresses of its first start, and wait until its servers run. */
void quorum_start(Quorum *quorum, guint id);
void quorum_stop(Quorum *quorum, guint id);
/* Give a stopped one an empty folder: its disk was lost. */
void quorum_lose_disk(Quorum *quorum, guint id);
/* Give a stopped one new addresses at its next start. */
void quorum_move(Quorum *quorum, guint id);
const char *quorum_peer_address(const Quorum *quorum, guint id);

/* One try. @ret_response: may be NULL */
Failure *quorum_call(Quorum *quorum, guint id, const char *method, const ProtobufCMessage *request,
                     RpcMessage **ret_response);
/* The same of the active controller, whoever that is: tried until it is neither NOT_CONTROLLER nor unavailable. */
Failure *quorum_ask(Quorum *quorum, const char *method, const ProtobufCMessage *request, RpcMessage **ret_response);
/* Wait for an active controller that is not @except; returns its id. */
guint quorum_active(Quorum *quorum, guint except);

/* Start controllers 1 to @count and make them one cluster. */
void quorum_begin(Quorum *quorum, guint count);
Failure *quorum_bootstrap(Quorum *quorum, guint asked, guint count, const char *request_id, RpcMessage **ret_response);
Failure *quorum_add(Quorum *quorum, guint id, RpcMessage **ret_response);
Failure *quorum_remove(Quorum *quorum, guint id);
Failure *quorum_transfer(Quorum *quorum, guint id);
/* The same with the active one's ControllerService. */
Failure *quorum_ask_as_node(Quorum *quorum, const char *method, const ProtobufCMessage *request,
                            RpcMessage **ret_response);
/* Register a broker with the active one, so that topics can be created. */
void quorum_add_broker(Quorum *quorum);
Failure *quorum_create_topic(Quorum *quorum, const char *name);
/* How many topics a controller knows, also one that is not active. */
guint quorum_count_topics(Quorum *quorum, guint id);
/* How many controllers clients and brokers are told of. */
guint quorum_count_controllers(Quorum *quorum, guint id);
/* What @asked says: a ListControllersResponse, owned by the caller. @ret_state: of @id in it; NULL: it is not listed */
RpcMessage *quorum_list(Quorum *quorum, guint asked, guint id, const Milena__V1__ControllerState **ret_state);

G_END_DECLS
