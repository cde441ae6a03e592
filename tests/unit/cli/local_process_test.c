/* Starts small shell scripts in the place of the services' programs. */
#include "client/cli/local_process.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/shim/shim.h"

/* A plan in a folder of this test, whose broker program is this script. */
static LocalPlan *plan_with(const char *script) {
  g_autofree char *program = g_build_filename(shim_temp_dir(), "milena-broker", NULL);
  LocalWish wish = {-1, 2, -1, -1};
  LocalPlan *plan = NULL;
  if (!g_file_set_contents(program, script, -1, NULL) || chmod(program, 0755) != 0 ||
      local_plan_make(shim_temp_dir(), NULL, &wish, FALSE, &plan))
    shim_fail(__FILE__, __LINE__, "the test's program can't be made");
  g_setenv("MILENA_BIN", shim_temp_dir(), TRUE);
  return plan;
}

/* Waits, at most ten seconds, until the log says so. */
static void wait_for_log(const LocalPlan *plan, const LocalNode *node, const char *text) {
  for (int i = 0; i < 1000; i++) {
    g_autofree char *tail = local_process_log_tail(plan, node, 0, 100);
    if (strstr(tail, text))
      return;
    g_usleep(10000);
  }
  shim_fail(__FILE__, __LINE__, "the log never says '%s'", text);
}

TEST(local_process, starts_detached_and_ends_on_sigterm) {
  g_autoptr(LocalPlan) plan = plan_with(
      "#!/bin/sh\ntrap 'echo drained; exit 0' TERM\necho up \"$@\" $MILENA_BOOTSTRAP.\nwhile :; do sleep 0.02; done\n");
  LocalNode *node = local_plan_find(plan, "broker-2");
  g_setenv("MILENA_BOOTSTRAP", "not-for-children", TRUE);
  LocalPid identity;
  guint64 log_start = 99;
  EXPECT_EQ_INT(LOCAL_STOPPED, local_process_state(plan, node, &identity));
  ASSERT_NULL(local_process_start(plan, node, &identity, &log_start));
  EXPECT_EQ_INT(0, log_start);
  EXPECT_EQ_INT(LOCAL_RUNNING, local_process_state(plan, node, &identity));
  EXPECT_EQ_INT(identity.pid, getsid(identity.pid)); /* a session of its own */
  wait_for_log(plan, node, "up --id 2 --listen 127.0.0.1:7601");
  wait_for_log(plan, node, "broker-2 .");

  g_autoptr(GPtrArray) nodes = g_ptr_array_new();
  g_ptr_array_add(nodes, node);
  EXPECT_EQ_INT(0, local_process_stop(plan, nodes, SIGTERM, 10000));
  EXPECT_EQ_INT(LOCAL_STOPPED, local_process_state(plan, node, &identity));
  wait_for_log(plan, node, "drained");
}

TEST(local_process, kills_what_does_not_end_in_time) {
  g_autoptr(LocalPlan) plan = plan_with("#!/bin/sh\ntrap '' TERM\necho up\nwhile :; do sleep 0.02; done\n");
  LocalNode *node = local_plan_find(plan, "broker-1");
  LocalPid identity;
  guint64 log_start;
  ASSERT_NULL(local_process_start(plan, node, &identity, &log_start));
  wait_for_log(plan, node, "up");
  g_autoptr(GPtrArray) nodes = g_ptr_array_new();
  g_ptr_array_add(nodes, node);
  EXPECT_EQ_INT(1, local_process_stop(plan, nodes, SIGTERM, 200));
  EXPECT_EQ_INT(LOCAL_STOPPED, local_process_state(plan, node, &identity));
}

TEST(local_process, tells_how_it_ended_and_what_it_said_last) {
  g_autoptr(LocalPlan) plan = plan_with("#!/bin/sh\nfor i in 1 2 3 4; do echo line $i; done; exit 3\n");
  LocalNode *node = local_plan_find(plan, "broker-1");
  LocalPid identity;
  guint64 log_start, second_start;
  ASSERT_NULL(local_process_start(plan, node, &identity, &log_start));
  while (local_pid_is_alive(&identity))
    g_usleep(1000);
  EXPECT_EQ_INT(LOCAL_ENDED, local_process_state(plan, node, &identity));
  g_autofree char *end = local_process_describe_end(&identity);
  EXPECT_EQ_STR(" with exit code 3", end);
  g_autofree char *tail = local_process_log_tail(plan, node, log_start, 2);
  EXPECT_EQ_STR("line 3\nline 4\n", tail);

  /* The lines of the first start are not those of the second. */
  ASSERT_NULL(local_process_start(plan, node, &identity, &second_start));
  EXPECT_EQ_INT(28, second_start);
  while (local_pid_is_alive(&identity))
    g_usleep(1000);
  g_autofree char *all = local_process_log_tail(plan, node, second_start, 100);
  EXPECT_EQ_STR("line 1\nline 2\nline 3\nline 4\n", all);
  g_autofree char *again = local_process_describe_end(&identity);
}

TEST(local_process, a_missing_program_is_told_with_its_places) {
  g_autoptr(LocalPlan) plan = plan_with("#!/bin/sh\n");
  g_autofree char *path = NULL;
  g_autoptr(Failure) failure = local_process_find_program(local_plan_find(plan, "controller-1"), &path);
  EXPECT_NULL(path);
  ASSERT_TRUE(failure != NULL);
  EXPECT_CONTAINS(failure_message(failure), "milena-controller");
  EXPECT_CONTAINS(failure_message(failure), shim_temp_dir());
}
