/* The members; see members.h.
 *
 *   DOWN ──start──► RUNNING ──freeze──► FROZEN; RUNNING ──ask to leave──► LEAVING ──it ends──► DOWN; all ──kill──► DOWN
 *
 * Invariants: pid is 0 exactly in DOWN. Each start has notes of its own: a process is a member of its own. */
#include "tests/chaos/groups/members.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

typedef enum { MEMBER_DOWN, MEMBER_RUNNING, MEMBER_FROZEN, MEMBER_LEAVING } MemberState;

typedef struct {
  GPid pid;
  MemberState state;
  guint starts;
} Slot;

/* Notes of one process. */
typedef struct {
  guint group;
  char *path;
} Notes;

struct Members {
  MembersOptions options;
  Slot *slots;
  GArray *notes; /* of Notes */
};

const char *members_group_name(guint group) {
  return group == 0 ? "after" : "before";
}

Members *members_new(const MembersOptions *options) {
  Members *members = g_new0(Members, 1);
  members->options = *options;
  members->slots = g_new0(Slot, members_slots(members));
  members->notes = g_array_new(FALSE, FALSE, sizeof(Notes));
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
    g_free(g_array_index(members->notes, Notes, i).path);
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

void members_start(Members *members, guint slot) {
  Slot *entry = &members->slots[slot];
  guint group = slot / members->options.slots;
  if (entry->pid)
    return;
  g_autofree char *name = members_name(members, slot);
  Notes notes = {group, g_strdup_printf("%s/%s.%u", members->options.folder, name, ++entry->starts)};
  g_array_append_val(members->notes, notes);
  g_autofree char *log = g_strconcat(notes.path, ".log", NULL);
  const char *words[] = {members->options.program,
                         members->options.bootstrap,
                         members->options.topic,
                         members_group_name(group),
                         group == 0 || members->options.are_wrong ? "after" : "before",
                         notes.path,
                         NULL};
  int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  int out = open(log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
  g_autoptr(GError) error = NULL;
  if (!g_spawn_async_with_fds(NULL, (char **)words, NULL, G_SPAWN_DO_NOT_REAP_CHILD, settle, NULL, &entry->pid, in, out,
                              out, &error))
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

/* ---- What they noted ---- */

#define PARTITIONS_MAX 64

typedef struct {
  Ledger *ledger;
  guint group;
  guint tenures[PARTITIONS_MAX]; /* index + 1 of the one that lasts */
  guint asked;                   /* index + 1 of the commit without an answer */
} Telling;

static LedgerTenure *tenure_of(const Telling *telling, gint32 partition) {
  guint index = partition >= 0 && partition < PARTITIONS_MAX ? telling->tenures[partition] : 0;
  return index ? &g_array_index(telling->ledger->tenures, LedgerTenure, index - 1) : NULL;
}

static gboolean tell_given(Telling *telling, gint32 partition, gint64 now_us) {
  if (partition < 0 || partition >= PARTITIONS_MAX)
    return FALSE;
  /* Readers of members have numbers of their own: nobody else reads in these runs. */
  LedgerTenure tenure = {telling->group, telling->ledger->tenures->len + 1, partition, now_us, 0};
  g_array_append_val(telling->ledger->tenures, tenure);
  telling->tenures[partition] = telling->ledger->tenures->len;
  return TRUE;
}

static gboolean tell_read(Telling *telling, gint32 partition, LedgerRead read, gint64 now_us) {
  LedgerTenure *tenure = tenure_of(telling, partition);
  if (!tenure)
    return FALSE;
  if (!tenure->first_us)
    tenure->first_us = now_us;
  read.reader = tenure->reader;
  read.partition = partition;
  g_array_append_val(telling->ledger->reads, read);
  return TRUE;
}

static gboolean tell_asked(Telling *telling, gint32 partition, gint64 offset, gint64 now_us) {
  const LedgerTenure *tenure = tenure_of(telling, partition);
  if (!tenure)
    return FALSE;
  LedgerCommit commit = {tenure->reader, offset, LEDGER_UNKNOWN, now_us, now_us};
  g_array_append_val(telling->ledger->commits, commit);
  telling->asked = telling->ledger->commits->len;
  return TRUE;
}

static gboolean tell_answered(Telling *telling, const char *outcome, gint64 now_us) {
  if (!telling->asked)
    return FALSE;
  LedgerCommit *commit = &g_array_index(telling->ledger->commits, LedgerCommit, telling->asked - 1);
  commit->outcome = g_str_equal(outcome, "ok") ? LEDGER_OK : LEDGER_UNKNOWN;
  commit->return_us = now_us;
  telling->asked = 0;
  return TRUE;
}

static gboolean tell_line(Telling *telling, const char *line) {
  gint32 partition;
  gint64 offset, now_us;
  LedgerRead read = {0};
  char outcome[16];
  if (sscanf(line, "given %d %" G_GINT64_FORMAT, &partition, &now_us) == 2)
    return tell_given(telling, partition, now_us);
  if (sscanf(line, "gone %d %" G_GINT64_FORMAT, &partition, &now_us) == 2) {
    gboolean was_there = tenure_of(telling, partition) != NULL;
    if (was_there)
      telling->tenures[partition] = 0;
    return was_there;
  }
  if (sscanf(line, "read %d %u %" G_GINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT, &partition, &read.poll,
             &read.offset, &read.value, &now_us) == 5)
    return tell_read(telling, partition, read, now_us);
  if (sscanf(line, "asked %d %" G_GINT64_FORMAT " %" G_GINT64_FORMAT, &partition, &offset, &now_us) == 3)
    return tell_asked(telling, partition, offset, now_us);
  return sscanf(line, "answered %15s %" G_GINT64_FORMAT, outcome, &now_us) == 2 &&
         tell_answered(telling, outcome, now_us);
}

/* The last line of who was killed may be half a line: it is none. */
static char *tell_notes(const Notes *notes, Ledger *ledger) {
  Telling telling = {.ledger = ledger, .group = notes->group};
  g_autofree char *text = NULL;
  if (!g_file_get_contents(notes->path, &text, NULL, NULL))
    return NULL; /* killed before it noted anything */
  for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
    *end = '\0';
    if (!tell_line(&telling, line))
      return g_strdup_printf("%s: '%s' can't be: of a partition that was not given, or no note", notes->path, line);
  }
  return NULL;
}

char *members_tell(const Members *members, Ledger *ledger) {
  char *wrong = NULL;
  for (guint i = 0; i < members->notes->len && !wrong; i++)
    wrong = tell_notes(&g_array_index(members->notes, Notes, i), ledger);
  return wrong;
}
