/* gRPC's core as a library: initialised at the first use, for the life of the process. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Any thread, any number of times; before anything else of the core. */
void rpc_library_init(void);

G_END_DECLS
