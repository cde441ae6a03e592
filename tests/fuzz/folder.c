/* The small files of a store's folder, STORE and FRONTIER, with their checksum line as it came or mended.
 *
 * Input: whether to mend the checksum, then the file. */
#include "tests/fuzz/fuzz.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/log/crc32c.h"
#include "storage/rocks/folder.h"
#include "storage/rocks/frontier.h"

static char path[] = "/tmp/milena-fuzz-XXXXXX";

static void remove_folder(void) {
  static const char *const NAMES[] = {"STORE", "FRONTIER", "LOCK"};
  for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++) {
    g_autofree char *file = g_build_filename(path, NAMES[i], NULL);
    g_unlink(file);
  }
  g_rmdir(path);
}

static void write_file(const char *name, const GString *text) {
  g_autofree char *file = g_build_filename(path, name, NULL);
  FILE *out = fopen(file, "w");
  FUZZ_HOLDS(out && fwrite(text->str, 1, text->len, out) == text->len && fclose(out) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static gboolean made = FALSE;
  if (!made) {
    FUZZ_HOLDS(mkdtemp(path));
    atexit(remove_folder);
    made = TRUE;
  }
  FuzzInput input = {data, data + size};
  gboolean mend = fuzz_u8(&input) & 1;
  g_autoptr(GString) text = g_string_new_len((const char *)input.at, (gssize)fuzz_left(&input));
  if (mend)
    g_string_append_printf(text, "# crc32c %08x\n", log_crc32c(text->str, text->len));
  write_file("STORE", text);
  write_file("FRONTIER", text);
  g_autoptr(RocksFolder) folder = NULL;
  if (!fuzz_accepted(rocks_folder_open(path, "broker-log", 1, FALSE, &folder)))
    return 0;
  FUZZ_HOLDS(!rocks_folder_is_new(folder));
  RocksFrontier frontier;
  gboolean found = FALSE;
  if (fuzz_accepted(rocks_frontier_read(folder, &frontier, &found)))
    FUZZ_HOLDS(found);
  return 0;
}
