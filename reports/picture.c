#include "reports/picture_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FORMAT_COUNT = 2, PATH_BYTES = 4096 };

/* Font sizes: the svg terminal counts pixels, pngcairo points of 4/3 pixels. `tail` is what a whole
   file ends with, which tells it from one that a full disk cut. */
static const struct format {
    const char *ending, *terminal, *tail;
    size_t tail_size;
    int small, normal; /* font sizes, for commands as small_font and normal_font */
} formats[FORMAT_COUNT] = {
    {"svg", "svg noenhanced font 'DejaVu Sans,13' background rgb 'white'", "</svg>\n\n", 8, 11, 13},
    {"png", "pngcairo noenhanced font 'DejaVu Sans,10' background rgb 'white'",
     "IEND\xae\x42\x60\x82", 8, 8, 10},
};

void pp_picture_append(struct pp_text *to, const struct pp_text *from) {
    if (from->size > 0) {
        pp_text_add(to, from->bytes, from->size);
    }
    to->failed = to->failed || from->failed;
}

struct paths {
    char temporary[FORMAT_COUNT][PATH_BYTES];
    char final[FORMAT_COUNT][PATH_BYTES];
};

static enum pp_status fail_io(const char *path, const char *why, struct pp_err *err) {
    pp_fail(err, PP_E_IO, "cannot write %s: %s", path, why);
    pp_hint(err, "name an existing directory that can be written and has room");
    return PP_E_IO;
}

static enum pp_status name_files(const struct pp_picture *p, const char *dir, struct paths *paths,
                                 struct pp_err *err) {
    for (int f = 0; f < FORMAT_COUNT; f++) {
        int n = snprintf(paths->final[f], PATH_BYTES, "%s/%s.%s", dir, p->name, formats[f].ending);
        int m = snprintf(paths->temporary[f], PATH_BYTES, "%s/.%s.%ld.tmp.%s", dir, p->name,
                         (long)getpid(), formats[f].ending);
        if (n < 0 || m < 0 || n >= PATH_BYTES || m >= PATH_BYTES) {
            return pp_fail(err, PP_E_IO, "cannot write into %.200s...: the path is too long", dir);
        }
    }
    return PP_OK;
}

/* gnuplot says little about a file it cannot open, so open it first. */
static enum pp_status create_files(const struct paths *paths, struct pp_err *err) {
    for (int f = 0; f < FORMAT_COUNT; f++) {
        int fd = open(paths->temporary[f], O_WRONLY | O_CREAT | O_TRUNC, 0666);
        if (fd < 0) {
            return fail_io(paths->final[f], strerror(errno), err);
        }
        close(fd);
    }
    return PP_OK;
}

static bool is_whole(const char *path, const struct format *format) {
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return false;
    }
    char tail[16];
    bool whole = fseek(f, -(long)format->tail_size, SEEK_END) == 0 &&
                 fread(tail, 1, format->tail_size, f) == format->tail_size &&
                 memcmp(tail, format->tail, format->tail_size) == 0;
    fclose(f);
    return whole;
}

static enum pp_status rename_files(const struct paths *paths, struct pp_err *err) {
    for (int f = 0; f < FORMAT_COUNT; f++) {
        if (!is_whole(paths->temporary[f], &formats[f])) {
            return fail_io(paths->final[f], "gnuplot left an incomplete file", err);
        }
    }
    for (int f = 0; f < FORMAT_COUNT; f++) {
        if (rename(paths->temporary[f], paths->final[f]) != 0) {
            return fail_io(paths->final[f], strerror(errno), err);
        }
    }
    return PP_OK;
}

static enum pp_status run(struct pp_picture *p, const struct paths *paths, struct pp_err *err) {
    struct pp_text script = {0};
    pp_text_puts(&script, "set encoding utf8\n");
    pp_picture_append(&script, &p->data);
    for (int f = 0; f < FORMAT_COUNT; f++) {
        pp_text_printf(&script,
                       "reset\nsmall_font = ',%d'\nnormal_font = ',%d'\nset terminal %s size "
                       "%d,%d\nset output ",
                       formats[f].small, formats[f].normal, formats[f].terminal, PP_PICTURE_WIDTH,
                       p->height);
        pp_gnuplot_quote(&script, paths->temporary[f]);
        pp_text_puts(&script, "\n");
        pp_picture_append(&script, &p->commands);
        pp_text_puts(&script, "unset output\n");
    }
    enum pp_status status = script.failed
                                ? pp_fail(err, PP_E_NOMEM, "out of memory drawing %s", p->name)
                                : pp_gnuplot_run(script.bytes, script.size, err);
    pp_text_free(&script);
    return status;
}

