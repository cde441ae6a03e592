#include "client/cli/local_pid.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/shim/shim.h"

#define FIELDS "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654 20 21"

static const struct {
  const char *name, *stat;
  gboolean good;
} STATS[] = {
    {"plain", "42 (sleep) S " FIELDS, TRUE},
    {"name_with_blanks_and_brackets", "42 (a) S (b) S " FIELDS, TRUE},
    {"cut", "42 (sleep) S 1 2 3", FALSE},
    {"no_name", "42 sleep S " FIELDS, FALSE},
    {"empty", "", FALSE},
    {"bracket_at_the_end", "42 (sleep)", FALSE},
    {"no_number", "42 (sleep) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x 20 21", FALSE},
};

TEST_ROWS(local_pid_stat, STATS) {
  char state = '?';
  guint64 start_ticks = 0, threads = 0;
  ASSERT_EQ_INT(STATS[row].good, local_pid_parse_stat(STATS[row].stat, &state, &start_ticks, &threads));
  if (!STATS[row].good)
    return;
  EXPECT_EQ_INT('S', state);
  EXPECT_EQ_INT(987654, start_ticks);
  EXPECT_EQ_INT(17, threads);
}

static void *sleep_on(void *unused) {
  (void)unused;
  pause();
  return NULL;
}

TEST(local_pid, a_process_lives_as_long_as_its_last_thread) {
  pid_t pid = fork();
  if (pid == 0) {
    pthread_t thread;
    pthread_create(&thread, NULL, sleep_on, NULL);
    syscall(SYS_exit, 0); /* the first thread is a zombie now */
  }
  LocalPid identity;
  ASSERT_TRUE(local_pid_of(pid, &identity));
  char state = '?';
  for (guint64 start_ticks, threads; state != 'Z';) {
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
    g_autofree char *stat = NULL;
    ASSERT_TRUE(g_file_get_contents(path, &stat, NULL, NULL));
    ASSERT_TRUE(local_pid_parse_stat(stat, &state, &start_ticks, &threads));
  }
  EXPECT_TRUE(local_pid_is_alive(&identity));
  EXPECT_TRUE(local_pid_signal(&identity, SIGKILL));
  while (local_pid_is_alive(&identity))
    g_usleep(1000);
  waitpid(pid, NULL, 0);
}

/* A child that sleeps until it is killed. */
static pid_t start_sleeper(void) {
  pid_t pid = fork();
  if (pid == 0) {
    pause();
    _exit(0);
  }
  return pid;
}

static void end_sleeper(pid_t pid) {
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
}

TEST(local_pid, a_process_is_alive_until_it_ends) {
  pid_t pid = start_sleeper();
  LocalPid identity;
  ASSERT_TRUE(local_pid_of(pid, &identity));
  EXPECT_TRUE(local_pid_is_alive(&identity));
  EXPECT_TRUE(local_pid_memory_bytes(&identity) > 0);
  EXPECT_TRUE(local_pid_uptime_s(&identity) < 60);
  EXPECT_TRUE(local_pid_signal(&identity, SIGKILL));
  while (local_pid_is_alive(&identity)) /* a zombie is not alive, though nobody has waited for it */
    g_usleep(1000);
  EXPECT_FALSE(local_pid_signal(&identity, SIGKILL));
  EXPECT_EQ_INT(0, local_pid_memory_bytes(&identity));
  end_sleeper(pid);
  EXPECT_FALSE(local_pid_is_alive(&identity));
  EXPECT_FALSE(local_pid_of(pid, &identity));
}

/* The pid is used again by a stranger: another start time, or another boot. */
TEST(local_pid, a_stranger_with_the_same_pid_is_left_alone) {
  pid_t pid = start_sleeper();
  LocalPid identity, stranger;
  ASSERT_TRUE(local_pid_of(pid, &identity));
  stranger = identity;
  stranger.start_ticks--;
  EXPECT_FALSE(local_pid_is_alive(&stranger));
  EXPECT_FALSE(local_pid_signal(&stranger, SIGKILL));
  stranger = identity;
  stranger.boot[0] = stranger.boot[0] == 'a' ? 'b' : 'a';
  EXPECT_FALSE(local_pid_signal(&stranger, SIGKILL));
  EXPECT_TRUE(local_pid_is_alive(&identity));
  end_sleeper(pid);
}

TEST(local_pid, files_keep_the_identity) {
  LocalPid identity, read;
  g_autofree char *path = g_build_filename(shim_temp_dir(), "x.pid", NULL);
  ASSERT_TRUE(local_pid_of(getpid(), &identity));
  EXPECT_FALSE(local_pid_read(path, &read));
  ASSERT_NULL(local_pid_write(path, &identity));
  ASSERT_TRUE(local_pid_read(path, &read));
  EXPECT_EQ_INT(identity.pid, read.pid);
  EXPECT_EQ_INT(identity.start_ticks, read.start_ticks);
  EXPECT_EQ_STR(identity.boot, read.boot);
}

static const struct {
  const char *name, *text;
} BAD_FILES[] = {
    {"empty", ""},
    {"pid_alone", "42\n"},
    {"init", "1 5 boot\n"},
    {"negative", "-1 5 boot"},
    {"words", "a b c\n"},
    {"too_much", "42 5 boot more\n"},
    {"overflow", "99999999999 5 boot\n"},
    {"long_boot", "42 5 0123456789012345678901234567890123456789\n"},
};

TEST_ROWS(local_pid_file, BAD_FILES) {
  LocalPid read;
  g_autofree char *path = g_build_filename(shim_temp_dir(), "x.pid", NULL);
  ASSERT_TRUE(g_file_set_contents(path, BAD_FILES[row].text, -1, NULL));
  EXPECT_FALSE(local_pid_read(path, &read));
}

TEST(local_pid, a_folder_that_is_missing_is_told) {
  LocalPid identity;
  ASSERT_TRUE(local_pid_of(getpid(), &identity));
  g_autoptr(Failure) failure = local_pid_write("/no/such/folder/x.pid", &identity);
  ASSERT_TRUE(failure != NULL);
  EXPECT_CONTAINS(failure_message(failure), "/no/such/folder");
}
