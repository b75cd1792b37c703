#include "sim/engine_heap.h"

#include <stdlib.h>

enum { SENTINELS = 4 };

bool pp_engine_heap_init(struct pp_engine_heap *h, int32_t id_count) {
    size_t ids = (size_t)id_count;
    *h = (struct pp_engine_heap){.id_count = id_count, .count = id_count};
    h->nodes = malloc((ids + SENTINELS) * sizeof *h->nodes);
    h->place = malloc((ids + 1) * sizeof *h->place);
    return h->nodes != NULL && h->place != NULL;
}

void pp_engine_heap_deinit(struct pp_engine_heap *h) {
    free(h->nodes);
    free(h->place);
}

void pp_engine_heap_clear(struct pp_engine_heap *h) {
    for (int32_t i = 0; i < h->id_count; i++) {
        h->place[i] = -1;
    }
    for (int32_t i = 0; i < h->id_count + SENTINELS; i++) {
        h->nodes[i] = (struct pp_engine_node){.at_ns = INT64_MAX, .id = 0};
    }
    h->count = 0;
    h->has_hole = false;
}

bool pp_engine_cup_init(struct pp_engine_cup *c, int32_t id_count) {
    c->size = 1;
    while (c->size < (uint32_t)id_count) {
        c->size *= 2;
    }
    c->at_ns = malloc(2 * (size_t)c->size * (sizeof *c->at_ns + sizeof *c->id));
    if (c->at_ns == NULL) {
        return false;
    }
    c->id = (uint32_t *)(c->at_ns + 2 * (size_t)c->size);
    return true;
}

void pp_engine_cup_deinit(struct pp_engine_cup *c) {
    free(c->at_ns);
}

void pp_engine_cup_clear(struct pp_engine_cup *c) {
    for (uint32_t i = 0; i < 2 * c->size; i++) {
        c->at_ns[i] = INT64_MAX;
        c->id[i] = i & (c->size - 1);
    }
}
