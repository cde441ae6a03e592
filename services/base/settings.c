/* Settings: see settings.h. Each setting is looked up in four places, the strongest first: flag, MILENA_<GROUP>_<NAME>,
 * MILENA_<NAME>, key file; then its default. What no one declared is refused: a flag, a key of our group in the file,
 * and an environment variable MILENA_<GROUP>_... */
#include "services/base/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/base/invariant.h"
#include "services/base/version.h"

typedef struct {
  const char *program, *group;
  const SettingSpec *specs;
  GHashTable *flags; /* name → value, of the command line */
  GKeyFile *file;    /* or NULL */
  char *error;
} Settings;

static const SettingSpec *spec_find(const SettingSpec *specs, const char *name) {
  for (; specs->name; specs++)
    if (!strcmp(specs->name, name))
      return specs;
  return NULL;
}

static char *env_name(const char *group, const char *name) {
  g_autofree char *joined = group ? g_strdup_printf("MILENA_%s_%s", group, name) : g_strdup_printf("MILENA_%s", name);
  char *upper = g_ascii_strup(joined, -1);
  return g_strdelimit(upper, "-", '_');
}

/* ---- Values ---- */

typedef struct {
  const char *suffix;
  gint64 factor;
} Unit;

static const Unit BYTE_UNITS[] = {{"KiB", 1 << 10}, {"MiB", 1 << 20},   {"GiB", 1 << 30}, {"kB", 1000},
                                  {"MB", 1000000},  {"GB", 1000000000}, {"", 1},          {NULL, 0}};
static const Unit TIME_UNITS[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const Unit NO_UNITS[] = {{"", 1}, {NULL, 0}};

static gboolean parse_number(const char *text, const Unit *units, gint64 *ret) {
  char *end = NULL;
  gint64 number = g_ascii_strtoll(text, &end, 10);
  if (end == text)
    return FALSE;
  for (; units->suffix; units++) {
    if (strcmp(end, units->suffix) != 0 && (number != 0 || *end)) /* 0 needs no unit */
      continue;
    if (number > G_MAXINT64 / units->factor || number < G_MININT64 / units->factor)
      return FALSE;
    *ret = number * units->factor;
    return TRUE;
  }
  return FALSE;
}

gboolean settings_parse_bytes(const char *text, gint64 *ret_bytes) {
  return parse_number(text, BYTE_UNITS, ret_bytes);
}

static const char *kind_help(SettingKind kind) {
  switch (kind) {
  case SETTING_INT:
    return "a whole number";
  case SETTING_BOOL:
    return "true or false";
  case SETTING_BYTES:
    return "a size such as 65536, 64KiB or 1GiB";
  case SETTING_DURATION_MS:
    return "a time such as 500ms, 10s, 5m, 2h or 7d";
  case SETTING_STRING:
    break;
  }
  return "text";
}

/* Returns FALSE when @text is not of the setting's kind or out of its bounds. */
static gboolean setting_assign(const SettingSpec *spec, const char *text) {
  if (spec->kind == SETTING_STRING) {
    char **target = spec->target;
    g_free(*target);
    *target = g_strdup(text);
    return TRUE;
  }
  if (spec->kind == SETTING_BOOL) {
    gboolean yes = !strcmp(text, "true"), no = !strcmp(text, "false");
    *(gboolean *)spec->target = yes;
    return yes || no;
  }
  const Unit *units = spec->kind == SETTING_BYTES ? BYTE_UNITS : spec->kind == SETTING_INT ? NO_UNITS : TIME_UNITS;
  gint64 number;
  if (!parse_number(text, units, &number))
    return FALSE;
  if ((spec->least || spec->most) && (number < spec->least || number > spec->most))
    return FALSE;
  *(gint64 *)spec->target = number;
  return TRUE;
}

static char *bad_value(const Settings *settings, const SettingSpec *spec, const char *text, const char *origin) {
  g_autofree char *bounds = spec->least || spec->most
                                ? g_strdup_printf(", from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT "%s", spec->least,
                                                  spec->most, spec->kind == SETTING_DURATION_MS ? " ms" : "")
                                : g_strdup("");
  return g_strdup_printf("%s: setting '%s' from %s is '%s', but must be %s%s.", settings->program, spec->name, origin,
                         text, kind_help(spec->kind), bounds);
}

/* ---- Places ---- */

static void print_help(const char *program, const char *group, const SettingSpec *specs) {
  g_autofree char *general = env_name(NULL, specs->name);
  g_autofree char *own = env_name(group, specs->name);
  printf("Usage: %s [--NAME VALUE | --NAME=VALUE]...\n\n", program);
  printf("Each setting may also come from the environment (--%s: %s, or %s, which wins),\n"
         "or from the group [%s] of the key file that --config names. A flag wins over the environment, and that over\n"
         "the file.\n\nSettings:\n",
         specs->name, general, own, group);
  for (const SettingSpec *spec = specs; spec->name; spec++) {
    printf("  --%-26s %s", spec->name, spec->help);
    if (spec->default_text && *spec->default_text)
      printf(" (default %s)", spec->default_text);
    putchar('\n');
  }
  printf("  --%-26s %s\n  --%-26s %s\n  --%-26s %s\n", "config FILE", "a key file with settings", "help", "this text",
         "version", "print the version");
}

/* Flags into the hash table. Returns FALSE with settings->error set. */
static gboolean read_flags(Settings *settings, int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    if (!g_str_has_prefix(argv[i], "--") || argv[i][2] == '\0') {
      settings->error = g_strdup_printf("%s: '%s' is not a setting: settings look like --name value; see --help.",
                                        settings->program, argv[i]);
      return FALSE;
    }
    char **parts = g_strsplit(argv[i] + 2, "=", 2);
    const SettingSpec *spec = spec_find(settings->specs, parts[0]);
    const char *value = parts[1];
    if (!spec && strcmp(parts[0], "config") != 0) {
      settings->error = g_strdup_printf("%s: there is no setting '--%s'; see --help.", settings->program, parts[0]);
    } else if (!value && spec && spec->kind == SETTING_BOOL &&
               (i + 1 >= argc || (strcmp(argv[i + 1], "true") != 0 && strcmp(argv[i + 1], "false") != 0))) {
      value = "true";
    } else if (!value) {
      value = i + 1 < argc ? argv[++i] : NULL;
      if (!value)
        settings->error = g_strdup_printf("%s: setting '--%s' needs a value.", settings->program, parts[0]);
    }
    if (!settings->error)
      g_hash_table_replace(settings->flags, g_strdup(parts[0]), g_strdup(value));
    g_strfreev(parts);
    if (settings->error)
      return FALSE;
  }
  return TRUE;
}

