/* The event loop: see loop.h.
 *
 * The mailbox is a linked list under a pthread mutex, and an eventfd that wakes the glib main context. The source takes
 * the whole list at once and runs it without the lock. What is posted meanwhile it takes in further rounds, for which
 * nobody needs to be woken; after ROUNDS_MAX of them glib has its turn, so its timers are never starved.
 *
 * Invariants
 *   1. `waiting` counts posted tasks that are not completions; it never exceeds mailbox_max.
 *   2. The eventfd is written when the list goes from empty to non-empty while the mailbox is not being emptied
 *      (`emptying`), and when the rounds are used up: what is in the list is always seen.
 *   3. The eventfd is written without the mutex, which the woken thread wants at once; `wakers` counts who is about to,
 *      and the loop is not freed before they have.
 *   4. After `quitting` is set, loop_post says no; completions are taken until the loop has run dry. */
#include "services/base/loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ROUNDS_MAX 8

struct Loop {
  char name[16];
  GMainContext *context;
  GMainLoop *main_loop;
  GSource *source;
  GThread *thread;
  int wake_fd;
  guint mailbox_max;
  gboolean dispatching;     /* the loop's thread's: in mailbox_dispatch */
  _Atomic(GThread *) owner; /* who runs the loop, or took it over when it had ended */
  atomic_uint wakers;

  pthread_mutex_t mutex; /* guards what follows */
  LoopTask *head, **tail;
  guint waiting;
  gboolean quitting;
  gboolean emptying; /* the loop's thread looks again before it sleeps */
};

typedef struct {
  GSource base;
  Loop *loop;
  gpointer fd_tag;
} MailboxSource;

static gboolean mailbox_prepare(GSource *source, int *timeout) {
  (void)source;
  *timeout = -1;
  return FALSE;
}

static gboolean mailbox_check(GSource *source) {
  MailboxSource *mailbox = (MailboxSource *)source;
  return g_source_query_unix_fd(source, mailbox->fd_tag) != 0;
}

/* Take all that waits. @emptying: the caller comes back for what is posted from now on */
static LoopTask *mailbox_take(Loop *loop, gboolean emptying, gboolean *ret_quitting) {
  pthread_mutex_lock(&loop->mutex);
  LoopTask *head = loop->head;
  loop->head = NULL;
  loop->tail = &loop->head;
  loop->waiting = 0;
  loop->emptying = emptying && head;
  *ret_quitting = loop->quitting;
  pthread_mutex_unlock(&loop->mutex);
  return head;
}

static void run_all(LoopTask *task) {
  while (task) {
    LoopTask *next = task->next; /* the task may free itself */
    task->run(task);
    task = next;
  }
}

static gboolean mailbox_dispatch(GSource *source, GSourceFunc callback, gpointer user_data) {
  (void)callback;
  (void)user_data;
  Loop *loop = ((MailboxSource *)source)->loop;
  uint64_t count;
  ssize_t ignored = read(loop->wake_fd, &count, sizeof count); /* non-blocking: empty is fine */
  (void)ignored;
  gboolean quitting;
  LoopTask *task;
  loop->dispatching = TRUE;
  for (guint round = 1; (task = mailbox_take(loop, round < ROUNDS_MAX, &quitting)); round++) {
    run_all(task);
    if (round == ROUNDS_MAX)
      break;
  }
  loop->dispatching = FALSE;
  if (quitting && !task)
    g_main_loop_quit(loop->main_loop);
  else if (quitting)
    eventfd_write(loop->wake_fd, 1); /* look again: a task may have posted a completion */
  return G_SOURCE_CONTINUE;
}

static GSourceFuncs MAILBOX_FUNCS = {.prepare = mailbox_prepare, .check = mailbox_check, .dispatch = mailbox_dispatch};

Loop *loop_new(const char *name, guint mailbox_max) {
  Loop *loop = g_new0(Loop, 1);
  g_strlcpy(loop->name, name, sizeof loop->name);
  loop->mailbox_max = mailbox_max;
  loop->tail = &loop->head;
  pthread_mutex_init(&loop->mutex, NULL);
  loop->context = g_main_context_new();
  loop->main_loop = g_main_loop_new(loop->context, FALSE);
  loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  INVARIANT(loop->wake_fd >= 0, "a loop needs a file descriptor: raise the limit of open files");
  loop->source = g_source_new(&MAILBOX_FUNCS, sizeof(MailboxSource));
  MailboxSource *mailbox = (MailboxSource *)loop->source;
  mailbox->loop = loop;
  mailbox->fd_tag = g_source_add_unix_fd(loop->source, loop->wake_fd, G_IO_IN);
  /* It never recurses; but glib takes the fd of a source that might out of the poll while it is dispatched, and wakes
   * the loop for that, twice a dispatch. */
  g_source_set_can_recurse(loop->source, TRUE);
  g_source_attach(loop->source, loop->context);
  return loop;
}

void loop_run(Loop *loop) {
  atomic_store(&loop->owner, g_thread_self());
  g_main_context_push_thread_default(loop->context);
  g_main_loop_run(loop->main_loop);
  g_main_context_pop_thread_default(loop->context);
}

static gpointer loop_thread(gpointer data) {
  loop_run(data);
  return NULL;
}

