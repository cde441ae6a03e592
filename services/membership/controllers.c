#include "services/membership/controllers.h"

#include "services/base/invariant.h"

struct Controllers {
  GPtrArray *addresses; /* of char *, without doubles; never empty; only grows: there are a handful */
  guint current;
};

static gboolean find(const Controllers *controllers, const char *address, guint *ret_index) {
  return g_ptr_array_find_with_equal_func(controllers->addresses, address, g_str_equal, ret_index);
}

static guint add(Controllers *controllers, const char *address) {
  guint index;
  if (find(controllers, address, &index))
    return index;
  g_ptr_array_add(controllers->addresses, g_strdup(address));
  return controllers->addresses->len - 1;
}

Controllers *controllers_new(const char *const *addresses) {
  Controllers *controllers = g_new0(Controllers, 1);
  controllers->addresses = g_ptr_array_new_with_free_func(g_free);
  for (; *addresses; addresses++)
    add(controllers, *addresses);
  INVARIANT(controllers->addresses->len > 0, "the settings name at least one controller");
  return controllers;
}

void controllers_free(Controllers *controllers) {
  if (!controllers)
    return;
  g_ptr_array_unref(controllers->addresses);
  g_free(controllers);
}

const char *controllers_current(const Controllers *controllers) {
  return g_ptr_array_index(controllers->addresses, controllers->current);
}

void controllers_advance(Controllers *controllers, const char *address, const char *hint) {
  if (hint && *hint) {
    controllers->current = add(controllers, hint);
    return;
  }
  guint index; /* someone else may have moved on already */
  if (find(controllers, address, &index) && index == controllers->current)
    controllers->current = (index + 1) % controllers->addresses->len;
}

void controllers_learn(Controllers *controllers, MetadataImage *image) {
  MetadataIter iter;
  metadata_iter_controllers(&iter, image);
  for (const MetadataController *controller; (controller = metadata_iter_next_controller(&iter));)
    add(controllers, controller->peer_address);
}
