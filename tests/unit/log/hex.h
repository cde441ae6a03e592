/* Golden bytes, written as hex in tests. */
#pragma once

#include <glib.h>
#include <string.h>

#include "services/base/failure.h"

/* Bytes of @hex; spaces are skipped. Owned by the caller. */
static inline GBytes *hex_bytes(const char *hex) {
  GByteArray *array = g_byte_array_new();
  for (; *hex != '\0'; hex++) {
    if (*hex == ' ')
      continue;
    guint8 byte = (guint8)(g_ascii_xdigit_value(hex[0]) << 4 | g_ascii_xdigit_value(hex[1]));
    g_byte_array_append(array, &byte, 1);
    hex++;
  }
  return g_byte_array_free_to_bytes(array);
}

/* A failure's reason as text, and the failure freed: "" for NULL. */
#define REASON_OF(failure) reason_of_taken((char[64]){0}, (failure))
static inline const char *reason_of_taken(char *room, Failure *failure) {
  if (failure != NULL)
    g_strlcpy(room, failure_reason_name(failure_reason(failure)), 64);
  failure_free(failure);
  return room;
}
