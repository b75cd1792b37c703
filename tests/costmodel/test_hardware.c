#include "costmodel/embedded.h"
#include "costmodel/hardware.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Test(hardware, every_shipped_machine_loads_and_is_sane) {
    int count = 0;
    for (const struct pp_embedded_file *f = pp_embedded_hardware; f->name != NULL; f++, count++) {
        struct pp_hardware hw;
        struct pp_err err = {0};
        cr_assert_eq(pp_hardware_load(f->name, &hw, &err), PP_OK, "%s:%d: %s", err.file, err.line,
                     err.message);
        cr_expect_str_eq(hw.name, f->name);
        cr_expect(hw.title[0] != '\0');
        cr_expect(hw.bf16_flops_per_s >= 300000000000000, "%s", hw.name);
        cr_expect(hw.memory_bytes >= 40000000000 && hw.memory_bytes < 300000000000, "%s", hw.name);
        cr_expect(hw.intra_node.bytes_per_s >= hw.inter_node.bytes_per_s, "%s", hw.name);
        cr_expect(hw.gemm_efficiency > 0.3 && hw.gemm_efficiency < 1, "%s", hw.name);
        cr_expect(hw.allocator_slack_frac > 0, "%s", hw.name);
    }
    cr_assert_geq(count, 7);
}

Test(hardware, numbers_arrive_in_their_units) {
    struct pp_hardware hw;
    cr_assert_eq(pp_hardware_load("A100-80-SXM", &hw, NULL), PP_OK);
    cr_assert_str_eq(hw.name, "a100-80-sxm");
    cr_assert_eq(hw.bf16_flops_per_s, 312000000000000);
    cr_assert_eq(hw.fp8_flops_per_s, 0);
    cr_assert_eq(hw.memory_bytes, (int64_t)80 << 30);
    cr_assert_eq(hw.memory_bytes_per_s, 2039000000000);
    cr_assert_eq(hw.sm_count, 108);
    cr_assert_eq(hw.intra_node.bytes_per_s, 300000000000);
    cr_assert_eq(hw.gemm_efficiency, 0.75);
}

static const char *const machine = "bf16_flops_per_s: 1e14\n"
                                   "memory_bytes: {value: 80000000000, source: me}\n"
                                   "memory_bytes_per_s: 2e12\n"
                                   "sm_count: 100\n"
                                   "intra_node_bytes_per_s: 1e11\n"
                                   "inter_node_bytes_per_s: 1e10\n";

static enum pp_status parse_with(const char *extra, struct pp_hardware *hw, struct pp_err *err) {
    char text[1024];
    snprintf(text, sizeof text, "%s%s", machine, extra);
    return pp_hardware_parse("mine", text, strlen(text), hw, err);
}

Test(hardware, a_users_file_in_short_form) {
    struct pp_hardware hw;
    struct pp_err err = {0};
    cr_assert_eq(parse_with("", &hw, &err), PP_OK, "%s", err.message);
    cr_assert_str_eq(hw.name, "mine");
    cr_assert_eq(hw.memory_bytes, 80000000000);
    cr_assert_eq(hw.gpus_per_node, 8);
    cr_assert_eq(hw.launch_ns, 2500);
}

Test(hardware, quantities_may_have_units) {
    static const char with_units[] = "bf16_flops_per_s: 1e14\n"
                                     "memory_bytes: 80GiB\n"
                                     "memory_bytes_per_s: {value: 2000GB/s, source: me}\n"
                                     "sm_count: 100\n"
                                     "intra_node_bytes_per_s: 450GB/s\n"
                                     "inter_node_bytes_per_s: 400Gb/s\n"
                                     "inter_node_latency_ns: 12us\n";
    struct pp_hardware hw;
    struct pp_err err = {0};
    cr_assert_eq(pp_hardware_parse("u", with_units, strlen(with_units), &hw, &err), PP_OK, "%s",
                 err.message);
    cr_assert_eq(hw.memory_bytes, (int64_t)80 << 30);
    cr_assert_eq(hw.memory_bytes_per_s, 2000000000000);
    cr_assert_eq(hw.intra_node.bytes_per_s, 450000000000);
    cr_assert_eq(hw.inter_node.bytes_per_s, 50000000000);
    cr_assert_eq(hw.inter_node.latency_ns, 12000);
    cr_assert_eq(parse_with("launch_ns: 5GiB\n", &hw, &err), PP_E_TYPE);
    cr_assert_eq(parse_with("gpus_per_node: 8us\n", &hw, &err), PP_E_TYPE);
}

