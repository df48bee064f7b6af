/* bitwise.c -- operators on the bits of integers. */
#include "runtime/kernels/elementwise.h"
#include <string.h>

#define BITWISE(name, operands, LOOP, expr)                                        \
	PAI_INTS(LOOP, name, expr)                                                 \
	const pai_kernel pai_kernel_##name = {                                     \
		.run = pai_##operands##_run,                                       \
		.data = &(const pai_elementwise){.loop[PAI_LANE_I64] = name##_i64, \
						 .loop[PAI_LANE_U64] = name##_u64}};

BITWISE(bitwise_and, binary, PAI_LOOP2, a &b)
BITWISE(bitwise_or, binary, PAI_LOOP2, a | b)
BITWISE(bitwise_xor, binary, PAI_LOOP2, a ^ b)
BITWISE(bitwise_not, unary, PAI_LOOP1, ~a)

/* A shift by the width of the type or more leaves nothing. */
PAI_LOOP2(left_u64, uint64_t, u64, T, b < 64 ? a << b : 0)
PAI_LOOP2(right_u64, uint64_t, u64, T, b < 64 ? a >> b : 0)

static pai_status bit_shift(pai_call *c)
{
	static const pai_elementwise left = {.loop[PAI_LANE_U64] = left_u64},
				     right = {.loop[PAI_LANE_U64] = right_u64};
	bool is_left = strcmp(pai_node_string(c->node, "direction", ""), "LEFT") == 0;
	if (pai_lane_of(c->in[0]->dtype) != PAI_LANE_U64)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"is not of an unsigned integer type");
	return pai_elementwise_call(c, is_left ? &left : &right, 2, 0, NULL);
}
const pai_kernel pai_kernel_bit_shift = {.run = bit_shift};
