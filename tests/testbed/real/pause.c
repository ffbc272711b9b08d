/* What keeps a pod's namespaces while its containers come and go: waits for a signal. */
#include <signal.h>
#include <unistd.h>

static void stop(int signal) { (void)signal; _exit(0); }

int main(void) {
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    signal(SIGCHLD, SIG_IGN); /* orphans of a shared process namespace are reaped at once */
    for (;;) pause();
}
