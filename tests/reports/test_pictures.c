#include "reports/gnuplot.h"
#include "reports/picture.h"
#include "sim/eval.h"
#include "sim/generate.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A directory of the test's own, emptied and removed at its end. */
static char dir[] = "/tmp/pp-pictures-XXXXXX";

static void make_dir(void) {
    cr_assert_not_null(mkdtemp(dir));
}

static int count_files(bool remove_them) {
    DIR *d = opendir(dir);
    int n = 0;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            char path[512];
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            n++;
            if (remove_them) {
                unlink(path);
            }
        }
    }
    closedir(d);
    return n;
}

static void remove_dir(void) {
    count_files(true);
    rmdir(dir);
}

TestSuite(pictures, .init = make_dir, .fini = remove_dir);

static char *read_file(const char *name, size_t *size_p) {
    char path[512];
    char *text;
    struct pp_err err = {0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    cr_assert_eq(pp_read_file(path, 64 << 20, &text, size_p, &err), PP_OK, "%s", err.message);
    return text;
}

/* Not strstr, which under the address sanitizer measures the whole text at each call. */
static int count_of(const char *text, const char *what) {
    size_t size = strlen(what);
    int n = 0;
    for (const char *p = text; *p != '\0'; p++) {
        n += *p == *what && strncmp(p, what, size) == 0;
    }
    return n;
}

static void expect_png(const char *name) {
    size_t size;
    char *png = read_file(name, &size);
    cr_expect(size > 1000 && memcmp(png, "\x89PNG\r\n\x1a\n", 8) == 0, "%s", name);
    free(png);
}

/* 1 ms each of F, I and W of a stage; `pair_ns` 0: pairs run in order. */
static void make_trace(const char *schedule, struct pp_gen_config config, int64_t pair_ns,
                       struct pp_trace *trace) {
    const struct pp_schedule_info *info;
    struct pp_sched *s;
    struct pp_eval *e;
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_find(schedule, &info, &err), PP_OK);
    cr_assert_eq(pp_schedule_generate(info, &config, &s, &err), PP_OK, "%s", err.message);
    int64_t ns[512];
    int64_t pair[512];
    int64_t twice[512];
    int64_t zero[512] = {0};
    for (int i = 0; i < 512; i++) {
        ns[i] = 1000000;
        pair[i] = pair_ns;
        twice[i] = 2 * ns[i];
    }
    cr_assert_leq(s->stage_count, 512);
    struct pp_costs costs = {
        .f_ns = ns,
        .i_ns = ns,
        .w_ns = ns,
        .b_ns = twice,
        .pair_ns = pair_ns > 0 ? pair : NULL,
        .recv_f_ns = zero,
        .recv_b_ns = zero,
    };
    cr_assert_eq(pp_eval_create(s, &e, NULL, &err), PP_OK);
    cr_assert_eq(pp_trace_init(trace, s, &err), PP_OK);
    cr_assert_eq(pp_eval_run(e, &costs, trace, &err), PP_OK);
    pp_eval_destroy(e);
}

static void drop_trace(struct pp_trace *trace) {
    struct pp_sched *s = (struct pp_sched *)trace->sched;
    pp_trace_deinit(trace);
    pp_sched_destroy(s);
}

static void draw_gantt(const struct pp_gantt *charts, int count) {
    struct pp_err err = {0};
    cr_assert_eq(pp_picture_gantt(charts, count, dir, &err), PP_OK, "%s", err.message);
}

/* Colours as the svg terminal writes them. */
#define F_FILL "rgb( 47, 109, 181)"
#define B_FILL "rgb(239, 138,  29)"
#define I_FILL "rgb( 26, 166, 166)"
#define W_FILL "rgb( 92, 168,  58)"

Test(pictures, gantt_has_a_box_for_every_action_and_a_number_in_each) {
    struct pp_trace t;
    make_trace("1F1B",
               (struct pp_gen_config){.rank_count = 3, .stages_per_rank = 1, .microbatch_count = 5},
               0, &t);
    draw_gantt(&(struct pp_gantt){"a title", &t, 1}, 1);
    size_t size;
    char *svg = read_file("gantt.svg", &size);
    /* each box is its filled area and one entry of the key */
    cr_expect_eq(count_of(svg, F_FILL), 15 + 1);
    cr_expect_eq(count_of(svg, B_FILL), 15 + 1);
    cr_expect_eq(count_of(svg, I_FILL) + count_of(svg, W_FILL), 0);
    cr_expect_eq(count_of(svg, ">3</text>"), 6, "microbatch 3 on 3 ranks, F and B");
    cr_expect_eq(count_of(svg, ">a title</text>"), 1);
    cr_expect_eq(count_of(svg, "rank 2 · stage 2"), 1);
    free(svg);
    expect_png("gantt.png");
    cr_expect_eq(count_files(false), 2);
    drop_trace(&t);
}

