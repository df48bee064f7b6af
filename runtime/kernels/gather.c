/* gather.c -- Gather and its adjoint, which adds rows back where they were taken from. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/indices.h"
#include <string.h>

typedef struct lines { /* [outer, axis, inner] against [outer, count, inner] */
	int64_t outer, axis, inner, count;
} lines;

static lines lines_of(int rank, const int64_t *dims, int axis, int64_t count)
{
	lines l = {1, dims[axis], 1, count};
	for (int i = 0; i < axis; i++)
		l.outer *= dims[i];
	for (int i = axis + 1; i < rank; i++)
		l.inner *= dims[i];
	return l;
}

static pai_status gather(pai_call *c)
{
	const pai_tensor *x = c->in[0], *indices = c->in[1];
	int axis, rank = x->rank - 1 + indices->rank;
	PAI_TRY(pai_call_axis(c, pai_node_int(c->node, "axis", 0), x->rank, &axis));
	if (rank > PAI_MAX_RANK)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"the result would have %d dimensions", rank);
	int64_t dims[PAI_MAX_RANK], *at = NULL;
	for (int i = 0; i < axis; i++)
		dims[i] = x->dims[i];
	for (int i = 0; i < indices->rank; i++)
		dims[axis + i] = indices->dims[i];
	for (int i = axis + 1; i < x->rank; i++)
		dims[indices->rank + i - 1] = x->dims[i];
	PAI_TRY(pai_call_output(c, 0, x->dtype, rank, dims));
	PAI_TRY(pai_call_positions(c, 1, x->dims[axis], &at));
	if (pai_tensor_nelem(c->out[0]) == 0)
		return PAI_OK;
	lines l = lines_of(x->rank, x->dims, axis, pai_tensor_nelem(indices));
	pai_flat from, to;
	PAI_TRY(pai_flat_in(c, 0, &from));
	PAI_TRY(pai_flat_out(c, 0, &to));
	size_t line = (size_t)l.inner * from.size;
	uint8_t *y = to.at;
	for (int64_t o = 0; o < l.outer; o++)
		for (int64_t i = 0; i < l.count; i++, y += line)
			memcpy(y, from.at + (size_t)(o * l.axis + at[i]) * line, line);
	pai_flat_done(c, 0, &to);
	return PAI_OK;
}

const pai_kernel pai_kernel_gather = {.run = gather};

#define ADD_LINES(T)                                                                     \
	static void add_lines_##T(const lines *l, const int64_t *at, const T *dy, T *dx) \
	{                                                                                \
		for (int64_t o = 0; o < l->outer; o++)                                   \
			for (int64_t i = 0; i < l->count; i++, dy += l->inner) {         \
				T *to = dx + (o * l->axis + at[i]) * l->inner;           \
				for (int64_t j = 0; j < l->inner; j++)                   \
					to[j] += dy[j];                                  \
			}                                                                \
	}

ADD_LINES(float)
ADD_LINES(double)

/* dX = 0, then dX[.., indices[j], ..] += dY[.., j, ..] in order of j */
static pai_status gather_grad(pai_call *c)
{
	const pai_tensor *dy = c->in[0], *indices = c->in[1];
	pai_int_list shape;
	int axis;
	PAI_TRY(pai_call_ints(c, "shape", 2, &shape));
	PAI_TRY(pai_call_axis(c, pai_node_int(c->node, "axis", 0), shape.n, &axis));
	PAI_TRY(pai_call_output(c, 0, dy->dtype, shape.n, shape.at));
	int64_t *at = NULL;
	PAI_TRY(pai_call_positions(c, 1, shape.at[axis], &at));
	lines l = lines_of(shape.n, shape.at, axis, pai_tensor_nelem(indices));
	if (pai_tensor_nelem(dy) != l.outer * l.count * l.inner)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 0),
				"is not shaped as what was gathered");
	const void *from = NULL;
	void *to = NULL;
	PAI_TRY(pai_widen(c, 0, &from));
	PAI_TRY(pai_wide_output(c, 0, &to));
	pai_dtype wide = pai_wide(dy->dtype);
	pai_fill(to, pai_tensor_nelem(c->out[0]), (uint64_t[]){0}, pai_wide_size(wide));
	if (wide == PAI_FLOAT)
		add_lines_float(&l, at, from, to);
	else
		add_lines_double(&l, at, from, to);
	pai_narrow(c, 0, to);
	return PAI_OK;
}

const pai_kernel pai_kernel_gather_grad = {.run = gather_grad};

/* dX[.., indices[j], ..] += dY[.., j, ..] */
pai_status pai_grad_gather(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_value *in[3] = {dy[0], n->in[1], pai_grad_shape(g, n, n->in[0])};
	dx[0] = pai_grad_internal(g, "GatherGrad", 3, in, n);
	return PAI_OK;
}
