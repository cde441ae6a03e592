/* The corpus of one fuzz target as tests, one a file: as it is, cut short at every length, and with bits flipped. */
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "tests/shim/shim.h"

#ifndef FUZZ_TARGET /* fuzz.bzl gives it; this is for tools that read the file by itself */
#define FUZZ_TARGET "wire"
#endif
#define FOLDER "tests/fuzz/corpus/" FUZZ_TARGET
/* Bound of the variants of one file: a prefix or a flip each. */
#define CUTS_MAX 256
#define FLIPS_MAX 1024

static GPtrArray *names; /* of the corpus files, in order */

/* From a block of exactly that size, so that AddressSanitizer sees a read behind its end. */
static void run(const guint8 *data, gsize size) {
  guint8 *block = calloc(1, size ? size : 1);
  if (size)
    memcpy(block, data, size);
  EXPECT_EQ_INT(0, LLVMFuzzerTestOneInput(block, size));
  free(block);
}

static void run_file(size_t row) {
  g_autofree char *relative = g_build_filename(FOLDER, names->pdata[row], NULL);
  g_autofree char *text = NULL;
  gsize size = 0;
  ASSERT_TRUE(g_file_get_contents(shim_source_path(relative), &text, &size, NULL));
  guint8 *data = (guint8 *)text;
  run(data, size);
  gsize step = size / CUTS_MAX + 1;
  for (gsize cut = 0; cut < size; cut += step)
    run(data, cut);
  step = size * 8 / FLIPS_MAX + 1;
  for (gsize bit = 0; bit < size * 8; bit += step) {
    data[bit / 8] ^= (guint8)(1 << bit % 8);
    run(data, size);
    data[bit / 8] ^= (guint8)(1 << bit % 8);
  }
}

static void run_nothing(size_t row) {
  (void)row;
  run(NULL, 0);
}

static int by_name(gconstpointer a, gconstpointer b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

__attribute__((constructor)) static void register_corpus(void) {
  names = g_ptr_array_new();
  shim_register(FUZZ_TARGET, "nothing", __FILE__, __LINE__, run_nothing, 0);
  g_autoptr(GDir) dir = g_dir_open(shim_source_path(FOLDER), 0, NULL);
  const char *name;
  while (dir && (name = g_dir_read_name(dir)))
    g_ptr_array_add(names, g_strdup(name));
  g_ptr_array_sort(names, by_name);
  for (guint i = 0; i < names->len; i++)
    shim_register(FUZZ_TARGET, names->pdata[i], __FILE__, __LINE__, run_file, i);
}

TEST(corpus, is_there) {
  EXPECT_TRUE(names->len > 0);
}
