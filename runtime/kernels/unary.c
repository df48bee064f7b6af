/* unary.c -- mathematical functions of one operand: a row of formulas, and their derivatives. */
#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/grad.h"

#define UNARY(name, expr, ...) PAI_FLOAT_KERNEL(unary, PAI_LOOP1, name, expr, __VA_ARGS__)
/* Another formula for integers, whose unsigned lane is the same or passes through. */
#define UNARY_ALL(name, floats, signeds, unsigneds)        \
	PAI_FLOATS(PAI_LOOP1, name, floats)                \
	PAI_LOOP1(name##_i64, int64_t, i64, T, signeds)    \
	PAI_LOOP1(name##_u64, uint64_t, u64, T, unsigneds) \
	const pai_kernel pai_kernel_##name = {             \
		.run = pai_unary_run,                      \
		.data = &(const pai_elementwise){          \
			.loop = {name##_f32, name##_f64, name##_i64, name##_u64}}};

UNARY_ALL(abs, fabs(a), a < 0 ? (T)(0 - (uint64_t)a) : a, a)
UNARY_ALL(neg, -a, (T)(0 - (uint64_t)a), 0 - a)
UNARY_ALL(sign, a > 0 ? 1 : a < 0 ? -1 : a == 0 ? 0 : a, (a > 0) - (a < 0), a > 0)
UNARY(exp, exp(a), NULL)
UNARY(log, log(a), NULL)
UNARY(sqrt, sqrt(a), NULL)
UNARY(round, rint(a), NULL)
UNARY(floor, floor(a), NULL)
UNARY(ceil, ceil(a), NULL)
UNARY(erf, erf(a), NULL)

PAI_LOOP1(not_u64, uint64_t, u64, uint8_t, !a)
const pai_kernel pai_kernel_not = {
	.run = pai_unary_run,
	.data = &(const pai_elementwise){.loop[PAI_LANE_U64] = not_u64, .truth = true}};

/* d|x| = sign(x), 0 at 0. */
pai_status pai_grad_abs(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	dx[0] = PAI_OP2(p, "Mul", "grad", dy[0], PAI_OP1(p, "Sign", "sign", n->in[0]));
	return PAI_OK;
}

/* d(-x) = -1 */
pai_status pai_grad_neg(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)n;
	dx[0] = PAI_OP1(pai_grad_patch(g), "Neg", "grad", dy[0]);
	return PAI_OK;
}

/* d exp(x) = y */
pai_status pai_grad_exp(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	dx[0] = PAI_OP2(pai_grad_patch(g), "Mul", "grad", dy[0], n->out[0]);
	return PAI_OK;
}

/* d log(x) = 1 / x */
pai_status pai_grad_log(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	dx[0] = PAI_OP2(pai_grad_patch(g), "Div", "grad", dy[0], n->in[0]);
	return PAI_OK;
}

/* d sqrt(x) = 1 / (2 y) */
PAI_FLOAT_KERNEL(binary, PAI_LOOP2, sqrt_grad, a / (2 * b), NULL)
pai_status pai_grad_sqrt(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	dx[0] = pai_grad_internal(g, "SqrtGrad", 2, (pai_value *[]){dy[0], n->out[0]}, NULL);
	return PAI_OK;
}

/* d erf(x) = 2 / sqrt(pi) exp(-x^2) */
PAI_FLOAT_KERNEL(binary, PAI_LOOP2, erf_grad, a *(T)1.1283791670955126 * exp(-b * b), NULL)
pai_status pai_grad_erf(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	dx[0] = pai_grad_internal(g, "ErfGrad", 2, (pai_value *[]){dy[0], n->in[0]}, NULL);
	return PAI_OK;
}
