#include "services/membership/controllers.h"

#include "tests/shim/shim.h"

static const char *const ABC[] = {"a:1", "b:1", "c:1", NULL};

TEST(controllers, are_asked_in_turn_from_where_each_begins) {
  g_autoptr(Controllers) controllers = controllers_new(ABC, 4);
  EXPECT_EQ_STR("b:1", controllers_current(controllers));
  controllers_silent(controllers, "b:1");
  EXPECT_EQ_STR("c:1", controllers_current(controllers));
  controllers_silent(controllers, "b:1"); /* somebody has moved on from it already */
  EXPECT_EQ_STR("c:1", controllers_current(controllers));
  controllers_refused(controllers, "c:1", NULL);
  EXPECT_EQ_STR("a:1", controllers_current(controllers));
}

TEST(controllers, the_controllers_own_list_is_understood) {
  const char *const settings[] = {"1=a:1", "2=b:1", NULL};
  g_autoptr(Controllers) controllers = controllers_new(settings, 1);
  EXPECT_EQ_STR("b:1", controllers_current(controllers));
}

TEST(controllers, a_hint_is_followed_also_to_one_that_nobody_named) {
  g_autoptr(Controllers) controllers = controllers_new(ABC, 0);
  controllers_refused(controllers, "a:1", "d:1");
  EXPECT_EQ_STR("d:1", controllers_current(controllers));
  EXPECT_EQ_INT(4, controllers_count(controllers));
  controllers_refused(controllers, "d:1", "d:1"); /* one that points to itself does not keep us */
  EXPECT_EQ_STR("a:1", controllers_current(controllers));
}

TEST(controllers, hints_to_a_silent_one_keep_nobody_from_the_third) {
  g_autoptr(Controllers) controllers = controllers_new(ABC, 0);
  controllers_silent(controllers, "a:1");
  controllers_refused(controllers, "b:1", "a:1");
  EXPECT_EQ_STR("c:1", controllers_current(controllers));
  EXPECT_FALSE(controllers_prefer(controllers, "a:1"));
  controllers_refused(controllers, "c:1", NULL); /* its turn comes all the same */
  EXPECT_EQ_STR("a:1", controllers_current(controllers));
  controllers_served(controllers, "a:1");
  controllers_silent(controllers, "a:1");
  controllers_served(controllers, "a:1"); /* it is back: hints are good again */
  controllers_refused(controllers, "a:1", "b:1");
  EXPECT_EQ_STR("b:1", controllers_current(controllers));
  EXPECT_TRUE(controllers_prefer(controllers, "a:1"));
}

/* An image that names these controllers. */
static MetadataImage *image_of(const char *const *addresses) {
  g_autoptr(MetadataImage) empty = metadata_image_new();
  MetadataImage *image = NULL;
  Milena__Internal__V1__ControllerRecord controllers[4];
  MetadataRecord records[4], *pointers[4];
  guint count = 0;
  for (; addresses[count]; count++) {
    milena__internal__v1__controller_record__init(&controllers[count]);
    milena__internal__v1__metadata_record__init(&records[count]);
    controllers[count].id = (gint32)count + 1;
    controllers[count].peer_address = (char *)addresses[count];
    records[count].record_case = MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_CONTROLLER;
    records[count].controller = &controllers[count];
    pointers[count] = &records[count];
  }
  g_autoptr(Failure) failure = metadata_image_apply(empty, pointers, count, 1, &image);
  EXPECT_NULL(failure);
  return image;
}

TEST(controllers, those_of_an_image_come_and_go_and_those_of_the_settings_stay) {
  const char *const settings[] = {"a:1", NULL}, *const two[] = {"x:1", "y:1", NULL}, *const one[] = {"y:1", NULL};
  g_autoptr(Controllers) controllers = controllers_new(settings, 0);
  g_autoptr(MetadataImage) before = image_of(two);
  g_autoptr(MetadataImage) after = image_of(one);
  controllers_learn(controllers, before);
  EXPECT_EQ_INT(3, controllers_count(controllers));
  controllers_served(controllers, "y:1");
  controllers_learn(controllers, after); /* x was removed */
  EXPECT_EQ_INT(2, controllers_count(controllers));
  EXPECT_EQ_STR("y:1", controllers_current(controllers));
  controllers_silent(controllers, "y:1");
  EXPECT_EQ_STR("a:1", controllers_current(controllers));
  controllers_learn(controllers, before);
  controllers_served(controllers, "x:1");
  controllers_learn(controllers, after); /* the current one was removed: any other */
  EXPECT_TRUE(strcmp("x:1", controllers_current(controllers)) != 0);
}
