/**
 * @file picture_priv.h
 * What the pictures share: layout in pixels, units, colours, and writing both files.
 */
#ifndef PP_REPORTS_PICTURE_PRIV_H
#define PP_REPORTS_PICTURE_PRIV_H

#include "reports/gnuplot.h"
#include "reports/picture.h"

enum { PP_PICTURE_WIDTH = 1280 };

/** A picture under construction: data blocks once, then commands that are run for each format. */
struct pp_picture {
    const char *name; /* file name without ending */
    int32_t height;   /* pixels */
    struct pp_text data;
    struct pp_text commands;
};

/**
 * Writes <dir>/<name>.svg and .png through temporary names; frees the texts in every case.
 * @return PP_OK, PP_E_ENV, PP_E_IO, PP_E_NOMEM, PP_E_INTERRUPTED
 */
enum pp_status pp_picture_write(struct pp_picture *picture, const char *dir, struct pp_err *err);

/** Appends a text that may be empty or have run out of memory. */
void pp_picture_append(struct pp_text *to, const struct pp_text *from);

/** Unit for times up to max_ns: how many ns one unit has, and its name. */
struct pp_time_unit {
    double ns;
    const char *name;
};
struct pp_time_unit pp_picture_time_unit(int64_t max_ns);

/** "12.3 ms" in the unit that suits the time itself. @return out */
enum { PP_PICTURE_TIME_BYTES = 32 };
const char *pp_picture_time_text(int64_t ns, char out[PP_PICTURE_TIME_BYTES]);

double pp_picture_gib(int64_t bytes);

/** Mixes a colour 0xRRGGBB with white: amount 0 leaves it, 1 is white. */
uint32_t pp_picture_lighten(uint32_t rgb, double amount);

/** Colour of series `index` of `count`, ordered dark to light, apart for colour-blind readers. */
uint32_t pp_picture_ordered_colour(int32_t index, int32_t count);

/** Places the axes: pixels from the left, right, top and bottom edges of the picture. */
void pp_picture_margins(struct pp_picture *p, int32_t left, int32_t right, int32_t top,
                        int32_t bottom);

/** A heading above axes that begin `top` pixels below the picture's top edge, at `left`. */
void pp_picture_heading(struct pp_picture *p, int32_t left, int32_t top, const char *text);

#endif
