#include "tests/chaos/history.h"

#include <stdio.h>
#include <string.h>

static const char *const KINDS[] = {"create", "update", "delete", "read"};
static const char *const RESULTS[] = {"ok", "refused", "failed", "unknown"};

const char *history_kind_name(HistoryKind kind) {
  return KINDS[kind];
}

const char *history_result_name(HistoryResult result) {
  return RESULTS[result];
}

static char *time_to_text(gint64 time_us) {
  if (time_us == HISTORY_NEVER_US)
    return g_strdup("never");
  return g_strdup_printf("%" G_GINT64_FORMAT ".%06" G_GINT64_FORMAT, time_us / G_USEC_PER_SEC,
                         time_us % G_USEC_PER_SEC);
}

char *history_op_to_text(const HistoryOp *op) {
  g_autofree char *invoke = time_to_text(op->invoke_us), *finish = time_to_text(op->return_us);
  return g_strdup_printf("%s %s client %u %s topic %u tag %" G_GUINT64_FORMAT " %s %s", invoke, finish, op->client,
                         history_kind_name(op->kind), op->topic, op->tag, history_result_name(op->result),
                         *op->id ? op->id : "-");
}

/* ---- Reading ---- */

static gboolean time_from_text(const char *text, gint64 *ret_us) {
  gint64 seconds, micros;
  if (strcmp(text, "never") == 0)
    *ret_us = HISTORY_NEVER_US;
  else if (sscanf(text, "%" G_GINT64_MODIFIER "d.%" G_GINT64_MODIFIER "d", &seconds, &micros) == 2)
    *ret_us = seconds * G_USEC_PER_SEC + micros;
  else
    return FALSE;
  return TRUE;
}

static gboolean word_from_text(const char *text, const char *const *words, guint count, guint *ret_index) {
  for (guint i = 0; i < count; i++)
    if (strcmp(text, words[i]) == 0) {
      *ret_index = i;
      return TRUE;
    }
  return FALSE;
}

gboolean history_op_from_text(const char *line, HistoryOp *ret_op) {
  char invoke[32], finish[32], kind[16], result[16], id[HISTORY_ID_BYTES];
  HistoryOp op = {0};
  guint kind_index, result_index;
  if (sscanf(line, "%31s %31s client %u %15s topic %u tag %" G_GUINT64_FORMAT " %15s %36s", invoke, finish, &op.client,
             kind, &op.topic, &op.tag, result, id) != 8 ||
      !time_from_text(invoke, &op.invoke_us) || !time_from_text(finish, &op.return_us) ||
      !word_from_text(kind, KINDS, G_N_ELEMENTS(KINDS), &kind_index) ||
      !word_from_text(result, RESULTS, G_N_ELEMENTS(RESULTS), &result_index) || op.invoke_us > op.return_us)
    return FALSE;
  op.kind = (HistoryKind)kind_index;
  op.result = (HistoryResult)result_index;
  g_strlcpy(op.id, strcmp(id, "-") == 0 ? "" : id, sizeof op.id);
  *ret_op = op;
  return TRUE;
}

gboolean history_save(const GArray *ops, const char *path, GError **error) {
  g_autoptr(GString) text = g_string_new("# begin end client what topic tag result id\n");
  for (guint i = 0; i < ops->len; i++) {
    g_autofree char *line = history_op_to_text(&g_array_index(ops, HistoryOp, i));
    g_string_append_printf(text, "%s\n", line);
  }
  return g_file_set_contents(path, text->str, (gssize)text->len, error);
}

GArray *history_load(const char *path, GError **error) {
  g_autofree char *text = NULL;
  if (!g_file_get_contents(path, &text, NULL, error))
    return NULL;
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  g_autoptr(GArray) ops = g_array_new(FALSE, FALSE, sizeof(HistoryOp));
  for (guint i = 0; lines[i]; i++) {
    HistoryOp op;
    if (!*lines[i] || *lines[i] == '#')
      continue;
    if (!history_op_from_text(lines[i], &op)) {
      g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s: line %u is no operation: \"%s\"", path, i + 1,
                  lines[i]);
      return NULL;
    }
    g_array_append_val(ops, op);
  }
  return g_steal_pointer(&ops);
}
