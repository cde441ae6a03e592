#include "services/base/invariant.h"

#include <stdio.h>
#include <stdlib.h>

void invariant_broken(const char *file, int line, const char *condition, const char *reason) {
  /* Straight to stderr: whatever is broken, the logging machinery is not needed to say so. */
  fprintf(stderr,
          "milena: invariant broken at %s:%d: %s (%s). The process ends to protect its data; please report it.\n", file,
          line, reason, condition);
  fflush(stderr);
  abort();
}
