/* lp_normalization.c -- LpNormalization: y = x / (sum |x|^p)^(1/p) along an axis, p 1 or 2; 0 where
 * the norm is 0. The arithmetic is double. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/lanes.h"
#include "runtime/kernels/move.h"
#include <math.h>

static pai_status lp_normalization(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	int64_t p = pai_node_int(c->node, "p", 2), inner = 1;
	int axis;
	void *sums = NULL;
	if (pai_lane_of(x->dtype) == PAI_LANE_NONE || (p != 1 && p != 2))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "p"),
				"is %lld, expected 1 or 2", (long long)p);
	PAI_TRY(pai_call_axis(c, pai_node_int(c->node, "axis", -1), x->rank, &axis));
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	for (int i = axis + 1; i < x->rank; i++)
		inner *= x->dims[i];
	const double *from = pai_lane_view(c, PAI_LANE_F64, x);
	double *to = pai_lane_begin(c, PAI_LANE_F64, c->out[0]);
	PAI_TRY(pai_call_room(c, inner, sizeof(double), &sums));
	if (!from || !to)
		return pai_call_nomem(c);
	int64_t n = x->dims[axis], block = n * inner, all = pai_tensor_nelem(x);
	double *norm = sums;
	for (int64_t at = 0; at < all; at += block) {
		for (int64_t i = 0; i < inner; i++)
			norm[i] = 0;
		for (int64_t i = 0; i < block; i++) {
			double v = from[at + i];
			norm[i % inner] += p == 1 ? fabs(v) : v * v;
		}
		for (int64_t i = 0; i < inner; i++)
			norm[i] = p == 1 ? norm[i] : sqrt(norm[i]);
		for (int64_t i = 0; i < block; i++)
			to[at + i] = norm[i % inner] != 0 ? from[at + i] / norm[i % inner] : 0;
	}
	pai_lane_finish(PAI_LANE_F64, to, c->out[0]);
	return PAI_OK;
}

const pai_kernel pai_kernel_lp_normalization = {.run = lp_normalization};

/* With N the norm: dx = (dy - sum(dy y) dN/dx) / N, dN/dx = y for p = 2, sign(x) for p = 1; 0 where
 * the norm is 0. */
pai_status pai_grad_lp_normalization(pai_grad *g, const pai_node *n, pai_value *const *dy,
				     pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	bool one = pai_node_int(n, "p", 2) == 1;
	int64_t axis = pai_node_int(n, "axis", -1);
	pai_value *axes = pai_grad_ints(g, n, 1, &axis), *x = n->in[0], *y = n->out[0];
	pai_value *zero = pai_grad_scalar(g, n, x->type.dtype, 0);
	pai_value *norm = PAI_OP2(p, one ? "ReduceL1" : "ReduceL2", "norm", x, axes);
	pai_value *sum = PAI_OP2(p, "ReduceSum", "sum", PAI_OP2(p, "Mul", "dy_y", dy[0], y), axes);
	pai_value *slope = one ? PAI_OP1(p, "Sign", "slope", x) : y;
	pai_value *d = PAI_OP2(p, "Sub", "grad", dy[0], PAI_OP2(p, "Mul", "grad", sum, slope));
	dx[0] = PAI_OP3(p, "Where", "grad", PAI_OP2(p, "Equal", "none", norm, zero), zero,
			PAI_OP2(p, "Div", "grad", d, norm));
	return PAI_OK;
}
