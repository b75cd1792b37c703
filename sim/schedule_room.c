#define _DEFAULT_SOURCE /* madvise */
#include "sim/schedule_room.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LARGE_PAGE_BYTES = 1 << 21 };

void *pp_room_alloc(size_t size) {
#ifdef MADV_HUGEPAGE
    if (size >= LARGE_PAGE_BYTES) {
        void *room = NULL;
        if (posix_memalign(&room, LARGE_PAGE_BYTES, size) != 0) {
            return NULL;
        }
        void *exact = realloc(room, size); /* gives back what was there to align */
        room = exact == NULL ? room : exact;
        madvise(room, size, MADV_HUGEPAGE); /* a wish: small pages do as well */
        return room;
    }
#endif
    return malloc(size);
}

void *pp_room_alloc_zero(size_t size) {
    if (size < LARGE_PAGE_BYTES) {
        return calloc(1, size);
    }
    void *room = pp_room_alloc(size);
    return room == NULL ? NULL : memset(room, 0, size);
}
