/* det.c -- Det: determinants of the last two axes, by elimination with the largest pivot of each
 * column. The arithmetic is double. */
#include "runtime/kernels/lanes.h"
#include "runtime/kernels/move.h"
#include <math.h>

/* a [n, n] is used up. */
static double determinant(double *a, int64_t n)
{
	double det = 1;
	for (int64_t k = 0; k < n; k++) {
		int64_t pivot = k;
		for (int64_t i = k + 1; i < n; i++)
			pivot = fabs(a[i * n + k]) > fabs(a[pivot * n + k]) ? i : pivot;
		for (int64_t j = 0; pivot != k && j < n; j++) {
			double v = a[k * n + j];
			a[k * n + j] = a[pivot * n + j];
			a[pivot * n + j] = v;
		}
		det *= pivot == k ? a[k * n + k] : -a[k * n + k];
		if (a[k * n + k] == 0)
			return 0;
		for (int64_t i = k + 1; i < n; i++) {
			double by = a[i * n + k] / a[k * n + k];
			for (int64_t j = k + 1; j < n; j++)
				a[i * n + j] -= by * a[k * n + j];
		}
	}
	return det;
}

static pai_status det(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	void *room = NULL;
	if (x->rank < 2 || x->dims[x->rank - 1] != x->dims[x->rank - 2] ||
	    pai_lane_of(x->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 0),
				"has no square matrices of numbers");
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank - 2, x->dims));
	int64_t n = x->dims[x->rank - 1];
	PAI_TRY(pai_call_room(c, n, (size_t)n * sizeof(double), &room));
	for (int64_t i = 0, count = pai_tensor_nelem(c->out[0]); i < count; i++) {
		pai_lane_load(PAI_LANE_F64, room, x->dtype, x->data, i * n * n, n * n);
		double v = determinant(room, n);
		pai_lane_store(PAI_LANE_F64, &v, x->dtype, c->out[0]->data, i, 1);
	}
	return PAI_OK;
}

static double det_work(const pai_node *n, const pai_tensor *const *in, const pai_tensor *const *out)
{
	(void)n, (void)out;
	return pai_elements(in[0]) *
	       (in[0] && in[0]->rank > 1 ? (double)in[0]->dims[in[0]->rank - 1] : 0);
}

const pai_kernel pai_kernel_det = {.run = det, .work = det_work};
