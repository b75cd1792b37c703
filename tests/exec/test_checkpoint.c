/* Checkpoints: they come back bit for bit, belong to what they say, and are whole or not there. */
#include "exec/checkpoint_priv.h"
#include "tests/exec/state_support.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { STAGES = 4 };

static void expect_said(const struct pp_err *err, const char *what) {
    cr_expect_not_null(strstr(err->message, what), "'%s' is not in: %s", what, err->message);
}

static struct held all_stages(int64_t numbers) {
    return make_held(STAGES, (const int32_t[]){0, 1, 2, 3}, numbers);
}

static void write_step(const char *folder, struct held *h, int64_t step, int32_t keep) {
    struct pp_err err = {0};
    const struct pp_checkpoint_key key = make_key(step, STAGES);
    fill_held(h, step);
    cr_assert_eq(write_alone(folder, h, &key, keep, &err), PP_OK, "%s", err.message);
}

/* Found and read back: the content of that step. */
static void expect_step(const char *folder, int64_t step) {
    struct pp_err err = {0};
    struct pp_checkpoint_key key = {0};
    cr_assert_eq(pp_checkpoint_find(folder, &key, &err), PP_OK, "%s", err.message);
    cr_assert_eq(key.step, step);
    struct held h = all_stages(1000);
    cr_assert_eq(read_alone(folder, &h, &key, &err), PP_OK, "%s", err.message);
    cr_assert(held_is(&h, step));
    free_held(&h);
}

Test(checkpoint, comes_back_on_other_ranks_bit_for_bit) {
    struct folder f = make_folder();
    char folder[128];
    snprintf(folder, sizeof folder, "%s/new", f.path); /* is made */
    const int64_t numbers = 700001;                    /* more than two blocks */
    struct held held[2] = {make_held(2, (const int32_t[]){0, 3}, numbers),
                           make_held(2, (const int32_t[]){2, 1}, numbers)};
    fill_held(&held[0], 5);
    fill_held(&held[1], 5);
    struct pp_checkpoint_key key = make_key(5, STAGES), found;
    struct part parts[2];
    write_together(folder, &key, held, 2, 1, parts);
    cr_assert(parts[0].status == PP_OK && parts[1].status == PP_OK, "%s", parts[0].err.message);
    cr_assert_eq(pp_checkpoint_find(folder, &found, NULL), PP_OK);
    cr_expect_eq(found.step, 5);
    cr_expect_eq(found.seed, 42);
    cr_expect_eq(found.stage_count, STAGES);
    cr_expect_str_eq(found.model, key.model);
    cr_expect_str_eq(found.program, key.program);

    struct held other[3] = {make_held(1, (const int32_t[]){1}, numbers),
                            make_held(2, (const int32_t[]){3, 2}, numbers),
                            make_held(2, (const int32_t[]){0, 1}, numbers)}; /* a copy of 1 */
    void *contexts[3] = {&other[0], &other[1], &other[2]};
    const struct pp_checkpoint_ranks ranks = {
        .compute = &held_ops, .contexts = contexts, .count = 3};
    struct pp_err err = {0};
    snprintf(found.program, sizeof found.program, "another schedule");
    cr_assert_eq(pp_checkpoint_read(folder, &found, &ranks, &err), PP_OK, "%s", err.message);
    for (int i = 0; i < 3; i++) {
        cr_expect(held_is(&other[i], 5));
        free_held(&other[i]);
    }
    free_held(&held[0]);
    free_held(&held[1]);
    remove_tree(f.path);
}

