/* Calls of AdminService and MetadataService, blocking, to one controller at a time, and what their failures tell.
 * Threads: each has a caller of its own. */
#pragma once

#include "milena/v1/admin_service.pb-c.h"
#include "milena/v1/metadata_service.pb-c.h"
#include "services/rpc/client.h"
#include "tests/chaos/history.h"

G_BEGIN_DECLS

typedef struct {
  RpcClient *client;
} Caller;

void caller_init(Caller *caller);
void caller_clear(Caller *caller);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Caller, caller_clear)

/* @ret_answer: owned by the caller; NULL when the failure is not */
Failure *caller_admin(Caller *caller, const char *address, const char *method, const ProtobufCMessage *request,
                      guint timeout_ms, RpcMessage **ret_answer);
/* All of the metadata as a controller has it, whether it is active or not. */
Failure *caller_metadata(Caller *caller, const char *address, guint timeout_ms, RpcMessage **ret_answer);

/* What a write's failure means for the topic. */
HistoryResult caller_result_of_write(const Failure *failure);
/* Where to go next, when the failure names the active controller; else NULL. Borrowed. */
const char *caller_hint(const Failure *failure);

/* The tag of a topic: it lies in max_message_bytes, which every write of ours sets. */
#define CALLER_TAG_FIRST 1024 /* the least that a topic takes */
Milena__V1__TopicConfig caller_config_of_tag(guint64 tag);
guint64 caller_tag_of_topic(const Milena__V1__Topic *topic);

/* A shorter sentence for people: "UNKNOWN_OUTCOME: ..."; owned by the caller. */
char *caller_text(const Failure *failure);

G_END_DECLS
