/* The one variable that outlives a function here: a signal handler can be given nothing else. */
#include "client/cli/interrupt.h"

#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t caught;

static void on_signal(int signal_number) {
  if (caught)
    _exit(128 + signal_number);
  caught = signal_number;
}

void interrupt_catch(void) {
  struct sigaction action = {.sa_handler = on_signal};
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

int interrupt_signal(void) {
  return caught;
}
