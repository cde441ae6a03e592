#include "client/cli/local_plan.h"

#include <string.h>

#include "tests/shim/shim.h"

TEST(local_plan, has_a_controller_three_brokers_and_a_coordinator_by_default) {
  LocalWish wish = LOCAL_WISH_NOTHING;
  g_autoptr(LocalPlan) plan = NULL;
  ASSERT_NULL(local_plan_make("/data", NULL, &wish, FALSE, &plan));
  g_autoptr(GString) got = g_string_new(NULL);
  for (guint i = 0; i < plan->nodes->len; i++) {
    const LocalNode *node = plan->nodes->pdata[i];
    g_string_append_printf(got, "%s %u %u;", node->name, node->port, node->peer_port);
  }
  EXPECT_EQ_STR("controller-1 7700 7750;broker-1 7600 7650;broker-2 7601 7651;broker-3 7602 7652;coordinator-1 7800 0;",
                got->str);
}

static char *command_of(const LocalPlan *plan, const char *name) {
  g_auto(GStrv) words = local_plan_command(plan, local_plan_find(plan, name), "/bin/program");
  return g_strjoinv(" ", words);
}

TEST(local_plan, makes_command_lines) {
  LocalWish wish = {-1, 2, -1, 9000};
  g_autoptr(LocalPlan) plan = NULL;
  ASSERT_NULL(local_plan_make("/data", NULL, &wish, FALSE, &plan));
  g_autofree char *controller = command_of(plan, "controller-1");
  g_autofree char *broker = command_of(plan, "broker-2");
  g_autofree char *coordinator = command_of(plan, "coordinator-1");
  EXPECT_EQ_STR("/bin/program --id 1 --listen 127.0.0.1:9100 --peer-listen 127.0.0.1:9150 --controllers "
                "1=127.0.0.1:9150 --data-dir /data/controller-1",
                controller);
  EXPECT_EQ_STR("/bin/program --id 2 --listen 127.0.0.1:9001 --peer-listen 127.0.0.1:9051 --controllers "
                "1=127.0.0.1:9150 --data-dir /data/broker-2",
                broker);
  EXPECT_EQ_STR("/bin/program --id 1 --listen 127.0.0.1:9200 --controllers 1=127.0.0.1:9150", coordinator);
  EXPECT_NULL(local_plan_find(plan, "broker-3"));
}

TEST(local_plan, tells_everybody_of_all_controllers) {
  LocalWish wish = {3, 1, 0, 9000};
  g_autoptr(LocalPlan) plan = NULL;
  ASSERT_NULL(local_plan_make("/data", NULL, &wish, FALSE, &plan));
  g_autofree char *controller = command_of(plan, "controller-3");
  g_autofree char *broker = command_of(plan, "broker-1");
  EXPECT_CONTAINS(controller, "--listen 127.0.0.1:9102 --peer-listen 127.0.0.1:9152");
  EXPECT_CONTAINS(controller, "--controllers 1=127.0.0.1:9150,2=127.0.0.1:9151,3=127.0.0.1:9152");
  EXPECT_CONTAINS(broker, "--controllers 1=127.0.0.1:9150,2=127.0.0.1:9151,3=127.0.0.1:9152");
}

TEST(local_plan, is_kept_in_its_folder) {
  LocalWish wish = {-1, 2, 2, 9000}, nothing = LOCAL_WISH_NOTHING;
  g_autoptr(LocalPlan) made = NULL;
  g_autoptr(LocalPlan) kept = NULL;
  g_autoptr(LocalPlan) again = NULL;
  ASSERT_NULL(local_plan_load(shim_temp_dir(), &kept));
  ASSERT_NULL(kept);
  ASSERT_NULL(local_plan_make(shim_temp_dir(), NULL, &wish, FALSE, &made));
  made->bootstrapped = TRUE;
  ASSERT_NULL(local_plan_save(made));
  ASSERT_NULL(local_plan_load(shim_temp_dir(), &kept));
  ASSERT_TRUE(kept != NULL);
  ASSERT_NULL(local_plan_make(shim_temp_dir(), kept, &nothing, TRUE, &again));
  EXPECT_EQ_INT(2, again->brokers);
  EXPECT_EQ_INT(2, again->coordinators);
  EXPECT_EQ_INT(9000, again->base_port);
  EXPECT_TRUE(again->bootstrapped);
}

static const struct {
  const char *name;
  LocalWish wish;
  gboolean running;
  const char *says; /* NULL: it is allowed */
} CHANGES[] = {
    {"more_brokers", {-1, 5, -1, -1}, TRUE, NULL},
    {"fewer_brokers", {-1, 2, -1, -1}, FALSE, "3 brokers"},
    {"other_port_while_it_runs", {-1, -1, -1, 9000}, TRUE, "local down"},
    {"other_port", {-1, -1, -1, 9000}, FALSE, NULL},
    {"other_controllers", {3, -1, -1, -1}, FALSE, "milena controllers"},
    {"even_controllers", {4, -1, -1, -1}, FALSE, "1, 3 or 5"},
    {"no_brokers", {-1, 0, -1, -1}, FALSE, "--brokers"},
    {"no_coordinators", {-1, -1, 0, -1}, FALSE, NULL},
    {"negative", {-1, -5, -1, -1}, FALSE, "negative"},
    {"too_many", {-1, 51, -1, -1}, FALSE, "--brokers"},
    {"low_port", {-1, -1, -1, 80}, FALSE, "--base-port"},
    {"high_port", {-1, -1, -1, 65400}, FALSE, "--base-port"},
};

TEST_ROWS(local_plan_change, CHANGES) {
  LocalWish nothing = LOCAL_WISH_NOTHING;
  g_autoptr(LocalPlan) kept = NULL;
  g_autoptr(LocalPlan) plan = NULL;
  ASSERT_NULL(local_plan_make("/data", NULL, &nothing, FALSE, &kept));
  g_autoptr(Failure) failure = local_plan_make("/data", kept, &CHANGES[row].wish, CHANGES[row].running, &plan);
  EXPECT_EQ_INT(CHANGES[row].says != NULL, failure != NULL);
  if (CHANGES[row].says && failure)
    EXPECT_CONTAINS(failure_message(failure), CHANGES[row].says);
}

static const struct {
  const char *name, *text;
} BAD_FILES[] = {
    {"no_key_file", "hello"},
    {"missing_key", "[cluster]\nbrokers=3\n"},
    {"bad_number", "[cluster]\ncontrollers=1\nbrokers=many\ncoordinators=1\nbase-port=7600\nbootstrapped=true\n"},
    {"out_of_range", "[cluster]\ncontrollers=1\nbrokers=-3\ncoordinators=1\nbase-port=7600\nbootstrapped=true\n"},
};

TEST_ROWS(local_plan_file, BAD_FILES) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "local.conf", NULL);
  ASSERT_TRUE(g_file_set_contents(path, BAD_FILES[row].text, -1, NULL));
  g_autoptr(LocalPlan) plan = NULL;
  g_autoptr(Failure) failure = local_plan_load(shim_temp_dir(), &plan);
  EXPECT_NULL(plan);
  ASSERT_TRUE(failure != NULL);
  EXPECT_CONTAINS(failure_message(failure), path);
}
