/* function.c -- smooth and piecewise functions of one operand beyond the common ones: a table of
 * formulas with their derivatives. Each row is a kernel, a gradient rule and an entry of the one
 * internal operator FunctionGrad, dX = dY f'(X), which finds its formula by the operator's name. */
#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/grad.h"
#include <string.h>

#define SIGMOID(x) ((x) < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-(x))))
#define SOFTPLUS(x) ((x) > 0 ? (x) + log1p(exp(-(x))) : log1p(exp(x)))
#define CLAMP01(x) ((x) < 0 ? 0 : (x) > 1 ? 1 : (x))
#define SQUARE(x) ((x) * (x))

/* F(operator, cell, f(a), f'(b), attributes p0 and p1) */
#define FUNCTIONS(F)                                                                              \
	F(Acos, acos, acos(a), -1 / sqrt(1 - b * b), NULL)                                        \
	F(Acosh, acosh, acosh(a), 1 / (sqrt(b - 1) * sqrt(b + 1)), NULL)                          \
	F(Asin, asin, asin(a), 1 / sqrt(1 - b * b), NULL)                                         \
	F(Asinh, asinh, asinh(a), 1 / sqrt(b * b + 1), NULL)                                      \
	F(Atan, atan, atan(a), 1 / (1 + b * b), NULL)                                             \
	F(Atanh, atanh, atanh(a), 1 / (1 - b * b), NULL)                                          \
	F(Celu, celu, a<0 ? p0 * expm1(a / p0) : a, b> 0 ? 1 : exp(b / p0), "alpha")              \
	F(Cos, cos, cos(a), -sin(b), NULL)                                                        \
	F(Cosh, cosh, cosh(a), sinh(b), NULL)                                                     \
	F(Elu, elu, a<0 ? p0 * expm1(a) : a, b> 0 ? 1 : p0 *exp(b), "alpha")                      \
	F(HardSigmoid, hard_sigmoid, CLAMP01(p0 *a + p1),                                         \
	  p0 *b + p1 > 0 && p0 * b + p1 < 1 ? p0 : 0, "alpha", "beta")                            \
	F(HardSwish, hard_swish, a *CLAMP01(a / 6 + (T)0.5),                                      \
	  b <= -3  ? 0                                                                            \
	  : b >= 3 ? 1                                                                            \
		   : b / 3 + (T)0.5,                                                              \
	  NULL)                                                                                   \
	F(Mish, mish, a *tanh(SOFTPLUS(a)),                                                       \
	  tanh(SOFTPLUS(b)) + b * (1 - SQUARE(tanh(SOFTPLUS(b)))) * SIGMOID(b), NULL)             \
	F(Reciprocal, reciprocal, 1 / a, -1 / (b * b), NULL)                                      \
	F(Selu, selu, p1 *(a < 0 ? p0 * expm1(a) : a), p1 *(b > 0 ? 1 : p0 * exp(b)), "alpha",    \
	  "gamma")                                                                                \
	F(Shrink, shrink, a<-p1 ? a + p0 : a> p1 ? a - p0 : 0, fabs(b) > p1, "bias", "lambd")     \
	F(Sin, sin, sin(a), cos(b), NULL)                                                         \
	F(Sinh, sinh, sinh(a), cosh(b), NULL)                                                     \
	F(Softplus, softplus, SOFTPLUS(a), SIGMOID(b), NULL)                                      \
	F(Softsign, softsign, a / (1 + fabs(a)), 1 / SQUARE(1 + fabs(b)), NULL)                   \
	F(Swish, swish, a *SIGMOID(p0 *a), SIGMOID(p0 *b) * (1 + p0 * b * (1 - SIGMOID(p0 * b))), \
	  "alpha")                                                                                \
	F(Tan, tan, tan(a), 1 + SQUARE(tan(b)), NULL)                                             \
	F(ThresholdedRelu, thresholded_relu, a > p0 ? a : 0, b > p0, "alpha")

/* Gelu: x Phi(x), or with p0 its approximation by tanh(c (x + k x^3)). */
#define C ((T)0.79788456080286536) /* sqrt(2 / pi) */
#define K ((T)0.044715)
#define ROOT_HALF ((T)0.70710678118654752)
#define GELU_TANH(x) tanh(C *((x) + K * (x) * (x) * (x)))
#define GELU(x) \
	(p0 != 0 ? (T)0.5 * (x) * (1 + GELU_TANH(x)) : (T)0.5 * (x) * (1 + erf((x)*ROOT_HALF)))
