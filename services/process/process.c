#include "services/process/process.h"

#include <glib-unix.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Seldom enough that what it costs, some milliseconds of one arena's lock, is in no percentile that matters. */
#define TRIM_EVERY_MS 10000

static gboolean level_from_name(const char *name, SlogLevel *ret_level) {
  static const char *const NAMES[] = {"debug", "info", "warning", "error"};
  for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++) {
    if (strcmp(name, NAMES[i]) != 0)
      continue;
    *ret_level = (SlogLevel)i;
    return TRUE;
  }
  return FALSE;
}

gboolean process_start_logs(const ProcessSettings *settings, const char *name) {
  SlogLevel level;
  gboolean json = !strcmp(settings->log_format, "json");
  if (!json && strcmp(settings->log_format, "text") != 0) {
    fprintf(stderr, "%s: setting 'log-format' is '%s', but must be text or json.\n", name, settings->log_format);
    return FALSE;
  }
  if (!level_from_name(settings->log_level, &level)) {
    fprintf(stderr, "%s: setting 'log-level' is '%s', but must be debug, info, warning or error.\n", name,
            settings->log_level);
    return FALSE;
  }
  slog_init(name, json ? SLOG_JSON : SLOG_TEXT, level);
  return TRUE;
}

void process_say_ready(const ProcessSettings *settings, const char *const *addresses) {
  g_autoptr(GString) text = g_string_new(NULL);
  for (; addresses[0]; addresses += 2)
    g_string_append_printf(text, "%s %s\n", addresses[0], addresses[1]);
  g_autofree char *line = g_strdelimit(g_strdup(text->str), "\n", ',');
  slog_info("ready", "addresses", line, "pid", SLOG_INT(getpid()), NULL);
  if (!*settings->ready_file)
    return;
  g_autoptr(GError) error = NULL;
  if (!g_file_set_contents(settings->ready_file, text->str, -1, &error))
    slog_error("the ready file can't be written", "file", settings->ready_file, "error", error->message, NULL);
}

typedef struct {
  void (*stop)(gpointer data);
  gpointer data;
  gboolean stopping;
} StopHandler;

static gboolean on_signal(gpointer data) {
  StopHandler *handler = data;
  if (handler->stopping) {
    slog_warning("stopping at once, without the clean marker, as asked for a second time", NULL);
    _exit(1);
  }
  handler->stopping = TRUE;
  slog_info("stopping", NULL);
  handler->stop(handler->data);
  return G_SOURCE_CONTINUE;
}

void process_on_stop(Loop *loop, void (*stop)(gpointer data), gpointer data) {
  signal(SIGPIPE, SIG_IGN);
  StopHandler *handler = g_new0(StopHandler, 1);
  *handler = (StopHandler){.stop = stop, .data = data};
  const int signals[] = {SIGTERM, SIGINT};
  for (guint i = 0; i < G_N_ELEMENTS(signals); i++) {
    GSource *source = g_unix_signal_source_new(signals[i]);
    g_source_set_callback(source, on_signal, handler, i == 0 ? g_free : NULL);
    g_source_attach(source, loop_context(loop));
    g_source_unref(source);
  }
}

char *process_advertise(const char *advertised, const char *listen, guint16 bound_port) {
  if (*advertised)
    return g_strdup(advertised);
  const char *colon = strrchr(listen, ':');
  g_autofree char *host = colon ? g_strndup(listen, (gsize)(colon - listen)) : g_strdup(listen);
  return g_strdup_printf("%s:%u", host, bound_port);
}

void process_raise_descriptors(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max)
    return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit); /* where it fails, the process has what it had */
}

void process_tune_malloc(void) {
  /* Batches of a megabyte come and go all the time: without these, each is an mmap, its page faults and a munmap. */
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  mallopt(M_ARENA_MAX, 2);
}

static gboolean on_trim(gpointer data) {
  (void)data;
  malloc_trim(0);
  return G_SOURCE_CONTINUE;
}

void process_trim_malloc(Loop *loop) {
  g_source_unref(loop_add_timeout(loop, TRIM_EVERY_MS, on_trim, NULL));
}
