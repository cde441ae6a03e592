/* See directory.h. */
#include "services/controller/directory.h"

#include <string.h>

/* Is there a dash in front of the byte? */
static gboolean starts_group(gsize byte) {
  return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void directory_text(const RaftDirectory *directory, char ret_text[DIRECTORY_TEXT_BYTES]) {
  static const char DIGITS[] = "0123456789abcdef";
  char *out = ret_text;
  for (gsize i = 0; i < sizeof directory->bytes; i++) {
    if (starts_group(i))
      *out++ = '-';
    *out++ = DIGITS[directory->bytes[i] >> 4];
    *out++ = DIGITS[directory->bytes[i] & 15];
  }
  *out = '\0';
}

gboolean directory_parse(const char *text, RaftDirectory *ret_directory) {
  RaftDirectory directory;
  if (strlen(text) != DIRECTORY_TEXT_BYTES - 1)
    return FALSE;
  for (gsize i = 0; i < sizeof directory.bytes; i++) {
    if (starts_group(i) && *text++ != '-')
      return FALSE;
    gint high = g_ascii_xdigit_value(text[0]), low = g_ascii_xdigit_value(text[1]);
    if (high < 0 || low < 0)
      return FALSE;
    directory.bytes[i] = (guint8)(high << 4 | low);
    text += 2;
  }
  *ret_directory = directory;
  return TRUE;
}