Test(checkpoint, of_any_size_around_a_block) {
    struct folder f = make_folder();
    int32_t exact = 0;
    for (int64_t numbers = 262034; numbers <= 262040; numbers++) {
        struct held h = make_held(1, (const int32_t[]){0}, numbers);
        const struct pp_checkpoint_key key = make_key(numbers, 1);
        struct pp_err err = {0};
        fill_held(&h, 3);
        cr_assert_eq(write_alone(f.path, &h, &key, 1, &err), PP_OK, "%s", err.message);
        fill_held(&h, 4);
        cr_assert_eq(read_alone(f.path, &h, &key, &err), PP_OK, "%s", err.message);
        cr_assert(held_is(&h, 3));
        char path[128];
        struct stat st;
        snprintf(path, sizeof path, "%s/step-%08d/stage-0000.bin", f.path, (int)numbers);
        cr_assert_eq(stat(path, &st), 0);
        exact += (size_t)st.st_size - sizeof(uint64_t) == PP_CHECKPOINT_BLOCK_BYTES;
        free_held(&h);
    }
    cr_expect_eq(exact, 1); /* the one that leaves no rest is among them */
    remove_tree(f.path);
}

Test(checkpoint, writes_copies_of_a_stage_once) {
    struct folder f = make_folder();
    struct held held[3] = {make_held(2, (const int32_t[]){0, 1}, 10),
                           make_held(2, (const int32_t[]){1, 0}, 10),
                           make_held(1, (const int32_t[]){2}, 10)};
    const struct pp_checkpoint_key key = make_key(1, 3);
    struct part parts[3];
    for (int i = 0; i < 3; i++) {
        fill_held(&held[i], 1);
    }
    fill_held(&held[1], 9); /* as no copy is: the first process's is the one that is written */
    write_together(f.path, &key, held, 3, 1, parts);
    cr_assert_eq(parts[2].status, PP_OK, "%s", parts[2].err.message);
    char path[128];
    snprintf(path, sizeof path, "%s/step-00000001", f.path);
    cr_expect_eq(count_entries(path, "stage-"), 3);
    cr_expect_eq(count_entries(path, ""), 4);
    for (int i = 0; i < 3; i++) {
        fill_held(&held[i], 2);
        cr_expect_eq(read_alone(f.path, &held[i], &key, NULL), PP_OK);
        cr_expect(held_is(&held[i], 1));
        free_held(&held[i]);
    }
    remove_tree(f.path);
}

/* A file that is whole, but not of the tensors that one rank has: no rank's state is touched. */
Test(checkpoint, of_other_tensors_leaves_all_as_it_was) {
    struct folder f = make_folder();
    struct held both = make_held(2, (const int32_t[]){0, 1}, 10);
    struct held first = make_held(1, (const int32_t[]){0}, 10);
    struct held second = make_held(1, (const int32_t[]){1}, 11);
    void *contexts[] = {&first, &second};
    const struct pp_checkpoint_ranks ranks = {
        .compute = &held_ops, .contexts = contexts, .count = 2};
    const struct pp_checkpoint_key key = make_key(1, 2);
    struct pp_err err = {0};
    fill_held(&both, 1);
    cr_assert_eq(write_alone(f.path, &both, &key, 1, &err), PP_OK, "%s", err.message);
    fill_held(&first, 2);
    fill_held(&second, 2);
    cr_expect_eq(pp_checkpoint_read(f.path, &key, &ranks, &err), PP_E_VALUE, "%s", err.message);
    cr_expect_not_null(strstr(err.message, "of 10 numbers, this run's is"), "%s", err.message);
    cr_expect(held_is(&first, 2) && held_is(&second, 2));
    free_held(&both);
    free_held(&first);
    free_held(&second);
    remove_tree(f.path);
}

Test(checkpoint, of_a_workload_without_state) {
    struct folder f = make_folder();
    const struct pp_compute_ops none = {.api = PP_COMPUTE_API, .name = "none"};
    void *context = NULL;
    const struct pp_checkpoint_ranks ranks = {.compute = &none, .contexts = &context, .count = 1};
    const struct pp_control control = pp_control_alone();
    struct pp_checkpoint_key key = {.step = 3, .stage_count = 2}, found;
    struct pp_err err = {0};
    cr_expect_eq(pp_checkpoint_write(f.path, &key, &ranks, &control, 2, &err), PP_OK, "%s",
                 err.message);
    cr_expect_eq(pp_checkpoint_find(f.path, &found, NULL), PP_OK);
    cr_expect(found.step == 3 && found.model[0] == '\0');
    cr_expect_eq(pp_checkpoint_read(f.path, &found, &ranks, NULL), PP_OK);
    remove_tree(f.path);
}

