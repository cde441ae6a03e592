#include "services/base/loop.h"
#include "tests/shim/shim.h"

#include <stdatomic.h>

typedef struct {
  LoopTask task;
  atomic_int *sum;
} Adder;

static void add_one(LoopTask *task) {
  Adder *adder = (Adder *)task;
  atomic_fetch_add(adder->sum, 1);
  g_free(adder);
}

static Adder *adder_new(atomic_int *sum) {
  Adder *adder = g_new0(Adder, 1);
  adder->task.run = add_one;
  adder->sum = sum;
  return adder;
}

static void nothing(gpointer data) {
  (void)data;
}

TEST(loop, runs_what_is_posted_from_many_threads) {
  atomic_int sum = 0;
  g_autoptr(Loop) loop = loop_new("test", 1000);
  loop_start(loop);
  for (int i = 0; i < 1000; i++) {
    Adder *adder = adder_new(&sum);
    while (!loop_post(loop, &adder->task))
      g_thread_yield();
  }
  loop_call_and_wait(loop, nothing, NULL);
  EXPECT_EQ_INT(1000, sum);
}

TEST(loop, says_no_when_the_mailbox_is_full_but_takes_completions) {
  atomic_int sum = 0;
  g_autoptr(Loop) loop = loop_new("test", 2);
  for (int i = 0; i < 2; i++)
    EXPECT_TRUE(loop_post(loop, &adder_new(&sum)->task));
  Adder *third = adder_new(&sum);
  EXPECT_FALSE(loop_post(loop, &third->task));
  loop_post_completion(loop, &third->task);
  loop_start(loop);
  loop_stop(loop);
  EXPECT_EQ_INT(3, sum);
}

TEST(loop, runs_what_waits_before_it_stops) {
  atomic_int sum = 0;
  g_autoptr(Loop) loop = loop_new("test", 10);
  for (int i = 0; i < 5; i++)
    EXPECT_TRUE(loop_post(loop, &adder_new(&sum)->task));
  loop_start(loop);
  loop_stop(loop);
  EXPECT_EQ_INT(5, sum);
  Adder *late = adder_new(&sum);
  EXPECT_FALSE(loop_post(loop, &late->task));
  g_free(late);
}

static gboolean quit_loop(gpointer data) {
  loop_quit(data);
  return G_SOURCE_REMOVE;
}

TEST(loop, timers_run_on_the_loop) {
  g_autoptr(Loop) loop = loop_new("test", 10);
  GSource *source = loop_add_timeout(loop, 1, quit_loop, loop);
  loop_run(loop);
  g_source_unref(source);
  EXPECT_TRUE(loop_is_current(loop)); /* to free what it owned */
}
