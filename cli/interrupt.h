/* Stopping by signal: SIGINT and SIGTERM are noted, so that a run can save before it ends. Called
 * by train.c. */
#ifndef FOVEA_CLI_INTERRUPT_H
#define FOVEA_CLI_INTERRUPT_H

void interrupt_watch(void);   /* from now on note a first signal; a second one kills at once */
void interrupt_unwatch(void); /* back to the system's way: a signal kills */
int interrupt_signal(void);   /* the signal that came, 0: none */

#endif
