/* pool.c -- MaxPool, AveragePool, GlobalAveragePool and their adjoints.
 *
 * Values are taken as double, which holds every type a pool accepts exactly, so one loop serves all
 * types. The walk over windows is shared: a visitor sees, for one window, the elements inside the
 * image.
 */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/window.h"
#include <math.h>

static pai_status as_double(pai_call *c, int input, double **out)
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

static void store(pai_tensor *t, int64_t i, double v)
{
	if (t->dtype == PAI_FLOAT)
		((float *)t->data)[i] = (float)v;
	else
		pai_tensor_set(t, i, v);
}

typedef struct plane_window { /* the part of one window that lies in the image */
	const pai_window *w;
	int64_t first[PAI_MAX_RANK],
		count[PAI_MAX_RANK]; /* image index and number along each axis */
	int64_t n;                   /* product of count */
} plane_window;

/* Window of a grid element; n is 0 where it lies in the padding altogether. */
static void window_at(const pai_window *w, const int64_t *grid, plane_window *p)
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

/* Row-major image index of each element of the window in turn. */
typedef struct walk {
	int64_t k[PAI_MAX_RANK], at;
} walk;

static walk walk_start(const plane_window *p)
{
	walk s = {{0}, 0};
	for (int i = 0; i < p->w->rank; i++)
		s.at = s.at * p->w->image[i] + p->first[i];
	return s;
}

static void walk_next(const plane_window *p, walk *s)
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

static void next_grid(const pai_window *w, int64_t *grid)
{
	for (int i = w->rank - 1; i >= 0 && ++grid[i] == w->grid[i]; i--)
		grid[i] = 0;
}

static pai_status pool_window(pai_call *c, int rank, const int64_t *dims, pai_window *w)
{
	if (rank < 3)
		return pai_fail(c->ctx, PAI_E_bad_window, pai_at_input(c->node, 0),
				"has rank %d, expected at least 3", rank);
	return pai_window_over(c, rank - 2, dims + 2, NULL, w);
}

/* [N, C, spatial...] from those of the input. */
static void pooled_dims(const int64_t *dims, const pai_window *w, int64_t *out)
{
	out[0] = dims[0];
	out[1] = dims[1];
	for (int i = 0; i < w->rank; i++)
		out[2 + i] = w->grid[i];
}

/* Image index of the largest element, the first of equal ones; a NaN counts as largest. -1: none.
 */
static int64_t largest(const plane_window *p, const double *plane)
{
	int64_t best = -1;
	walk s = walk_start(p);
	for (int64_t i = 0; i < p->n; i++, walk_next(p, &s)) {
		double v = plane[s.at];
		if (best < 0 || v > plane[best] || (isnan(v) && !isnan(plane[best])))
			best = s.at;
	}
	return best;
}

/* Index in column-major order over the spatial axes. */
static int64_t column_major(const pai_window *w, int64_t at)
{
	int64_t index[PAI_MAX_RANK], out = 0;
	for (int i = w->rank - 1; i >= 0; i--) {
		index[i] = at % w->image[i];
		at /= w->image[i];
	}
	for (int i = w->rank - 1; i >= 0; i--)
		out = out * w->image[i] + index[i];
	return out;
}

static double lowest(pai_dtype dtype)
{
	pai_dtype_kind kind = pai_dtype_get(dtype)->kind;
	if (kind == PAI_KIND_FLOAT)
		return -INFINITY;
	return kind == PAI_KIND_SIGNED ? -ldexp(1, pai_dtype_get(dtype)->bits - 1) : 0;
}

