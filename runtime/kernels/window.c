/* window.c -- the geometry of convolutions and pools, from the attributes of a node. */
#include "runtime/kernels/window.h"
#include <string.h>

/* A list of `n` integers >= low from an attribute; where it is absent, `otherwise`. */
static pai_status list_of(pai_call *c, const char *name, int n, int64_t low,
			  const int64_t *otherwise, int64_t *out)
{
	const int64_t *v;
	int given = pai_node_ints(c->node, name, &v);
	if (given < 0) {
		v = otherwise;
		given = n;
	}
	if (given != n)
		return pai_fail(c->ctx, PAI_E_bad_window, pai_at_attr(c->node, name),
				"has %d elements, expected %d", given, n);
	for (int i = 0; i < n; i++) {
		out[i] = v[i];
		if (v[i] < low || v[i] > INT32_MAX)
			return pai_fail(c->ctx, PAI_E_bad_window, pai_at_attr(c->node, name),
					"element %d is %lld", i, (long long)v[i]);
	}
	return PAI_OK;
}

enum { MAX_SIZE_BITS = 31 }; /* sizes of an axis; stride, dilation, pads are under 2^31 as well */

/* All but the sizes of the two sides. */
static pai_status read_window(pai_call *c, int rank, const int64_t *kernel, pai_window *w)
{
	if (rank < 1 || rank > PAI_MAX_RANK - 2)
		return pai_fail(c->ctx, PAI_E_bad_window, pai_at_input(c->node, 0),
				"has %d spatial axes", rank);
	int64_t ones[PAI_MAX_RANK], zeros[2 * PAI_MAX_RANK] = {0}, pads[2 * PAI_MAX_RANK];
	for (int i = 0; i < rank; i++)
		ones[i] = 1;
	w->rank = rank;
	PAI_TRY(list_of(c, "kernel_shape", rank, 1, kernel ? kernel : ones, w->kernel));
	PAI_TRY(list_of(c, "strides", rank, 1, ones, w->stride));
	PAI_TRY(list_of(c, "dilations", rank, 1, ones, w->dilation));
	PAI_TRY(list_of(c, "pads", 2 * rank, INT32_MIN, zeros, pads));
	w->kernel_size = 1;
	for (int i = 0; i < rank; i++) {
		if (kernel && w->kernel[i] != kernel[i])
			return pai_fail(c->ctx, PAI_E_bad_window,
					pai_at_attr(c->node, "kernel_shape"),
					"element %d is %lld, the weights have %lld", i,
					(long long)w->kernel[i], (long long)kernel[i]);
		if (__builtin_mul_overflow(w->kernel_size, w->kernel[i], &w->kernel_size))
			return pai_fail(c->ctx, PAI_E_bad_window, pai_at_node(c->node),
					"the window is too large");
		w->begin[i] = pads[i];
		w->end[i] = pads[rank + i];
	}
	return PAI_OK;
}

static int64_t extent(const pai_window *w, int i)
{
	return (w->kernel[i] - 1) * w->dilation[i] + 1;
}

enum auto_pad { EXPLICIT, VALID, SAME_UPPER, SAME_LOWER };

static pai_status read_auto_pad(pai_call *c, enum auto_pad *out)
{
	static const char *const names[] = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"};
	const char *given = pai_node_string(c->node, "auto_pad", "NOTSET");
	for (int i = 0; i < 4; i++)
		if (strcmp(*given ? given : "NOTSET", names[i]) == 0) {
			*out = (enum auto_pad)i;
			return PAI_OK;
		}
	return pai_fail(c->ctx, PAI_E_bad_window, pai_at_attr(c->node, "auto_pad"),
			"is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER");
}

/* Divides the padding of an axis between its ends; what is less than none is missing at the end. */
static void share_pad(pai_window *w, int i, int64_t total, bool more_at_end)
{
	int64_t some = total > 0 ? total : 0;
	w->begin[i] = more_at_end ? some / 2 : some - some / 2;
	w->end[i] = total - w->begin[i];
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

/* Windows along one axis. Rounded up, a last window that would start in the padding is dropped. */
static int64_t windows(const pai_window *w, int i, bool ceil)
{
	int64_t room = w->image[i] + w->begin[i] + w->end[i] - extent(w, i);
	if (room < 0 && !ceil)
		return room + w->stride[i] < 0 ? -1 : 0;
	int64_t n = (room + (ceil ? w->stride[i] - 1 : 0)) / w->stride[i] + 1;
	if (ceil && (n - 1) * w->stride[i] >= w->image[i] + w->begin[i])
		n--;
	return n;
}

static pai_status too_long(pai_call *c, int axis, int64_t size)
{
	return pai_fail(c->ctx, PAI_E_bad_window, pai_at_node(c->node),
			"a window moves over spatial axis %d of %lld elements; at most 2^31 - 1 do",
			axis, (long long)size);
}

pai_status pai_window_over(pai_call *c, int rank, const int64_t *image, const int64_t *kernel,
			   pai_window *w)
{
	enum auto_pad mode;
	PAI_TRY(read_window(c, rank, kernel, w));
	PAI_TRY(read_auto_pad(c, &mode));
	bool ceil = pai_node_int(c->node, "ceil_mode", 0);
	for (int i = 0; i < rank; i++) {
		if (image[i] >> MAX_SIZE_BITS)
			return too_long(c, i, image[i]);
		w->image[i] = image[i];
		if (mode == VALID)
			w->begin[i] = w->end[i] = 0;
		if (mode == SAME_UPPER || mode == SAME_LOWER) {
			w->grid[i] = (image[i] + w->stride[i] - 1) / w->stride[i];
			int64_t total = (w->grid[i] - 1) * w->stride[i] + extent(w, i) - image[i];
			share_pad(w, i, total > 0 ? total : 0, mode == SAME_UPPER);
		} else {
			w->grid[i] = windows(w, i, ceil);
		}
	}
	return finish(c, w);
}

pai_status pai_window_under(pai_call *c, int rank, const int64_t *grid, const int64_t *kernel,
			    pai_window *w)
{
	enum auto_pad mode;
	int64_t zeros[PAI_MAX_RANK] = {0}, more[PAI_MAX_RANK], shape[PAI_MAX_RANK];
	const int64_t *given;
	PAI_TRY(read_window(c, rank, kernel, w));
	PAI_TRY(read_auto_pad(c, &mode));
	PAI_TRY(list_of(c, "output_padding", rank, 0, zeros, more));
	bool has_shape = pai_node_ints(c->node, "output_shape", &given) > 0;
	if (has_shape)
		PAI_TRY(list_of(c, "output_shape", rank, 0, zeros, shape));
	for (int i = 0; i < rank; i++) {
		if (grid[i] >> MAX_SIZE_BITS)
			return too_long(c, i, grid[i]);
		w->grid[i] = grid[i];
		int64_t full = (grid[i] - 1) * w->stride[i] + extent(w, i) + more[i];
		if (mode == VALID)
			w->begin[i] = w->end[i] = 0;
		if (has_shape)
			share_pad(w, i, full - shape[i], mode == SAME_UPPER);
		else if (mode == SAME_UPPER || mode == SAME_LOWER)
			share_pad(w, i, full - grid[i] * w->stride[i], mode == SAME_UPPER);
		w->image[i] = full - w->begin[i] - w->end[i];
	}
	return finish(c, w);
}
