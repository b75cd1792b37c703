/* Counts what a program allocates. Link with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,
 * --wrap=aligned_alloc,--wrap=posix_memalign,--wrap=free; include in one file. */
#ifndef PP_TESTS_COUNT_MEMORY_H
#define PP_TESTS_COUNT_MEMORY_H

#include <malloc.h>
#include <stddef.h>
#include <stdint.h>

static int64_t allocation_count; /* calls that handed out memory */
static int64_t live_bytes;       /* handed out and not given back */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **room_p, size_t alignment, size_t size);
void __real_free(void *room);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **room_p, size_t alignment, size_t size);
void __wrap_free(void *room);

static void *count_memory(void *room) {
    allocation_count++;
    live_bytes += (int64_t)malloc_usable_size(room);
    return room;
}

void *__wrap_malloc(size_t size) {
    return count_memory(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size) {
    return count_memory(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size) {
    live_bytes -= (int64_t)malloc_usable_size(old);
    return count_memory(__real_realloc(old, size));
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return count_memory(__real_aligned_alloc(alignment, size));
}

int __wrap_posix_memalign(void **room_p, size_t alignment, size_t size) {
    int status = __real_posix_memalign(room_p, alignment, size);
    if (status == 0) {
        count_memory(*room_p);
    }
    return status;
}

void __wrap_free(void *room) {
    live_bytes -= (int64_t)malloc_usable_size(room);
    __real_free(room);
}

#endif