/* One that goes back behind those that are there is kept itself, and the newest beside it. */
Test(checkpoint, keeps_what_it_wrote) {
    struct folder f = make_folder();
    struct held h = all_stages(10);
    write_step(f.path, &h, 30, 2);
    write_step(f.path, &h, 40, 2);
    write_step(f.path, &h, 10, 2);
    cr_expect_eq(count_entries(f.path, "step-"), 2);
    cr_expect_eq(count_entries(f.path, "step-00000010"), 1);
    cr_expect_eq(count_entries(f.path, "step-00000040"), 1);
    free_held(&h);
    remove_tree(f.path);
}

Test(checkpoint, leaves_as_many_as_asked) {
    struct folder f = make_folder();
    struct held h = all_stages(1000);
    struct pp_checkpoint_key key;
    struct pp_err err = {0};
    cr_expect_eq(pp_checkpoint_find(f.path, &key, &err), PP_E_NOT_FOUND);
    cr_expect_eq(pp_checkpoint_find("/nowhere/at/all", &key, &err), PP_E_NOT_FOUND);
    for (int64_t step = 0; step <= 50; step += 10) {
        write_step(f.path, &h, step, 2);
        expect_step(f.path, step);
        cr_expect_eq(count_entries(f.path, "step-"), step == 0 ? 1 : 2);
    }
    write_step(f.path, &h, 123456789012, 1); /* wider than eight digits */
    expect_step(f.path, 123456789012);
    cr_expect_eq(count_entries(f.path, ""), 1);
    free_held(&h);
    remove_tree(f.path);
}

static void put(const char *folder, const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    write_bytes(path, text, strlen(text));
}

Test(checkpoint, leftovers_do_not_count_and_are_cleaned) {
    struct folder f = make_folder();
    struct held h = all_stages(1000);
    write_step(f.path, &h, 10, 3);
    char path[128];
    snprintf(path, sizeof path, "%s/step-00000020", f.path);
    cr_assert_eq(mkdir(path, 0700), 0);
    put(path, "stage-0000.bin", "whole, perhaps");
    put(path, "stage-0001.bin.tmp", "half");
    put(path, "manifest.tmp", "half");
    put(f.path, "step-00000010/stage-0001.g1.bin", "of a write that was cut short");
    put(f.path, "step-00000010/stage-0001.g2.bin.tmp", "likewise");
    put(f.path, "notes.txt", "not ours");
    put(f.path, "step-00000010/notes.txt", "not ours");
    expect_step(f.path, 10);
    write_step(f.path, &h, 30, 3);
    expect_step(f.path, 30);
    cr_expect_not(exists(path));
    snprintf(path, sizeof path, "%s/step-00000010", f.path);
    cr_expect_eq(count_entries(path, ".g"), 0);
    cr_expect_eq(count_entries(path, ""), STAGES + 2);
    cr_expect_eq(count_entries(f.path, ""), 3);
    free_held(&h);
    remove_tree(f.path);
}

Test(checkpoint, of_the_same_step_takes_the_place_of_the_old) {
    struct folder f = make_folder();
    struct held h = all_stages(1000);
    char path[128];
    snprintf(path, sizeof path, "%s/step-00000010", f.path);
    write_step(f.path, &h, 10, 1);
    for (int round = 0; round < 3; round++) {
        const struct pp_checkpoint_key key = make_key(10, STAGES);
        fill_held(&h, 100 + round); /* another content */
        cr_assert_eq(write_alone(f.path, &h, &key, 1, NULL), PP_OK);
        fill_held(&h, 7);
        cr_assert_eq(read_alone(f.path, &h, &key, NULL), PP_OK);
        cr_expect(held_is(&h, 100 + round));
        cr_expect_eq(count_entries(path, ""), STAGES + 1);
    }
    put(path, "manifest", "no longer one");
    write_step(f.path, &h, 10, 1);
    expect_step(f.path, 10);
    cr_expect_eq(count_entries(path, ""), STAGES + 1);
    free_held(&h);
    remove_tree(f.path);
}

