#include "client/cli/progress.h"

#include <string.h>

#include "tests/shim/shim.h"

static const struct {
  const char *name;
  ProgressState state;
  guint width;
  const char *want;
} ROWS[] = {
    {"begin", {0, 0, 0, 0}, 100, "0 records, 0 B, 0 B/s"},
    {"unknown_size", {2000000, 0, 1234, 2 * G_USEC_PER_SEC}, 100, "1,234 records, 2.0 MB, 1.0 MB/s"},
    {"half",
     {500, 1000, 5, G_USEC_PER_SEC},
     100,
     "[############............]  50%  5 records, 500 B, 500 B/s, 2 s left"},
    {"whole", {1000, 1000, 5, G_USEC_PER_SEC}, 100, "[########################] 100%  5 records, 1.0 kB, 1.0 kB/s"},
    {"grown_file",
     {1500, 1000, 5, G_USEC_PER_SEC},
     100,
     "[########################] 100%  5 records, 1.5 kB, 1.5 kB/s"},
    {"narrow", {500, 1000, 5, G_USEC_PER_SEC}, 10, "[#########"},
};

TEST_ROWS(progress, ROWS) {
  g_autofree char *line = progress_line(&ROWS[row].state, ROWS[row].width);
  EXPECT_EQ_STR(ROWS[row].want, line);
}