void loop_start(Loop *loop) {
  INVARIANT(!loop->thread, "a loop is started once");
  loop->thread = g_thread_new(loop->name, loop_thread, loop);
}

void loop_quit(Loop *loop) {
  pthread_mutex_lock(&loop->mutex);
  loop->quitting = TRUE;
  pthread_mutex_unlock(&loop->mutex);
  eventfd_write(loop->wake_fd, 1);
}

void loop_stop(Loop *loop) {
  INVARIANT(!loop->thread || loop->thread != g_thread_self(), "a loop can't wait for itself");
  loop_quit(loop);
  if (!loop->thread)
    return;
  g_thread_join(g_steal_pointer(&loop->thread));
  atomic_store(&loop->owner, g_thread_self());
}

void loop_finish(Loop *loop) {
  INVARIANT(!loop->thread, "what is left is run once the loop's thread has ended");
  gboolean ignored;
  for (LoopTask *task; (task = mailbox_take(loop, FALSE, &ignored));)
    run_all(task);
}

void loop_free(Loop *loop) {
  if (!loop)
    return;
  if (loop->thread)
    loop_stop(loop);
  loop_finish(loop);
  while (atomic_load(&loop->wakers)) /* for the length of a system call */
    g_thread_yield();
  g_source_destroy(loop->source);
  g_source_unref(loop->source);
  g_main_loop_unref(loop->main_loop);
  g_main_context_unref(loop->context);
  close(loop->wake_fd);
  pthread_mutex_destroy(&loop->mutex);
  g_free(loop);
}

/* Append. Returns whether the loop may sleep, and mailbox_wake is to be called. The mutex is held. */
static gboolean mailbox_append(Loop *loop, LoopTask *task) {
  gboolean may_sleep = loop->head == NULL && !loop->emptying;
  task->next = NULL;
  *loop->tail = task;
  loop->tail = &task->next;
  if (may_sleep)
    atomic_fetch_add(&loop->wakers, 1);
  return may_sleep;
}

static void mailbox_wake(Loop *loop) {
  eventfd_write(loop->wake_fd, 1);
  atomic_fetch_sub(&loop->wakers, 1);
}

gboolean loop_post(Loop *loop, LoopTask *task) {
  pthread_mutex_lock(&loop->mutex);
  gboolean fits = !loop->quitting && loop->waiting < loop->mailbox_max;
  gboolean wake = FALSE;
  if (fits) {
    loop->waiting++;
    wake = mailbox_append(loop, task);
  }
  pthread_mutex_unlock(&loop->mutex);
  if (wake)
    mailbox_wake(loop);
  return fits;
}

void loop_post_completion(Loop *loop, LoopTask *task) {
  pthread_mutex_lock(&loop->mutex);
  gboolean wake = mailbox_append(loop, task);
  pthread_mutex_unlock(&loop->mutex);
  if (wake)
    mailbox_wake(loop);
}

typedef struct {
  LoopTask task;
  void (*func)(gpointer data);
  gpointer data;
} LoopCall;

static void loop_call_run(LoopTask *task) {
  LoopCall *call = (LoopCall *)task;
  call->func(call->data);
  g_free(call);
}

void loop_call(Loop *loop, void (*func)(gpointer data), gpointer data) {
  LoopCall *call = g_new0(LoopCall, 1);
  *call = (LoopCall){.task = {.run = loop_call_run}, .func = func, .data = data};
  loop_post_completion(loop, &call->task);
}

typedef struct {
  LoopTask task;
  void (*func)(gpointer data);
  gpointer data;
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  gboolean done;
} LoopWait;

static void loop_wait_run(LoopTask *task) {
  LoopWait *wait = (LoopWait *)task;
  wait->func(wait->data);
  pthread_mutex_lock(&wait->mutex);
  wait->done = TRUE;
  pthread_cond_signal(&wait->cond);
  pthread_mutex_unlock(&wait->mutex);
}

void loop_call_and_wait(Loop *loop, void (*func)(gpointer data), gpointer data) {
  INVARIANT(!loop_is_current(loop), "a loop can't wait for itself");
  LoopWait wait = {.task = {.run = loop_wait_run}, .func = func, .data = data};
  pthread_mutex_init(&wait.mutex, NULL);
  pthread_cond_init(&wait.cond, NULL);
  loop_post_completion(loop, &wait.task);
  pthread_mutex_lock(&wait.mutex);
  while (!wait.done)
    pthread_cond_wait(&wait.cond, &wait.mutex);
  pthread_mutex_unlock(&wait.mutex);
  pthread_cond_destroy(&wait.cond);
  pthread_mutex_destroy(&wait.mutex);
}

GSource *loop_add_timeout(Loop *loop, guint delay_ms, GSourceFunc func, gpointer data) {
  GSource *source = g_timeout_source_new(delay_ms);
  g_source_set_callback(source, func, data, NULL);
  g_source_attach(source, loop->context);
  return source;
}

gboolean loop_is_current(Loop *loop) {
  return atomic_load(&loop->owner) == g_thread_self();
}

gboolean loop_is_emptying(Loop *loop) {
  LOOP_ASSERT_CURRENT(loop);
  return loop->dispatching;
}

GMainContext *loop_context(Loop *loop) {
  return loop->context;
}