static void refuses_key(const char *folder, struct held *h, const struct pp_checkpoint_key *key,
                        const char *found, const char *expected) {
    struct pp_err err = {0};
    cr_expect_eq(read_alone(folder, h, key, &err), PP_E_VALUE, "%s", err.message);
    expect_said(&err, found);
    expect_said(&err, expected);
    expect_said(&err, "step-00000001/");
}

Test(checkpoint, of_another_run_is_refused) {
    struct folder f = make_folder();
    struct held h = all_stages(10);
    write_step(f.path, &h, 1, 1);
    fill_held(&h, 9);
    struct pp_checkpoint_key key = make_key(1, STAGES);
    key.model[0] = 'f';
    refuses_key(f.path, &h, &key, "of model a0a1a2a3a4a5", "trains f0a1a2a3a4a5");
    key = make_key(1, STAGES);
    key.seed = UINT64_MAX;
    refuses_key(f.path, &h, &key, "with seed 42", "has seed 18446744073709551615");
    key = make_key(1, 8);
    refuses_key(f.path, &h, &key, "of 4 stages", "this run has 8");

    key = make_key(1, STAGES);
    struct held larger = all_stages(11);
    refuses_key(f.path, &larger, &key, "tensor 0 is layers.0.weight of 10 numbers",
                "this run's is layers.0.weight of 11");
    struct held more = make_held(1, (const int32_t[]){4}, 10);
    refuses_key(f.path, &more, &key, "no file of stage 4", "which rank 0 holds");
    cr_expect(held_is(&h, 9)); /* nothing was read */
    struct pp_err err = {0};
    key.step = 2;
    cr_expect_eq(read_alone(f.path, &h, &key, &err), PP_E_FILE);
    expect_said(&err, "step-00000002/manifest");
    free_held(&larger);
    free_held(&more);
    free_held(&h);
    remove_tree(f.path);
}

static enum pp_status read_step_one(const char *folder, struct held *h, struct pp_err *err) {
    const struct pp_checkpoint_key key = make_key(1, STAGES);
    *err = (struct pp_err){0};
    return read_alone(folder, h, &key, err);
}

Test(checkpoint, damage_is_named) {
    struct folder f = make_folder();
    struct held h = all_stages(1000);
    char path[160], other[160];
    snprintf(path, sizeof path, "%s/step-00000001/stage-0002.bin", f.path);
    snprintf(other, sizeof other, "%s/step-00000001/stage-0001.bin", f.path);
    write_step(f.path, &h, 1, 1);
    size_t size, other_size;
    char *whole = read_bytes(path, &size), *another = read_bytes(other, &other_size);
    fill_held(&h, 9);
    struct pp_err err;

    write_bytes(path, whole, size - 1);
    cr_expect_eq(read_step_one(f.path, &h, &err), PP_E_FILE);
    expect_said(&err, "stage-0002.bin has 4");
    write_bytes(path, whole, 3);
    cr_expect_eq(read_step_one(f.path, &h, &err), PP_E_FILE);
    expect_said(&err, "stage-0002.bin is cut off: it has 3 bytes");
    whole[size / 2] ^= 1;
    write_bytes(path, whole, size);
    cr_expect_eq(read_step_one(f.path, &h, &err), PP_E_FILE);
    expect_said(&err, "stage-0002.bin has changed");
    write_bytes(path, another, other_size); /* whole, but not this stage's */
    cr_expect_eq(read_step_one(f.path, &h, &err), PP_E_FILE);
    expect_said(&err, "stage-0002.bin");
    unlink(path);
    cr_expect_eq(read_step_one(f.path, &h, &err), PP_E_FILE);
    expect_said(&err, "stage-0002.bin: No such file");
    cr_expect(held_is(&h, 9));

    put(f.path, "step-00000001/manifest", "pipeplan-checkpoint 1\nstep 1\n");
    struct pp_checkpoint_key key;
    cr_expect_eq(pp_checkpoint_find(f.path, &key, &err), PP_E_FILE);
    expect_said(&err, "manifest is not a whole manifest: line 3, expected seed");
    cr_expect_not_null(strstr(err.hint, "remove /tmp/"), "%s", err.hint);
    cr_expect_not_null(strstr(err.hint, "/step-00000001 "), "%s", err.hint);
    free(whole);
    free(another);
    free_held(&h);
    remove_tree(f.path);
}

