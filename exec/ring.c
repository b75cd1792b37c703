#define _GNU_SOURCE /* F_OFD_SETLK */
#include "exec/ring.h"

#include "exec/clock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVENT_WORDS = sizeof(struct pp_event) / sizeof(uint64_t), BOOT_BYTES = 40 };

/* One a cache line. `check` is made of number and words, so that any mixture of an old and a new
 * event shows, in whatever order the bytes arrive: a reader copies them by a system call, which
 * promises no order. That is also why relaxed stores are enough. */
struct slot {
    _Atomic uint64_t number; /* of the event, from 1; its slot is (number - 1) % PP_RING_EVENTS */
    _Atomic uint64_t words[EVENT_WORDS];
    _Atomic uint64_t check;
    uint64_t unused[2];
};

struct header {
    uint64_t magic;
    uint32_t version, event_count;
    int64_t process;
    char program[72]; /* hash */
    char boot[BOOT_BYTES];
    uint64_t unused[14];
    uint64_t check; /* of all above; written last */
};

struct file {
    struct header header;
    struct slot slots[PP_RING_EVENTS];
};

static_assert(sizeof(struct pp_event) == 32, "events are copied by words");
static_assert(sizeof(struct slot) == 64 && sizeof(struct header) == 256, "layout of the file");
static_assert(sizeof(_Atomic uint64_t) == 8 && ATOMIC_LLONG_LOCK_FREE == 2, "no locks in the file");

enum { VERSION = 1 };
static const uint64_t ring_magic = 0x31676e6972707070; /* "pppring1" */

struct pp_ring {
    struct file *file;
    uint64_t number; /* of the last event */
    int descriptor;  /* -1: in memory only */
};

static uint64_t mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15;
    return hash ^ hash >> 32;
}

static uint64_t check_of(const uint64_t *words, size_t count, uint64_t hash) {
    for (size_t i = 0; i < count; i++) {
        hash = mix(hash, words[i]);
    }
    return hash;
}

static uint64_t header_check(const struct header *header) {
    uint64_t words[offsetof(struct header, check) / sizeof(uint64_t)];
    memcpy(words, header, sizeof words);
    return check_of(words, sizeof words / sizeof *words, ring_magic);
}

/* Which machine this is, and since when: locks and mapped files are shared only there. */
static void get_boot(char boot[BOOT_BYTES]) {
    memset(boot, 0, BOOT_BYTES);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, boot, BOOT_BYTES - 1);
    if (fd >= 0) {
        close(fd);
    }
    if (size <= 0 && gethostname(boot, BOOT_BYTES - 1) != 0) {
        boot[0] = '\0';
    }
    boot[strcspn(boot, "\n")] = '\0';
}

void pp_ring_path(const char *folder, int32_t rank, char *path, size_t size) {
    snprintf(path, size, "%s/rank-%d.ring", folder, (int)rank);
}

/* Locks of an open file (OFD), neither those of a process nor flock(): a process's own lock would
 * be gone as soon as it closed any other descriptor of the file, as when it reads its own ring; and
 * flock() can only be asked by taking the lock, which could get in the way of a writer. */
static struct flock whole_file(short type) {
    return (struct flock){.l_type = type, .l_whence = SEEK_SET};
}

static enum pp_status take_file(int fd, const char *path, struct pp_err *err) {
    struct flock lock = whole_file(F_WRLCK);
    if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        if (errno != EAGAIN && errno != EACCES) {
            return pp_fail(err, PP_E_IO, "cannot lock %s: %s", path, strerror(errno));
        }
        pp_fail(err, PP_E_IO, "%s is held by another process", path);
        pp_hint(err, "a run is going on in this folder: wait for it, or choose another folder");
        return PP_E_IO;
    }
    /* blocks are reserved: a disk that is full would else be told by SIGBUS at a store */
    int error = ftruncate(fd, 0) != 0 ? errno : posix_fallocate(fd, 0, sizeof(struct file));
    if (error != 0) {
        return pp_fail(err, PP_E_IO, "cannot write %s: %s", path, strerror(error));
    }
    return PP_OK;
}

static enum pp_status map_file(struct pp_ring *ring, const char *folder, int32_t rank,
                               struct pp_err *err) {
    char path[PP_RING_PATH_BYTES];
    pp_ring_path(folder, rank, path, sizeof path);
    ring->descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (ring->descriptor < 0) {
        return pp_fail(err, PP_E_IO, "cannot write %s: %s", path, strerror(errno));
    }
    enum pp_status status = take_file(ring->descriptor, path, err);
    if (status == PP_OK) {
        void *file =
            mmap(NULL, sizeof *ring->file, PROT_READ | PROT_WRITE, MAP_SHARED, ring->descriptor, 0);
        if (file != MAP_FAILED) {
            ring->file = file;
            return PP_OK;
        }
        status = pp_fail(err, PP_E_IO, "cannot map %s: %s", path, strerror(errno));
    }
    close(ring->descriptor);
    return status;
}