enum pp_status pp_picture_write(struct pp_picture *picture, const char *dir, struct pp_err *err) {
    enum pp_status status;
    struct paths *paths = malloc(sizeof *paths);
    if (paths == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory drawing %s", picture->name);
        goto free_texts;
    }
    status = name_files(picture, dir, paths, err);
    if (status != PP_OK) {
        goto free_paths;
    }
    status = create_files(paths, err);
    status = status == PP_OK ? run(picture, paths, err) : status;
    status = status == PP_OK ? rename_files(paths, err) : status;
    for (int f = 0; f < FORMAT_COUNT && status != PP_OK; f++) {
        unlink(paths->temporary[f]);
    }
free_paths:
    free(paths);
free_texts:
    pp_text_free(&picture->data);
    pp_text_free(&picture->commands);
    return status;
}

struct pp_time_unit pp_picture_time_unit(int64_t max_ns) {
    if (max_ns >= 2000000000) {
        return (struct pp_time_unit){1e9, "s"};
    }
    if (max_ns >= 2000000) {
        return (struct pp_time_unit){1e6, "ms"};
    }
    return max_ns >= 2000 ? (struct pp_time_unit){1e3, "us"} : (struct pp_time_unit){1, "ns"};
}

const char *pp_picture_time_text(int64_t ns, char out[PP_PICTURE_TIME_BYTES]) {
    struct pp_time_unit unit = pp_picture_time_unit(ns);
    snprintf(out, PP_PICTURE_TIME_BYTES, "%.4g %s", (double)ns / unit.ns, unit.name);
    return out;
}

double pp_picture_gib(int64_t bytes) {
    return (double)bytes / (double)(1 << 30);
}

static uint32_t mix(uint32_t a, uint32_t b, double amount) {
    uint32_t out = 0;
    for (int shift = 0; shift <= 16; shift += 8) {
        double x = (double)(a >> shift & 0xff);
        double y = (double)(b >> shift & 0xff);
        out |= (uint32_t)(x + (y - x) * amount + 0.5) << shift;
    }
    return out;
}

uint32_t pp_picture_lighten(uint32_t rgb, double amount) {
    return mix(rgb, 0xffffff, amount);
}

uint32_t pp_picture_ordered_colour(int32_t index, int32_t count) {
    /* dark to light through hues that stay apart without red-green sight; ends before yellow fades
     */
    static const uint32_t stops[] = {0x30186a, 0x3b4a9e, 0x1f7fa3, 0x1fa187, 0x6cbf4b, 0xd8b816};
    enum { LAST = sizeof stops / sizeof stops[0] - 1 };
    double at = count > 1 ? (double)index * LAST / (double)(count - 1) : 1.0;
    int low = at >= LAST ? LAST - 1 : (int)at;
    return mix(stops[low], stops[low + 1], at - low);
}

void pp_picture_margins(struct pp_picture *p, int32_t left, int32_t right, int32_t top,
                        int32_t bottom) {
    pp_text_printf(&p->commands,
                   "set lmargin at screen %.6f\nset rmargin at screen %.6f\n"
                   "set tmargin at screen %.6f\nset bmargin at screen %.6f\n",
                   (double)left / PP_PICTURE_WIDTH, 1.0 - (double)right / PP_PICTURE_WIDTH,
                   1.0 - (double)top / p->height, (double)bottom / p->height);
}

void pp_picture_heading(struct pp_picture *p, int32_t left, int32_t top, const char *text) {
    pp_text_puts(&p->commands, "set label 1 ");
    pp_gnuplot_quote(&p->commands, text);
    pp_text_printf(&p->commands, " at screen %.6f, screen %.6f left tc rgb '#222222'\n",
                   (double)left / PP_PICTURE_WIDTH, 1.0 - (double)(top - 14) / p->height);
}
