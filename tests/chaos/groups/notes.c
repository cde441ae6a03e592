#include "tests/chaos/groups/notes.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void notes_open(Notes *notes, const char *path) {
  *notes = (Notes){open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644), 0, g_string_new(NULL)};
  if (notes->file < 0)
    g_error("%s can't be opened: %s", path, g_strerror(errno));
}

void notes_close(Notes *notes) {
  notes_write(notes);
  g_string_free(notes->lines, TRUE);
  close(notes->file);
}

void notes_write(Notes *notes) {
  for (gsize done = 0; done < notes->lines->len;) {
    ssize_t count = write(notes->file, notes->lines->str + done, notes->lines->len - done);
    if (count < 0 && errno != EINTR)
      g_error("notes can't be written: %s", g_strerror(errno));
    done += count > 0 ? (gsize)count : 0;
  }
  g_string_truncate(notes->lines, 0);
}

static void note(Notes *notes, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void note(Notes *notes, const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_string_append_vprintf(notes->lines, format, args);
  va_end(args);
}

void notes_given(Notes *notes, gint32 partition) {
  note(notes, "given %d %" G_GINT64_FORMAT "\n", partition, g_get_monotonic_time());
  notes_write(notes);
}

void notes_gone(Notes *notes, gint32 partition) {
  note(notes, "gone %d %" G_GINT64_FORMAT "\n", partition, g_get_monotonic_time());
  notes_write(notes);
}

/* A value begins with its number. */
static int digits_of(const char *text, gsize size) {
  gsize count = 0;
  while (count < size && g_ascii_isdigit(text[count]))
    count++;
  return (int)count;
}

void notes_read(Notes *notes, gint32 partition, guint poll, gint64 offset, const void *value, gsize size) {
  note(notes, "read %d %u %" G_GINT64_FORMAT " %.*s %" G_GINT64_FORMAT "\n", partition, poll, offset,
       digits_of(value, size), (const char *)value, g_get_monotonic_time());
}

guint64 notes_asked(Notes *notes, gint32 partition, gint64 offset) {
  guint64 id = ++notes->last_id;
  note(notes, "asked %" G_GUINT64_FORMAT " %d %" G_GINT64_FORMAT " %" G_GINT64_FORMAT "\n", id, partition, offset,
       g_get_monotonic_time());
  notes_write(notes);
  return id;
}

void notes_answered(Notes *notes, guint64 id, const char *trouble) {
  note(notes, "answered %" G_GUINT64_FORMAT " %s %" G_GINT64_FORMAT " %s\n", id, trouble ? "unknown" : "ok",
       g_get_monotonic_time(), trouble ? trouble : "");
  notes_write(notes);
}

void notes_slow(Notes *notes) {
  note(notes, "slow %" G_GINT64_FORMAT "\n", g_get_monotonic_time());
  notes_write(notes);
}
