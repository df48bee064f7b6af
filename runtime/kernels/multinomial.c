/* multinomial.c -- Multinomial: draws classes from unnormalised log-probabilities [batch, classes].
 * Sample i of a row is drawn by its own random number. */
#include "runtime/kernels/lanes.h"
#include "runtime/kernels/move.h"
#include <math.h>

/* Sums of the probabilities so far. */
static void accumulate(double *p, int64_t n)
{
	double most = -INFINITY, sum = 0;
	for (int64_t i = 0; i < n; i++)
		most = p[i] > most ? p[i] : most;
	for (int64_t i = 0; i < n; i++)
		p[i] = sum += exp(p[i] - most);
}

/* The first class whose sum is greater than v. */
static int64_t find_class(const double *p, int64_t n, double v)
{
	int64_t low = 0, high = n - 1;
	while (low < high) {
		int64_t mid = low + (high - low) / 2;
		if (p[mid] > v)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static pai_status multinomial(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	int64_t samples = pai_node_int(c->node, "sample_size", 1);
	int64_t dtype = pai_node_int(c->node, "dtype", PAI_INT32);
	void *room = NULL;
	if (x->rank != 2 || x->dims[1] < 1 || pai_lane_of(x->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 0),
				"is not [batch, classes] of numbers");
	if (samples < 0 || (dtype != PAI_INT32 && dtype != PAI_INT64))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"has a bad sample_size or dtype");
	PAI_TRY(pai_call_output(c, 0, (pai_dtype)dtype, 2, (int64_t[]){x->dims[0], samples}));
	const int64_t n = x->dims[1];
	const pai_random r = pai_call_random(c);
	PAI_TRY(pai_call_room(c, n, sizeof(double), &room));
	double *p = room;
	for (int64_t b = 0; b < x->dims[0]; b++) {
		pai_lane_load(PAI_LANE_F64, p, x->dtype, x->data, b * n, n);
		accumulate(p, n);
		for (int64_t i = b * samples; i < (b + 1) * samples; i++) {
			double u = (double)pai_random_uniform(&r, (uint64_t)i);
			int64_t k = find_class(p, n, u * p[n - 1]);
			pai_lane_store(PAI_LANE_I64, &k, (pai_dtype)dtype, c->out[0]->data, i, 1);
		}
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_multinomial = {.run = multinomial};

pai_status pai_shape_multinomial(pai_shape_ctx *s)
{
	const int64_t samples = pai_node_int(s->node, "sample_size", 1);
	const int64_t dtype = pai_node_int(s->node, "dtype", PAI_INT32);
	s->out[0].kind = PAI_TYPE_TENSOR;
	if (dtype > 0 && dtype < PAI_DTYPE_COUNT)
		s->out[0].dtype = (pai_dtype)dtype;
	if (!pai_shape_known(s, 0) || s->in[0]->rank != 2)
		return PAI_OK;
	const pai_dim out[] = {s->in[0]->dims[0], pai_dim_int(s->ctx, samples)};
	pai_shape_set(s, 0, 2, out);
	return PAI_OK;
}
