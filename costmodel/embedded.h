/**
 * @file embedded.h
 * Data files of the source tree compiled into the program, so that it runs from
 * anywhere. Immutable; any number of threads may read.
 */
#ifndef PP_COSTMODEL_EMBEDDED_H
#define PP_COSTMODEL_EMBEDDED_H

struct pp_embedded_file {
    const char *name; /* file name without folder and extension; NULL ends the table */
    const char *text; /* the file's bytes, zero-terminated */
};

extern const struct pp_embedded_file pp_embedded_hardware[]; /* costmodel/data/hardware/ */
extern const struct pp_embedded_file pp_embedded_models[];   /* costmodel/data/models/ */
extern const struct pp_embedded_file pp_embedded_schema[];   /* sim/schema*.sql */

#endif
