#include "services/membership/controllers.h"

#include <string.h>

#include "services/base/invariant.h"

typedef struct {
  char *address;
  gboolean configured; /* of the settings: never forgotten */
  gboolean learnt;     /* the last image names it */
  gboolean silent;     /* did not answer when it was last asked */
} Known;

struct Controllers {
  GPtrArray *known; /* of Known *, without doubles; never empty */
  guint current;
};

static void known_free(gpointer data) {
  Known *known = data;
  g_free(known->address);
  g_free(known);
}

static Known *at(const Controllers *controllers, guint index) {
  return controllers->known->pdata[index];
}

/* The place of @address; the number of places if there is none. */
static guint find(const Controllers *controllers, const char *address) {
  guint index = 0;
  while (index < controllers->known->len && strcmp(at(controllers, index)->address, address) != 0)
    index++;
  return index;
}

static guint add(Controllers *controllers, const char *address) {
  guint index = find(controllers, address);
  if (index == controllers->known->len) {
    Known *known = g_new0(Known, 1);
    known->address = g_strdup(address);
    g_ptr_array_add(controllers->known, known);
  }
  return index;
}

Controllers *controllers_new(const char *const *addresses, guint turn) {
  Controllers *controllers = g_new0(Controllers, 1);
  controllers->known = g_ptr_array_new_with_free_func(known_free);
  for (; *addresses; addresses++) {
    const char *sign = strchr(*addresses, '=');
    at(controllers, add(controllers, sign ? sign + 1 : *addresses))->configured = TRUE;
  }
  INVARIANT(controllers->known->len > 0, "the settings name at least one controller");
  controllers->current = turn % controllers->known->len;
  return controllers;
}

void controllers_free(Controllers *controllers) {
  if (!controllers)
    return;
  g_ptr_array_unref(controllers->known);
  g_free(controllers);
}

guint controllers_count(const Controllers *controllers) {
  return controllers->known->len;
}

const char *controllers_current(const Controllers *controllers) {
  return at(controllers, controllers->current)->address;
}

void controllers_served(Controllers *controllers, const char *address) {
  guint index = add(controllers, address);
  at(controllers, index)->silent = FALSE;
  controllers->current = index;
}

/* On from @address; somebody else may have moved on already. */
static void move_on(Controllers *controllers, const char *address) {
  if (!strcmp(controllers_current(controllers), address))
    controllers->current = (controllers->current + 1) % controllers->known->len;
}

static void note_silence(Controllers *controllers, const char *address, gboolean silent) {
  guint index = find(controllers, address);
  if (index < controllers->known->len)
    at(controllers, index)->silent = silent;
}

gboolean controllers_prefer(Controllers *controllers, const char *address) {
  guint index = add(controllers, address);
  if (!at(controllers, index)->silent)
    controllers->current = index;
  return controllers->current == index;
}

void controllers_refused(Controllers *controllers, const char *address, const char *hint) {
  note_silence(controllers, address, FALSE);
  if (!hint || !*hint || !strcmp(hint, address) || !controllers_prefer(controllers, hint))
    move_on(controllers, address);
}

void controllers_silent(Controllers *controllers, const char *address) {
  note_silence(controllers, address, TRUE);
  move_on(controllers, address);
}

/* Drop what neither the settings nor the image name; the current one stays the current one if it is not dropped. */
static void forget(Controllers *controllers) {
  for (guint i = controllers->known->len; i-- > 0;) {
    if (at(controllers, i)->configured || at(controllers, i)->learnt)
      continue;
    g_ptr_array_remove_index(controllers->known, i);
    if (controllers->current > i || controllers->current == controllers->known->len)
      controllers->current = controllers->current > 0 ? controllers->current - 1 : 0;
  }
}

void controllers_learn(Controllers *controllers, MetadataImage *image) {
  for (guint i = 0; i < controllers->known->len; i++)
    at(controllers, i)->learnt = FALSE;
  MetadataIter iter;
  metadata_iter_controllers(&iter, image);
  for (const MetadataController *controller; (controller = metadata_iter_next_controller(&iter));) {
    if (*controller->peer_address)
      at(controllers, add(controllers, controller->peer_address))->learnt = TRUE;
  }
  forget(controllers);
}
