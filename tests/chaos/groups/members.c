/* The members' processes; see members.h.
 *
 *   DOWN ──start──► RUNNING ──freeze──► FROZEN; RUNNING ──ask to leave──► LEAVING ──it ends──► DOWN; all ──kill──► DOWN
 *
 * Invariants: pid is 0 exactly in DOWN. Each start has notes of its own: a process is a member of its own. */
#include "tests/chaos/groups/members.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/chaos/groups/telling.h"

typedef enum { MEMBER_DOWN, MEMBER_RUNNING, MEMBER_FROZEN, MEMBER_LEAVING } MemberState;

typedef struct {
  GPid pid;
  MemberState state;
  guint starts;
} Slot;

/* The notes of one process. */
typedef struct {
  guint group;
  char *path;
} NotesFile;

/* The groups: how their members read, and when they commit. */
static const struct {
  const char *name, *mode; /* mode: NULL for a stream */
  gboolean is_static;      /* its members are instances */
} GROUPS[MEMBERS_GROUPS] = {
    {"after", "after", FALSE}, {"before", "before", FALSE}, {"auto", "auto", FALSE},
    {"static", "after", TRUE}, {"streams", NULL, FALSE},
};

struct Members {
  MembersOptions options;
  Slot *slots;
  GArray *notes; /* of NotesFile */
};

const char *members_group_name(guint group) {
  return GROUPS[group].name;
}

Members *members_new(const MembersOptions *options) {
  Members *members = g_new0(Members, 1);
  members->options = *options;
  members->slots = g_new0(Slot, members_slots(members));
  members->notes = g_array_new(FALSE, FALSE, sizeof(NotesFile));
  return members;
}

static void end(Slot *slot) {
  if (slot->pid) {
    kill(slot->pid, SIGKILL);
    waitpid(slot->pid, NULL, 0);
  }
  slot->pid = 0;
  slot->state = MEMBER_DOWN;
}

void members_free(Members *members) {
  if (!members)
    return;
  for (guint i = 0; i < members_slots(members); i++)
    end(&members->slots[i]);
  for (guint i = 0; i < members->notes->len; i++)
    g_free(g_array_index(members->notes, NotesFile, i).path);
  g_array_unref(members->notes);
  g_free(members->slots);
  g_free(members);
}

guint members_slots(const Members *members) {
  return MEMBERS_GROUPS * members->options.slots;
}

char *members_name(const Members *members, guint slot) {
  return g_strdup_printf("%s-%u", members_group_name(slot / members->options.slots), slot % members->options.slots + 1);
}

/* ---- What happens to them ---- */