enum pp_status pp_ring_create(const char *folder, int32_t rank, const char *program_hash,
                              struct pp_ring **ring_p, struct pp_err *err) {
    struct pp_ring *ring = malloc(sizeof *ring);
    if (ring == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the events of rank %d", (int)rank);
    }
    *ring = (struct pp_ring){.descriptor = -1};
    enum pp_status status = PP_OK;
    if (folder != NULL) {
        status = map_file(ring, folder, rank, err);
    } else if ((ring->file = calloc(1, sizeof *ring->file)) == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory for the events of rank %d", (int)rank);
    }
    if (status != PP_OK) {
        free(ring);
        return status;
    }
    struct header header = {.magic = ring_magic,
                            .version = VERSION,
                            .event_count = PP_RING_EVENTS,
                            .process = getpid()};
    pp_copy(header.program, sizeof header.program, program_hash);
    get_boot(header.boot);
    header.check = header_check(&header);
    ring->file->header = header;
    *ring_p = ring;
    return PP_OK;
}

void pp_ring_write(struct pp_ring *ring, const struct pp_event *event) {
    uint64_t words[EVENT_WORDS];
    memcpy(words, event, sizeof words);
    uint64_t number = ++ring->number;
    struct slot *slot = &ring->file->slots[(number - 1) % PP_RING_EVENTS];
    atomic_store_explicit(&slot->number, number, memory_order_relaxed);
    for (int i = 0; i < EVENT_WORDS; i++) {
        atomic_store_explicit(&slot->words[i], words[i], memory_order_relaxed);
    }
    atomic_store_explicit(&slot->check, check_of(words, EVENT_WORDS, number), memory_order_relaxed);
}

/* ---- reading ---- */

static enum pp_status read_bytes(int fd, const char *path, struct file *file, struct pp_err *err) {
    size_t size = 0;
    while (size < sizeof *file) {
        ssize_t n = pread(fd, (char *)file + size, sizeof *file - size, (off_t)size);
        if (n < 0 && errno != EINTR) {
            return pp_fail(err, PP_E_FILE, "cannot read %s: %s", path, strerror(errno));
        }
        if (n == 0) {
            return pp_fail(err, PP_E_FILE, "%s has %zu bytes, expected a ring of %zu", path, size,
                           sizeof *file);
        }
        size += n > 0 ? (size_t)n : 0;
    }
    return PP_OK;
}

static enum pp_status check_header(const struct header *header, const char *path,
                                   const char *program_hash, struct pp_err *err) {
    if (header->magic != ring_magic || header->check != header_check(header)) {
        return pp_fail(err, PP_E_FILE, "%s is not a ring of events", path);
    }
    if (header->version != VERSION || header->event_count != PP_RING_EVENTS) {
        return pp_fail(err, PP_E_FILE, "%s is of version %u with %u events, expected %d with %d",
                       path, header->version, header->event_count, VERSION, PP_RING_EVENTS);
    }
    /* what has the right check was written by us: its texts end */
    if (program_hash != NULL && strcmp(header->program, program_hash) != 0) {
        return pp_fail(err, PP_E_FILE, "%s is of program %.12s, expected %.12s", path,
                       header->program, program_hash);
    }
    return PP_OK;
}

/* The event of a slot. @return its number, 0 if it has none or is being written */
static uint64_t take_event(const struct slot *slot, uint64_t index, struct pp_event *event) {
    uint64_t words[EVENT_WORDS];
    uint64_t number = atomic_load_explicit(&slot->number, memory_order_relaxed);
    for (int i = 0; i < EVENT_WORDS; i++) {
        words[i] = atomic_load_explicit(&slot->words[i], memory_order_relaxed);
    }
    uint64_t check = atomic_load_explicit(&slot->check, memory_order_relaxed);
    if (number == 0 || (number - 1) % PP_RING_EVENTS != index ||
        check != check_of(words, EVENT_WORDS, number)) {
        return 0;
    }
    memcpy(event, words, sizeof *event);
    return event->kind >= 0 && event->kind <= PP_EVENT_ENDED ? number : 0;
}