static pai_status max_pool(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	pai_window w;
	int64_t dims[PAI_MAX_RANK];
	PAI_TRY(pool_window(c, x->rank, x->dims, &w));
	pooled_dims(x->dims, &w, dims);
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, dims));
	pai_tensor *y = c->out[0], *indices = c->n_out > 1 ? c->out[1] : NULL;
	if (indices)
		PAI_TRY(pai_call_output(c, 1, PAI_INT64, x->rank, dims));
	double *from = NULL;
	PAI_TRY(as_double(c, 0, &from));
	bool by_columns = pai_node_int(c->node, "storage_order", 0);
	int64_t out = 0;
	for (int64_t plane = 0; plane < dims[0] * dims[1] && w.grid_size; plane++) {
		int64_t grid[PAI_MAX_RANK] = {0}, base = plane * w.image_size;
		for (int64_t i = 0; i < w.grid_size; i++, out++, next_grid(&w, grid)) {
			plane_window p;
			window_at(&w, grid, &p);
			int64_t at = largest(&p, from + base);
			store(y, out, at < 0 ? lowest(x->dtype) : from[base + at]);
			if (indices)
				((int64_t *)indices->data)[out] =
					at < 0 ? -1
					       : base + (by_columns ? column_major(&w, at) : at);
		}
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_max_pool = {.run = max_pool};

/* Elements an average divides by: those in the image, or all that lie in image and padding. */
static double divisor(const pai_window *w, const plane_window *p, const int64_t *grid, bool padding)
{
	if (!padding)
		return (double)(p->n > 0 ? p->n : 1);
	double n = 1;
	for (int i = 0; i < w->rank; i++) {
		int64_t at = grid[i] * w->stride[i] - w->begin[i], d = w->dilation[i];
		int64_t room = (w->image[i] + w->end[i] - at + d - 1) / d;
		n *= (double)(room < w->kernel[i] ? room : w->kernel[i]);
	}
	return n;
}

static pai_status average_pool(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	pai_window w;
	int64_t dims[PAI_MAX_RANK];
	PAI_TRY(pool_window(c, x->rank, x->dims, &w));
	pooled_dims(x->dims, &w, dims);
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, dims));
	double *from = NULL;
	PAI_TRY(as_double(c, 0, &from));
	bool padding = pai_node_int(c->node, "count_include_pad", 0);
	int64_t out = 0;
	for (int64_t plane = 0; plane < dims[0] * dims[1] && w.grid_size; plane++) {
		int64_t grid[PAI_MAX_RANK] = {0}, base = plane * w.image_size;
		for (int64_t i = 0; i < w.grid_size; i++, out++, next_grid(&w, grid)) {
			plane_window p;
			double sum = 0;
			window_at(&w, grid, &p);
			walk s = walk_start(&p);
			for (int64_t k = 0; k < p.n; k++, walk_next(&p, &s))
				sum += from[base + s.at];
			store(c->out[0], out, sum / divisor(&w, &p, grid, padding));
		}
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_average_pool = {.run = average_pool};

/* What both adjoints begin with: dX as doubles, all zero, of the dims given. */
static pai_status begin_adjoint(pai_call *c, pai_dtype dtype, int rank, const int64_t *dims, int dy,
				pai_window *w, double **sum)
{
	PAI_TRY(pool_window(c, rank, dims, w));
	PAI_TRY(pai_call_output(c, 0, dtype, rank, dims));
	int64_t want[PAI_MAX_RANK], n = pai_tensor_nelem(c->out[0]);
	const pai_tensor *t = c->in[dy];
	pooled_dims(dims, w, want);
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

static void store_all(pai_tensor *t, const double *v)
{
	for (int64_t i = 0, n = pai_tensor_nelem(t); i < n; i++)
		store(t, i, v[i]);
}

/* X, Y, dY -> dX: dY goes to the element that was the maximum */
static pai_status max_pool_grad(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	pai_window w;
	double *sum = NULL, *from = NULL, *dy = NULL;
	PAI_TRY(begin_adjoint(c, x->dtype, x->rank, x->dims, 2, &w, &sum));
	PAI_TRY(as_double(c, 0, &from));
	PAI_TRY(as_double(c, 2, &dy));
	for (int64_t plane = 0; plane < x->dims[0] * x->dims[1] && w.grid_size; plane++) {
		int64_t grid[PAI_MAX_RANK] = {0}, base = plane * w.image_size;
		for (int64_t i = 0; i < w.grid_size; i++, dy++, next_grid(&w, grid)) {
			plane_window p;
			window_at(&w, grid, &p);
			int64_t at = largest(&p, from + base);
			if (at >= 0)
				sum[base + at] += *dy;
		}
	}
	store_all(c->out[0], sum);
	return PAI_OK;
}

const pai_kernel pai_kernel_max_pool_grad = {.run = max_pool_grad};

/* dX from dY by the element that was the maximum; the indices are no function of X to differentiate
 */
pai_status pai_grad_max_pool(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	if (dy[0])
		dx[0] = pai_grad_internal(g, "MaxPoolGrad", 3,
					  (pai_value *[]){n->in[0], n->out[0], dy[0]}, n);
	return PAI_OK;
}

/* dY, shape of X -> dX: dY / divisor goes to every element of its window */
static pai_status average_pool_grad(pai_call *c)
{
	pai_int_list shape;
	pai_window w;
	double *sum = NULL, *dy = NULL;
	PAI_TRY(pai_call_ints(c, "shape", 1, &shape));
	PAI_TRY(begin_adjoint(c, c->in[0]->dtype, shape.n, shape.at, 0, &w, &sum));
	PAI_TRY(as_double(c, 0, &dy));
	bool padding = pai_node_int(c->node, "count_include_pad", 0);
	for (int64_t plane = 0; plane < shape.at[0] * shape.at[1] && w.grid_size; plane++) {
		int64_t grid[PAI_MAX_RANK] = {0}, base = plane * w.image_size;
		for (int64_t i = 0; i < w.grid_size; i++, dy++, next_grid(&w, grid)) {
			plane_window p;
			window_at(&w, grid, &p);
			double part = *dy / divisor(&w, &p, grid, padding);
			walk s = walk_start(&p);
			for (int64_t k = 0; k < p.n; k++, walk_next(&p, &s))
				sum[base + s.at] += part;
		}
	}
	store_all(c->out[0], sum);
	return PAI_OK;
}

const pai_kernel pai_kernel_average_pool_grad = {.run = average_pool_grad};

pai_status pai_grad_average_pool(pai_grad *g, const pai_node *n, pai_value *const *dy,
				 pai_value **dx)
{
	dx[0] = pai_grad_internal(g, "AveragePoolGrad", 2,
				  (pai_value *[]){dy[0], pai_grad_shape(g, n, n->in[0])}, n);
	return PAI_OK;
}

/* Mean over all spatial elements; of none it is 0/0. */
static pai_status global_average_pool(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	if (x->rank < 2)
		return pai_fail(c->ctx, PAI_E_bad_window, pai_at_input(c->node, 0),
				"has rank %d, expected at least 2", x->rank);
	int64_t dims[PAI_MAX_RANK] = {x->dims[0], x->dims[1]}, n = 1;
	for (int i = 2; i < x->rank; i++) {
		dims[i] = 1;
		n *= x->dims[i];
	}
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, dims));
	double *from = NULL;
	PAI_TRY(as_double(c, 0, &from));
	for (int64_t i = 0; i < dims[0] * dims[1]; i++) {
		double sum = 0;
		for (int64_t k = 0; k < n; k++)
			sum += *from++;
		store(c->out[0], i, sum / (double)n);
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_global_average_pool = {.run = global_average_pool};

/* dY [N, C, 1...], shape of X -> dX = dY / n everywhere */
static pai_status global_average_pool_grad(pai_call *c)
{
	pai_int_list shape;
	const pai_tensor *t = c->in[0];
	PAI_TRY(pai_call_ints(c, "shape", 1, &shape));
	PAI_TRY(pai_call_output(c, 0, t->dtype, shape.n, shape.at));
	if (shape.n < 2 || pai_tensor_nelem(t) != shape.at[0] * shape.at[1])
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 0),
				"is not shaped as the output of the pool");
	int64_t n = 1, out = 0;
	for (int i = 2; i < shape.n; i++)
		n *= shape.at[i];
	double *dy = NULL;
	PAI_TRY(as_double(c, 0, &dy));
	for (int64_t i = 0; i < shape.at[0] * shape.at[1]; i++)
		for (int64_t k = 0; k < n; k++)
			store(c->out[0], out++, dy[i] / (double)n);
	return PAI_OK;
}

const pai_kernel pai_kernel_global_average_pool_grad = {.run = global_average_pool_grad};

pai_status pai_grad_global_average_pool(pai_grad *g, const pai_node *n, pai_value *const *dy,
					pai_value **dx)
{
	dx[0] = pai_grad_internal(g, "GlobalAveragePoolGrad", 2,
				  (pai_value *[]){dy[0], pai_grad_shape(g, n, n->in[0])}, NULL);
	return PAI_OK;
}
