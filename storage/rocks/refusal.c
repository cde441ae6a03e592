#include "storage/rocks/refusal.h"

#include <errno.h>
#include <string.h>

gboolean rocks_is_refusal(const char *error) {
  static const int REFUSALS[] = {EIO, ENOSPC, EDQUOT, EROFS, EMFILE, ENFILE, ENOMEM};
  for (guint i = 0; g_str_has_prefix(error, "IO error: ") && i < G_N_ELEMENTS(REFUSALS); i++)
    if (strstr(error, g_strerror(REFUSALS[i])))
      return TRUE;
  return FALSE;
}