static void settle(gpointer data) {
  (void)data;
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static GPtrArray *command(const Members *members, guint slot, const char *name, const char *path) {
  const MembersOptions *options = &members->options;
  guint group = slot / options->slots;
  GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
  g_ptr_array_add(words, g_strdup(GROUPS[group].mode ? options->program : options->stream_program));
  g_ptr_array_add(words, g_strdup(options->bootstrap));
  g_ptr_array_add(words, g_strdup(options->topic));
  g_ptr_array_add(words, g_strdup(GROUPS[group].name));
  if (!GROUPS[group].mode)
    g_ptr_array_add(words, g_strdup_printf("%u", slot));
  else
    g_ptr_array_add(words,
                    g_strdup(group == MEMBERS_AT_MOST_ONCE && options->are_wrong ? "after" : GROUPS[group].mode));
  g_ptr_array_add(words, g_strdup(path));
  if (GROUPS[group].is_static)
    g_ptr_array_add(words, g_strdup(name));
  g_ptr_array_add(words, NULL);
  return words;
}

void members_start(Members *members, guint slot) {
  Slot *entry = &members->slots[slot];
  guint group = slot / members->options.slots;
  if (entry->pid)
    return;
  g_autofree char *name = members_name(members, slot);
  NotesFile notes = {group, g_strdup_printf("%s/%s.%u", members->options.folder, name, ++entry->starts)};
  g_array_append_val(members->notes, notes);
  g_autofree char *log = g_strconcat(notes.path, ".log", NULL);
  g_autoptr(GPtrArray) words = command(members, slot, name, notes.path);
  int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  int out = open(log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
  g_autoptr(GError) error = NULL;
  if (!g_spawn_async_with_fds(NULL, (char **)words->pdata, NULL, G_SPAWN_DO_NOT_REAP_CHILD, settle, NULL, &entry->pid,
                              in, out, out, &error))
    g_error("%s can't be started: %s", name, error->message);
  close(in);
  close(out);
  entry->state = MEMBER_RUNNING;
}

static void send_signal(Members *members, guint slot, MemberState from, MemberState to, int number) {
  Slot *entry = &members->slots[slot];
  if (entry->state != from)
    return;
  kill(entry->pid, number);
  entry->state = to;
}

void members_freeze(Members *members, guint slot) {
  send_signal(members, slot, MEMBER_RUNNING, MEMBER_FROZEN, SIGSTOP);
}

void members_thaw(Members *members, guint slot) {
  send_signal(members, slot, MEMBER_FROZEN, MEMBER_RUNNING, SIGCONT);
}

void members_kill(Members *members, guint slot) {
  end(&members->slots[slot]);
}

void members_ask_to_leave(Members *members, guint slot) {
  send_signal(members, slot, MEMBER_RUNNING, MEMBER_LEAVING, SIGTERM);
}

void members_slow_down(Members *members, guint slot) {
  send_signal(members, slot, MEMBER_RUNNING, MEMBER_RUNNING, SIGUSR1);
}

guint members_any(const Members *members, guint group, GRand *random) {
  return group * members->options.slots + (guint)g_rand_int_range(random, 0, (gint32)members->options.slots);
}

char *members_restart(Members *members, guint slot, guint timeout_ms) {
  gint64 until_us = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
  char *wrong = NULL;
  members_ask_to_leave(members, slot);
  while (!wrong && members->slots[slot].pid && g_get_monotonic_time() < until_us) {
    wrong = members_look(members);
    g_usleep(2000);
  }
  if (!wrong && members->slots[slot].pid)
    wrong = g_strdup_printf("member %u did not leave within %u ms", slot, timeout_ms);
  members_start(members, slot);
  return wrong;
}

static char *look_at(Members *members, guint slot) {
  Slot *entry = &members->slots[slot];
  int status;
  if (!entry->pid || waitpid(entry->pid, &status, WNOHANG) != entry->pid)
    return NULL;
  gboolean is_well = entry->state == MEMBER_LEAVING && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  entry->pid = 0;
  entry->state = MEMBER_DOWN;
  if (is_well)
    return NULL;
  g_autofree char *name = members_name(members, slot), *text = NULL;
  g_autofree char *log = g_strdup_printf("%s/%s.%u.log", members->options.folder, name, entry->starts);
  g_file_get_contents(log, &text, NULL, NULL);
  return g_strdup_printf("member %s, its start %u, ended by itself (status %d): %s", name, entry->starts, status,
                         text ? text : "");
}

char *members_look(Members *members) {
  char *wrong = NULL;
  for (guint i = 0; i < members_slots(members) && !wrong; i++)
    wrong = look_at(members, i);
  return wrong;
}

char *members_stop(Members *members, guint timeout_ms) {
  gint64 until_us = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
  guint slots = members_slots(members), living = slots;
  char *wrong = NULL;
  for (guint i = 0; i < slots; i++) {
    members_thaw(members, i);
    members_ask_to_leave(members, i);
  }
  while (living && !wrong && g_get_monotonic_time() < until_us) {
    wrong = members_look(members);
    living = 0;
    for (guint i = 0; i < slots; i++)
      living += members->slots[i].pid != 0;
    g_usleep(10000);
  }
  for (guint i = 0; i < slots; i++)
    end(&members->slots[i]);
  return living && !wrong ? g_strdup_printf("%u members did not end in time", living) : wrong;
}

char *members_tell(const Members *members, Ledger *ledger, guint *ret_slow) {
  char *wrong = NULL;
  *ret_slow = 0;
  for (guint i = 0; i < members->notes->len && !wrong; i++) {
    const NotesFile *notes = &g_array_index(members->notes, NotesFile, i);
    wrong = telling_notes(notes->path, notes->group, ledger, ret_slow);
  }
  return wrong;
}
