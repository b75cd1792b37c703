/* Routes, capacities and the time of a transfer alone. */
#include "sim/network.h"
#include "tests/sim/sim_support.h"

static const int32_t node[] = {5, 5, -2, -2};
static const int32_t nic[] = {1, 1, 3, 2};

static struct pp_network good(void) {
    return (struct pp_network){
        .node = node, .nic = nic, .port_bytes_per_s = 400, .nic_bytes_per_s = 50};
}

Test(network, a_transfer_takes_an_out_and_an_in) {
    struct pp_network net = good();
    struct pp_route r = pp_network_message(&net, 0, 1);
    cr_expect(r.out == 0 && r.in == 5); /* ports of 0 and 1 */
    cr_expect_eq(pp_network_bytes_per_s(&net, 4, r.out), 400);
    cr_expect_eq(pp_network_bytes_per_s(&net, 4, r.in), 400);
    r = pp_network_message(&net, 0, 2);
    cr_expect(r.out == 6 && r.in == 15); /* NICs 1 and 3 */
    cr_expect_eq(pp_network_bytes_per_s(&net, 4, r.out), 50);
    cr_expect_eq(pp_network_bytes_per_s(&net, 4, r.in), 50);
    r = pp_network_collective(&net, 0);
    cr_expect(r.out == 6 && r.in == 7);
    net.collectives_use_port = true;
    r = pp_network_collective(&net, 2);
    cr_expect(r.out == 8 && r.in == 9);
    cr_expect_eq(pp_network_link_count(4), 16);
}

Test(network, alone_is_rounded_up) {
    cr_expect_eq(pp_network_alone_ns(0, 1), 0);
    cr_expect_eq(pp_network_alone_ns(1, 1000000000), 1);
    cr_expect_eq(pp_network_alone_ns(1, 999999999), 2);
    cr_expect_eq(pp_network_alone_ns(3, 2000000000), 2);
    cr_expect_eq(pp_network_alone_ns(PP_TRANSFER_MAX_BYTES, PP_LINK_MAX_BYTES_PER_S), 500000000);
    cr_expect_eq(pp_network_alone_ns(9223372036, 1), 9223372036000000000);
    cr_expect_eq(pp_network_alone_ns(9223372037, 1), INT64_MAX);
    cr_expect_eq(pp_network_alone_ns(PP_TRANSFER_MAX_BYTES, 1), INT64_MAX);
}

static void expect_refused(const struct pp_network *net, const char *words) {
    struct pp_err err = {0};
    cr_expect_eq(pp_network_check(net, 4, &err), PP_E_RANGE, "%s", words);
    cr_expect(strstr(err.message, words) != NULL, "%s", err.message);
}

Test(network, what_is_out_of_range_is_named) {
    struct pp_network net = good();
    cr_expect_eq(pp_network_check(&net, 4, NULL), PP_OK);
    net.port_bytes_per_s = 0;
    expect_refused(&net, "port: got 0 bytes/s");
    net = good();
    net.nic_bytes_per_s = PP_LINK_MAX_BYTES_PER_S + 1;
    expect_refused(&net, "NIC: got 140737488355329 bytes/s");
    net.nic_bytes_per_s = PP_LINK_MAX_BYTES_PER_S;
    cr_expect_eq(pp_network_check(&net, 4, NULL), PP_OK);
    int32_t other[] = {1, 1, 4, 2};
    net.nic = other;
    expect_refused(&net, "NIC of rank 2: got 4, need 0 to 3");
    other[2] = -1;
    expect_refused(&net, "NIC of rank 2: got -1");
    other[2] = 1;
    expect_refused(&net, "NIC 1 is of rank 0 on node 5 and of rank 2 on node -2");
}
