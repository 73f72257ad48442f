/* The signal handler and its flag, the only global variable of the program. Called by train.c. */
#include "interrupt.h"
#include <signal.h>

static volatile sig_atomic_t caught;

static void set_handler(void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void note(int number) {
    caught = number;
    set_handler(SIG_DFL); /* the next one kills */
}

/* Set even where a shell had SIGINT ignored (a background job of a script): a signal sent on
 * purpose must stop the run, and nothing is lost by it. */
void interrupt_watch(void) {
    caught = 0;
    set_handler(note);
}

void interrupt_unwatch(void) {
    set_handler(SIG_DFL);
}

int interrupt_signal(void) {
    return caught;
}