Test(pictures, gantt_draws_a_step_of_several_flushes) {
    struct pp_trace t;
    make_trace("1F1B",
               (struct pp_gen_config){.rank_count = 3, .stages_per_rank = 1, .microbatch_count = 5},
               0, &t);
    draw_gantt(&(struct pp_gantt){"three flushes", &t, 3}, 1);
    size_t size;
    char *svg = read_file("gantt.svg", &size);
    cr_expect_eq(count_of(svg, F_FILL), 3 * 15 + 1);
    cr_expect_eq(count_of(svg, B_FILL), 3 * 15 + 1);
    free(svg);
    drop_trace(&t);
}

Test(pictures, gantt_stacks_charts_and_shades_stages) {
    struct pp_trace t[2];
    make_trace("ZBVZeroBubble",
               (struct pp_gen_config){.rank_count = 2, .stages_per_rank = 2, .microbatch_count = 4},
               0, &t[0]);
    make_trace("DualPipeV",
               (struct pp_gen_config){.rank_count = 2, .stages_per_rank = 2, .microbatch_count = 4},
               1500000, &t[1]);
    draw_gantt((struct pp_gantt[]){{"one", &t[0], 1}, {"two", &t[1], 1}}, 2);
    size_t size;
    char *svg = read_file("gantt.svg", &size);
    cr_expect_gt(count_of(svg, I_FILL), 2);
    cr_expect_gt(count_of(svg, W_FILL), 2);
    cr_expect_eq(count_of(svg, "rank 0 · stages 0, 3"), 2);
    cr_expect_eq(count_of(svg, "later stage of the rank"), 1);
    cr_expect_eq(count_of(svg, ">one</text>") + count_of(svg, ">two</text>"), 2);
    free(svg);
    drop_trace(&t[0]);
    drop_trace(&t[1]);
}

Test(pictures, same_input_same_bytes) {
    struct pp_trace t;
    make_trace("Interleaved1F1B",
               (struct pp_gen_config){.rank_count = 4, .stages_per_rank = 2, .microbatch_count = 8},
               0, &t);
    const char *const names[] = {"gantt.svg", "gantt.png"};
    char *first[2];
    size_t first_size[2];
    draw_gantt(&(struct pp_gantt){"same", &t, 1}, 1);
    for (int i = 0; i < 2; i++) {
        first[i] = read_file(names[i], &first_size[i]);
    }
    draw_gantt(&(struct pp_gantt){"same", &t, 1}, 1);
    for (int i = 0; i < 2; i++) {
        size_t size;
        char *second = read_file(names[i], &size);
        cr_expect(size == first_size[i] && memcmp(first[i], second, size) == 0, "%s", names[i]);
        free(second);
        free(first[i]);
    }
    drop_trace(&t);
}

Test(pictures, titles_are_text_never_commands) {
    struct pp_trace t;
    make_trace("GPipe",
               (struct pp_gen_config){.rank_count = 1, .stages_per_rank = 1, .microbatch_count = 1},
               0, &t);
    draw_gantt(
        &(struct pp_gantt){"it's '; system(\"touch x\") \n`id` {/Bold a}_b %g \\ & <tag>\x01", &t,
                           1},
        1);
    size_t size;
    char *svg = read_file("gantt.svg", &size);
    cr_expect_not_null(strstr(svg, "it's '; system(\"touch x\")  `id` {/Bold a}_b %g \\ "
                                   "&amp; &lt;tag> "));
    free(svg);
    drop_trace(&t);
}

