#include "client/cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/cli/text.h"

#define BAR_PLACES 24
#define REDRAW_US (G_USEC_PER_SEC / 10)

static void append_bar(GString *line, double done) {
  g_string_append_c(line, '[');
  guint filled = (guint)(done * BAR_PLACES);
  for (guint i = 0; i < BAR_PLACES; i++)
    g_string_append_c(line, i < filled ? '#' : '.');
  g_string_append_printf(line, "] %3d%%  ", (int)(done * 100));
}

char *progress_line(const ProgressState *state, guint width) {
  GString *line = g_string_new(NULL);
  double seconds = (double)state->elapsed_us / G_USEC_PER_SEC;
  double rate = seconds > 0 ? (double)state->bytes_done / seconds : 0;
  /* A file may grow while it is read: never more than all. */
  double done = state->bytes_total ? MIN((double)state->bytes_done / (double)state->bytes_total, 1.0) : 0;
  if (state->bytes_total)
    append_bar(line, done);
  g_autofree char *records = text_grouped(state->records);
  g_autofree char *bytes = text_bytes((double)state->bytes_done);
  g_autofree char *speed = text_bytes(rate);
  g_string_append_printf(line, "%s records, %s, %s/s", records, bytes, speed);
  if (state->bytes_total && rate > 0 && done < 1) {
    g_autofree char *left = text_duration((gint64)((double)(state->bytes_total - state->bytes_done) / rate) + 1);
    g_string_append_printf(line, ", %s left", left);
  }
  if (line->len > width)
    g_string_truncate(line, width);
  return g_string_free(line, FALSE);
}

struct Progress {
  gboolean active;
  gint64 drawn_us; /* 0: never */
};

Progress *progress_new(gboolean wanted) {
  Progress *progress = g_new0(Progress, 1);
  progress->active = wanted && isatty(STDERR_FILENO);
  return progress;
}

void progress_free(Progress *progress) {
  if (!progress)
    return;
  if (progress->drawn_us)
    fputs("\r\033[K", stderr);
  g_free(progress);
}

void progress_show(Progress *progress, const ProgressState *state) {
  gint64 now_us = g_get_monotonic_time();
  if (!progress->active || (progress->drawn_us && now_us - progress->drawn_us < REDRAW_US))
    return;
  progress->drawn_us = now_us;
  struct winsize size = {0};
  guint width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u : 79;
  g_autofree char *line = progress_line(state, width);
  fprintf(stderr, "\r%s\033[K", line);
  fflush(stderr);
}
