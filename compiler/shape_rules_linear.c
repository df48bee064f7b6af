/* shape_rules_linear.c -- rules of products, and of operators that move a window over an image:
 * convolutions, poolings, batch normalisation.
 */
#include "compiler/window.h"

static pai_status wrong_rank(pai_shape_ctx *s, int i, const char *need)
{
	return pai_fail(s->ctx, PAI_E_shape_rank, pai_at_input(s->node, i), "is %s, needs %s",
			pai_type_text(s->ctx, s->arena, s->in[i]), need);
}

static bool differ(pai_dim a, pai_dim b)
{
	return a >= 0 && b >= 0 && a != b;
}

/* [.., M, K] x [.., K, N] -> [.., M, N], the rest broadcast; a vector is a row or a column. */
pai_status pai_shape_matmul(pai_shape_ctx *s)
{
	pai_dim a[PAI_MAX_RANK + 1], b[PAI_MAX_RANK + 1], out[PAI_MAX_RANK + 1];
	if (!pai_shape_known(s, 0) || !pai_shape_known(s, 1))
		return PAI_OK;
	int ra = s->in[0]->rank, rb = s->in[1]->rank;
	if (ra == 0 || rb == 0)
		return wrong_rank(s, ra == 0 ? 0 : 1, "at least rank 1");
	const bool row = ra == 1, column = rb == 1;
	if (ra == PAI_MAX_RANK || rb == PAI_MAX_RANK)
		return PAI_OK;
	a[0] = b[1] = 1;
	pai_copy(a + row, s->in[0]->dims, sizeof *a * (size_t)ra);
	pai_copy(b, s->in[1]->dims, sizeof *b * (size_t)rb);
	ra += row;
	rb += column;
	if (differ(a[ra - 1], b[rb - 2]))
		return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, 1),
				"is %s, does not fit %s of input 0",
				pai_type_text(s->ctx, s->arena, s->in[1]),
				pai_type_text(s->ctx, s->arena, s->in[0]));
	int rank = pai_dims_broadcast(s->ctx, ra - 2, a, rb - 2, b, out);
	if (rank < 0)
		return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, 1),
				"is %s, its batches do not broadcast with %s of input 0",
				pai_type_text(s->ctx, s->arena, s->in[1]),
				pai_type_text(s->ctx, s->arena, s->in[0]));
	if (!row)
		out[rank++] = a[ra - 2];
	if (!column)
		out[rank++] = b[rb - 1];
	pai_shape_set(s, 0, rank, out);
	return PAI_OK;
}

/* Is `from` no larger than `to` after broadcasting? false only where it certainly is not. */
static bool broadcasts_to(const pai_type *from, int rank, const pai_dim *to)
{
	if (from->rank > rank)
		return false;
	for (int i = 0; i < from->rank; i++)
		if (from->dims[i] != 1 && differ(from->dims[i], to[rank - from->rank + i]))
			return false;
	return true;
}

pai_status pai_shape_gemm(pai_shape_ctx *s)
{
	const bool ta = pai_node_int(s->node, "transA", 0), tb = pai_node_int(s->node, "transB", 0);
	for (int i = 0; i < 2; i++)
		if (pai_shape_known(s, i) && s->in[i]->rank != 2)
			return wrong_rank(s, i, "rank 2");
	if (!pai_shape_known(s, 0) || !pai_shape_known(s, 1))
		return PAI_OK;
	const pai_dim *a = s->in[0]->dims, *b = s->in[1]->dims;
	const pai_dim out[] = {a[ta], b[!tb]};
	if (differ(a[!ta], b[tb]))
		return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, 1),
				"is %s%s, does not fit %s%s of input 0",
				pai_type_text(s->ctx, s->arena, s->in[1]), tb ? " transposed" : "",
				pai_type_text(s->ctx, s->arena, s->in[0]), ta ? " transposed" : "");
	if (pai_shape_known(s, 2) && !broadcasts_to(s->in[2], 2, out))
		return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, 2),
				"is %s, does not broadcast to [%s,%s]",
				pai_type_text(s->ctx, s->arena, s->in[2]),
				pai_dim_text(s->ctx, out[0]), pai_dim_text(s->ctx, out[1]));
	pai_shape_set(s, 0, 2, out);
	return PAI_OK;
}

