/* Which controller to talk to: those of the settings, and those that the metadata names. One at a time; after a failure
 * the next. On one loop. */
#pragma once

#include "controller/metadata/image.h"

G_BEGIN_DECLS

typedef struct Controllers Controllers;

/* @addresses: peer addresses, NULL-terminated, at least one; copied */
Controllers *controllers_new(const char *const *addresses);
void controllers_free(Controllers *controllers);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Controllers, controllers_free)

/* The one to talk to now; borrowed until the next call of another function. */
const char *controllers_current(const Controllers *controllers);
/* @address did not answer, or was not the right one: go to @hint if there is one, else to the next. */
void controllers_advance(Controllers *controllers, const char *address, const char *hint);
/* Learn the addresses of an image. */
void controllers_learn(Controllers *controllers, MetadataImage *image);

G_END_DECLS
