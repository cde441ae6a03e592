/* RocksDB's checksum, computed by the processor.
 *
 * RocksDB checksums every byte that goes to the write-ahead log. Debian builds it for the oldest amd64, so it does that
 * with tables, four bytes at a time: a quarter of the broker's CPU when it is written to at full rate
 * (docs/decisions/0009-hot-path.md). libisal computes the same function with the instructions that the processor has,
 * about twenty times as fast.
 *
 * The function has no hook, but the library calls it through its symbol table, where the program's definition comes
 * first: so a function of that very name takes its place. Should a later RocksDB name or call it in another way, then
 * its own is used as before; tests/unit/rocks/crc32c_test.c tells. It keeps no state. */
#include <glib.h>

#include "storage/log/crc32c.h"

/* uint32_t rocksdb::crc32c::Extend(uint32_t crc, const char *data, size_t len), under its name in C++'s ABI. */
guint32 rocks_crc32c_extend(guint32 crc, const char *data, gsize len) __asm__("_ZN7rocksdb6crc32c6ExtendEjPKcm");

__attribute__((visibility("default"))) guint32 rocks_crc32c_extend(guint32 crc, const char *data, gsize len) {
  return log_crc32c_extend(crc, data, len);
}
