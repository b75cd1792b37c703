#include "reports/gnuplot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

void pp_gnuplot_quote(struct pp_text *script, const char *s) {
    pp_text_puts(script, "'");
    for (; *s != '\0'; s++) {
        char c = (unsigned char)*s < 0x20 || *s == 0x7f ? ' ' : *s;
        pp_text_add(script, &c, 1);
        if (c == '\'') { /* a quote is written twice */
            pp_text_add(script, &c, 1);
        }
    }
    pp_text_puts(script, "'");
}

/* A running gnuplot. Its input is a socket, since only a socket can be written without SIGPIPE. */
struct child {
    pid_t pid;
    int input;
    FILE *complaints; /* its stderr */
};

static enum pp_status fail_start(int error, struct pp_err *err) {
    if (error == ENOENT || error == EACCES) {
        pp_fail(err, PP_E_ENV, "cannot start gnuplot: no such program on PATH");
        pp_hint(err, "install it (Debian: apt-get install gnuplot-nox)");
        return PP_E_ENV;
    }
    return pp_fail(err, PP_E_ENV, "cannot start gnuplot: %s", strerror(error));
}

/* The environment without GNUTERM, which names a terminal that this gnuplot may not have and would
 * then start with an error. Free with free(); NULL if out of memory. */
static char **plain_environment(void) {
    size_t count = 0;
    while (environ[count] != NULL) {
        count++;
    }
    char **plain = malloc((count + 1) * sizeof *plain);
    size_t kept = 0;
    for (size_t i = 0; plain != NULL && i < count; i++) {
        if (strncmp(environ[i], "GNUTERM=", strlen("GNUTERM=")) != 0) {
            plain[kept++] = environ[i];
        }
    }
    if (plain != NULL) {
        plain[kept] = NULL;
    }
    return plain;
}

static int spawn(struct child *child, int input) {
    char name[] = "gnuplot";
    char no_settings[] = "-d";
    char *argv[] = {name, no_settings, NULL};
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) {
        return error;
    }
    error = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    if (error == 0) {
        error = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    }
    if (error == 0) {
        error =
            posix_spawn_file_actions_adddup2(&actions, fileno(child->complaints), STDERR_FILENO);
    }
    char **environment = plain_environment();
    if (error == 0) {
        error = environment == NULL
                    ? ENOMEM
                    : posix_spawnp(&child->pid, name, &actions, NULL, argv, environment);
    }
    free(environment);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static enum pp_status start(struct child *child, struct pp_err *err) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
        return pp_fail(err, PP_E_ENV, "cannot start gnuplot: %s", strerror(errno));
    }
    /* gnuplot must not inherit our end: it would never see the end of its input. */
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    int error;
    child->complaints = tmpfile();
    if (child->complaints == NULL) {
        error = errno;
        goto close_ends;
    }
    error = spawn(child, ends[1]);
    if (error != 0) {
        goto close_complaints;
    }
    close(ends[1]);
    child->input = ends[0];
    return PP_OK;

close_complaints:
    fclose(child->complaints);
close_ends:
    close(ends[0]);
    close(ends[1]);
    return fail_start(error, err);
}

/* Stops early if gnuplot is gone: its exit status and complaints say why. */
static void feed(const struct child *child, const char *script, size_t size) {
    while (size > 0) {
        ssize_t n = send(child->input, script, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return;
        }
        script += n;
        size -= (size_t)n;
    }
}

static int wait_for(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return -1;
        }
    }
    return status;
}

/* What gnuplot said, on one line. */
static void read_complaints(FILE *f, char *line, size_t size) {
    rewind(f);
    size_t n = fread(line, 1, size - 1, f);
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        char c = (unsigned char)line[i] < 0x20 ? ' ' : line[i];
        if (c != ' ' || (used > 0 && line[used - 1] != ' ')) {
            line[used++] = c;
        }
    }
    while (used > 0 && line[used - 1] == ' ') {
        used--;
    }
    line[used] = '\0';
}

static enum pp_status judge(int status, FILE *complaints, struct pp_err *err) {
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return PP_OK;
    }
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM)) {
        return pp_fail(err, PP_E_INTERRUPTED, "gnuplot was interrupted");
    }
    char said[500];
    read_complaints(complaints, said, sizeof said);
    char how[64];
    if (WIFSIGNALED(status)) {
        snprintf(how, sizeof how, "was ended by signal %d", WTERMSIG(status));
    } else {
        snprintf(how, sizeof how, "failed with exit status %d", WEXITSTATUS(status));
    }
    pp_fail(err, PP_E_ENV, "gnuplot %s: %s", how, said[0] != '\0' ? said : "it gave no reason");
    pp_hint(err, "check that gnuplot 5.4 or newer with svg and pngcairo is installed "
                 "(Debian: gnuplot-nox)");
    return PP_E_ENV;
}

enum pp_status pp_gnuplot_run(const char *script, size_t size, struct pp_err *err) {
    struct child child;
    PP_TRY(start(&child, err));
    feed(&child, script, size);
    close(child.input);
    int status = wait_for(child.pid);
    enum pp_status result = judge(status, child.complaints, err);
    fclose(child.complaints);
    return result;
}
