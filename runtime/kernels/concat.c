/* concat.c -- Concat and Split: boxes that lie one behind the other along an axis. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/move.h"

/* Copies a whole tensor to or from a slab of a larger one that starts at `offset` of the axis. */
static void copy_slab(uint8_t *to, const int64_t *to_dims, const uint8_t *from,
		      const int64_t *from_dims, int rank, size_t size)
{
	pai_box b = {.rank = rank};
	pai_strides(rank, to_dims, b.to);
	pai_strides(rank, from_dims, b.from);
	for (int i = 0; i < rank; i++)
		b.dims[i] = to_dims[i] < from_dims[i] ? to_dims[i] : from_dims[i];
	pai_box_copy(&b, to, from, size);
}

/* Elements between two neighbours along the axis. */
static int64_t axis_stride(int rank, const int64_t *dims, int axis)
{
	int64_t strides[PAI_MAX_RANK];
	pai_strides(rank, dims, strides);
	return strides[axis];
}

static pai_status concat_shape(pai_call *c, int *axis, int64_t *dims)
{
	const pai_tensor *first = c->in[0];
	PAI_TRY(pai_call_axis(c, pai_node_int(c->node, "axis", 1), first->rank, axis));
	for (int i = 0; i < first->rank; i++)
		dims[i] = first->dims[i];
	for (int k = 1; k < c->n_in; k++) {
		const pai_tensor *x = c->in[k];
		bool fits = x && x->rank == first->rank && x->dtype == first->dtype;
		for (int i = 0; fits && i < x->rank; i++)
			fits = i == *axis || x->dims[i] == first->dims[i];
		if (!fits || __builtin_add_overflow(dims[*axis], x->dims[*axis], &dims[*axis]))
			return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, k),
					"does not fit the first input beside axis %d", *axis);
	}
	return PAI_OK;
}

static pai_status concat(pai_call *c)
{
	int axis;
	int64_t dims[PAI_MAX_RANK], at = 0;
	PAI_TRY(concat_shape(c, &axis, dims));
	int rank = c->in[0]->rank;
	PAI_TRY(pai_call_output(c, 0, c->in[0]->dtype, rank, dims));
	int64_t step = axis_stride(rank, dims, axis);
	pai_flat to;
	PAI_TRY(pai_flat_out(c, 0, &to));
	for (int k = 0; k < c->n_in; k++) {
		const pai_tensor *x = c->in[k];
		if (pai_tensor_nelem(x) == 0)
			continue;
		pai_flat from;
		PAI_TRY(pai_flat_in(c, k, &from));
		copy_slab(to.at + (size_t)(at * step) * to.size, dims, from.at, x->dims, rank,
			  to.size);
		at += x->dims[axis];
	}
	pai_flat_done(c, 0, &to);
	return PAI_OK;
}

const pai_kernel pai_kernel_concat = {.run = concat};

/* Sizes along the axis of all inputs as an operand; a constant where they are known. */
static pai_value *sizes_along(pai_grad *g, const pai_node *n, int64_t axis)
{
	pai_patch *p = pai_grad_patch(g);
	pai_arena *a = n->graph->model->arena;
	int64_t *sizes = PAI_NEWS(a, int64_t, n->n_in);
	pai_value **parts = PAI_NEWS(a, pai_value *, n->n_in);
	bool known = true;
	for (int i = 0; i < n->n_in; i++) {
		const pai_type *t = &n->in[i]->type;
		int64_t at = axis < 0 ? axis + t->rank : axis;
		sizes[i] = t->rank > at && at >= 0 ? t->dims[at] : -1;
		known = known && sizes[i] >= 0;
	}
	if (known)
		return pai_grad_ints(g, n, n->n_in, sizes);
	for (int i = 0; i < n->n_in; i++) {
		parts[i] = PAI_OP1(p, "Shape", "size", n->in[i]);
		pai_patch_set_int(p, parts[i]->producer, "start", axis);
		if (axis != -1)
			pai_patch_set_int(p, parts[i]->producer, "end", axis + 1);
	}
	pai_value *all = pai_patch_op(p, "Concat", "sizes", n->n_in, parts);
	pai_patch_set_int(p, all->producer, "axis", 0);
	return all;
}