#define GELU_SLOPE(x)                                                                              \
	(p0 != 0 ? (T)0.5 * (1 + GELU_TANH(x)) +                                                   \
			   (T)0.5 * (x) * (1 - SQUARE(GELU_TANH(x))) * C * (1 + 3 * K * (x) * (x)) \
		 : (T)0.5 * (1 + erf((x)*ROOT_HALF)) + (x)*exp(-(x) * (x) / 2) * C / 2)

#define KERNEL(op, name, value, slope, ...) \
	PAI_FLOAT_KERNEL(unary, PAI_LOOP1, name, value, __VA_ARGS__)
#define SLOPE(op, name, value, slope, ...) PAI_FLOATS(PAI_LOOP2, name##_slope, a *(slope))
FUNCTIONS(KERNEL)
FUNCTIONS(SLOPE)
PAI_FLOATS(PAI_LOOP1, gelu, GELU(a))
PAI_FLOATS(PAI_LOOP2, gelu_slope, a *GELU_SLOPE(b))

static pai_params gelu_params(const pai_call *c, pai_lane lane)
{
	bool approximate = strcmp(pai_node_string(c->node, "approximate", "none"), "tanh") == 0;
	pai_params p = {{0}};
	if (lane == PAI_LANE_F32)
		p.f32[0] = approximate;
	else
		p.f64[0] = approximate;
	return p;
}

static pai_status gelu(pai_call *c)
{
	const pai_params p = gelu_params(c, pai_lane_of(c->in[0]->dtype));
	return pai_elementwise_call(c, c->kernel->data, 1, 0, &p);
}
const pai_kernel pai_kernel_gelu = {.run = gelu,
				    .data = &(const pai_elementwise){.loop = {gelu_f32, gelu_f64}}};

static const struct {
	const char *op;
	pai_elementwise slope;
} slopes[] = {
#define ROW(op, name, value, slope, ...) \
	{#op, {.loop = {name##_slope_f32, name##_slope_f64}, .attrs = {__VA_ARGS__}}},
	FUNCTIONS(ROW)};

/* FunctionGrad(dY, X): `of` names the operator, whose attributes come along. */
static pai_status function_grad(pai_call *c)
{
	static const pai_elementwise gelu_rows = {.loop = {gelu_slope_f32, gelu_slope_f64}};
	const char *of = pai_node_string(c->node, "of", "");
	if (strcmp(of, "Gelu") == 0) {
		const pai_params p = gelu_params(c, pai_lane_of(c->in[0]->dtype));
		return pai_elementwise_call(c, &gelu_rows, 2, 0, &p);
	}
	for (size_t i = 0; i < sizeof slopes / sizeof *slopes; i++)
		if (strcmp(slopes[i].op, of) == 0)
			return pai_elementwise_call(c, &slopes[i].slope, 2, 0, NULL);
	return pai_fail(c->ctx, PAI_E_internal, pai_at_attr(c->node, "of"),
			"\"%s\" is no function of the table", of);
}
const pai_kernel pai_kernel_function_grad = {.run = function_grad};

/* Attributes with a default of the operator's own are written out. */
static pai_status rule(pai_grad *g, const pai_node *n, pai_value *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	dx[0] = pai_grad_internal(g, "FunctionGrad", 2, (pai_value *[]){dy, n->in[0]}, NULL);
	pai_node *made = dx[0]->producer;
	pai_patch_set_string(p, made, "of", n->op_type);
	for (const pai_op_attr *a = n->op->attrs; a->name; a++) {
		if (a->type == PAI_ATTR_FLOAT)
			pai_patch_set_float(p, made, a->name, pai_node_float(n, a->name, 0));
		if (a->type == PAI_ATTR_STRING)
			pai_patch_set_string(p, made, a->name, pai_node_string(n, a->name, ""));
	}
	return PAI_OK;
}

#define RULE(op, name, ...)                                                              \
	pai_status pai_grad_##name(pai_grad *g, const pai_node *n, pai_value *const *dy, \
				   pai_value **dx)                                       \
	{                                                                                \
		return rule(g, n, dy[0], dx);                                            \
	}
FUNCTIONS(RULE)
RULE(Gelu, gelu)
