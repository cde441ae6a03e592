#include "tests/shim/shim.h"

static const struct {
  const char *name;
  int in, out;
} DOUBLES[] = {{"zero", 0, 0}, {"one", 1, 2}};

TEST_ROWS(shim, DOUBLES) {
  EXPECT_EQ_INT(2 * DOUBLES[row].in, DOUBLES[row].out);
}

TEST(shim, gives_each_test_a_folder) {
  EXPECT_CONTAINS(shim_temp_dir(), "milena-test-");
}