/* dX_k = the part of dY that X_k became */
pai_status pai_grad_concat(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	int64_t axis = pai_node_int(n, "axis", 1);
	pai_value *in[2] = {dy[0], sizes_along(g, n, axis)};
	pai_node *parts = pai_patch_node(p, "", "Split", "grad", 2, in, n->n_in);
	pai_patch_set_int(p, parts, "axis", axis);
	for (int i = 0; i < n->n_in; i++)
		dx[i] = parts->out[i];
	return PAI_OK;
}

/* Sizes of the parts along the axis: given, or equal (the last may be smaller where the operator
 * has num_outputs). parts holds c->n_out sizes. */
static pai_status split_sizes(pai_call *c, int64_t whole, int64_t *parts)
{
	const pai_tensor *given = c->n_in > 1 ? c->in[1] : NULL;
	const int64_t *attr;
	int n = pai_node_ints(c->node, "split", &attr);
	if (given)
		n = pai_tensor_nelem(given) == c->n_out ? c->n_out : c->n_out + 1;
	if (n >= 0 && n != c->n_out)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"the number of split sizes is not that of the outputs, %d",
				c->n_out);
	int64_t count = pai_node_int(c->node, "num_outputs", c->n_out), left = whole;
	if (count != c->n_out || (n < 0 && !pai_node_attr(c->node, "num_outputs") && whole % count))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"size %lld does not split into %d equal parts", (long long)whole,
				c->n_out);
	for (int i = 0; i < c->n_out; i++) {
		int64_t equal = (whole + count - 1) / count;
		parts[i] = given   ? pai_tensor_get_int(given, i)
			   : n > 0 ? attr[i]
				   : (equal < left ? equal : left);
		if (parts[i] < 0 || parts[i] > left)
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_output(c->node, i),
					"has split size %lld, %lld are left", (long long)parts[i],
					(long long)left);
		left -= parts[i];
	}
	if (left)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"the split sizes leave %lld over", (long long)left);
	return PAI_OK;
}

static pai_status split(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	int axis;
	PAI_TRY(pai_call_axis(c, pai_node_int(c->node, "axis", 0), x->rank, &axis));
	void *room = NULL;
	PAI_TRY(pai_call_room(c, c->n_out, sizeof(int64_t), &room));
	int64_t *parts = room, dims[PAI_MAX_RANK], at = 0,
		step = axis_stride(x->rank, x->dims, axis);
	PAI_TRY(split_sizes(c, x->dims[axis], parts));
	for (int i = 0; i < x->rank; i++)
		dims[i] = x->dims[i];
	pai_flat from, to;
	PAI_TRY(pai_flat_in(c, 0, &from));
	for (int k = 0; k < c->n_out; k++, at += dims[axis]) {
		dims[axis] = parts[k];
		if (!c->out[k])
			continue;
		PAI_TRY(pai_call_output(c, k, x->dtype, x->rank, dims));
		if (pai_tensor_nelem(c->out[k]) == 0)
			continue;
		PAI_TRY(pai_flat_out(c, k, &to));
		copy_slab(to.at, dims, from.at + (size_t)(at * step) * from.size, x->dims, x->rank,
			  from.size);
		pai_flat_done(c, k, &to);
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_split = {.run = split};

/* dX = all dY one behind the other; zeros for a part that nothing flows into */
pai_status pai_grad_split(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	pai_arena *a = n->graph->model->arena;
	pai_value **parts = PAI_NEWS(a, pai_value *, n->n_out);
	for (int i = 0; i < n->n_out; i++) {
		parts[i] = dy[i];
		if (dy[i])
			continue;
		if (!n->out[i])
			return pai_fail(n->graph->model->ctx, PAI_E_no_gradient,
					pai_at_output(n, i), "is omitted; its size is not known");
		parts[i] = pai_grad_zeros(g, n, n->out[i]);
	}
	dx[0] = pai_patch_op(p, "Concat", "grad", n->n_out, parts);
	pai_patch_set_int(p, dx[0]->producer, "axis", pai_node_int(n, "axis", 0));
	return PAI_OK;
}
