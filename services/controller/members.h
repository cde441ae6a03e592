/* The controllers as ListControllers and its neighbours show them. No state. */
#pragma once

#include "milena/v1/admin_service.pb-c.h"
#include "services/controller/care.h"

G_BEGIN_DECLS

/* An answer's list of controllers; its strings are its own, or live until the loop's next event. */
typedef struct {
  Milena__V1__ControllerState *pointers[RAFT_MEMBERS_MAX];
  guint count;
  Milena__V1__ControllerState bodies[RAFT_MEMBERS_MAX];
  Google__Protobuf__Duration heard[RAFT_MEMBERS_MAX];
  char directories[RAFT_MEMBERS_MAX][DIRECTORY_TEXT_BYTES];
  RaftConfiguration configuration; /* in the order of ids; addresses lie in it */
} MemberList;

/* All members that this controller knows, in the order of their ids. */
void members_fill(const Host *host, const Care *care, MemberList *ret_list);
/* Of that list; borrowed, or NULL. */
Milena__V1__ControllerState *members_find(MemberList *list, guint64 id);

/* Would the cluster go on without the member? NULL, or QUORUM_AT_RISK with the reason.
 *
 * @force: also one that answers while another one does not */
Failure *members_check_removal(const Host *host, guint64 id, gboolean force);

G_END_DECLS
