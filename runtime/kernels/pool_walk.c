/* pool_walk.c -- where the windows of a pool lie and the elements in them, in row-major order. */
#include "runtime/kernels/pool.h"

pai_status pai_pool_values(pai_call *c, int input, double **out)
{
	const pai_tensor *t = c->in[input];
	int64_t n = pai_tensor_nelem(t);
	void *room = NULL;
	PAI_TRY(pai_call_room(c, n, sizeof(double), &room));
	double *to = room;
	for (int64_t i = 0; i < n; i++)
		to[i] = t->dtype == PAI_FLOAT ? (double)((const float *)t->data)[i]
					      : pai_tensor_get(t, i);
	*out = to;
	return PAI_OK;
}

void pai_pool_store(pai_tensor *t, int64_t i, double v)
{
	if (t->dtype == PAI_FLOAT)
		((float *)t->data)[i] = (float)v;
	else
		pai_tensor_set(t, i, v);
}

/* Window of a grid element; n is 0 where it lies in the padding altogether. */
void pai_pool_part(const pai_window *w, const int64_t *grid, pai_pool_area *p)
{
	p->w = w;
	p->n = 1;
	for (int i = 0; i < w->rank; i++) {
		int64_t at = grid[i] * w->stride[i] - w->begin[i], d = w->dilation[i];
		int64_t skip = at < 0 ? (-at + d - 1) / d : 0;
		int64_t room = w->image[i] - at;
		int64_t end = room > 0 ? (room + d - 1) / d : 0;
		end = end < w->kernel[i] ? end : w->kernel[i];
		p->first[i] = at + skip * d;
		p->count[i] = end > skip ? end - skip : 0;
		p->n *= p->count[i];
	}
}

pai_walk pai_walk_start(const pai_pool_area *p)
{
	pai_walk s = {{0}, 0};
	for (int i = 0; i < p->w->rank; i++)
		s.at = s.at * p->w->image[i] + p->first[i];
	return s;
}

void pai_walk_next(const pai_pool_area *p, pai_walk *s)
{
	int64_t stride = 1;
	for (int i = p->w->rank - 1; i >= 0; i--) {
		int64_t step = stride * p->w->dilation[i];
		s->at += step;
		if (++s->k[i] < p->count[i])
			return;
		s->at -= step * p->count[i];
		s->k[i] = 0;
		stride *= p->w->image[i];
	}
}

void pai_pool_next(const pai_window *w, int64_t *grid)
{
	for (int i = w->rank - 1; i >= 0 && ++grid[i] == w->grid[i]; i--)
		grid[i] = 0;
}

/* The window that is the whole image. */
static void whole_image(int rank, const int64_t *dims, pai_window *w)
{
	w->rank = rank - 2;
	w->image_size = w->kernel_size = 1;
	for (int i = 0; i < w->rank; i++) {
		w->image[i] = w->kernel[i] = dims[2 + i];
		w->grid[i] = w->stride[i] = w->dilation[i] = 1;
		w->begin[i] = w->end[i] = 0;
		w->image_size *= dims[2 + i];
	}
	w->kernel_size = w->image_size;
	w->grid_size = 1;
}

pai_status pai_pool_window(pai_call *c, int rank, const int64_t *dims, pai_window *w)
{
	const int64_t *kernel;
	if (rank < 3)
		return pai_fail(c->ctx, PAI_E_bad_window, pai_at_input(c->node, 0),
				"has rank %d, expected at least 3", rank);
	if (pai_node_ints(c->node, "kernel_shape", &kernel) >= 0)
		return pai_window_over(c, rank - 2, dims + 2, NULL, w);
	whole_image(rank, dims, w);
	return PAI_OK;
}

/* [N, C, spatial...] from those of the input. */
void pai_pool_dims(const int64_t *dims, const pai_window *w, int64_t *out)
{
	out[0] = dims[0];
	out[1] = dims[1];
	for (int i = 0; i < w->rank; i++)
		out[2 + i] = w->grid[i];
}

pai_status pai_pool_begin(pai_call *c, pai_window *w, int64_t *out, double **values)
{
	const pai_tensor *x = c->in[0];
	PAI_TRY(pai_pool_window(c, x->rank, x->dims, w));
	pai_pool_dims(x->dims, w, out);
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, out));
	return pai_pool_values(c, 0, values);
}

/* What both adjoints begin with: dX as doubles, all zero, of the dims given. */
pai_status pai_pool_adjoint(pai_call *c, pai_dtype dtype, int rank, const int64_t *dims, int dy,
			    pai_window *w, double **sum)
{
	PAI_TRY(pai_pool_window(c, rank, dims, w));
	PAI_TRY(pai_call_output(c, 0, dtype, rank, dims));
	int64_t want[PAI_MAX_RANK], n = pai_tensor_nelem(c->out[0]);
	const pai_tensor *t = c->in[dy];
	pai_pool_dims(dims, w, want);
	bool fits = t->rank == rank;
	for (int i = 0; fits && i < rank; i++)
		fits = t->dims[i] == want[i];
	if (!fits)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, dy),
				"is not shaped as the output of the pool");
	void *room = NULL;
	PAI_TRY(pai_call_room(c, n, sizeof(double), &room));
	*sum = room;
	for (int64_t i = 0; i < n; i++)
		(*sum)[i] = 0;
	return PAI_OK;
}

void pai_pool_finish(pai_tensor *t, const double *v)
{
	for (int64_t i = 0, n = pai_tensor_nelem(t); i < n; i++)
		pai_pool_store(t, i, v[i]);
}
