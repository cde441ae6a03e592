/* The inside of RpcPollers, for the files of this folder alone. */
#pragma once

#include "services/rpc/pollers.h"
#include "services/rpc/queue.h"

G_BEGIN_DECLS

struct RpcPollers {
  guint count;
  RpcQueue *queues[]; /* running; owned */
};

G_END_DECLS
