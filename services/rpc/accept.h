/* The guard in front of accept4: see accept.c. */
#pragma once

/* From now on, keep descriptors back from connections. By servers; any thread, any number of times. */
void rpc_accept_guard(void);
