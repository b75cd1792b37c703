#include "exec/checkpoint_priv.h"

#include "exec/message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum pp_status pp_checkpoint_open(struct pp_checkpoint_writer *w, const char *path,
                                  struct pp_err *err) {
    *w = (struct pp_checkpoint_writer){.descriptor = -1};
    w->buffer = malloc(PP_CHECKPOINT_BLOCK_BYTES);
    if (w->buffer == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for writing %s", path);
    }
    bool fits = pp_copy(w->path, sizeof w->path, path) &&
                snprintf(w->partial, sizeof w->partial, "%s.tmp", path) < (int)sizeof w->partial;
    w->descriptor = fits ? open(w->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    if (w->descriptor < 0) {
        w->error = fits ? errno : ENAMETOOLONG;
    }
    return PP_OK; /* close tells, which knows for whom it is */
}

static void flush(struct pp_checkpoint_writer *w) {
    if (w->used == 0) {
        return; /* no block: readers see none either */
    }
    for (size_t done = 0; done < w->used && w->error == 0;) {
        ssize_t n = write(w->descriptor, w->buffer + done, w->used - done);
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno != EINTR) {
            w->error = errno;
        }
    }
    w->checksum = pp_checkpoint_checksum(w->checksum, w->buffer, w->used);
    w->used = 0;
}

void pp_checkpoint_put(struct pp_checkpoint_writer *w, const void *data, size_t size) {
    const char *from = data;
    while (size > 0 && w->error == 0) {
        size_t room = PP_CHECKPOINT_BLOCK_BYTES - w->used;
        size_t n = size < room ? size : room;
        memcpy(w->buffer + w->used, from, n);
        w->used += n;
        from += n;
        size -= n;
        if (w->used == PP_CHECKPOINT_BLOCK_BYTES) {
            flush(w);
        }
    }
}

void pp_checkpoint_put_checksum(struct pp_checkpoint_writer *w) {
    flush(w);
    uint64_t checksum = w->checksum;
    pp_checkpoint_put(w, &checksum, sizeof checksum);
}

enum pp_status pp_checkpoint_close(struct pp_checkpoint_writer *w, const char *who,
                                   struct pp_err *err) {
    flush(w);
    free(w->buffer);
    if (w->descriptor >= 0) {
        if (w->error == 0 && fsync(w->descriptor) != 0) {
            w->error = errno;
        }
        if (close(w->descriptor) != 0 && w->error == 0) {
            w->error = errno;
        }
        if (w->error == 0 && rename(w->partial, w->path) != 0) {
            w->error = errno;
        }
        if (w->error != 0) {
            unlink(w->partial);
        }
    }
    if (w->error == 0) {
        return PP_OK;
    }
    pp_fail(err, PP_E_IO, "cannot write %s%s: %s", w->path, who, strerror(w->error));
    if (w->error == ENOSPC || w->error == EDQUOT) {
        pp_hint(err, "make room, or write checkpoints elsewhere; the ones before are as they were");
    }
    return PP_E_IO;
}

uint64_t pp_checkpoint_checksum(uint64_t before, const void *block, size_t size) {
    const uint64_t pair[2] = {before, pp_checksum(block, size)};
    return pp_checksum(pair, sizeof pair);
}
