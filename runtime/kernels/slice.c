/* slice.c -- Slice, and the sum of its inverse for gradients: a box with start and step per axis.
 */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/move.h"

/* Clamps as the standard says: forwards both to [0, size]; backwards the start to [0, size - 1] and
 * the end to [-1, size - 1]. */
static pai_range clamp_range(int64_t start, int64_t end, int64_t step, int64_t size)
{
	int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
	start += start < 0 ? size : 0;
	end += end < 0 ? size : 0;
	start = start < 0 ? 0 : start;
	start = start > high ? high : start;
	end = end < low ? low : end > high ? high : end;
	int64_t span = step > 0 ? end - start : start - end;
	uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
	int64_t n = span > 0 ? (int64_t)(((uint64_t)span - 1) / stride) + 1 : 0;
	return (pai_range){start, n > 1 ? step : 1, n};
}

pai_status pai_slice_ranges(pai_call *c, int first, int rank, const int64_t *dims, pai_range *r)
{
	pai_int_list starts, ends, axes, steps;
	PAI_TRY(pai_call_ints(c, "starts", first, &starts));
	PAI_TRY(pai_call_ints(c, "ends", first + 1, &ends));
	PAI_TRY(pai_call_ints(c, "axes", first + 2, &axes));
	PAI_TRY(pai_call_ints(c, "steps", first + 3, &steps));
	int n = starts.n;
	if (n > rank || ends.n != n || (axes.n >= 0 && axes.n != n) ||
	    (steps.n >= 0 && steps.n != n))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"starts, ends, axes and steps differ in length or are more than %d",
				rank);
	bool seen[PAI_MAX_RANK] = {false};
	for (int i = 0; i < rank; i++)
		r[i] = (pai_range){0, 1, dims[i]};
	for (int i = 0; i < n; i++) {
		int axis = i;
		if (axes.n >= 0)
			PAI_TRY(pai_call_axis(c, axes.at[i], rank, &axis));
		int64_t step = steps.n >= 0 ? steps.at[i] : 1;
		if (step == 0 || seen[axis])
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
					step ? "axis %d is given twice" : "axis %d has step 0",
					axis);
		seen[axis] = true;
		r[axis] = clamp_range(starts.at[i], ends.at[i], step, dims[axis]);
	}
	return PAI_OK;
}

/* The box of the slice: strides over the whole, and the offset of its first element. */
static int64_t slice_box(int rank, const int64_t *whole, const pai_range *r, int64_t *dims,
			 int64_t *strides)
{
	int64_t offset = 0;
	pai_strides(rank, whole, strides);
	for (int i = 0; i < rank; i++) {
		dims[i] = r[i].n;
		offset += r[i].n ? r[i].start * strides[i] : 0;
		strides[i] *= r[i].step;
	}
	return offset;
}

static pai_status slice(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	pai_range r[PAI_MAX_RANK];
	PAI_TRY(pai_slice_ranges(c, 1, x->rank, x->dims, r));
	pai_box b = {.rank = x->rank};
	int64_t offset = slice_box(x->rank, x->dims, r, b.dims, b.from);
	PAI_TRY(pai_call_output(c, 0, x->dtype, b.rank, b.dims));
	pai_strides(b.rank, b.dims, b.to);
	return pai_box_call(c, &b, offset);
}

const pai_kernel pai_kernel_slice = {.run = slice};

/* dX = 0, dX[slice] = dY */
static pai_status slice_grad(pai_call *c)
{
	const pai_tensor *dy = c->in[0];
	pai_int_list shape;
	PAI_TRY(pai_call_ints(c, "shape", 1, &shape));
	PAI_TRY(pai_call_output(c, 0, dy->dtype, shape.n, shape.at));
	pai_range r[PAI_MAX_RANK];
	PAI_TRY(pai_slice_ranges(c, 2, shape.n, shape.at, r));
	pai_box b = {.rank = shape.n};
	int64_t offset = slice_box(shape.n, shape.at, r, b.dims, b.to);
	bool fits = dy->rank == shape.n;
	for (int i = 0; fits && i < shape.n; i++)
		fits = b.dims[i] == dy->dims[i];
	if (!fits)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 0),
				"is not shaped as the slice");
	pai_strides(b.rank, b.dims, b.from);
	pai_tensor *dx = c->out[0];
	size_t size = (size_t)pai_dtype_get(dx->dtype)->bits / 8;
	pai_fill(dx->data, pai_tensor_nelem(dx), (uint64_t[]){0}, size);
	if (pai_tensor_nelem(dy))
		pai_box_copy(&b, (uint8_t *)dx->data + (size_t)offset * size, dy->data, size);
	return PAI_OK;
}

const pai_kernel pai_kernel_slice_grad = {.run = slice_grad};

/* An attribute of Slice 1 as an operand; NULL: absent. */
static pai_value *ints_of(pai_grad *g, const pai_node *n, const char *name)
{
	const int64_t *v;
	int count = pai_node_ints(n, name, &v);
	return count < 0 ? NULL : pai_grad_ints(g, n, count, v);
}

/* dX = 0, dX[slice] = dY */
pai_status pai_grad_slice(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_value *in[6] = {dy[0], pai_grad_shape(g, n, n->in[0])};
	bool attributes = n->op->since < 10;
	in[2] = attributes ? ints_of(g, n, "starts") : pai_node_in(n, 1);
	in[3] = attributes ? ints_of(g, n, "ends") : pai_node_in(n, 2);
	in[4] = attributes ? ints_of(g, n, "axes") : pai_node_in(n, 3);
	in[5] = attributes ? NULL : pai_node_in(n, 4);
	dx[0] = pai_grad_internal(g, "SliceGrad", 6, in, NULL);
	return PAI_OK;
}
