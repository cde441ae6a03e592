/* Which controller to talk to: those of the settings, and those that the metadata names. One at a time; after a failure
 * the next, or the one that was hinted at. A hint to a controller that did not answer lately is passed over: else two
 * that believe in a dead one would keep the third from ever being asked. On one loop; each user has its own. */
#pragma once

#include "controller/metadata/image.h"

G_BEGIN_DECLS

typedef struct Controllers Controllers;

/* @addresses: peer addresses, NULL-terminated, at least one; "1=host:port" is fine too: the list that the controllers
 *             themselves are given; copied
 * @turn: where to begin, modulo their number: so that not all begin at the same */
Controllers *controllers_new(const char *const *addresses, guint turn);
void controllers_free(Controllers *controllers);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Controllers, controllers_free)

guint controllers_count(const Controllers *controllers);
/* The one to talk to now; borrowed until the next call of another function. */
const char *controllers_current(const Controllers *controllers);
/* @address did what it was asked for. */
void controllers_served(Controllers *controllers, const char *address);
/* @address answered, but was not the right one: go to @hint if there is one that can be believed, else to the next. */
void controllers_refused(Controllers *controllers, const char *address, const char *hint);
/* @address did not answer: go to the next. */
void controllers_silent(Controllers *controllers, const char *address);
/* Somebody says that @address is the right one: talk to it, unless it was silent lately. Returns whether it is. */
gboolean controllers_prefer(Controllers *controllers, const char *address);
/* Learn the addresses of an image, and forget those of the image before that it does not name any more. */
void controllers_learn(Controllers *controllers, MetadataImage *image);

G_END_DECLS