static pai_status check_channels(pai_shape_ctx *s, int64_t group)
{
	if (group < 1 || group > INT32_MAX)
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "group"),
				"is %lld, must be at least 1", (long long)group);
	if (pai_shape_known(s, 0) && s->in[0]->rank < 2)
		return wrong_rank(s, 0, "at least rank 2");
	if (pai_shape_known(s, 1) && s->in[1]->rank < 2)
		return wrong_rank(s, 1, "at least rank 2");
	if (pai_shape_known(s, 2) && s->in[2]->rank != 1)
		return wrong_rank(s, 2, "rank 1");
	if (!pai_shape_known(s, 0) || !pai_shape_known(s, 1))
		return PAI_OK;
	if (s->in[0]->rank != s->in[1]->rank)
		return pai_fail(s->ctx, PAI_E_shape_rank, pai_at_input(s->node, 1),
				"has rank %d, input 0 has rank %d", s->in[1]->rank, s->in[0]->rank);
	return PAI_OK;
}

static pai_status check_bias(pai_shape_ctx *s, pai_dim channels)
{
	if (!pai_shape_known(s, 2) || !differ(s->in[2]->dims[0], channels))
		return PAI_OK;
	return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, 2),
			"has %s elements, needs %s", pai_dim_text(s->ctx, s->in[2]->dims[0]),
			pai_dim_text(s->ctx, channels));
}

/* X [N, C, d..], W [M, C/group, k..] -> [N, M, o..] */
pai_status pai_shape_conv(pai_shape_ctx *s)
{
	const int64_t group = pai_node_int(s->node, "group", 1);
	PAI_TRY(check_channels(s, group));
	const pai_type *x = pai_shape_known(s, 0) ? s->in[0] : NULL;
	const pai_type *w = pai_shape_known(s, 1) ? s->in[1] : NULL;
	pai_window_attrs win;
	if (!x && !w)
		return PAI_OK;
	const int rank = x ? x->rank : w->rank;
	PAI_TRY(pai_window_read(s->ctx, s->node, rank - 2, w ? w->dims + 2 : NULL, &win));
	pai_dim out[PAI_MAX_RANK];
	out[0] = x ? x->dims[0] : PAI_DIM_UNKNOWN;
	out[1] = w ? w->dims[0] : pai_shape_known(s, 2) ? s->in[2]->dims[0] : PAI_DIM_UNKNOWN;
	if (w)
		PAI_TRY(check_bias(s, w->dims[0]));
	if (w && w->dims[0] >= 0 && w->dims[0] % group != 0)
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "group"),
				"is %lld, does not divide the %s output channels", (long long)group,
				pai_dim_text(s->ctx, w->dims[0]));
	if (x && w && differ(x->dims[1], pai_dim_mul(s->ctx, w->dims[1], group)))
		return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, 1),
				"is %s: takes %s channels with group %lld, input 0 has %s",
				pai_type_text(s->ctx, s->arena, w),
				pai_dim_text(s->ctx, pai_dim_mul(s->ctx, w->dims[1], group)),
				(long long)group, pai_dim_text(s->ctx, x->dims[1]));
	for (int i = 0; i < rank - 2; i++) {
		out[2 + i] = PAI_DIM_UNKNOWN;
		if (x)
			PAI_TRY(pai_window_grid(s->ctx, s->node, &win, i, x->dims[2 + i], false,
						&out[2 + i]));
	}
	pai_shape_set(s, 0, rank, out);
	return PAI_OK;
}

/* X [N, C, d..], W [C, M/group, k..] -> [N, M, o..] with
 * o = stride*(d-1) + output_padding + extent - begin - end. */
