/* pending.c -- weak stand-ins for behaviour cells that nobody has written yet. Goes away. */
#include "runtime/runtime.h"

__attribute__((weak)) pai_status pai_shape_arg_reduce(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_batch_normalization(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_broadcast(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_cast(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_cast_like(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_concat(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_constant(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_constant_of_shape(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_conv(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_conv_transpose(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_dropout(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_expand(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_flatten(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_gather(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_gemm(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_given(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_global_pool(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_if(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_loop(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_matmul(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_pad(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_pool(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_random_like(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_range(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_reduce(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_reshape(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_same(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_scan(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_shape(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_size(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_slice(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_softmax_cross_entropy_loss(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_split(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_squeeze(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_tile(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_transpose(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) pai_status pai_shape_unsqueeze(pai_shape_ctx *s)
{
	(void)s;
	return PAI_OK;
}
__attribute__((weak)) const pai_kernel pai_kernel_abs = {0};
__attribute__((weak)) const pai_kernel pai_kernel_add = {0};
__attribute__((weak)) const pai_kernel pai_kernel_and = {0};
__attribute__((weak)) const pai_kernel pai_kernel_arg_max = {0};
__attribute__((weak)) const pai_kernel pai_kernel_average_pool = {0};
__attribute__((weak)) const pai_kernel pai_kernel_batch_normalization = {0};
__attribute__((weak)) const pai_kernel pai_kernel_cast = {0};
__attribute__((weak)) const pai_kernel pai_kernel_ceil = {0};
__attribute__((weak)) const pai_kernel pai_kernel_clip = {0};
__attribute__((weak)) const pai_kernel pai_kernel_concat = {0};
__attribute__((weak)) const pai_kernel pai_kernel_constant = {0};
__attribute__((weak)) const pai_kernel pai_kernel_constant_of_shape = {0};
__attribute__((weak)) const pai_kernel pai_kernel_conv = {0};
__attribute__((weak)) const pai_kernel pai_kernel_conv_transpose = {0};
__attribute__((weak)) const pai_kernel pai_kernel_dequantize_linear = {0};
__attribute__((weak)) const pai_kernel pai_kernel_div = {0};
__attribute__((weak)) const pai_kernel pai_kernel_dropout = {0};
__attribute__((weak)) const pai_kernel pai_kernel_equal = {0};
__attribute__((weak)) const pai_kernel pai_kernel_erf = {0};
__attribute__((weak)) const pai_kernel pai_kernel_exp = {0};
__attribute__((weak)) const pai_kernel pai_kernel_expand = {0};
__attribute__((weak)) const pai_kernel pai_kernel_flatten = {0};
__attribute__((weak)) const pai_kernel pai_kernel_floor = {0};
__attribute__((weak)) const pai_kernel pai_kernel_gather = {0};
__attribute__((weak)) const pai_kernel pai_kernel_gemm = {0};
__attribute__((weak)) const pai_kernel pai_kernel_global_average_pool = {0};
__attribute__((weak)) const pai_kernel pai_kernel_greater = {0};
__attribute__((weak)) const pai_kernel pai_kernel_identity = {0};
__attribute__((weak)) const pai_kernel pai_kernel_if = {0};
__attribute__((weak)) const pai_kernel pai_kernel_leaky_relu = {0};
__attribute__((weak)) const pai_kernel pai_kernel_less = {0};
__attribute__((weak)) const pai_kernel pai_kernel_log = {0};
__attribute__((weak)) const pai_kernel pai_kernel_log_softmax = {0};
__attribute__((weak)) const pai_kernel pai_kernel_loop = {0};
__attribute__((weak)) const pai_kernel pai_kernel_mat_mul = {0};
__attribute__((weak)) const pai_kernel pai_kernel_max = {0};
__attribute__((weak)) const pai_kernel pai_kernel_max_pool = {0};
__attribute__((weak)) const pai_kernel pai_kernel_min = {0};
__attribute__((weak)) const pai_kernel pai_kernel_mul = {0};
__attribute__((weak)) const pai_kernel pai_kernel_neg = {0};
__attribute__((weak)) const pai_kernel pai_kernel_not = {0};
__attribute__((weak)) const pai_kernel pai_kernel_or = {0};
__attribute__((weak)) const pai_kernel pai_kernel_pad = {0};
__attribute__((weak)) const pai_kernel pai_kernel_pow = {0};
__attribute__((weak)) const pai_kernel pai_kernel_quantize_linear = {0};
__attribute__((weak)) const pai_kernel pai_kernel_random_uniform_like = {0};
__attribute__((weak)) const pai_kernel pai_kernel_reduce_max = {0};
__attribute__((weak)) const pai_kernel pai_kernel_reduce_mean = {0};
__attribute__((weak)) const pai_kernel pai_kernel_reduce_min = {0};
__attribute__((weak)) const pai_kernel pai_kernel_reduce_sum = {0};
__attribute__((weak)) const pai_kernel pai_kernel_relu = {0};
__attribute__((weak)) const pai_kernel pai_kernel_reshape = {0};
__attribute__((weak)) const pai_kernel pai_kernel_round = {0};
__attribute__((weak)) const pai_kernel pai_kernel_scan = {0};
__attribute__((weak)) const pai_kernel pai_kernel_shape = {0};
__attribute__((weak)) const pai_kernel pai_kernel_sigmoid = {0};
__attribute__((weak)) const pai_kernel pai_kernel_sign = {0};
__attribute__((weak)) const pai_kernel pai_kernel_slice = {0};
__attribute__((weak)) const pai_kernel pai_kernel_softmax = {0};
__attribute__((weak)) const pai_kernel pai_kernel_softmax_cross_entropy_loss = {0};
__attribute__((weak)) const pai_kernel pai_kernel_split = {0};
__attribute__((weak)) const pai_kernel pai_kernel_sqrt = {0};
__attribute__((weak)) const pai_kernel pai_kernel_squeeze = {0};
__attribute__((weak)) const pai_kernel pai_kernel_sub = {0};
__attribute__((weak)) const pai_kernel pai_kernel_tanh = {0};
__attribute__((weak)) const pai_kernel pai_kernel_transpose = {0};
__attribute__((weak)) const pai_kernel pai_kernel_unsqueeze = {0};
__attribute__((weak)) const pai_kernel pai_kernel_where = {0};
__attribute__((weak)) pai_status pai_grad_abs(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_add(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_average_pool(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_batch_normalization(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_cast(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_clip(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_concat(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_conv(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_conv_transpose(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_dequantize_linear(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_div(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_dropout(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_erf(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_exp(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_expand(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_flatten(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_gather(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_gemm(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_global_average_pool(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_identity(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_leaky_relu(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_log(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_log_softmax(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_mat_mul(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_max(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_max_pool(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_min(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_mul(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_neg(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_pad(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_pow(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_quantize_linear(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_reduce_max(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_reduce_mean(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_reduce_min(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_reduce_sum(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_relu(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_reshape(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_sigmoid(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_slice(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_softmax(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_softmax_cross_entropy_loss(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_split(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_sqrt(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_squeeze(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_sub(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_tanh(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_transpose(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_unsqueeze(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
__attribute__((weak)) pai_status pai_grad_where(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_INTERNAL;
}
