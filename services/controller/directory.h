/* Directory ids as text: 32 hexadecimal digits in the groups of a UUID. No state. */
#pragma once

#include "controller/raft/entry.h"

G_BEGIN_DECLS

#define DIRECTORY_TEXT_BYTES 37

void directory_text(const RaftDirectory *directory, char ret_text[DIRECTORY_TEXT_BYTES]);
/* Returns FALSE for what is none; @ret_directory is untouched then. */
gboolean directory_parse(const char *text, RaftDirectory *ret_directory);

G_END_DECLS
