/* gather_nd.c -- GatherND and ScatterND: each index is a tuple that names a slice of the data. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/indices.h"
#include <string.h>

typedef struct slices {      /* where the slices lie that the tuples name */
	int64_t count, size; /* number of slices, elements of each */
	int64_t *at;         /* [count] offset of each in the data */
} slices;

/* Tuples are the last axis of the indices; the first `batch` axes are common to both tensors. */
static pai_status find_slices(pai_call *c, const pai_tensor *x, const pai_tensor *indices,
			      int batch, slices *s)
{
	int64_t length = indices->rank > 0 ? indices->dims[indices->rank - 1] : 0;
	if (batch < 0 || batch >= indices->rank || length < 1 || length > x->rank - batch)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 1),
				"does not hold tuples of at most %d indices", x->rank - batch);
	int64_t strides[PAI_MAX_RANK], batches = 1, step = 1;
	pai_strides(x->rank, x->dims, strides);
	for (int i = 0; i < batch; i++) {
		if (indices->dims[i] != x->dims[i])
			return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 1),
					"differs from the data in batch axis %d", i);
		batches *= x->dims[i];
	}
	for (int i = batch; i < x->rank; i++)
		step *= x->dims[i];
	s->size = 1;
	for (int i = batch + (int)length; i < x->rank; i++)
		s->size *= x->dims[i];
	s->count = pai_tensor_nelem(indices) / length;
	void *room = NULL;
	PAI_TRY(pai_call_room(c, s->count, sizeof(int64_t), &room));
	s->at = room;
	const int64_t *v = indices->data;
	for (int64_t i = 0; i < s->count; i++) {
		s->at[i] = i / (s->count / batches) * step;
		for (int64_t k = 0; k < length; k++) {
			int64_t size = x->dims[batch + k], at = v[i * length + k];
			if (at < -size || at >= size)
				return pai_fail(c->ctx, PAI_E_bad_index, pai_at_input(c->node, 1),
						"tuple %lld has %lld, outside [-%lld, %lld)",
						(long long)i, (long long)at, (long long)size,
						(long long)size);
			s->at[i] += (at < 0 ? at + size : at) * strides[batch + k];
		}
	}
	return PAI_OK;
}

static pai_status gather_nd(pai_call *c)
{
	const pai_tensor *x = c->in[0], *indices = c->in[1];
	int64_t batch = pai_node_int(c->node, "batch_dims", 0), dims[2 * PAI_MAX_RANK];
	slices s = {0};
	if (batch < 0 || batch >= x->rank)
		return pai_fail(c->ctx, PAI_E_bad_axis, pai_at_attr(c->node, "batch_dims"),
				"is %lld", (long long)batch);
	PAI_TRY(find_slices(c, x, indices, (int)batch, &s));
	int rank = 0, from = (int)(batch + indices->dims[indices->rank - 1]);
	for (int i = 0; i + 1 < indices->rank; i++)
		dims[rank++] = indices->dims[i];
	for (int i = from; i < x->rank; i++)
		dims[rank++] = x->dims[i];
	if (rank > PAI_MAX_RANK)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"the result would have %d dimensions", rank);
	PAI_TRY(pai_call_output(c, 0, x->dtype, rank, dims));
	pai_flat in, to;
	PAI_TRY(pai_flat_in(c, 0, &in));
	PAI_TRY(pai_flat_out(c, 0, &to));
	size_t n = (size_t)s.size * in.size;
	for (int64_t i = 0; i < s.count && n; i++)
		memcpy(to.at + (size_t)i * n, in.at + (size_t)s.at[i] * in.size, n);
	pai_flat_done(c, 0, &to);
	return PAI_OK;
}

const pai_kernel pai_kernel_gather_nd = {.run = gather_nd};

static pai_status scatter_nd(pai_call *c)
{
	const pai_tensor *x = c->in[0], *updates = c->in[2];
	pai_reduction how;
	slices s = {0};
	PAI_TRY(pai_call_reduction(c, &how));
	PAI_TRY(find_slices(c, x, c->in[1], 0, &s));
	if (updates->dtype != x->dtype || pai_tensor_nelem(updates) != s.count * s.size)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 2),
				"does not have the type of the data and %lld elements",
				(long long)(s.count * s.size));
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	pai_tensor *y = c->out[0];
	pai_copy(y->data, x->data, x->nbytes);
	size_t size = x->dtype == PAI_STRING ? sizeof(pai_str)
					     : (size_t)pai_dtype_get(x->dtype)->bits / 8;
	for (int64_t i = 0; i < s.count; i++) {
		if (how == PAI_REDUCE_NONE && size > 0)
			pai_copy((uint8_t *)y->data + (size_t)s.at[i] * size,
				 (const uint8_t *)updates->data + (size_t)(i * s.size) * size,
				 (size_t)s.size * size);
		else
			pai_reduce_into(how, y, s.at[i], updates, i * s.size, s.size);
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_scatter_nd = {.run = scatter_nd};

/* dX = 0 with dY added where it was taken from */
pai_status pai_grad_gather_nd(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	if (pai_node_int(n, "batch_dims", 0) != 0)
		return pai_fail(n->graph->model->ctx, PAI_E_no_gradient,
				pai_at_attr(n, "batch_dims"), "is not 0");
	dx[0] = PAI_OP3(p, "ScatterND", "grad", pai_grad_zeros(g, n, n->in[0]), n->in[1], dy[0]);
	pai_patch_set_string(p, dx[0]->producer, "reduction", "add");
	return PAI_OK;
}

/* reduction none: dX = dY, 0 where an update stands; add: dX = dY. dU = dY at the indices in both.
 */
pai_status pai_grad_scatter_nd(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	const char *how = pai_node_string(n, "reduction", "none");
	if (strcmp(how, "none") != 0 && strcmp(how, "add") != 0)
		return pai_fail(n->graph->model->ctx, PAI_E_no_gradient,
				pai_at_attr(n, "reduction"), "is %s", how);
	dx[0] = dy[0];
	if (how[0] == 'n' && pai_grad_wanted(g, n, 0))
		dx[0] = PAI_OP3(p, "ScatterND", "grad", dy[0], n->in[1],
				pai_grad_zeros(g, n, n->in[2]));
	if (pai_grad_wanted(g, n, 2))
		dx[2] = PAI_OP2(p, "GatherND", "grad", dy[0], n->in[1]);
	return PAI_OK;
}