static void take_events(const struct file *file, struct pp_ring_reading *reading) {
    struct pp_event events[PP_RING_EVENTS];
    uint64_t numbers[PP_RING_EVENTS], last = 0;
    for (uint64_t i = 0; i < PP_RING_EVENTS; i++) {
        numbers[i] = take_event(&file->slots[i], i, &events[i]);
        last = numbers[i] > last ? numbers[i] : last;
    }
    reading->count = 0;
    for (uint64_t back = PP_RING_EVENTS; back-- > 0;) {
        uint64_t number = last - back; /* wraps where there are fewer: then no slot has it */
        uint64_t i = (number - 1) % PP_RING_EVENTS;
        if (number <= last && number > 0 && numbers[i] == number) {
            reading->events[reading->count++] = events[i];
        }
    }
}

/* Where it cannot be told, yes: nobody is said to be dead who may live. */
static bool is_locked(int fd) {
    struct flock lock = whole_file(F_RDLCK);
    return fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

enum pp_status pp_ring_read(const char *folder, int32_t rank, const char *program_hash,
                            struct pp_ring_reading *reading_p, struct pp_err *err) {
    char path[PP_RING_PATH_BYTES];
    pp_ring_path(folder, rank, path, sizeof path);
    /* not to wait where a pipe has that name */
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return pp_fail(err, PP_E_FILE, "cannot read %s: %s", path, strerror(errno));
    }
    /* Asked before what it wrote is read, so that of a dead writer nothing is missed, and after, as
     * the writer may have come in between. */
    bool locked = is_locked(fd);
    struct file file;
    enum pp_status status = read_bytes(fd, path, &file, err);
    locked = locked || is_locked(fd);
    close(fd);
    PP_TRY(status);
    PP_TRY(check_header(&file.header, path, program_hash, err));
    char boot[BOOT_BYTES];
    get_boot(boot);
    reading_p->same_machine = strcmp(boot, file.header.boot) == 0;
    reading_p->alive = locked;
    reading_p->process = file.header.process;
    take_events(&file, reading_p);
    return PP_OK;
}

static bool done_after(const struct pp_ring_reading *r, int32_t from, int32_t action) {
    for (int32_t i = from + 1; i < r->count; i++) {
        if (r->events[i].kind == PP_EVENT_DONE && r->events[i].action == action) {
            return true;
        }
    }
    return false;
}

int32_t pp_ring_last_open(const struct pp_ring_reading *reading) {
    for (int32_t i = reading->count - 1; i >= 0; i--) {
        const struct pp_event *e = &reading->events[i];
        if (e->kind == PP_EVENT_BEGIN || e->kind == PP_EVENT_STEP_DONE ||
            e->kind == PP_EVENT_ENDED) {
            return -1; /* what came before is of an earlier step */
        }
        if (e->kind != PP_EVENT_BLOCKED && e->kind != PP_EVENT_STARTED &&
            e->kind != PP_EVENT_POSTED) {
            continue;
        }
        int32_t action = e->action >= 0 ? e->action : e->other; /* at the end of its list */
        if (action >= 0 && !done_after(reading, i, action)) {
            return i;
        }
    }
    return -1;
}

int32_t pp_ring_last_action(const struct pp_ring_reading *reading) {
    int32_t at = pp_ring_last_open(reading);
    if (at < 0) {
        return -1;
    }
    const struct pp_event *e = &reading->events[at];
    return e->action >= 0 ? e->action : e->other;
}

/* ---- leaving ---- */

/* Says that the writer leaves, unless it has said that it failed: within a step it gives up. */
static void say_goodbye(struct pp_ring *ring) {
    struct pp_ring_reading own;
    take_events(ring->file, &own);
    const struct pp_event *last = own.count > 0 ? &own.events[own.count - 1] : NULL;
    bool within_step = last != NULL && last->kind != PP_EVENT_STEP_DONE;
    const struct pp_event goodbye = {.time_ns = pp_now_ns(),
                                     .step = last != NULL ? last->step : -1,
                                     .action = within_step ? pp_ring_last_action(&own) : -1,
                                     .other = -1,
                                     .kind = within_step ? PP_EVENT_FAILED : PP_EVENT_ENDED};
    if (last == NULL || last->kind != PP_EVENT_FAILED) {
        pp_ring_write(ring, &goodbye);
    }
}

void pp_ring_destroy(struct pp_ring *ring) {
    if (ring == NULL) {
        return;
    }
    say_goodbye(ring);
    if (ring->descriptor < 0) {
        free(ring->file);
    } else {
        munmap(ring->file, sizeof *ring->file);
        close(ring->descriptor);
    }
    free(ring);
}
