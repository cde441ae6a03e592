#include "services/base/timers.h"
#include "tests/shim/shim.h"

typedef struct {
  Loop *loop;
  Timers *timers;
  Timer soon, later;
  GString *story;
} World;

static void on_soon(Timer *timer, gpointer data) {
  EXPECT_FALSE(timer_is_set(timer));
  g_string_append(((World *)data)->story, "soon ");
}

static void on_later(Timer *timer, gpointer data) {
  (void)timer;
  World *world = data;
  g_string_append(world->story, "later ");
  loop_quit(world->loop);
}

static void set_both(gpointer data) {
  World *world = data;
  gint64 now_us = g_get_monotonic_time();
  timer_set(world->timers, &world->later, now_us + 20000, on_later, world);
  timer_set(world->timers, &world->soon, 0, on_soon, world);
  timer_set(world->timers, &world->soon, 0, on_soon, world);
  g_string_append(world->story, "set ");
}

static void after(gpointer data) {
  g_string_append(((World *)data)->story, "after ");
}

TEST(timers, fire_once_in_their_order_and_soon_is_after_the_task_that_set_it) {
  World world = {.loop = loop_new("test", 10), .story = g_string_new(NULL)};
  world.timers = timers_new(world.loop);
  loop_call(world.loop, set_both, &world);
  loop_call(world.loop, after, &world);
  loop_run(world.loop);
  EXPECT_EQ_STR("set after soon later ", world.story->str);
  timers_free(world.timers);
  loop_free(world.loop);
  g_string_free(world.story, TRUE);
}

static void set_and_free(gpointer data) {
  World *world = data;
  timer_set(world->timers, &world->soon, 0, on_soon, world);
  timer_clear(world->timers, &world->soon);
  timers_free(world->timers); /* while what would have fired it is still to run */
  loop_quit(world->loop);
}

TEST(timers, may_go_when_what_was_soon_was_cleared) {
  World world = {.loop = loop_new("test", 10), .story = g_string_new(NULL)};
  world.timers = timers_new(world.loop);
  loop_call(world.loop, set_and_free, &world);
  loop_run(world.loop);
  EXPECT_EQ_STR("", world.story->str);
  loop_free(world.loop);
  g_string_free(world.story, TRUE);
}
