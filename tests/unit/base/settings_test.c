#include "services/base/settings.h"
#include "tests/shim/shim.h"

static struct {
  char *folder;
  gint64 id, size, wait_ms;
  gboolean verbose;
} target;

static const SettingSpec SPECS[] = {
    {"data-dir", SETTING_STRING, &target.folder, "here", 0, 0, "where"},
    {"id", SETTING_INT, &target.id, "1", 0, 100, "who"},
    {"size", SETTING_BYTES, &target.size, "1MiB", 0, 0, "how much"},
    {"wait", SETTING_DURATION_MS, &target.wait_ms, "5s", 0, 0, "how long"},
    {"verbose", SETTING_BOOL, &target.verbose, "false", 0, 0, "how loud"},
    {NULL},
};

static const struct {
  const char *name;
  const char *arguments[4];
  gboolean good;
} LINES[] = {
    {"defaults", {NULL}, TRUE},
    {"flag_with_value", {"--id", "7"}, TRUE},
    {"flag_with_equals", {"--id=7"}, TRUE},
    {"lone_boolean", {"--verbose"}, TRUE},
    {"boolean_with_value", {"--verbose", "false"}, TRUE},
    {"unknown_flag", {"--colour", "blue"}, FALSE},
    {"not_a_flag", {"colour"}, FALSE},
    {"missing_value", {"--id"}, FALSE},
    {"not_a_number", {"--id", "seven"}, FALSE},
    {"out_of_bounds", {"--id", "101"}, FALSE},
    {"time_without_a_unit", {"--wait", "5"}, FALSE},
    {"no_time_at_all", {"--wait", "0"}, TRUE},
    {"no_time_with_a_bad_unit", {"--wait", "0x"}, FALSE},
    {"size_that_overflows", {"--size", "99999999999999GiB"}, FALSE},
};

static gboolean load(const char *const *arguments) {
  char *argv[8] = {(char *)"test"};
  int argc = 1, ignored;
  while (argc < 5 && arguments[argc - 1]) {
    argv[argc] = (char *)arguments[argc - 1];
    argc++;
  }
  return settings_load("milena-test", "test", SPECS, argc, argv, &ignored);
}

TEST_ROWS(settings, LINES) {
  EXPECT_EQ_INT(LINES[row].good, load(LINES[row].arguments));
  settings_clear(SPECS);
}

TEST(settings, take_flag_before_environment_before_file_before_default) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "milena.conf", NULL);
  ASSERT_TRUE(g_file_set_contents(path, "[test]\nid=3\nsize=2KiB\nwait=1m\n", -1, NULL));
  g_setenv("MILENA_ID", "4", TRUE);
  g_setenv("MILENA_TEST_WAIT", "2s", TRUE);
  const char *arguments[4] = {"--id", "5", "--config", path};
  EXPECT_TRUE(load(arguments));
  g_unsetenv("MILENA_ID");
  g_unsetenv("MILENA_TEST_WAIT");
  EXPECT_EQ_INT(5, target.id);
  EXPECT_EQ_INT(2000, target.wait_ms);
  EXPECT_EQ_INT(2048, target.size);
  EXPECT_EQ_STR("here", target.folder);
  settings_clear(SPECS);
}

TEST(settings, refuse_what_the_file_or_the_environment_misspells) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "milena.conf", NULL);
  ASSERT_TRUE(g_file_set_contents(path, "[test]\ndata-dri=3\n", -1, NULL));
  const char *with_file[4] = {"--config", path};
  EXPECT_FALSE(load(with_file));
  g_setenv("MILENA_TEST_DATA_DRI", "x", TRUE);
  const char *none[4] = {NULL};
  EXPECT_FALSE(load(none));
  g_unsetenv("MILENA_TEST_DATA_DRI");
  settings_clear(SPECS);
}
