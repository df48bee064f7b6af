/* unary.c -- operators of one operand: a row of formulas. */
#include "runtime/kernels/elementwise.h"

#define UNARY(name, expr, ...) PAI_FLOAT_KERNEL(unary, PAI_LOOP1, name, expr, __VA_ARGS__)
/* Another formula for integers, whose unsigned lane is the same or passes through. */
#define UNARY_ALL(name, floats, signeds, unsigneds)        \
	PAI_FLOATS(PAI_LOOP1, name, floats)                \
	PAI_LOOP1(name##_i64, int64_t, i64, T, signeds)    \
	PAI_LOOP1(name##_u64, uint64_t, u64, T, unsigneds) \
	const pai_kernel pai_kernel_##name = {             \
		pai_unary_run, &(const pai_elementwise){   \
				       .loop = {name##_f32, name##_f64, name##_i64, name##_u64}}};

UNARY_ALL(abs, fabs(a), a < 0 ? (T)(0 - (uint64_t)a) : a, a)
UNARY_ALL(neg, -a, (T)(0 - (uint64_t)a), 0 - a)
UNARY_ALL(sign, a > 0 ? 1 : a < 0 ? -1 : a == 0 ? 0 : a, (a > 0) - (a < 0), a > 0)
UNARY_ALL(relu, a < 0 ? 0 : a, a < 0 ? 0 : a, a)
UNARY(exp, exp(a), NULL)
UNARY(log, log(a), NULL)
UNARY(sqrt, sqrt(a), NULL)
UNARY(round, rint(a), NULL)
UNARY(floor, floor(a), NULL)
UNARY(ceil, ceil(a), NULL)
UNARY(tanh, tanh(a), NULL)
UNARY(erf, erf(a), NULL)
UNARY(leaky_relu, a < 0 ? p0 * a : a, "alpha")

/* 1 / (1 + exp(-x)), by the exponential that cannot overflow. */
#define SIGMOID(T, x) ((x) < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-(x))))
UNARY(sigmoid, SIGMOID(T, a), NULL)

PAI_LOOP1(not_u64, uint64_t, u64, uint8_t, !a)
const pai_kernel pai_kernel_not = {
	pai_unary_run, &(const pai_elementwise){.loop[PAI_LANE_U64] = not_u64, .truth = true}};