/* A manifest with a right checksum and one line changed. */
static enum pp_status forged(const char *folder, const char *manifest, const char *from,
                             const char *to, struct pp_err *err) {
    const char *at = strstr(manifest, from), *end = strstr(manifest, "\nend ");
    cr_assert(at != NULL && end != NULL, "%s", from);
    struct pp_text t = {0};
    pp_text_add(&t, manifest, (size_t)(at - manifest));
    pp_text_puts(&t, to);
    at += strlen(from);
    pp_text_add(&t, at, (size_t)(end + 1 - at));
    pp_text_printf(&t, "end %016llx\n",
                   (unsigned long long)pp_checkpoint_checksum(0, t.bytes, t.size));
    put(folder, "step-00000001/manifest", t.bytes);
    pp_text_free(&t);
    struct pp_checkpoint_key key;
    *err = (struct pp_err){0};
    return pp_checkpoint_find(folder, &key, err);
}

Test(checkpoint, manifest_is_read_strictly) {
    static const struct {
        const char *from, *to;
    } bad[] = {
        {"checkpoint 1", "checkpoint 2"},
        {"step 1", "step -1"},
        {"step 1", "step 01"},
        {"step 1", "step 2"},
        {"step 1", "step 9223372036854775808"},
        {"step 1", "step 1 "},
        {"seed 42", "seed"},
        {"seed 42", "seed 18446744073709551616"},
        {"stages 4", "stages 3"},
        {"stages 4", "stages 65537"},
        {"generation 0", "generation 1"},
        {"model a0", "model a 0"},
        {"program ", "program\t"},
        {"files 4", "files 3"},
        {"files 4", "files 5"},
        {"stage 0 stage-0000.bin", "stage 0 ../../../../etc/passwd"},
        {"stage 0 stage-0000.bin", "stage 0 stage-0001.bin"},
        {"stage 1 stage-0001.bin", "stage 0 stage-0000.bin"},
        {"stage 2 stage-0002.bin ", "stage 2 stage-0002.bin -"},
        {"stage 3", "\nstage 3"},
        {"stage 3", "stage 4"},
    };
    struct folder f = make_folder();
    struct held h = all_stages(10);
    write_step(f.path, &h, 1, 1);
    char path[128];
    snprintf(path, sizeof path, "%s/step-00000001/manifest", f.path);
    size_t size;
    char *manifest = read_bytes(path, &size);
    struct pp_err err;
    cr_expect_eq(forged(f.path, manifest, "seed 42", "seed 43", &err), PP_OK, "%s", err.message);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(forged(f.path, manifest, bad[i].from, bad[i].to, &err), PP_E_FILE, "%s",
                     bad[i].to);
        expect_said(&err, "step-00000001/manifest");
    }
    free(manifest);
    free_held(&h);
    remove_tree(f.path);
}

