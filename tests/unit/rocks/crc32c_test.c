/* RocksDB's checksum is ours, and computes what RocksDB's own does: what one has written the other can read. */
#include <dlfcn.h>
#include <glib.h>

#include "tests/shim/shim.h"

#define EXTEND "_ZN7rocksdb6crc32c6ExtendEjPKcm"

typedef guint32 (*Extend)(guint32 crc, const char *data, gsize len);

/* The library's own function, whatever stands in front of it. */
static Extend of_library(void) {
  Dl_info info;
  if (!dladdr(dlsym(RTLD_DEFAULT, "rocksdb_open"), &info))
    return NULL;
  void *library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  return library ? (Extend)dlsym(library, EXTEND) : NULL;
}

TEST(RocksCrc32c, TakesThePlaceOfTheLibrarysOwn) {
  EXPECT_TRUE(of_library() != NULL);
  EXPECT_TRUE(dlsym(RTLD_DEFAULT, EXTEND) != (void *)of_library());
}

TEST(RocksCrc32c, ComputesTheSame) {
  Extend own = of_library(), ours = (Extend)dlsym(RTLD_DEFAULT, EXTEND);
  g_autoptr(GRand) rand = g_rand_new_with_seed(1);
  g_autofree char *data = g_malloc(70000);
  for (guint i = 0; i < 70000; i++)
    data[i] = (char)g_rand_int(rand);
  for (guint i = 0; i < 2000; i++) {
    gsize len = i < 300 ? i : (gsize)g_rand_int_range(rand, 0, 69000);
    const char *at = data + g_rand_int_range(rand, 0, 64);
    guint32 begun = i % 2 ? g_rand_int(rand) : 0;
    EXPECT_EQ_INT(own(begun, at, len), ours(begun, at, len));
  }
}
