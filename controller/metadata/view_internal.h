/* What the files of the view share. */
#pragma once

#include "controller/metadata/view.h"

G_BEGIN_DECLS

/* How many items a page of this size may hold. INVALID_FIELD when it asks for too many. */
Failure *metadata_view_page_limit(guint32 page_size, guint *ret_limit);

G_END_DECLS
