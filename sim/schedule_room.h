/**
 * @file schedule_room.h
 * Private: memory for arrays of a figure an action. Large ones ask the system for large pages, as
 * most of the time that a schedule of a million actions takes would else go to handing out small
 * ones.
 */
#ifndef PP_SIM_SCHEDULE_ROOM_H
#define PP_SIM_SCHEDULE_ROOM_H

#include <stddef.h>

/** As malloc and calloc(1, size); free with free. */
void *pp_room_alloc(size_t size);
void *pp_room_alloc_zero(size_t size);

#endif
