/* Invariants are checked in every build: a broken one ends the process with its reason, before it can do harm. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Write file, line, condition and reason to standard error, and abort. */
G_NORETURN void invariant_broken(const char *file, int line, const char *condition, const char *reason);

/* @reason: what this protects, a string literal. Never for bytes from the wire or the disk: those are errors. */
#define INVARIANT(condition, reason)                                                                                   \
  do {                                                                                                                 \
    if (G_UNLIKELY(!(condition)))                                                                                      \
      invariant_broken(__FILE__, __LINE__, #condition, reason);                                                        \
  } while (0)

G_END_DECLS
