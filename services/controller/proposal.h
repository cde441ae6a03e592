/* A call that changes the metadata: its command has run against the tip, and either refused or made records. What
 * becomes of the call then, alike for all commands. All on the host's loop. */
#pragma once

#include "services/controller/host.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

/* Answer the call. @image: the metadata with the records; @state: as given */
typedef void (*ProposalReply)(RpcCall *call, MetadataImage *image, gpointer state);

/* Propose what a command made, and answer once it is committed; or refuse.
 *
 * @failure: of the command; taken. What is wrong with the request itself is told at once, all else once what the
 *           command looked at is committed
 * @records: taken
 * @validate_only: answer as if they were applied, and propose nothing
 * @state: the reply's; taken; ended with @free */
void proposal_carry_out(Host *host, RpcCall *call, Failure *failure, GPtrArray *records, gboolean validate_only,
                        ProposalReply reply, gpointer state, GDestroyNotify free);

G_END_DECLS