/* Any change of any file: refused, naming it, and nothing is read. */
Test(checkpoint, bears_any_bytes) {
    struct folder f = make_folder();
    struct held h = all_stages(100);
    write_step(f.path, &h, 1, 1);
    fill_held(&h, 9);
    uint64_t state = 5;
    for (int round = 0; round < 800; round++) {
        char name[32] = "manifest", path[160];
        if (round % 2 == 0) {
            snprintf(name, sizeof name, "stage-%04d.bin", round / 2 % STAGES);
        }
        snprintf(path, sizeof path, "%s/step-00000001/%s", f.path, name);
        size_t size;
        char *whole = read_bytes(path, &size), *bytes = malloc(size + 16);
        memset(bytes, ' ', size + 16);
        memcpy(bytes, whole, size);
        size_t left = size;
        if (round % 5 == 0) {
            left = next_number(&state) % size;
        } else if (round % 5 == 1) {
            left = size + 1 + next_number(&state) % 16;
        } else {
            bytes[next_number(&state) % size] ^= (char)(1u << next_number(&state) % 8);
        }
        write_bytes(path, bytes, left);
        struct pp_err err;
        enum pp_status status = read_step_one(f.path, &h, &err);
        cr_assert(status == PP_E_FILE || status == PP_E_VALUE, "round %d: %s %s", round,
                  pp_status_code(status), err.message);
        cr_assert_not_null(strstr(err.message, name), "%s: %s", name, err.message);
        write_bytes(path, whole, size);
        free(whole);
        free(bytes);
    }
    cr_expect(held_is(&h, 9));
    struct pp_err err;
    cr_expect_eq(read_step_one(f.path, &h, &err), PP_OK);
    cr_expect(held_is(&h, 1));
    free_held(&h);
    remove_tree(f.path);
}

/* ---- full disks ---- */

/* Two processes write; process 1's stages are too large for what is left. @param who  meets it */
static void expect_full(const char *folder, int64_t numbers, const char *why, const char *who) {
    struct held small = all_stages(1000);
    write_step(folder, &small, 10, 2);
    struct held held[2] = {make_held(2, (const int32_t[]){0, 1}, 10),
                           make_held(2, (const int32_t[]){2, 3}, numbers)};
    fill_held(&held[0], 20);
    fill_held(&held[1], 20);
    const struct pp_checkpoint_key keys[2] = {make_key(20, STAGES), make_key(10, STAGES)};
    for (int i = 0; i < 2; i++) { /* of a new step, and of the one that is there */
        struct part parts[2];
        write_together(folder, &keys[i], held, 2, 1, parts);
        for (int p = 0; p < 2; p++) { /* all are told what one met */
            cr_expect_eq(parts[p].status, PP_E_IO);
            expect_said(&parts[p].err, who);
            cr_expect_str_eq(parts[p].err.message, parts[0].err.message);
            expect_said(&parts[p].err, why);
        }
        cr_expect_eq(count_entries(folder, "step-"), 1);
        char path[128];
        snprintf(path, sizeof path, "%s/step-00000010", folder);
        cr_expect_eq(count_entries(path, ""), STAGES + 1);
        expect_step(folder, 10);
    }
    write_step(folder, &small, 30, 1); /* and it goes on */
    expect_step(folder, 30);
    cr_expect_eq(count_entries(folder, "step-"), 1);
    free_held(&held[0]);
    free_held(&held[1]);
    free_held(&small);
}

Test(checkpoint, too_large_a_file_leaves_the_one_before) {
    struct folder f = make_folder();
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit limit = {.rlim_cur = 1 << 16, .rlim_max = 1 << 16};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    expect_full(f.path, 700001, "File too large", ".bin (rank 1, stage 2)");
    remove_tree(f.path);
}

Test(checkpoint, full_disk_leaves_the_one_before) {
    struct folder f = make_folder();
    if (mount("tmpfs", f.path, "tmpfs", 0, "size=256k") != 0) {
        rmdir(f.path);
        cr_skip_test("no right to mount a small file system");
    }
    /* both write at once: either may be first to find no room */
    expect_full(f.path, 700001, "No space left", ".bin (rank ");
    cr_expect_eq(umount(f.path), 0);
    remove_tree(f.path);
}

Test(checkpoint, folder_that_cannot_be_made) {
    struct folder f = make_folder();
    put(f.path, "file", "");
    char path[128];
    snprintf(path, sizeof path, "%s/file", f.path);
    struct held h = all_stages(10);
    const struct pp_checkpoint_key key = make_key(1, STAGES);
    struct pp_err err = {0};
    cr_expect_eq(write_alone(path, &h, &key, 1, &err), PP_E_IO);
    expect_said(&err, path);
    snprintf(path, sizeof path, "%s/not/there", f.path);
    cr_expect_eq(write_alone(path, &h, &key, 1, &err), PP_E_IO);
    expect_said(&err, path);
    free_held(&h);
    remove_tree(f.path);
}
