/* shape_rules_quant.c -- rules of quantised operators, which have scales and zero points beside
 * their operands, and of normalisations.
 */
#include "compiler/compiler.h"
#include <string.h>

static bool differ(pai_dim a, pai_dim b)
{
	return a >= 0 && b >= 0 && a != b;
}

static pai_status bad_scale(pai_shape_ctx *s, const char *why)
{
	return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, 1),
			"is %s, does not fit %s: %s", pai_type_text(s->ctx, s->arena, s->in[1]),
			pai_type_text(s->ctx, s->arena, s->in[0]), why);
}

/* A list of one element may stand for a scalar. */
static bool same_sizes(const pai_type *a, const pai_type *b)
{
	const int rank = a->rank < b->rank ? a->rank : b->rank;
	for (int i = 0; i < rank; i++)
		if (differ(a->dims[i], b->dims[i]))
			return false;
	return a->rank == b->rank || (a->rank == 1 && a->dims[0] == 1 && !rank) ||
	       (b->rank == 1 && b->dims[0] == 1 && !rank);
}

/* One scale for all, one for each index of the axis, or one for each block along it. */
static pai_status check_scale(pai_shape_ctx *s)
{
	const int64_t block = pai_node_int(s->node, "block_size", 0);
	int64_t axis;
	if (block < 0)
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "block_size"),
				"is %lld, must not be negative", (long long)block);
	if (!pai_shape_known(s, 0) || !pai_shape_known(s, 1))
		return PAI_OK;
	const pai_type *x = s->in[0], *scale = s->in[1];
	if (pai_shape_known(s, 2) && !same_sizes(s->in[2], scale))
		return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, 2),
				"is %s, the scale is %s", pai_type_text(s->ctx, s->arena, s->in[2]),
				pai_type_text(s->ctx, s->arena, scale));
	if (scale->rank == 0 || (scale->rank == 1 && scale->dims[0] == 1 && !block))
		return PAI_OK;
	PAI_TRY(pai_shape_axis(s, pai_node_int(s->node, "axis", 1), x->rank, &axis));
	if (!block) {
		if (scale->rank != 1 || differ(scale->dims[0], x->dims[axis]))
			return bad_scale(s, "needs one for each index of the axis");
		return PAI_OK;
	}
	if (scale->rank != x->rank)
		return bad_scale(s, "blocks need a scale of the same rank");
	for (int i = 0; i < x->rank; i++) {
		pai_dim need = x->dims[i];
		if (i == axis)
			need = pai_dim_div(s->ctx, pai_dim_add(s->ctx, need, block - 1), block);
		if (differ(scale->dims[i], need))
			return bad_scale(s, "needs one for each block");
	}
	return PAI_OK;
}

static pai_status output_dtype(pai_shape_ctx *s, pai_dtype otherwise)
{
	int64_t dtype = pai_node_int(s->node, "output_dtype", 0);
	if (dtype < 0 || dtype >= PAI_DTYPE_COUNT)
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "output_dtype"),
				"%lld is no element type", (long long)dtype);
	s->out[0].kind = PAI_TYPE_TENSOR;
	if (dtype)
		s->out[0].dtype = (pai_dtype)dtype;
	else if (!s->out[0].dtype)
		s->out[0].dtype = otherwise;
	return PAI_OK;
}

/* The type of the zero point, else the attribute, else uint8. */
pai_status pai_shape_quantize_linear(pai_shape_ctx *s)
{
	PAI_TRY(check_scale(s));
	PAI_TRY(output_dtype(s, s->n_in > 2 && s->in[2] ? PAI_UNDEFINED : PAI_UINT8));
	pai_shape_copy(s, 0, 0);
	return PAI_OK;
}

/* The attribute, else the type of the scale. */
pai_status pai_shape_dequantize_linear(pai_shape_ctx *s)
{
	PAI_TRY(check_scale(s));
	PAI_TRY(output_dtype(s, s->n_in > 1 && s->in[1] ? s->in[1]->dtype : PAI_UNDEFINED));
	pai_shape_copy(s, 0, 0);
	return PAI_OK;
}

pai_status pai_shape_dynamic_quantize_linear(pai_shape_ctx *s)
{
	pai_shape_copy(s, 0, 0);
	pai_shape_set(s, 1, 0, NULL);
	pai_shape_set(s, 2, 0, NULL);
	return PAI_OK;
}

/* Runs another rule with some of the inputs in the places where it looks for them. */
static pai_status as_if(pai_shape_ctx *s, pai_shape_fn rule, int n, const int *slots)
{
	const pai_type *in[3] = {NULL};
	const pai_tensor *data[3] = {NULL};
	const pai_dim *dims[3] = {NULL};
	int n_dims[3] = {-1, -1, -1};
	pai_shape_ctx t = *s;
	for (int i = 0; i < n; i++)
		in[i] = slots[i] < s->n_in ? s->in[slots[i]] : NULL;
	t.n_in = n;
	t.in = in;
	t.data = data;
	t.dims = dims;
	t.n_dims = n_dims;
	return rule(&t);
}

pai_status pai_shape_qlinear_matmul(pai_shape_ctx *s)
{
	return as_if(s, pai_shape_matmul, 2, (const int[]){0, 3});
}

/* Of com.microsoft; float where there is no zero point to give the type. */
pai_status pai_shape_qgemm(pai_shape_ctx *s)
{
	if (s->n_in < 9 || !s->in[8])
		s->out[0].dtype = PAI_FLOAT;
	return as_if(s, pai_shape_gemm, 3, (const int[]){0, 3, 6});
}

pai_status pai_shape_qlinear_conv(pai_shape_ctx *s)
{
	return as_if(s, pai_shape_conv, 3, (const int[]){0, 3, 8});
}

pai_status pai_shape_conv_integer(pai_shape_ctx *s)
{
	return as_if(s, pai_shape_conv, 2, (const int[]){0, 1});
}

/* Y as X; mean and inverse deviation with the axes from `axis` on made 1. */
pai_status pai_shape_layer_normalization(pai_shape_ctx *s)
{
	int64_t axis;
	const int64_t stash = pai_node_int(s->node, "stash_type", PAI_FLOAT);
	for (int o = 1; o < s->n_out; o++) {
		s->out[o].kind = PAI_TYPE_TENSOR;
		s->out[o].dtype =
			stash > 0 && stash < PAI_DTYPE_COUNT ? (pai_dtype)stash : PAI_FLOAT;
	}
	pai_shape_copy(s, 0, 0);
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_type *x = s->in[0];
	pai_dim dims[PAI_MAX_RANK];
	PAI_TRY(pai_shape_axis(s, pai_node_int(s->node, "axis", -1), x->rank, &axis));
	for (int i = 0; i < x->rank; i++)
		dims[i] = i < axis ? x->dims[i] : 1;
	for (int o = 1; o < s->n_out; o++)
		pai_shape_set(s, o, x->rank, dims);
	return PAI_OK;
}
