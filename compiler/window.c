/* window.c -- where the windows of convolutions and pools lie, from the attributes of a node. Sizes
 * may be symbolic; where they are numbers, so are the results.
 */
#include "compiler/window.h"
#include <string.h>

pai_status pai_window_list(pai_ctx *ctx, const pai_node *n, const char *name, int count,
			   int64_t low, int64_t otherwise, int64_t *out)
{
	const int64_t *at;
	int given = pai_node_ints(n, name, &at);
	if (given >= 0 && given != count)
		return pai_fail(ctx, PAI_E_shape_attr, pai_at_attr(n, name),
				"needs %d values, has %d", count, given);
	for (int i = 0; i < count; i++) {
		out[i] = given < 0 ? otherwise : at[i];
		if (out[i] < low || out[i] > INT32_MAX)
			return pai_fail(ctx, PAI_E_shape_attr, pai_at_attr(n, name),
					"value %d is %lld, must be in [%lld, %d]", i,
					(long long)out[i], (long long)low, INT32_MAX);
	}
	return PAI_OK;
}

static pai_status read_auto_pad(pai_ctx *ctx, const pai_node *n, pai_auto_pad *out)
{
	static const char *const names[] = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"};
	const char *given = pai_node_string(n, "auto_pad", "");
	*out = PAI_PAD_EXPLICIT;
	for (int i = 0; i < 4; i++)
		if (strcmp(*given ? given : "NOTSET", names[i]) == 0) {
			*out = (pai_auto_pad)i;
			return PAI_OK;
		}
	return pai_fail(ctx, PAI_E_shape_attr, pai_at_attr(n, "auto_pad"),
			"is \"%.40s\", must be NOTSET, VALID, SAME_UPPER or SAME_LOWER", given);
}

pai_status pai_window_read(pai_ctx *ctx, const pai_node *n, int rank, const pai_dim *weights,
			   pai_window_attrs *w)
{
	int64_t pads[2 * PAI_MAX_RANK], kernel[PAI_MAX_RANK];
	const int64_t *list;
	w->rank = rank;
	PAI_TRY(pai_window_list(ctx, n, "strides", rank, 1, 1, w->stride));
	PAI_TRY(pai_window_list(ctx, n, "dilations", rank, 1, 1, w->dilation));
	PAI_TRY(read_auto_pad(ctx, n, &w->pad));
	PAI_TRY(pai_window_list(ctx, n, "pads", 2 * rank, INT32_MIN, 0, pads));
	PAI_TRY(pai_window_list(ctx, n, "kernel_shape", rank, 1, 1, kernel));
	const bool given = pai_node_ints(n, "kernel_shape", &list) >= 0;
	const bool padded = w->pad == PAI_PAD_EXPLICIT;
	for (int i = 0; i < rank; i++) {
		w->begin[i] = padded ? pads[i] : 0;
		w->end[i] = padded ? pads[rank + i] : 0;
		w->kernel[i] = given ? kernel[i] : weights ? weights[i] : PAI_DIM_UNKNOWN;
		if (given && weights && weights[i] >= 0 && kernel[i] != weights[i])
			return pai_fail(ctx, PAI_E_shape_attr, pai_at_attr(n, "kernel_shape"),
					"value %d is %lld, but the weight has %s there", i,
					(long long)kernel[i], pai_dim_text(ctx, weights[i]));
	}
	return PAI_OK;
}

/* Elements a window spans along axis i: (k - 1) * dilation + 1. */
static pai_dim extent_of(pai_ctx *ctx, const pai_window_attrs *w, int i)
{
	pai_dim steps = pai_dim_sub(ctx, w->kernel[i], 1);
	return pai_dim_add(ctx, pai_dim_mul(ctx, steps, w->dilation[i]), 1);
}

static bool is_same(const pai_window_attrs *w)
{
	return w->pad == PAI_PAD_SAME_UPPER || w->pad == PAI_PAD_SAME_LOWER;
}

/* Rounded up, with stride > 1. room: image + begin + end - extent. */
static pai_dim grid_rounded_up(pai_ctx *ctx, const pai_window_attrs *w, int i, pai_dim image,
			       pai_dim room)
{
	const int64_t stride = w->stride[i];
	int64_t size, span;
	if (pai_dim_const(ctx, room, &size)) {
		if (size > INT64_MAX / 4)
			return PAI_DIM_UNKNOWN;
		int64_t last = (size + stride - 1) / stride;
		return last + (image < 0 || last * stride < image + w->begin[i]);
	}
	/* The last window certainly starts inside. */
	if (pai_dim_const(ctx, extent_of(ctx, w, i), &span) && stride <= span - w->end[i])
		return pai_dim_add(ctx,
				   pai_dim_div(ctx, pai_dim_add(ctx, room, stride - 1), stride), 1);
	return PAI_DIM_UNKNOWN;
}

pai_status pai_window_grid(pai_ctx *ctx, const pai_node *n, const pai_window_attrs *w, int i,
			   pai_dim image, bool ceil_mode, pai_dim *out)
{
	const int64_t stride = w->stride[i];
	if (is_same(w)) {
		*out = pai_dim_div(ctx, pai_dim_add(ctx, image, stride - 1), stride);
		return PAI_OK;
	}
	int64_t size;
	pai_dim padded = pai_dim_add(ctx, image, pai_dim_int(ctx, w->begin[i] + w->end[i])),
		extent = extent_of(ctx, w, i), room = pai_dim_sub(ctx, padded, extent);
	if (pai_dim_const(ctx, room, &size) && size < 0)
		return pai_fail(
			ctx, PAI_E_shape_sizes, pai_at_input(n, 0),
			"the window spans %s elements of axis %d, which has %s with padding",
			pai_dim_text(ctx, extent), i + 2, pai_dim_text(ctx, padded));
	*out = ceil_mode && stride > 1 ? grid_rounded_up(ctx, w, i, image, room)
				       : pai_dim_add(ctx, pai_dim_div(ctx, room, stride), 1);
	return PAI_OK;
}

pai_dim pai_window_image(pai_ctx *ctx, const pai_window_attrs *w, int i, pai_dim grid, int64_t more)
{
	if (is_same(w))
		return pai_dim_mul(ctx, grid, w->stride[i]);
	pai_dim spread = pai_dim_mul(ctx, pai_dim_sub(ctx, grid, 1), w->stride[i]);
	pai_dim size = pai_dim_add(ctx, pai_dim_add(ctx, spread, more), extent_of(ctx, w, i));
	return pai_dim_sub(ctx, size, pai_dim_int(ctx, w->begin[i] + w->end[i]));
}
