/* The file that keeps room for a start on a full disk: made where there is room, once, and removed when there is none.
 */
#include "services/process/reserve.h"

#include <sys/stat.h>

#include "tests/shim/shim.h"

#define RESERVE_BYTES (1 << 20)

/* -1: it is not there. */
static gint64 reserved_bytes(void) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "RESERVE", NULL);
  struct stat info;
  return stat(path, &info) == 0 ? (gint64)info.st_blocks * 512 : -1;
}

TEST(reserve, is_kept_once_and_given_up_on_a_full_disk) {
  reserve_keep(shim_temp_dir(), RESERVE_BYTES);
  if (reserved_bytes() < 0) {
    shim_skip(__FILE__, __LINE__, "the file system of %s can't take room without writing", shim_temp_dir());
    return;
  }
  EXPECT_TRUE(reserved_bytes() >= RESERVE_BYTES);
  reserve_keep(shim_temp_dir(), 2 * RESERVE_BYTES);
  EXPECT_TRUE(reserved_bytes() < 2 * RESERVE_BYTES);
  reserve_release(shim_temp_dir(), 1); /* more than that is free */
  EXPECT_TRUE(reserved_bytes() >= RESERVE_BYTES);
  reserve_release(shim_temp_dir(), G_MAXINT64); /* so much never is */
  EXPECT_EQ_INT(-1, reserved_bytes());
}

TEST(reserve, needs_room_and_a_folder) {
  reserve_keep(shim_temp_dir(), G_MAXINT64 / 4); /* three times that is more than there is */
  EXPECT_EQ_INT(-1, reserved_bytes());
  g_autofree char *nowhere = g_build_filename(shim_temp_dir(), "nowhere", NULL);
  reserve_keep(nowhere, RESERVE_BYTES);
  reserve_release(nowhere, RESERVE_BYTES);
  EXPECT_FALSE(g_file_test(nowhere, G_FILE_TEST_EXISTS));
}
