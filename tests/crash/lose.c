#include "tests/crash/lose.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes that were written over. */
typedef struct {
  gint64 offset;
  GBytes *before;
} Overwritten;

/* What the notes say about a file. */
typedef struct {
  gint64 synced_bytes;
  guint64 waits_for_folder; /* inode of the folder whose sync makes its name durable, or 0 */
  GArray *overwritten;      /* since its last sync, in order */
} Known;

static void overwritten_clear(gpointer data) {
  g_bytes_unref(((Overwritten *)data)->before);
}

static void known_free(gpointer data) {
  g_array_unref(((Known *)data)->overwritten);
  g_free(data);
}

static Known *known_of(GHashTable *files, guint64 inode) {
  Known *known = g_hash_table_lookup(files, &inode);
  if (!known) {
    known = g_new0(Known, 1);
    known->overwritten = g_array_new(FALSE, FALSE, sizeof(Overwritten));
    g_array_set_clear_func(known->overwritten, overwritten_clear);
    g_hash_table_insert(files, g_memdup2(&inode, sizeof inode), known);
  }
  return known;
}

static void folder_synced(GHashTable *files, guint64 folder) {
  GHashTableIter iter;
  gpointer known;
  g_hash_table_iter_init(&iter, files);
  while (g_hash_table_iter_next(&iter, NULL, &known))
    if (((Known *)known)->waits_for_folder == folder)
      ((Known *)known)->waits_for_folder = 0;
}

/* @hex: the bytes that were there */
static void note_overwritten(Known *known, gint64 offset, const char *hex) {
  GByteArray *before = g_byte_array_new();
  for (guint byte; sscanf(hex, "%2x", &byte) == 1; hex += 2)
    g_byte_array_append(before, (const guint8[]){(guint8)byte}, 1);
  Overwritten overwritten = {offset, g_byte_array_free_to_bytes(before)};
  g_array_append_val(known->overwritten, overwritten);
}

static void read_note(GHashTable *files, const char *line) {
  char kind = 0;
  guint64 inode = 0;
  gint64 value = 0;
  if (sscanf(line, "%c %" G_GINT64_MODIFIER "u %" G_GINT64_MODIFIER "d", &kind, &inode, &value) < 2)
    return; /* the last one may be torn */
  if (kind == 'D') {
    folder_synced(files, inode);
    return;
  }
  gboolean is_first = !g_hash_table_contains(files, &inode);
  Known *known = known_of(files, inode);
  switch (kind) {
  case 'O': /* as it was before: durable; opened again, what was unsynced stays so */
    if (is_first)
      known->synced_bytes = value;
    break;
  case 'C':
    known->synced_bytes = 0;
    known->waits_for_folder = (guint64)value;
    break;
  case 'S':
    known->synced_bytes = value;
    g_array_set_size(known->overwritten, 0);
    break;
  case 'W':
    note_overwritten(known, value, strrchr(line, ' ') + 1);
    break;
  case 'R': /* with it, what was created in the folder before: a file system keeps the order within a folder */
    if (known->waits_for_folder)
      folder_synced(files, known->waits_for_folder);
    break;
  default:
    break;
  }
}

typedef struct {
  GHashTable *files;
  gboolean torn;
  GRand *random;
  LoseReport *report;
} Losing;

/* Undo what was written over older bytes, the latest first; torn, of each a part stays. */
static void undo(Losing *losing, const char *path, const Known *known) {
  FILE *file = known->overwritten->len ? fopen(path, "r+") : NULL;
  for (guint i = known->overwritten->len; file && i > 0; i--) {
    const Overwritten *overwritten = &g_array_index(known->overwritten, Overwritten, i - 1);
    gsize size;
    const char *before = g_bytes_get_data(overwritten->before, &size);
    gsize undone = losing->torn ? (gsize)g_rand_double_range(losing->random, 0, (double)size) : size;
    if (fseek(file, overwritten->offset, SEEK_SET) != 0 || fwrite(before, 1, undone, file) != undone)
      g_error("%s can't be written", path);
    losing->report->bytes_lost += undone;
  }
  if (file)
    fclose(file);
}

static void lose_file(Losing *losing, const char *path, const struct stat *info) {
  guint64 inode = info->st_ino;
  const Known *known = g_hash_table_lookup(losing->files, &inode);
  if (!known)
    return; /* not opened for writing: it is as it was */
  undo(losing, path, known);
  gint64 unsynced = (gint64)info->st_size - known->synced_bytes;
  if (known->waits_for_folder) {
    losing->report->files_removed++;
    losing->report->bytes_lost += (guint64)info->st_size;
    unlink(path);
  } else if (unsynced > 0) {
    gint64 kept = losing->torn ? (gint64)g_rand_double_range(losing->random, 0, (double)unsynced) : 0;
    losing->report->files_cut++;
    losing->report->bytes_lost += (guint64)(unsynced - kept);
    if (truncate(path, known->synced_bytes + kept) != 0)
      g_error("%s can't be cut", path);
  }
}

static void lose_folder(Losing *losing, const char *folder) {
  g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
  const char *name;
  while (dir && (name = g_dir_read_name(dir))) {
    g_autofree char *path = g_build_filename(folder, name, NULL);
    struct stat info;
    if (lstat(path, &info) != 0)
      continue;
    if (S_ISDIR(info.st_mode))
      lose_folder(losing, path);
    else if (S_ISREG(info.st_mode))
      lose_file(losing, path, &info);
  }
}

void lose_apply(const char *folder, const char *journal, gboolean torn, GRand *random, LoseReport *ret_report) {
  *ret_report = (LoseReport){0};
  g_autoptr(GHashTable) files = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, known_free);
  g_autofree char *text = NULL;
  if (!g_file_get_contents(journal, &text, NULL, NULL))
    return;
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  for (guint i = 0; lines[i]; i++)
    read_note(files, lines[i]);
  Losing losing = {.files = files, .torn = torn, .random = random, .report = ret_report};
  lose_folder(&losing, folder);
}