static gboolean read_file(Settings *settings) {
  const char *path = g_hash_table_lookup(settings->flags, "config");
  if (!path)
    path = g_getenv("MILENA_CONFIG");
  if (!path)
    return TRUE;
  settings->file = g_key_file_new();
  g_autoptr(GError) error = NULL;
  if (!g_key_file_load_from_file(settings->file, path, G_KEY_FILE_NONE, &error)) {
    settings->error =
        g_strdup_printf("%s: the key file '%s' can't be read: %s", settings->program, path, error->message);
    return FALSE;
  }
  g_auto(GStrv) keys = g_key_file_get_keys(settings->file, settings->group, NULL, NULL);
  for (char **key = keys; key && *key; key++) {
    if (spec_find(settings->specs, *key))
      continue;
    settings->error = g_strdup_printf("%s: the key file '%s' has an unknown setting '%s' in group [%s]; see --help.",
                                      settings->program, path, *key, settings->group);
    return FALSE;
  }
  return TRUE;
}

/* MILENA_<GROUP>_X is meant for us alone: an unknown X is a mistake. */
static gboolean check_environment(Settings *settings) {
  g_autofree char *prefix = env_name(settings->group, "");
  for (char **entry = environ; *entry; entry++) {
    if (!g_str_has_prefix(*entry, prefix))
      continue;
    gboolean known = FALSE;
    for (const SettingSpec *spec = settings->specs; spec->name && !known; spec++) {
      g_autofree char *name = env_name(settings->group, spec->name);
      gsize length = strlen(name);
      known = !strncmp(*entry, name, length) && (*entry)[length] == '=';
    }
    if (known)
      continue;
    g_autofree char *name = g_strndup(*entry, strcspn(*entry, "="));
    settings->error =
        g_strdup_printf("%s: the environment has an unknown setting '%s'; see --help.", settings->program, name);
    return FALSE;
  }
  return TRUE;
}

/* The value of one setting and where it comes from; both owned by the caller; NULL when there is none. */
static char *look_up(const Settings *settings, const SettingSpec *spec, char **ret_origin) {
  const char *flag = g_hash_table_lookup(settings->flags, spec->name);
  if (flag) {
    *ret_origin = g_strdup_printf("the flag --%s", spec->name);
    return g_strdup(flag);
  }
  const char *groups[] = {settings->group, NULL};
  for (guint i = 0; i < G_N_ELEMENTS(groups); i++) {
    g_autofree char *name = env_name(groups[i], spec->name);
    if (g_getenv(name)) {
      *ret_origin = g_strdup_printf("the environment's %s", name);
      return g_strdup(g_getenv(name));
    }
  }
  char *value = settings->file ? g_key_file_get_string(settings->file, settings->group, spec->name, NULL) : NULL;
  if (value) {
    *ret_origin = g_strdup("the key file");
    return value;
  }
  *ret_origin = g_strdup("its default");
  return g_strdup(spec->default_text);
}

static gboolean assign_all(Settings *settings) {
  for (const SettingSpec *spec = settings->specs; spec->name; spec++) {
    g_autofree char *origin = NULL;
    g_autofree char *value = look_up(settings, spec, &origin);
    if (value && !setting_assign(spec, value)) {
      settings->error = bad_value(settings, spec, value, origin);
      return FALSE;
    }
  }
  return TRUE;
}

static gboolean wants(int argc, char **argv, const char *flag) {
  for (int i = 1; i < argc; i++)
    if (!strcmp(argv[i], flag))
      return TRUE;
  return FALSE;
}

gboolean settings_load(const char *program, const char *group, const SettingSpec *specs, int argc, char **argv,
                       int *ret_exit) {
  if (wants(argc, argv, "--help") || wants(argc, argv, "--version")) {
    if (wants(argc, argv, "--help"))
      print_help(program, group, specs);
    else
      printf("%s %s\n", program, MILENA_VERSION);
    *ret_exit = 0;
    return FALSE;
  }
  Settings settings = {.program = program, .group = group, .specs = specs};
  settings.flags = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  gboolean good = read_flags(&settings, argc, argv) && read_file(&settings) && check_environment(&settings) &&
                  assign_all(&settings);
  if (!good) {
    fprintf(stderr, "%s\n", settings.error);
    *ret_exit = 2;
  }
  g_hash_table_unref(settings.flags);
  g_clear_pointer(&settings.file, g_key_file_unref);
  g_free(settings.error);
  return good;
}

void settings_clear(const SettingSpec *specs) {
  for (; specs->name; specs++)
    if (specs->kind == SETTING_STRING)
      g_clear_pointer((char **)specs->target, g_free);
}
