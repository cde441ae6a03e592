/* The raw keys and values of a folder, past all checks: for tests that do damage or look at bytes. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Put a value, or with NULL delete it; makes a store where there is none. Returns FALSE on an error of RocksDB. */
gboolean raft_log_raw_put(const char *path, const char *key, gsize key_len, const char *value, gsize size);
/* The value, owned by the caller, or NULL. */
GBytes *raft_log_raw_get(const char *path, const char *key, gsize key_len);

G_END_DECLS
