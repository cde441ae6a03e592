/* Damage to a controller's folder, byte by byte and file by file: opening it gives what was written, or a sentence that
 * refuses it. Nothing in between, which would be a vote with half a log.
 *
 * Each opening is a process of its own, so that one that RocksDB ends by an assertion is seen as what it is. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/shim/shim.h"
#include "tests/unit/raft/log_fixture.h"

#define CLUSTER "5d3b2c8e-8f1e-4e6a-9a52-1f0d3c6b7a90"
/* Of larger files each byte at both ends and where pages begin is tried, and between every STEP_BYTES-th; of what
 * nobody reads only those. DAMAGE_EVERY=1: all; DAMAGE_TELL=1 names what is harmless. */
#define WHOLE_BYTES 2048
#define EDGE_BYTES 160
#define PAGE_BYTES 4096
#define STEP_BYTES 97
/* A refused folder is opened once more, every so many times. */
#define AGAIN_EVERY 8

typedef struct {
  char *whole, *damaged; /* the folder as it was, and the copy that is damaged */
  char *told;            /* what the whole one says */
  guint same, refused;
} Damage;

/* ---- The folder ---- */

/* All that a folder may hold: a snapshot, entries in RocksDB's table files and in its write-ahead log, a cut, votes. */
static void make_folder(const char *path) {
  RaftLogStore *store = log_begin(path);
  g_autoptr(Failure) failure = raft_log_store_set_cluster(store, CLUSTER);
  EXPECT_NULL(failure);
  log_write(store, 1, 6, 1);
  log_snapshot(store, 3, 1, "the metadata up to entry 3");
  log_write(store, 6, 8, 2);
  raft_log_store_close(store);
  store = log_open(path, FALSE); /* which makes a table file of the write-ahead log */
  log_vote(store, 3, 1);
  log_write(store, 9, 10, 3);
  log_vote(store, 4, 2);
  log_write(store, 11, 12, 4);
  raft_log_store_close(store);
}

