/* The descriptors of all services and messages that were built into this program: what reflection answers from, and
 * where the streaming flags of methods come from (protobuf-c keeps none). Immutable; any thread. */
#pragma once

#include <glib.h>

#include "google/protobuf/descriptor.pb-c.h"

G_BEGIN_DECLS

typedef struct RpcDescriptors RpcDescriptors;
typedef struct RpcDescriptorFile RpcDescriptorFile;

/* Of the set that //protos:descriptors holds. */
RpcDescriptors *rpc_descriptors_new(void);
void rpc_descriptors_free(RpcDescriptors *descriptors);

/* The method, or NULL. @service: full name. Borrowed. */
const Google__Protobuf__MethodDescriptorProto *rpc_descriptors_method(const RpcDescriptors *descriptors,
                                                                      const char *service, const char *method);
/* By name: "milena/v1/record.proto". NULL when there is none. Borrowed. */
const RpcDescriptorFile *rpc_descriptors_file(const RpcDescriptors *descriptors, const char *name);
/* By the full name of what it declares: a message, enum, value, field, service, method or extension. */
const RpcDescriptorFile *rpc_descriptors_file_of_symbol(const RpcDescriptors *descriptors, const char *symbol);
/* The message type of this name, or NULL; for questions about extensions, of which proto3 has none. */
gboolean rpc_descriptors_has_message(const RpcDescriptors *descriptors, const char *symbol);
/* The file, then all that it imports: GBytes of their FileDescriptorProto. Owned by the caller. */
GPtrArray *rpc_descriptors_closure(const RpcDescriptors *descriptors, const RpcDescriptorFile *file);

G_END_DECLS
