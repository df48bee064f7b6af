/* activation.c -- non-linearities of networks, each with its derivative under it. At a kink the
 * derivative is the one from the left, as in PyTorch. */
#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/grad.h"

#define FORWARD(name, expr, ...) PAI_FLOAT_KERNEL(unary, PAI_LOOP1, name, expr, __VA_ARGS__)
/* The gradient as an internal operator of dy (a) and x or y (b). */
#define BACKWARD(name, expr, ...) \
	PAI_FLOAT_KERNEL(binary, PAI_LOOP2, name##_grad, expr, __VA_ARGS__)
#define RULE_X(name, op)                                                                  \
	pai_status pai_grad_##name(pai_grad *g, const pai_node *n, pai_value *const *dy,  \
				   pai_value **dx)                                        \
	{                                                                                 \
		dx[0] = pai_grad_internal(g, op, 2, (pai_value *[]){dy[0], n->in[0]}, n); \
		return PAI_OK;                                                            \
	}
#define RULE_Y(name, op)                                                                      \
	pai_status pai_grad_##name(pai_grad *g, const pai_node *n, pai_value *const *dy,      \
				   pai_value **dx)                                            \
	{                                                                                     \
		dx[0] = pai_grad_internal(g, op, 2, (pai_value *[]){dy[0], n->out[0]}, NULL); \
		return PAI_OK;                                                                \
	}

/* y = max(x, 0)      dx = dy where y > 0 */
PAI_FLOATS(PAI_LOOP1, relu, a < 0 ? 0 : a)
PAI_LOOP1(relu_i64, int64_t, i64, T, a < 0 ? 0 : a)
PAI_LOOP1(relu_u64, uint64_t, u64, T, a)
const pai_kernel pai_kernel_relu = {
	.run = pai_unary_run,
	.data = &(const pai_elementwise){.loop = {relu_f32, relu_f64, relu_i64, relu_u64}}};
BACKWARD(relu, b > 0 ? a : 0, NULL)
RULE_Y(relu, "ReluGrad")

/* y = x, alpha x where x < 0      dx = dy, alpha dy where x <= 0 */
FORWARD(leaky_relu, a < 0 ? p0 * a : a, "alpha")
BACKWARD(leaky_relu, b > 0 ? a : p0 * a, "alpha")
RULE_X(leaky_relu, "LeakyReluGrad")

/* y = 1 / (1 + exp(-x)), by the exponential that cannot overflow      dx = dy y (1 - y) */
#define SIGMOID(x) ((x) < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-(x))))
FORWARD(sigmoid, SIGMOID(a), NULL)
BACKWARD(sigmoid, a *b *(1 - b), NULL)
RULE_Y(sigmoid, "SigmoidGrad")

/* dx = dy (1 - y^2) */
FORWARD(tanh, tanh(a), NULL)
BACKWARD(tanh, a *(1 - b * b), NULL)
RULE_Y(tanh, "TanhGrad")