/* Run @path's opening in a process of its own; what it says, or how it ended. Owned by the caller. */
static char *tell_apart(const char *path) {
  int fds[2];
  if (pipe(fds) != 0)
    return NULL;
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    g_autofree char *told = log_tell_all(path);
    size_t left = strlen(told);
    for (const char *at = told; left > 0;) {
      ssize_t n = write(fds[1], at, left);
      if (n <= 0)
        _exit(3);
      at += n;
      left -= (size_t)n;
    }
    _exit(0);
  }
  close(fds[1]);
  GString *text = g_string_new(NULL);
  char piece[4096];
  for (ssize_t n; (n = read(fds[0], piece, sizeof piece)) > 0;)
    g_string_append_len(text, piece, n);
  close(fds[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  if (WIFSIGNALED(status))
    g_string_append_printf(text, "ended by signal %d", WTERMSIG(status));
  else if (WEXITSTATUS(status) != 0)
    g_string_append_printf(text, "ended with status %d", WEXITSTATUS(status));
  return g_string_free(text, FALSE);
}

static char *make_apart(const char *path) {
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    make_folder(path);
    _exit(shim_test_has_failed() ? 1 : 0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_EQ_INT(0, status);
  return g_strdup(path);
}

/* Where the copies lie: in memory if that can be had, for each opening waits for the disk several times. */
static char *scratch_folder(void) {
  g_autofree char *folder = g_strdup("/dev/shm/milena-damage-XXXXXX");
  return mkdtemp(folder) ? g_steal_pointer(&folder) : g_build_filename(shim_temp_dir(), "damaged", NULL);
}

static void damage_init(Damage *damage) {
  g_autofree char *made = g_build_filename(shim_temp_dir(), "made", NULL);
  *damage = (Damage){.whole = make_apart(made), .damaged = scratch_folder()};
  log_copy(damage->whole, damage->damaged);
  damage->told = tell_apart(damage->damaged);
  EXPECT_CONTAINS(damage->told, "term 4 vote 1 commit 11 snapshot(26)@3 the metadata up to entry 3 4/1 ");
  EXPECT_CONTAINS(damage->told, "12/4 entry 12 ");
}

static void damage_clear(Damage *damage) {
  log_remove(damage->damaged);
  g_free(damage->whole);
  g_free(damage->damaged);
  g_free(damage->told);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Damage, damage_clear)

/* ---- Doing damage ---- */

/* Open the damaged copy; anything but the same content or a refusal fails the test. @what: the damage, in words */
static void judge(Damage *damage, const char *what) {
  g_autofree char *told = tell_apart(damage->damaged);
  if (strcmp(told, damage->told) == 0) {
    damage->same++;
    if (getenv("DAMAGE_TELL"))
      printf("harmless: %s\n", what);
    return;
  }
  if (strstr(told, " is damaged: ") || strstr(told, "written by a newer Milena") ||
      strstr(told, "holds no controller's log")) {
    if (++damage->refused % AGAIN_EVERY != 0)
      return;
    g_autofree char *again = tell_apart(damage->damaged); /* it stays refused, whatever the first opening did */
    if (strcmp(again, damage->told) != 0 && (strstr(again, "damaged") || strstr(again, "newer Milena")))
      return;
    shim_fail(__FILE__, __LINE__, "%s: refused (%s), then opened: %s", what, told, again);
    return;
  }
  shim_fail(__FILE__, __LINE__, "%s: %s", what, told);
}

static void put_back(Damage *damage) {
  log_remove(damage->damaged);
  log_copy(damage->whole, damage->damaged);
}

static gboolean is_read(const char *name) {
  return !g_str_has_prefix(name, "OPTIONS") && !g_str_has_prefix(name, "LOG") && strcmp(name, "IDENTITY") != 0;
}

/* From one place to the next. */
static gsize step(const char *name, gsize at, gsize size) {
  const char *every = getenv("DAMAGE_EVERY");
  if (every)
    return (gsize)MAX(atoi(every), 1);
  if (!is_read(name))
    return STEP_BYTES;
  if (size <= WHOLE_BYTES || at % PAGE_BYTES < EDGE_BYTES || at + EDGE_BYTES >= size)
    return 1;
  gsize page_left = PAGE_BYTES - at % PAGE_BYTES;
  return MIN(STEP_BYTES, MIN(page_left, size - EDGE_BYTES - at));
}

static void flip_each(Damage *damage, const char *name, const char *bytes, gsize size) {
  g_autofree char *path = g_build_filename(damage->damaged, name, NULL), *changed = g_memdup2(bytes, size);
  for (gsize at = 0; at < size && !shim_test_has_failed(); at += step(name, at, size)) {
    g_autofree char *what = g_strdup_printf("byte %lu of %s flipped", (gulong)at, name);
    put_back(damage);
    changed[at] = (char)(bytes[at] ^ (1 << at % 8));
    EXPECT_TRUE(g_file_set_contents(path, changed, (gssize)size, NULL));
    changed[at] = bytes[at];
    judge(damage, what);
  }
}

/* Files whose size is known by others are cut at fewer lengths. */
static gsize cut_step(const char *name, gsize at, gsize size) {
  gboolean is_sized = g_str_has_suffix(name, ".sst") || strcmp(name, "CONTROLLER") == 0;
  return is_sized && !getenv("DAMAGE_EVERY") ? STEP_BYTES / 4 : step(name, at, size);
}

static void cut_each(Damage *damage, const char *name, const char *bytes, gsize size) {
  g_autofree char *path = g_build_filename(damage->damaged, name, NULL);
  for (gsize at = 0; at < size && !shim_test_has_failed(); at += cut_step(name, at, size)) {
    g_autofree char *what = g_strdup_printf("%s cut to %lu of %lu bytes", name, (gulong)at, (gulong)size);
    put_back(damage);
    EXPECT_TRUE(g_file_set_contents(path, bytes, (gssize)at, NULL));
    judge(damage, what);
  }
}

static void lose_file(Damage *damage, const char *name, const char *bytes, gsize size) {
  (void)bytes;
  (void)size;
  g_autofree char *path = g_build_filename(damage->damaged, name, NULL);
  g_autofree char *what = g_strdup_printf("%s lost", name);
  put_back(damage);
  unlink(path);
  judge(damage, what);
}

/* Do it to each file that the folder was left with. */
static void for_each_file(Damage *damage,
                          void (*act)(Damage *damage, const char *name, const char *bytes, gsize size)) {
  g_autoptr(GDir) dir = g_dir_open(damage->whole, 0, NULL);
  for (const char *name; (name = g_dir_read_name(dir)) && !shim_test_has_failed();) {
    g_autofree char *path = g_build_filename(damage->whole, name, NULL), *bytes = NULL;
    gsize size = 0;
    EXPECT_TRUE(g_file_get_contents(path, &bytes, &size, NULL));
    guint same = damage->same, refused = damage->refused;
    act(damage, name, bytes, size);
    printf("%s: %u harmless, %u refused\n", name, damage->same - same, damage->refused - refused);
  }
}

static void run(void (*act)(Damage *damage, const char *name, const char *bytes, gsize size)) {
  g_auto(Damage) damage;
  damage_init(&damage);
  for_each_file(&damage, act);
  EXPECT_TRUE(damage.refused > 0);
}

TEST(raft_log_damage, each_byte_flipped) {
  run(flip_each);
}

TEST(raft_log_damage, each_file_cut) {
  run(cut_each);
}

TEST(raft_log_damage, each_file_lost) {
  run(lose_file);
}
