/* ml_vector.c -- operators of ai.onnx.ml on vectors of features: Scaler, Normalizer,
 * ArrayFeatureExtractor. */
#include "runtime/kernels/indices.h"
#include "runtime/kernels/lanes.h"
#include <math.h>
#include <string.h>

/* Rows [n, features] of any numbers as double, and the float output of the same shape. */
typedef struct rows {
	int64_t n, features;
	const double *x;
	float *y;
} rows;

static pai_status rows_of(pai_call *c, rows *r)
{
	const pai_tensor *x = c->in[0];
	if (x->rank < 1 || pai_lane_of(x->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"has no features that are numbers");
	PAI_TRY(pai_call_output(c, 0, PAI_FLOAT, x->rank, x->dims));
	r->features = x->dims[x->rank - 1];
	r->n = r->features ? pai_tensor_nelem(x) / r->features : 0;
	r->x = pai_lane_view(c, PAI_LANE_F64, x);
	r->y = c->out[0]->data;
	return r->x ? PAI_OK : pai_call_nomem(c);
}

/* One number for all features, or one for each; absent: `*n` is 0. */
static pai_status list(pai_call *c, const char *attr, int64_t features, const float **out, int *n)
{
	*n = pai_node_floats(c->node, attr, out);
	*n = *n < 0 ? 0 : *n;
	if (*n > 1 && *n != features)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_attr(c->node, attr),
				"has %d numbers, the input has %lld features", *n,
				(long long)features);
	return PAI_OK;
}

/* y = (x - offset) scale, in float as other runtimes do it */
static pai_status scaler(pai_call *c)
{
	rows r;
	const float *offset = NULL, *scale = NULL;
	int n_offset, n_scale;
	PAI_TRY(rows_of(c, &r));
	PAI_TRY(list(c, "offset", r.features, &offset, &n_offset));
	PAI_TRY(list(c, "scale", r.features, &scale, &n_scale));
	for (int64_t i = 0; i < r.n * r.features; i++) {
		int64_t k = i % r.features;
		float shift = n_offset ? offset[n_offset > 1 ? k : 0] : 0;
		float by = n_scale ? scale[n_scale > 1 ? k : 0] : 1;
		r.y[i] = ((float)r.x[i] - shift) * by;
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_scaler = {.run = scaler};

/* y = x / norm of the row; x where that is 0 */
static pai_status normalizer(pai_call *c)
{
	static const char *const names[] = {"MAX", "L1", "L2"};
	const char *given = pai_node_string(c->node, "norm", "MAX");
	int norm = 0;
	rows r;
	while (norm < 3 && strcmp(names[norm], given) != 0)
		norm++;
	if (norm == 3)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "norm"),
				"is none of MAX, L1, L2");
	PAI_TRY(rows_of(c, &r));
	for (int64_t i = 0; i < r.n; i++) {
		const double *x = r.x + i * r.features;
		double sum = 0;
		for (int64_t k = 0; k < r.features; k++)
			sum = norm == 0   ? fmax(sum, fabs(x[k]))
			      : norm == 1 ? sum + fabs(x[k])
					  : sum + x[k] * x[k];
		sum = norm == 2 ? sqrt(sum) : sum;
		for (int64_t k = 0; k < r.features; k++)
			r.y[i * r.features + k] = (float)(sum != 0 ? x[k] / sum : x[k]);
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_normalizer = {.run = normalizer};

/* The features of the given numbers along the last axis; a vector counts as one row. */
static pai_status array_feature_extractor(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	int64_t dims[PAI_MAX_RANK] = {1}, *at = NULL, n = pai_tensor_nelem(c->in[1]);
	if (x->rank < 1)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 0),
				"is a scalar");
	int rank = x->rank > 1 ? x->rank : 2;
	int64_t features = x->dims[x->rank - 1];
	int64_t count = features ? pai_tensor_nelem(x) / features : 0;
	PAI_TRY(pai_call_positions(c, 1, features, &at));
	for (int i = 0; i + 1 < x->rank; i++)
		dims[i] = x->dims[i];
	dims[rank - 1] = n;
	PAI_TRY(pai_call_output(c, 0, x->dtype, rank, dims));
	pai_flat from, to;
	PAI_TRY(pai_flat_in(c, 0, &from));
	PAI_TRY(pai_flat_out(c, 0, &to));
	for (int64_t i = 0; i < count * n; i++)
		pai_copy(to.at + (size_t)i * to.size,
			 from.at + (size_t)(i / n * features + at[i % n]) * to.size, to.size);
	pai_flat_done(c, 0, &to);
	return PAI_OK;
}

const pai_kernel pai_kernel_array_feature_extractor = {.run = array_feature_extractor};

pai_status pai_shape_array_feature_extractor(pai_shape_ctx *s)
{
	pai_dim out[PAI_MAX_RANK] = {1}, n = 1;
	if (!pai_shape_known(s, 0) || s->in[0]->rank < 1)
		return PAI_OK;
	const pai_type *x = s->in[0];
	int rank = x->rank > 1 ? x->rank : 2;
	for (int i = 0; i + 1 < x->rank; i++)
		out[i] = x->dims[i];
	for (int i = 0; pai_shape_known(s, 1) && i < s->in[1]->rank; i++)
		n = pai_dim_mul(s->ctx, n, s->in[1]->dims[i]);
	out[rank - 1] = pai_shape_known(s, 1) ? n : PAI_DIM_UNKNOWN;
	pai_shape_set(s, 0, rank, out);
	return PAI_OK;
}