Test(hardware, mistakes_are_named_and_placed) {
    struct pp_hardware hw = {.sm_count = 77};
    struct pp_err err = {0};
    cr_assert_eq(pp_hardware_load("h1000", &hw, &err), PP_E_HARDWARE);
    cr_assert(strstr(err.hint, "h100-sxm") != NULL && strstr(err.hint, "gb200") != NULL, "%s",
              err.hint);
    cr_assert_eq(parse_with("gem_efficiency: 1\n", &hw, &err), PP_E_KEY);
    cr_assert_eq(err.line, 7);
    cr_assert_eq(parse_with("gemm_efficiency: fast\n", &hw, &err), PP_E_TYPE);
    cr_assert_eq(parse_with("gemm_efficiency: 1.5\n", &hw, &err), PP_E_RANGE);
    cr_assert_eq(parse_with("gemm_efficiency: .nan\n", &hw, &err), PP_E_RANGE);
    cr_assert_eq(parse_with("gemm_efficiency: {source: x}\n", &hw, &err), PP_E_KEY);
    cr_assert_eq(pp_hardware_parse("m", "sm_count: 3\n", 12, &hw, &err), PP_E_KEY);
    cr_assert(strstr(err.message, "bf16_flops_per_s") != NULL);
    cr_assert_eq(pp_hardware_parse("m", "[1]", 3, &hw, &err), PP_E_TYPE);
    cr_assert_eq(pp_hardware_load("/", &hw, &err), PP_E_FILE);
    cr_assert_eq(hw.sm_count, 77, "outputs are written only on success");
}

Test(hardware, random_damage_never_crashes) {
    uint64_t state = 12345;
    char text[1024];
    for (int round = 0; round < 2000; round++) {
        snprintf(text, sizeof text, "%s", machine);
        size_t size = strlen(text);
        for (int hit = 0; hit < 3; hit++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            text[(state >> 33) % size] = (char)(state >> 56);
        }
        struct pp_hardware hw;
        struct pp_err err = {0};
        enum pp_status status = pp_hardware_parse("m", text, size, &hw, &err);
        cr_assert(status == PP_OK || err.message[0] != '\0');
    }
}

/* What a user's file leaves out is that of h100-sxm. */
Test(hardware, absent_constants_are_those_of_h100_sxm) {
    struct pp_hardware h100;
    struct pp_hardware own;
    struct pp_err err = {0};
    struct pp_text text = {0};
    cr_assert_eq(pp_hardware_load("h100-sxm", &h100, &err), PP_OK, "%s", err.message);
    pp_text_printf(&text,
                   "bf16_flops_per_s: %lld\nmemory_bytes: %lld\nmemory_bytes_per_s: %lld\n"
                   "sm_count: %d\nintra_node_bytes_per_s: %lld\ninter_node_bytes_per_s: %lld\n"
                   "fp8_flops_per_s: %lld\n",
                   (long long)h100.bf16_flops_per_s, (long long)h100.memory_bytes,
                   (long long)h100.memory_bytes_per_s, h100.sm_count,
                   (long long)h100.intra_node.bytes_per_s, (long long)h100.inter_node.bytes_per_s,
                   (long long)h100.fp8_flops_per_s);
    cr_assert_eq(pp_hardware_parse("own", text.bytes, text.size, &own, &err), PP_OK, "%s",
                 err.message);
    memcpy(own.name, h100.name, sizeof own.name);
    memcpy(own.title, h100.title, sizeof own.title);
    memcpy(own.source, h100.source, sizeof own.source);
    cr_assert_arr_eq(&own, &h100, sizeof own);
    pp_text_free(&text);
}