Test(pictures, many_ranks_and_microbatches_stay_quick_and_small) {
    struct pp_trace t;
    make_trace(
        "1F1B",
        (struct pp_gen_config){.rank_count = 64, .stages_per_rank = 1, .microbatch_count = 1024}, 0,
        &t);
    struct timespec begin;
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    draw_gantt(&(struct pp_gantt){"large", &t, 1}, 1);
    clock_gettime(CLOCK_MONOTONIC, &end);
    cr_expect_lt(end.tv_sec - begin.tv_sec, 20); /* about 1 s; a loaded machine may take longer */
    size_t size;
    char *svg = read_file("gantt.svg", &size);
    cr_expect_lt(size, 12u << 20);
    /* merged boxes keep the proportions: half as much F as B */
    double f = count_of(svg, F_FILL);
    double b = count_of(svg, B_FILL);
    cr_expect(f > 0.3 * b && f < 0.8 * b, "%g F, %g B", f, b);
    free(svg);
    drop_trace(&t);
}

Test(pictures, more_ranks_than_rows_are_thinned_out) {
    struct pp_trace t;
    make_trace(
        "GPipe",
        (struct pp_gen_config){.rank_count = 300, .stages_per_rank = 1, .microbatch_count = 2}, 0,
        &t);
    draw_gantt(&(struct pp_gantt){"many", &t, 1}, 1);
    size_t size;
    char *svg = read_file("gantt.svg", &size);
    cr_expect_eq(count_of(svg, "not every rank is shown"), 1);
    free(svg);
    drop_trace(&t);
}

static void draw_memory(int rank_count, int64_t limit_bytes) {
    static struct pp_memory_point points[100][3];
    static const struct pp_memory_point *lines[100];
    static int32_t counts[100];
    for (int r = 0; r < rank_count; r++) {
        points[r][0] = (struct pp_memory_point){0, (int64_t)10 << 30};
        points[r][1] = (struct pp_memory_point){1000000, (int64_t)(20 + r) << 30};
        points[r][2] = (struct pp_memory_point){5000000, (int64_t)10 << 30};
        lines[r] = points[r];
        counts[r] = 3;
    }
    struct pp_memory_chart chart = {"memory", rank_count, lines, counts, limit_bytes};
    struct pp_err err = {0};
    cr_assert_eq(pp_picture_memory(&chart, 1, dir, &err), PP_OK, "%s", err.message);
}

Test(pictures, memory_names_peak_limit_and_ranks) {
    draw_memory(4, (int64_t)80 << 30);
    size_t size;
    char *svg = read_file("memory.svg", &size);
    cr_expect_eq(count_of(svg, "peak: rank 3, 23 GiB"), 1);
    cr_expect_eq(count_of(svg, "limit 80 GiB"), 1);
    cr_expect_eq(count_of(svg, ">rank 2</text>"), 1);
    free(svg);
    expect_png("memory.png");
    draw_memory(100, 0);
    svg = read_file("memory.svg", &size);
    cr_expect_eq(count_of(svg, "peak: rank 99, 119 GiB"), 1);
    cr_expect_eq(count_of(svg, ">rank 2</text>") + count_of(svg, "limit "), 0);
    free(svg);
}

static void draw_pareto(const struct pp_pareto_point *points, int count, int64_t limit) {
    struct pp_err err = {0};
    cr_assert_eq(pp_picture_pareto(points, count, limit, dir, &err), PP_OK, "%s", err.message);
}

Test(pictures, pareto_marks_current_best_and_limit) {
    const struct pp_pareto_point points[] = {
        {4000000000, (int64_t)60 << 30, true, true, false, "1F1B"},
        {3000000000, (int64_t)70 << 30, true, false, true, "ZBVZeroBubble"},
        {2000000000, (int64_t)90 << 30, false, false, false, "GPipe"},
    };
    draw_pareto(points, 3, (int64_t)80 << 30);
    size_t size;
    char *svg = read_file("pareto.svg", &size);
    const char *const texts[] = {
        ">as it is<",      ">best<",        "out of memory above 80 GiB", ">1F1B<", ">GPipe<",
        ">ZBVZeroBubble<", "step time (s)", "hollow: does not fit"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        cr_expect_eq(count_of(svg, texts[i]), 1, "%s", texts[i]);
    }
    free(svg);
    expect_png("pareto.png");
}

