/* mean_variance_normalization.c -- MeanVarianceNormalization: y = (x - m) / (sqrt(v) + 1e-9), mean
 * and variance over the given axes. The arithmetic is double. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/move.h"
#include "runtime/kernels/reduce.h"
#include <math.h>

static const double epsilon = 1e-9;

typedef struct cells { /* the statistic that each element of x goes into */
	int rank;
	const int64_t *dims;
	int64_t step[PAI_MAX_RANK], index[PAI_MAX_RANK], at;
} cells;

static void next_cell(cells *s)
{
	for (int d = s->rank - 1; d >= 0; d--) {
		s->at += s->step[d];
		if (++s->index[d] < s->dims[d])
			return;
		s->at -= s->step[d] * s->dims[d];
		s->index[d] = 0;
	}
}

/* Statistics have the dims of x without `over`. */
static cells cells_of(const pai_tensor *x, const bool *over, int64_t *count)
{
	cells s = {.rank = x->rank, .dims = x->dims};
	*count = 1;
	for (int d = x->rank - 1; d >= 0; d--) {
		s.step[d] = over[d] ? 0 : *count;
		*count *= over[d] ? 1 : x->dims[d];
	}
	return s;
}

static pai_status mean_variance_normalization(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	bool over[PAI_MAX_RANK] = {false};
	pai_int_list axes;
	int64_t n;
	void *room = NULL;
	PAI_TRY(pai_call_ints(c, "axes", -1, &axes));
	if (pai_lane_of(x->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"has no numbers");
	for (int i = 0; i < axes.n; i++) {
		int axis;
		PAI_TRY(pai_call_axis(c, axes.at[i], x->rank, &axis));
		over[axis] = true;
	}
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	int64_t all = pai_tensor_nelem(x);
	cells s = cells_of(x, over, &n);
	PAI_TRY(pai_call_room(c, 2 * n, sizeof(double), &room));
	double *mean = room, *square = mean + n, *to = pai_lane_begin(c, PAI_LANE_F64, c->out[0]);
	const double *from = pai_lane_view(c, PAI_LANE_F64, x);
	if (!to || !from)
		return pai_call_nomem(c);
	const double of = n ? (double)all / (double)n : 1;
	pai_tensor sums = {.dtype = PAI_DOUBLE, .rank = 1, .dims = &n, .data = mean};
	PAI_TRY(pai_reduce(c, &pai_reduction_sum, x, over, &sums));
	for (int64_t i = 0; i < n; i++) {
		mean[i] /= of;
		square[i] = 0;
	}
	for (int64_t i = 0; i < all; i++, next_cell(&s)) {
		to[i] = from[i] - mean[s.at];
		square[s.at] += to[i] * to[i];
	}
	for (int64_t i = 0; i < n; i++)
		square[i] = sqrt(square[i] / of) + epsilon;
	for (int64_t i = 0; i < all; i++, next_cell(&s))
		to[i] /= square[s.at];
	pai_lane_finish(PAI_LANE_F64, to, c->out[0]);
	return PAI_OK;
}

const pai_kernel pai_kernel_mean_variance_normalization = {.run = mean_variance_normalization};

/* With means over the axes, c = x - m, s = sqrt(mean(c^2)), r = s + epsilon:
 *     dx = (dy - mean(dy)) / r - c mean(dy c) / (r^2 s) */
pai_status pai_grad_mean_variance_normalization(pai_grad *g, const pai_node *n,
						pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	const int64_t *list;
	int count = pai_node_ints(n, "axes", &list);
	pai_value *axes = pai_grad_ints(g, n, count, list), *x = n->in[0];
	pai_value *c = PAI_OP2(p, "Sub", "c", x, PAI_OP2(p, "ReduceMean", "m", x, axes));
	pai_value *v = PAI_OP2(p, "ReduceMean", "v", PAI_OP2(p, "Mul", "c2", c, c), axes);
	pai_value *s = PAI_OP1(p, "Sqrt", "s", v);
	pai_value *r = PAI_OP2(p, "Add", "r", s, pai_grad_scalar(g, n, x->type.dtype, epsilon));
	pai_value *m = PAI_OP2(p, "ReduceMean", "m", dy[0], axes);
	pai_value *along = PAI_OP2(p, "ReduceMean", "m", PAI_OP2(p, "Mul", "dy_c", dy[0], c), axes);
	pai_value *r2s = PAI_OP2(p, "Mul", "r2s", PAI_OP2(p, "Mul", "r2", r, r), s);
	pai_value *first = PAI_OP2(p, "Div", "grad", PAI_OP2(p, "Sub", "grad", dy[0], m), r);
	pai_value *second = PAI_OP2(p, "Mul", "grad", c, PAI_OP2(p, "Div", "grad", along, r2s));
	dx[0] = PAI_OP2(p, "Sub", "grad", first, second);
	return PAI_OK;
}
