/* `milena groups watch GROUP`: a live view. On a terminal it redraws in place and shows what fits; elsewhere it writes
 * one view after the other. One thread. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/cli/group_view.h"
#include "client/cli/interrupt.h"
#include "client/cli/text.h"

/* From the cursor's home, and what is left of the view before is cleared: no flicker. */
#define TERMINAL_HOME "\033[H"
#define TERMINAL_CLEAR_LINE "\033[K"
#define TERMINAL_CLEAR_REST "\033[J"
#define TERMINAL_CLEAR "\033[2J"
#define ROWS_DEFAULT 24
#define COLUMNS_DEFAULT 80
/* A pause is cut into such pieces, so that Ctrl-C is heard. */
#define PAUSE_PIECE_US (50 * G_TIME_SPAN_MILLISECOND)

typedef struct {
  Cli *cli;
  MilenaClient *client;
  gboolean terminal;
  MilenaGroup *last; /* the view before; NULL: none */
  gint64 last_us;
  gboolean drawn;
} Watch;

typedef struct {
  guint rows, columns; /* 0: no bound */
} Size;

static Size terminal_size(void) {
  struct winsize size;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
    return (Size){ROWS_DEFAULT, COLUMNS_DEFAULT};
  return (Size){size.ws_row, size.ws_col};
}

/* Of a terminal, for a line of so many bytes: a long one goes on in the next row. */
static guint rows_of_line(const char *line, gsize bytes, guint columns) {
  glong width = g_utf8_strlen(line, (gssize)bytes);
  return columns == 0 || width <= (glong)columns ? 1 : (guint)((width - 1) / columns + 1);
}

static guint count_rows(const char *text, guint columns) {
  guint rows = 0;
  for (const char *end; (end = strchr(text, '\n')); text = end + 1)
    rows += rows_of_line(text, (gsize)(end - text), columns);
  return rows;
}

/* What does not fit is cut off: else the terminal scrolls, and nothing is redrawn in its place. */
static void cut(GString *text, Size size) {
  guint rows = 0;
  const char *line = text->str;
  for (const char *end; size.rows > 0 && (end = strchr(line, '\n')); line = end + 1) {
    rows += rows_of_line(line, (gsize)(end - line), size.columns);
    if (rows >= size.rows) { /* the cursor has a row as well */
      g_string_truncate(text, (gsize)(line - text->str));
      return;
    }
  }
}

/* The whole view as text. */
static char *draw(const MilenaGroup *group, const GroupRate *rates, Size size) {
  g_autofree char *head = group_view_head(group);
  g_autoptr(Table) members = group_view_members(group, g_get_real_time() / 1000);
  g_autofree char *member_text = group->member_count > 0 ? table_format(members) : g_strdup("no members\n");
  guint used = count_rows(head, size.columns) + count_rows(member_text, size.columns) + 5, hidden = 0;
  guint rows_max = size.rows == 0 ? 0 : MAX(size.rows, used + 1) - used;
  g_autoptr(Table) partitions = group_view_partitions(group, rates, rows_max, &hidden);
  g_autofree char *partition_text = table_format(partitions);
  GString *out = g_string_new(head);
  g_string_append_printf(out, "\n%s\n%s", member_text, partition_text);
  if (hidden > 0)
    g_string_append_printf(out, "and %u more with less lag\n", hidden);
  cut(out, size);
  return g_string_free(out, FALSE);
}

/* Each line is cleared behind its end, so that nothing of the view before shines through. */
static int redraw(Watch *watch, const char *text) {
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  g_autofree char *joined = g_strjoinv(TERMINAL_CLEAR_LINE "\n", lines);
  g_autofree char *all =
      g_strconcat(watch->drawn ? "" : TERMINAL_CLEAR, TERMINAL_HOME, joined, TERMINAL_CLEAR_REST, NULL);
  watch->drawn = TRUE;
  return cli_print(watch->cli, all);
}

static int print_view(Watch *watch, const MilenaGroup *group, const GroupRate *rates) {
  if (watch->cli->json) {
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(Json) json = json_new(out, FALSE);
    group_view_json(group, rates, json);
    g_string_append_c(out, '\n');
    return cli_print(watch->cli, out->str);
  }
  g_autofree char *text = draw(group, rates, watch->terminal ? terminal_size() : (Size){0, 0});
  if (watch->terminal)
    return redraw(watch, text);
  g_autofree char *apart = g_strconcat(text, "\n", NULL);
  return cli_print(watch->cli, apart);
}

/* Get the group and show it. A trouble that passes is shown, and the watch goes on. */
static int look(Watch *watch) {
  MilenaGroup *group = NULL;
  MilenaError *error =
      milena_admin_get_group(watch->client, watch->cli->arguments[0], FALSE, cli_timeout_ms(watch->cli), &group);
  if (error && milena_error_is_retriable(error)) {
    cli_note(watch->cli, "waiting: %s", milena_error_message(error));
    milena_error_free(error);
    return CLI_OK;
  }
  if (error)
    return cli_failed(watch->cli, error);
  gint64 now_us = g_get_monotonic_time();
  g_autofree GroupRate *rates = watch->last ? group_view_rates(watch->last, group, now_us - watch->last_us) : NULL;
  int code = print_view(watch, group, rates);
  milena_group_free(watch->last);
  watch->last = group;
  watch->last_us = now_us;
  return code;
}

static void pause_for(gint64 pause_us) {
  gint64 end_us = g_get_monotonic_time() + pause_us;
  for (gint64 left_us; !interrupt_signal() && (left_us = end_us - g_get_monotonic_time()) > 0;)
    g_usleep((gulong)MIN(left_us, PAUSE_PIECE_US));
}

static int watch_group(Cli *cli, gdouble interval_s, gint count) {
  g_autoptr(MilenaClient) client = NULL;
  int code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  Watch watch = {.cli = cli, .client = client, .terminal = !cli->json && isatty(STDOUT_FILENO)};
  interrupt_catch();
  for (gint i = 0; code == CLI_OK && !interrupt_signal() && (count == 0 || i < count); i++) {
    if (i > 0)
      pause_for((gint64)(interval_s * G_USEC_PER_SEC));
    if (!interrupt_signal())
      code = look(&watch);
  }
  milena_group_free(watch.last);
  return code;
}

static int run_watch(Cli *cli, int argc, char **argv) {
  gdouble interval_s = 1;
  gint count = 0;
  const GOptionEntry entries[] = {
      {"interval", 'i', 0, G_OPTION_ARG_DOUBLE, &interval_s, "Look again after so long (1)", "SECONDS"},
      {"count", 'n', 0, G_OPTION_ARG_INT, &count, "End after so many looks", "N"},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries,
                 "READ/S is how fast the group commits, WRITTEN/S how fast records come. On a terminal the partitions\n"
                 "with the most lag are shown, as many as fit; with --output json each look is one line.\n",
                 argc, argv, &code))
    return code;
  if (!(interval_s >= 0.1 && interval_s <= 3600))
    return cli_usage(cli, failure_new(FAILURE(INVALID_FIELD), "--interval must be from 0.1 to 3600 seconds."));
  if (count < 0)
    return cli_usage(cli, failure_new(FAILURE(INVALID_FIELD), "--count is %d, but must be 1 or more.", count));
  return watch_group(cli, interval_s, count);
}

const Command CMD_GROUPS_WATCH = {
    .name = "groups watch",
    .arguments = "GROUP",
    .summary = "Watch a group's members, partitions, lag and rates",
    .examples = "  milena groups watch billing\n"
                "  milena groups watch billing --interval 5 --count 12 --output json\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_watch,
};