pai_status pai_shape_conv_transpose(pai_shape_ctx *s)
{
	const int64_t group = pai_node_int(s->node, "group", 1);
	PAI_TRY(check_channels(s, group));
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_type *x = s->in[0], *w = pai_shape_known(s, 1) ? s->in[1] : NULL;
	const int n = x->rank - 2;
	pai_window_attrs win;
	int64_t more[PAI_MAX_RANK], fixed[PAI_MAX_RANK], v;
	PAI_TRY(pai_window_read(s->ctx, s->node, n, w ? w->dims + 2 : NULL, &win));
	PAI_TRY(pai_window_list(s->ctx, s->node, "output_padding", n, 0, 0, more));
	PAI_TRY(pai_window_list(s->ctx, s->node, "output_shape", n, 0, 0, fixed));
	const bool given = pai_node_attr(s->node, "output_shape") != NULL;
	pai_dim out[PAI_MAX_RANK];
	out[0] = x->dims[0];
	out[1] = w ? pai_dim_mul(s->ctx, w->dims[1], group) : PAI_DIM_UNKNOWN;
	if (w && differ(x->dims[1], w->dims[0]))
		return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, 1),
				"is %s: takes %s channels, input 0 has %s",
				pai_type_text(s->ctx, s->arena, w),
				pai_dim_text(s->ctx, w->dims[0]), pai_dim_text(s->ctx, x->dims[1]));
	if (x->dims[1] >= 0 && x->dims[1] % group != 0)
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "group"),
				"is %lld, does not divide the %s input channels", (long long)group,
				pai_dim_text(s->ctx, x->dims[1]));
	PAI_TRY(check_bias(s, out[1]));
	for (int i = 0; i < n; i++) {
		pai_ctx *ctx = s->ctx;
		out[2 + i] =
			given ? fixed[i] : pai_window_image(ctx, &win, i, x->dims[2 + i], more[i]);
		if (pai_dim_const(ctx, out[2 + i], &v) && v < 0)
			return pai_fail(ctx, PAI_E_shape_attr, pai_at_attr(s->node, "pads"),
					"leave axis %d with %lld elements", i + 2, (long long)v);
	}
	pai_shape_set(s, 0, x->rank, out);
	return PAI_OK;
}

/* X [N, C, d..] -> [N, C, o..]; the indices of MaxPool have the same shape. */
pai_status pai_shape_pool(pai_shape_ctx *s)
{
	const bool ceil_mode = pai_node_int(s->node, "ceil_mode", 0) != 0;
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_type *x = s->in[0];
	if (x->rank < 3)
		return wrong_rank(s, 0, "at least rank 3");
	pai_window_attrs win;
	PAI_TRY(pai_window_read(s->ctx, s->node, x->rank - 2, NULL, &win));
	pai_dim out[PAI_MAX_RANK] = {x->dims[0], x->dims[1]};
	for (int i = 2; i < x->rank; i++)
		PAI_TRY(pai_window_grid(s->ctx, s->node, &win, i - 2, x->dims[i], ceil_mode,
					&out[i]));
	for (int o = 0; o < s->n_out; o++)
		pai_shape_set(s, o, x->rank, out);
	return PAI_OK;
}

pai_status pai_shape_global_pool(pai_shape_ctx *s)
{
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_type *x = s->in[0];
	if (x->rank < 2)
		return wrong_rank(s, 0, "at least rank 2");
	pai_dim out[PAI_MAX_RANK] = {x->dims[0], x->dims[1]};
	for (int i = 2; i < x->rank; i++)
		out[i] = 1;
	pai_shape_set(s, 0, x->rank, out);
	return PAI_OK;
}

/* Y as X; statistics (running ones, and those saved before version 14) as the mean that came in. */
pai_status pai_shape_batch_normalization(pai_shape_ctx *s)
{
	const bool spatial = pai_node_int(s->node, "spatial", 1) != 0;
	const pai_type *x = pai_shape_known(s, 0) ? s->in[0] : NULL;
	pai_shape_copy(s, 0, 0);
	for (int i = 1; i < s->n_in && i < 5 && spatial; i++) {
		if (!pai_shape_known(s, i))
			continue;
		if (s->in[i]->rank != 1)
			return wrong_rank(s, i, "rank 1");
		if (x && x->rank >= 2 && differ(s->in[i]->dims[0], x->dims[1]))
			return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, i),
					"has %s elements, needs one for each of the %s channels",
					pai_dim_text(s->ctx, s->in[i]->dims[0]),
					pai_dim_text(s->ctx, x->dims[1]));
	}
	for (int o = 1; o < s->n_out; o++)
		pai_shape_copy(s, o, 3);
	return PAI_OK;
}
