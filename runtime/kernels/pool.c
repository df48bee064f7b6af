/* pool.c -- MaxPool, AveragePool, GlobalAveragePool and their adjoints.
 *
 * Values are taken as double, which holds every type a pool accepts exactly, so one loop serves all
 * types. The pai_walk over windows is shared: a visitor sees, for one window, the elements inside
 * the image.
 */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/pool.h"
#include <math.h>

/* Image index of the largest element, the first of equal ones; a NaN counts as largest. -1: none.
 */
static int64_t largest(const pai_pool_area *p, const double *plane)
{
	int64_t best = -1;
	pai_walk s = pai_walk_start(p);
	for (int64_t i = 0; i < p->n; i++, pai_walk_next(p, &s)) {
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
	double *from = NULL;
	PAI_TRY(pai_pool_begin(c, &w, dims, &from));
	pai_tensor *y = c->out[0], *indices = c->n_out > 1 ? c->out[1] : NULL;
	if (indices)
		PAI_TRY(pai_call_output(c, 1, PAI_INT64, x->rank, dims));
	bool by_columns = pai_node_int(c->node, "storage_order", 0);
	int64_t out = 0;
	for (int64_t plane = 0; plane < dims[0] * dims[1] && w.grid_size; plane++) {
		int64_t grid[PAI_MAX_RANK] = {0}, base = plane * w.image_size;
		for (int64_t i = 0; i < w.grid_size; i++, out++, pai_pool_next(&w, grid)) {
			pai_pool_area p;
			pai_pool_part(&w, grid, &p);
			int64_t at = largest(&p, from + base);
			pai_pool_store(y, out, at < 0 ? lowest(x->dtype) : from[base + at]);
			if (indices)
				((int64_t *)indices->data)[out] =
					at < 0 ? -1
					       : base + (by_columns ? column_major(&w, at) : at);
		}
	}
	return PAI_OK;
}

static double window_size(const pai_node *n)
{
	const int64_t *size;
	double all = 1;
	for (int i = pai_node_ints(n, "kernel_shape", &size) - 1; i >= 0; i--)
		all *= size[i] > 0 ? (double)size[i] : 1;
	return all;
}

double pai_pool_work(const pai_node *n, const pai_tensor *const *in, const pai_tensor *const *out)
{
	(void)in;
	return pai_elements(out[0]) * window_size(n);
}

double pai_pool_work_0(const pai_node *n, const pai_tensor *const *in, const pai_tensor *const *out)
{
	(void)out;
	return pai_elements(in[0]) * window_size(n);
}

double pai_pool_work_2(const pai_node *n, const pai_tensor *const *in, const pai_tensor *const *out)
{
	(void)out;
	return pai_elements(in[2]) * window_size(n);
}

const pai_kernel pai_kernel_max_pool = {.run = max_pool, .work = pai_pool_work};
const pai_kernel pai_kernel_global_max_pool = {.run = max_pool};

pai_status pai_grad_global_max_pool(pai_grad *g, const pai_node *n, pai_value *const *dy,
				    pai_value **dx)
{
	dx[0] = pai_grad_internal(g, "GlobalMaxPoolGrad", 3,
				  (pai_value *[]){n->in[0], n->out[0], dy[0]}, NULL);
	return PAI_OK;
}

/* Elements an average divides by: those in the image, or all that lie in image and padding. */
static double divisor(const pai_window *w, const pai_pool_area *p, const int64_t *grid,
		      bool padding)
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
	pai_window w;
	int64_t dims[PAI_MAX_RANK];
	double *from = NULL;
	PAI_TRY(pai_pool_begin(c, &w, dims, &from));
	bool padding = pai_node_int(c->node, "count_include_pad", 0);
	int64_t out = 0;
	for (int64_t plane = 0; plane < dims[0] * dims[1] && w.grid_size; plane++) {
		int64_t grid[PAI_MAX_RANK] = {0}, base = plane * w.image_size;
		for (int64_t i = 0; i < w.grid_size; i++, out++, pai_pool_next(&w, grid)) {
			pai_pool_area p;
			double sum = 0;
			pai_pool_part(&w, grid, &p);
			pai_walk s = pai_walk_start(&p);
			for (int64_t k = 0; k < p.n; k++, pai_walk_next(&p, &s))
				sum += from[base + s.at];
			pai_pool_store(c->out[0], out, sum / divisor(&w, &p, grid, padding));
		}
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_average_pool = {.run = average_pool, .work = pai_pool_work};

/* X, Y, dY -> dX: dY goes to the element that was the maximum */
static pai_status max_pool_grad(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	pai_window w;
	double *sum = NULL, *from = NULL, *dy = NULL;
	PAI_TRY(pai_pool_adjoint(c, x->dtype, x->rank, x->dims, 2, &w, &sum));
	PAI_TRY(pai_pool_values(c, 0, &from));
	PAI_TRY(pai_pool_values(c, 2, &dy));
	for (int64_t plane = 0; plane < x->dims[0] * x->dims[1] && w.grid_size; plane++) {
		int64_t grid[PAI_MAX_RANK] = {0}, base = plane * w.image_size;
		for (int64_t i = 0; i < w.grid_size; i++, dy++, pai_pool_next(&w, grid)) {
			pai_pool_area p;
			pai_pool_part(&w, grid, &p);
			int64_t at = largest(&p, from + base);
			if (at >= 0)
				sum[base + at] += *dy;
		}
	}
	pai_pool_finish(c->out[0], sum);
	return PAI_OK;
}

const pai_kernel pai_kernel_max_pool_grad = {.run = max_pool_grad, .work = pai_pool_work_2};
const pai_kernel pai_kernel_global_max_pool_grad = {.run = max_pool_grad};

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
	PAI_TRY(pai_pool_adjoint(c, c->in[0]->dtype, shape.n, shape.at, 0, &w, &sum));
	PAI_TRY(pai_pool_values(c, 0, &dy));
	bool padding = pai_node_int(c->node, "count_include_pad", 0);
	for (int64_t plane = 0; plane < shape.at[0] * shape.at[1] && w.grid_size; plane++) {
		int64_t grid[PAI_MAX_RANK] = {0}, base = plane * w.image_size;
		for (int64_t i = 0; i < w.grid_size; i++, dy++, pai_pool_next(&w, grid)) {
			pai_pool_area p;
			pai_pool_part(&w, grid, &p);
			double part = *dy / divisor(&w, &p, grid, padding);
			pai_walk s = pai_walk_start(&p);
			for (int64_t k = 0; k < p.n; k++, pai_walk_next(&p, &s))
				sum[base + s.at] += part;
		}
	}
	pai_pool_finish(c->out[0], sum);
	return PAI_OK;
}

const pai_kernel pai_kernel_average_pool_grad = {.run = average_pool_grad, .work = pai_pool_work_0};

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
	PAI_TRY(pai_pool_values(c, 0, &from));
	for (int64_t i = 0; i < dims[0] * dims[1]; i++) {
		double sum = 0;
		for (int64_t k = 0; k < n; k++)
			sum += *from++;
		pai_pool_store(c->out[0], i, sum / (double)n);
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
	PAI_TRY(pai_pool_values(c, 0, &dy));
	for (int64_t i = 0; i < shape.at[0] * shape.at[1]; i++)
		for (int64_t k = 0; k < n; k++)
			pai_pool_store(c->out[0], out++, dy[i] / (double)n);
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
