/* See chain.h. libisal takes its length as 64 bits here, and starts from the value of what came before. */
#include "storage/rocks/raft/chain.h"

#include <isa-l/crc64.h>

guint64 raft_chain_next(guint64 chain, gconstpointer data, gsize size) {
  return crc64_ecma_refl(chain, data, size);
}
