/* gather_elements.c -- GatherElements and ScatterElements: one index for every element, along an
 * axis. Scatter is the older name of ScatterElements. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/indices.h"
#include <string.h>

/* Walks the index tensor: `at` is the offset in the data of the element under each index. */
typedef struct element_walk {
	int rank, axis;
	int64_t index[PAI_MAX_RANK], strides[PAI_MAX_RANK];
	const int64_t *dims; /* of the indices */
} element_walk;

/* Checks that the indices lie within the data beside the axis. */
static pai_status walk_begin(pai_call *c, const pai_tensor *data, const pai_tensor *indices,
			     element_walk *w)
{
	PAI_TRY(pai_call_axis(c, pai_node_int(c->node, "axis", 0), data->rank, &w->axis));
	bool fits = indices->rank == data->rank;
	for (int i = 0; fits && i < data->rank; i++)
		fits = i == w->axis || indices->dims[i] <= data->dims[i];
	if (!fits)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 1),
				"does not lie within the data beside axis %d", w->axis);
	w->rank = data->rank;
	w->dims = indices->dims;
	memset(w->index, 0, sizeof w->index);
	pai_strides(data->rank, data->dims, w->strides);
	return PAI_OK;
}

static int64_t walk_offset(const element_walk *w, int64_t position)
{
	int64_t at = position * w->strides[w->axis];
	for (int i = 0; i < w->rank; i++)
		at += i == w->axis ? 0 : w->index[i] * w->strides[i];
	return at;
}

static void walk_next(element_walk *w)
{
	for (int i = w->rank - 1; i >= 0 && ++w->index[i] == w->dims[i]; i--)
		w->index[i] = 0;
}

static pai_status gather_elements(pai_call *c)
{
	const pai_tensor *x = c->in[0], *indices = c->in[1];
	element_walk w;
	int64_t *at = NULL;
	PAI_TRY(walk_begin(c, x, indices, &w));
	PAI_TRY(pai_call_output(c, 0, x->dtype, indices->rank, indices->dims));
	PAI_TRY(pai_call_positions(c, 1, x->dims[w.axis], &at));
	pai_flat from, to;
	PAI_TRY(pai_flat_in(c, 0, &from));
	PAI_TRY(pai_flat_out(c, 0, &to));
	for (int64_t i = 0, n = pai_tensor_nelem(indices); i < n; i++, walk_next(&w))
		memcpy(to.at + (size_t)i * to.size,
		       from.at + (size_t)walk_offset(&w, at[i]) * to.size, to.size);
	pai_flat_done(c, 0, &to);
	return PAI_OK;
}

const pai_kernel pai_kernel_gather_elements = {.run = gather_elements};

static pai_status scatter_elements(pai_call *c)
{
	const pai_tensor *x = c->in[0], *indices = c->in[1], *updates = c->in[2];
	element_walk w;
	pai_reduction how;
	int64_t *at = NULL;
	PAI_TRY(walk_begin(c, x, indices, &w));
	PAI_TRY(pai_call_reduction(c, &how));
	bool fits = updates->dtype == x->dtype && updates->rank == indices->rank;
	for (int i = 0; fits && i < indices->rank; i++)
		fits = updates->dims[i] == indices->dims[i];
	if (!fits)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 2),
				"is not shaped as the indices, or not of the type of the data");
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	PAI_TRY(pai_call_positions(c, 1, x->dims[w.axis], &at));
	pai_tensor *y = c->out[0];
	pai_copy(y->data, x->data, x->nbytes);
	size_t size = x->dtype == PAI_STRING ? sizeof(pai_str)
					     : (size_t)pai_dtype_get(x->dtype)->bits / 8;
	for (int64_t i = 0, n = pai_tensor_nelem(indices); i < n; i++, walk_next(&w)) {
		int64_t to = walk_offset(&w, at[i]);
		if (how == PAI_REDUCE_NONE && size > 0)
			memcpy((uint8_t *)y->data + (size_t)to * size,
			       (const uint8_t *)updates->data + (size_t)i * size, size);
		else
			pai_reduce_into(how, y, to, updates, i, 1);
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_scatter_elements = {.run = scatter_elements};

/* dX = 0 with dY added where it was taken from */
pai_status pai_grad_gather_elements(pai_grad *g, const pai_node *n, pai_value *const *dy,
				    pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	pai_value *zeros = pai_grad_zeros(g, n, n->in[0]);
	dx[0] = PAI_OP3(p, "ScatterElements", "grad", zeros, n->in[1], dy[0]);
	pai_patch_set_int(p, dx[0]->producer, "axis", pai_node_int(n, "axis", 0));
	pai_patch_set_string(p, dx[0]->producer, "reduction", "add");
	return PAI_OK;
}

/* reduction none: dX = dY, 0 where an update stands; add: dX = dY. dU = dY at the indices in both.
 */
pai_status pai_grad_scatter_elements(pai_grad *g, const pai_node *n, pai_value *const *dy,
				     pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	const char *how = pai_node_string(n, "reduction", "none");
	int64_t axis = pai_node_int(n, "axis", 0);
	if (strcmp(how, "none") != 0 && strcmp(how, "add") != 0)
		return pai_fail(n->graph->model->ctx, PAI_E_no_gradient,
				pai_at_attr(n, "reduction"), "is %s", how);
	dx[0] = dy[0];
	if (how[0] == 'n' && pai_grad_wanted(g, n, 0)) {
		dx[0] = PAI_OP3(p, "ScatterElements", "grad", dy[0], n->in[1],
				pai_grad_zeros(g, n, n->in[2]));
		pai_patch_set_int(p, dx[0]->producer, "axis", axis);
	}
	if (pai_grad_wanted(g, n, 2)) {
		dx[2] = PAI_OP2(p, "GatherElements", "grad", dy[0], n->in[1]);
		pai_patch_set_int(p, dx[2]->producer, "axis", axis);
	}
	return PAI_OK;
}
