/* lp_pool.c -- LpPool and GlobalLpPool: y = (sum |x|^p)^(1/p) over a window, and their adjoint. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/pool.h"
#include <math.h>

/* p is a float in version 1. */
static double exponent(const pai_node *n)
{
	const pai_op_attr *a = pai_op_attr_find(n->op, "p");
	if (a && a->type == PAI_ATTR_FLOAT)
		return (double)pai_node_float(n, "p", 2);
	return (double)pai_node_int(n, "p", 2);
}

static pai_status lp_pool(pai_call *c)
{
	pai_window w;
	int64_t dims[PAI_MAX_RANK], out = 0;
	double *from = NULL, p = exponent(c->node);
	PAI_TRY(pai_pool_begin(c, &w, dims, &from));
	for (int64_t plane = 0; plane < dims[0] * dims[1] && w.grid_size; plane++) {
		int64_t grid[PAI_MAX_RANK] = {0}, base = plane * w.image_size;
		for (int64_t i = 0; i < w.grid_size; i++, out++, pai_pool_next(&w, grid)) {
			pai_pool_area area;
			double sum = 0;
			pai_pool_part(&w, grid, &area);
			pai_walk s = pai_walk_start(&area);
			for (int64_t k = 0; k < area.n; k++, pai_walk_next(&area, &s))
				sum += pow(fabs(from[base + s.at]), p);
			pai_pool_store(c->out[0], out, pow(sum, 1 / p));
		}
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_lp_pool = {.run = lp_pool, .work = pai_pool_work};

/* X, Y, dY -> dX = sum over windows of dY sign(x) |x|^(p-1) y^(1-p); 0 where y is 0 */
static pai_status lp_pool_grad(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	pai_window w;
	double *sum = NULL, *from = NULL, *y = NULL, *dy = NULL, p = exponent(c->node);
	PAI_TRY(pai_pool_adjoint(c, x->dtype, x->rank, x->dims, 2, &w, &sum));
	PAI_TRY(pai_pool_values(c, 0, &from));
	PAI_TRY(pai_pool_values(c, 1, &y));
	PAI_TRY(pai_pool_values(c, 2, &dy));
	for (int64_t plane = 0; plane < x->dims[0] * x->dims[1] && w.grid_size; plane++) {
		int64_t grid[PAI_MAX_RANK] = {0}, base = plane * w.image_size;
		for (int64_t i = 0; i < w.grid_size; i++, y++, dy++, pai_pool_next(&w, grid)) {
			pai_pool_area area;
			pai_pool_part(&w, grid, &area);
			pai_walk s = pai_walk_start(&area);
			for (int64_t k = 0; k < area.n && *y != 0; k++, pai_walk_next(&area, &s)) {
				double v = from[base + s.at];
				double slope = v != 0 ? pow(fabs(v) / *y, p - 1) : 0;
				sum[base + s.at] += *dy * copysign(slope, v);
			}
		}
	}
	pai_pool_finish(c->out[0], sum);
	return PAI_OK;
}

const pai_kernel pai_kernel_lp_pool_grad = {.run = lp_pool_grad, .work = pai_pool_work_2};

pai_status pai_grad_lp_pool(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	double p = exponent(n);
	if (!(p >= 1 && p <= INT32_MAX) || p != floor(p))
		return pai_fail(n->graph->model->ctx, PAI_E_no_gradient, pai_at_attr(n, "p"),
				"is %g, no whole number from 1 on", p);
	dx[0] = pai_grad_internal(g, "LpPoolGrad", 3, (pai_value *[]){n->in[0], n->out[0], dy[0]},
				  n);
	pai_patch_set_int(pai_grad_patch(g), dx[0]->producer, "p", (int64_t)p);
	return PAI_OK;
}