Test(pictures, pareto_takes_odd_sets) {
    const struct pp_pareto_point same = {0, 0, false, true, true, "it's"};
    draw_pareto(&same, 1, 0);
    struct pp_pareto_point *many = calloc(5000, sizeof *many);
    for (int i = 0; i < 5000; i++) { /* a range that needs logarithmic axes */
        many[i] = (struct pp_pareto_point){(int64_t)(i + 1) * (i + 1) * 1000,
                                           (int64_t)(i + 1) << 25,
                                           i < 2500,
                                           i == 9,
                                           i == 0,
                                           "x"};
    }
    draw_pareto(many, 5000, (int64_t)80 << 30);
    free(many);
}

static enum pp_status draw_something(const char *where, struct pp_err *err) {
    const struct pp_pareto_point point = {1, 1, true, true, true, "x"};
    return pp_picture_pareto(&point, 1, 0, where, err);
}

/* Puts a stand-in for gnuplot, a shell script, on PATH. */
static void stand_in(const char *script) {
    char path[512];
    char search[600];
    snprintf(path, sizeof path, "%s/gnuplot", dir);
    FILE *f = fopen(path, "w");
    fprintf(f, "#!/bin/sh\n%s\n", script);
    fclose(f);
    chmod(path, 0755);
    snprintf(search, sizeof search, "%s:/usr/bin:/bin", dir);
    setenv("PATH", search, 1);
}

Test(pictures, gnuplot_missing_says_what_to_install) {
    setenv("PATH", "/nonexistent", 1);
    struct pp_err err = {0};
    cr_expect_eq(draw_something(dir, &err), PP_E_ENV);
    cr_expect_not_null(strstr(err.hint, "gnuplot-nox"), "%s", err.hint);
    cr_expect_eq(count_files(false), 0);
}

Test(pictures, gnuplot_failing_passes_its_words_on) {
    stand_in("cat > /dev/null; echo 'unknown terminal type' >&2; echo second >&2; exit 3");
    struct pp_err err = {0};
    cr_expect_eq(draw_something(dir, &err), PP_E_ENV);
    cr_expect_str_eq(err.message,
                     "gnuplot failed with exit status 3: unknown terminal type second");
    cr_expect_eq(count_files(false), 1, "only the stand-in is left");
}

Test(pictures, gnuplot_dying_early_is_no_broken_pipe) {
    stand_in("exit 1");
    struct pp_err err = {0};
    size_t size = 8 << 20;
    char *script = malloc(size);
    memset(script, '#', size);
    cr_expect_eq(pp_gnuplot_run(script, size, &err), PP_E_ENV);
    free(script);
    stand_in("kill -9 $$");
    cr_expect_eq(draw_something(dir, &err), PP_E_ENV);
    cr_expect_not_null(strstr(err.message, "signal 9"), "%s", err.message);
    stand_in("kill -INT $$");
    cr_expect_eq(draw_something(dir, &err), PP_E_INTERRUPTED);
}

Test(pictures, half_written_files_are_not_left) {
    stand_in("cat > /dev/null");
    struct pp_err err = {0};
    cr_expect_eq(draw_something(dir, &err), PP_E_IO);
    cr_expect_not_null(strstr(err.message, "incomplete"), "%s", err.message);
    cr_expect_eq(count_files(false), 1, "only the stand-in is left");
}

Test(pictures, real_gnuplot_errors_arrive) {
    struct pp_err err = {0};
    const char *script = "plot nonsense(\n";
    cr_expect_eq(pp_gnuplot_run(script, strlen(script), &err), PP_E_ENV);
    cr_expect_not_null(strstr(err.message, "invalid expression"), "%s", err.message);
}

Test(pictures, directories_that_cannot_be_written_are_refused) {
    struct pp_err err = {0};
    cr_expect_eq(draw_something("/nonexistent/place", &err), PP_E_IO);
    cr_expect_eq(draw_something("/dev/null", &err), PP_E_IO);
    cr_expect_eq(draw_something("/proc", &err), PP_E_IO);
    char *path = calloc(1, 9000);
    memset(path, 'a', 8999);
    cr_expect_eq(draw_something(path, &err), PP_E_IO);
    free(path);
}

Test(pictures, nothing_to_draw_is_refused) {
    cr_expect_eq(pp_picture_gantt(NULL, 0, dir, NULL), PP_E_ARG);
    cr_expect_eq(pp_picture_memory(NULL, 0, dir, NULL), PP_E_ARG);
    cr_expect_eq(pp_picture_pareto(NULL, 0, 0, dir, NULL), PP_E_ARG);
}
