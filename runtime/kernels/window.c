/* window.c -- the geometry of convolutions and pools for kernels: numbers, all of them in range.
 * The attributes and the arithmetic are those of the shape rules (compiler/window.c); here what
 * auto_pad means is turned into pads.
 */
#include "compiler/window.h"
#include "runtime/kernels/window.h"

enum { MAX_SIZE_BITS = 31 }; /* sizes of an axis; stride, dilation, pads are under 2^31 as well */

static pai_status wrong(pai_call *c, const char *what)
{
	return pai_fail(c->ctx, PAI_E_bad_window, pai_at_node(c->node), "%s", what);
}

/* All but the sizes of the two sides, and pads as the attributes have them. */
static pai_status read_window(pai_call *c, int rank, const int64_t *kernel, pai_window_attrs *attrs,
			      pai_window *w)
{
	if (rank < 1 || rank > PAI_MAX_RANK - 2)
		return pai_fail(c->ctx, PAI_E_bad_window, pai_at_input(c->node, 0),
				"has %d spatial axes", rank);
	PAI_TRY(pai_window_read(c->ctx, c->node, rank, kernel, attrs));
	w->rank = rank;
	w->kernel_size = 1;
	for (int i = 0; i < rank; i++) {
		if (attrs->kernel[i] < 0) /* LpPool 1 may leave it out */
			attrs->kernel[i] = 1;
		if (attrs->kernel[i] < 1 || attrs->kernel[i] > INT32_MAX)
			return wrong(c, "the window is empty or too large");
		w->kernel[i] = attrs->kernel[i];
		w->stride[i] = attrs->stride[i];
		w->dilation[i] = attrs->dilation[i];
		w->begin[i] = attrs->begin[i];
		w->end[i] = attrs->end[i];
		if (__builtin_mul_overflow(w->kernel_size, w->kernel[i], &w->kernel_size))
			return wrong(c, "the window is empty or too large");
	}
	return PAI_OK;
}

/* Divides the padding of an axis between its ends; what is less than none is missing at the end. */
static void share_pad(pai_window *w, int i, int64_t total, bool more_at_end)
{
	int64_t some = total > 0 ? total : 0;
	w->begin[i] = more_at_end ? some / 2 : some - some / 2;
	w->end[i] = total - w->begin[i];
}

static bool is_same(pai_auto_pad pad)
{
	return pad == PAI_PAD_SAME_UPPER || pad == PAI_PAD_SAME_LOWER;
}

static pai_status finish(pai_call *c, pai_window *w)
{
	w->image_size = w->grid_size = 1;
	for (int i = 0; i < w->rank; i++) {
		if (w->image[i] < 0 || w->grid[i] < 0 ||
		    __builtin_mul_overflow(w->image_size, w->image[i], &w->image_size) ||
		    __builtin_mul_overflow(w->grid_size, w->grid[i], &w->grid_size))
			return pai_fail(c->ctx, PAI_E_bad_window, pai_at_node(c->node),
					"the window does not fit axis %d", i);
	}
	return PAI_OK;
}

static pai_status check_sizes(pai_call *c, int rank, const int64_t *sizes)
{
	for (int i = 0; i < rank; i++)
		if (sizes[i] >> MAX_SIZE_BITS)
			return pai_fail(c->ctx, PAI_E_bad_window, pai_at_node(c->node),
					"a window moves over spatial axis %d of %lld elements; at "
					"most 2^31 - 1 do",
					i, (long long)sizes[i]);
	return PAI_OK;
}

pai_status pai_window_over(pai_call *c, int rank, const int64_t *image, const int64_t *kernel,
			   pai_window *w)
{
	pai_window_attrs attrs;
	PAI_TRY(read_window(c, rank, kernel, &attrs, w));
	PAI_TRY(check_sizes(c, rank, image));
	const bool ceil_mode = pai_node_int(c->node, "ceil_mode", 0);
	for (int i = 0; i < rank; i++) {
		pai_dim grid;
		w->image[i] = image[i];
		PAI_TRY(pai_window_grid(c->ctx, c->node, &attrs, i, image[i], ceil_mode, &grid));
		w->grid[i] = grid; /* negative where it is too large: finish tells */
		if (!is_same(attrs.pad))
			continue;
		int64_t extent = (w->kernel[i] - 1) * w->dilation[i] + 1;
		int64_t total = (grid - 1) * w->stride[i] + extent - image[i];
		share_pad(w, i, total > 0 ? total : 0, attrs.pad == PAI_PAD_SAME_UPPER);
	}
	return finish(c, w);
}

pai_status pai_window_under(pai_call *c, int rank, const int64_t *grid, const int64_t *kernel,
			    pai_window *w)
{
	pai_window_attrs attrs;
	int64_t more[PAI_MAX_RANK], shape[PAI_MAX_RANK];
	const int64_t *given;
	PAI_TRY(read_window(c, rank, kernel, &attrs, w));
	PAI_TRY(check_sizes(c, rank, grid));
	PAI_TRY(pai_window_list(c->ctx, c->node, "output_padding", rank, 0, 0, more));
	const bool has_shape = pai_node_ints(c->node, "output_shape", &given) > 0;
	if (has_shape)
		PAI_TRY(pai_window_list(c->ctx, c->node, "output_shape", rank, 0, 0, shape));
	for (int i = 0; i < rank; i++) {
		int64_t extent = (w->kernel[i] - 1) * w->dilation[i] + 1;
		int64_t full = (grid[i] - 1) * w->stride[i] + extent + more[i];
		w->grid[i] = grid[i];
		w->image[i] = has_shape ? shape[i]
					: pai_window_image(c->ctx, &attrs, i, grid[i], more[i]);
		if (has_shape || is_same(attrs.pad))
			share_pad(w, i, full - w->image[i], attrs.pad == PAI_PAD_SAME_UPPER);
	}
	return finish(c, w);
}
