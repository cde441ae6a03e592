/* The limits of servers and clients, as arguments for the core. */
#pragma once

#include <grpc/grpc.h>

#include "services/rpc/server.h"

G_BEGIN_DECLS

/* @options: with no zeros left */
grpc_channel_args *rpc_server_args_new(const RpcServerOptions *options);
grpc_channel_args *rpc_client_args_new(guint32 receive_max_bytes);
void rpc_args_free(grpc_channel_args *args);

G_END_DECLS
