#include "client/cli/template.h"

#include <string.h>

#include "client/cli/json.h"
#include "client/cli/text.h"

static const char DIRECTIVES[] = "tpoTekvhKS%";

typedef struct {
  char directive; /* one of DIRECTIVES, or 0 for text */
  GBytes *text;
} Part;

struct Template {
  GArray *parts; /* Part */
  gboolean json; /* then there are no parts */
};

static void part_clear(gpointer part) {
  g_clear_pointer(&((Part *)part)->text, g_bytes_unref);
}

static const struct {
  const char *name, *format;
} NAMED[] = {
    {"value", "%v\\n"},
    {"key-value", "%k\\t%v\\n"},
    {"full", "%t-%p@%o %T key=%k headers=%h value=%v\\n"},
};

/* Cut the format into parts. */
static Failure *compile(Template *template, const char *format) {
  for (const char *at = format; *at;) {
    gsize length = strcspn(at, "%");
    Part part = {0};
    if (length == 0) {
      part.directive = at[1];
      if (!at[1] || !strchr(DIRECTIVES, at[1]))
        return failure_new(FAILURE(INVALID_FIELD),
                           "--format has the unknown '%.2s': use %%t, %%p, %%o, %%T, %%e, %%k, %%v, %%h, %%K, %%S or "
                           "%%%%, or one of the names value, key-value, full, json.",
                           at);
      length = 2;
    } else {
      g_autofree char *text = g_strndup(at, length);
      Failure *failure = text_unescape(text, &part.text);
      if (failure)
        return failure_prefix(failure, "--format");
    }
    g_array_append_val(template->parts, part);
    at += length;
  }
  return NULL;
}

Failure *template_new(const char *format, Template **ret_template) {
  g_autoptr(Template) template = g_new0(Template, 1);
  template->parts = g_array_new(FALSE, FALSE, sizeof(Part));
  g_array_set_clear_func(template->parts, part_clear);
  template->json = !strcmp(format, "json");
  for (guint i = 0; i < G_N_ELEMENTS(NAMED); i++)
    if (!strcmp(format, NAMED[i].name))
      format = NAMED[i].format;
  /* A lone word is a misspelt name: nobody wants the same word for each record. */
  if (!template->json && !strpbrk(format, "%\\"))
    return failure_new(FAILURE(INVALID_FIELD),
                       "--format is '%s', but must be value, key-value, full, json, or a template such as "
                       "'%%p %%o %%k %%v\\n'.",
                       format);
  Failure *failure = template->json ? NULL : compile(template, format);
  if (failure)
    return failure;
  *ret_template = g_steal_pointer(&template);
  return NULL;
}

void template_free(Template *template) {
  if (!template)
    return;
  g_array_unref(template->parts);
  g_free(template);
}

static void append_bytes(GString *out, MilenaBytes bytes) {
  if (bytes.size > 0)
    g_string_append_len(out, (const char *)bytes.data, (gssize)bytes.size);
}

static void append_time(GString *out, gint64 timestamp_ms) {
  g_autofree char *text = text_time(timestamp_ms);
  if (text)
    g_string_append(out, text);
  else
    g_string_append_printf(out, "%" G_GINT64_FORMAT, timestamp_ms);
}

static void append_headers(GString *out, const MilenaConsumedRecord *record) {
  for (gsize i = 0; i < record->header_count; i++) {
    g_string_append_printf(out, "%s%s=", i ? "," : "", record->headers[i].name);
    append_bytes(out, record->headers[i].value);
  }
}

/* A record and where it was read. */
typedef struct {
  const char *topic;
  gint32 partition;
  const MilenaConsumedRecord *record;
} Shown;

static void append_directive(GString *out, char directive, const Shown *shown) {
  const MilenaConsumedRecord *record = shown->record;
  switch (directive) {
  case 't':
    g_string_append(out, shown->topic);
    break;
  case 'p':
    g_string_append_printf(out, "%d", shown->partition);
    break;
  case 'o':
    g_string_append_printf(out, "%" G_GINT64_FORMAT, record->offset);
    break;
  case 'T':
    append_time(out, record->timestamp_ms);
    break;
  case 'e':
    g_string_append_printf(out, "%d", record->leader_epoch);
    break;
  case 'k':
    append_bytes(out, record->key);
    break;
  case 'v':
    append_bytes(out, record->value);
    break;
  case 'h':
    append_headers(out, record);
    break;
  case 'K':
  case 'S': {
    const MilenaBytes *bytes = directive == 'K' ? &record->key : &record->value;
    g_string_append_printf(out, "%" G_GINT64_FORMAT, bytes->data ? (gint64)bytes->size : (gint64)-1);
    break;
  }
  default:
    g_string_append_c(out, directive);
  }
}

static void append_json(GString *out, const Shown *shown) {
  const MilenaConsumedRecord *record = shown->record;
  g_autoptr(Json) json = json_new(out, FALSE);
  g_autofree char *time = text_time(record->timestamp_ms);
  json_open(json, NULL, '{');
  json_string(json, "topic", shown->topic);
  json_int(json, "partition", shown->partition);
  json_int(json, "offset", record->offset);
  json_string(json, "timestamp", time);
  json_int(json, "leader_epoch", record->leader_epoch);
  json_bytes(json, "key", record->key.data, record->key.size);
  json_bytes(json, "value", record->value.data, record->value.size);
  json_open(json, "headers", '[');
  for (gsize i = 0; i < record->header_count; i++) {
    json_open(json, NULL, '{');
    json_string(json, "key", record->headers[i].name);
    json_bytes(json, "value", record->headers[i].value.data, record->headers[i].value.size);
    json_close(json);
  }
  json_close(json);
  json_close(json);
  g_string_append_c(out, '\n');
}

void template_apply(const Template *template, const char *topic, gint32 partition, const MilenaConsumedRecord *record,
                    GString *out) {
  Shown shown = {.topic = topic, .partition = partition, .record = record};
  if (template->json) {
    append_json(out, &shown);
    return;
  }
  for (guint i = 0; i < template->parts->len; i++) {
    const Part *part = &g_array_index(template->parts, Part, i);
    if (part->text) {
      gsize length;
      const char *text = g_bytes_get_data(part->text, &length);
      g_string_append_len(out, text, (gssize)length);
    } else {
      append_directive(out, part->directive, &shown);
    }
  }
}
