/* layer_normalization.c -- LayerNormalization and RMSNormalization over the dimensions from `axis`
 * on, and their gradient. The arithmetic is double.
 *
 *     u = (x - m) r,  r = 1 / sqrt(mean((x - m)^2) + epsilon),  y = u scale + bias
 *
 * m is the mean, and 0 for RMSNormalization, which has no bias. */
#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/grad.h"
#include <string.h>

typedef struct layer { /* x is [outer, n] */
	int64_t outer, n;
	int axis;
	bool centred;
	double epsilon;
	double *scale, *bias, *row, *dy; /* [n]; bias NULL: none */
} layer;

/* A loop of one operand does not ask whether that is a single element; this one does. */
static void copy_f64(int64_t n, void *out, const void *const *in, const bool *one,
		     const pai_params *params)
{
	const double *from = in[0];
	double *to = out;
	(void)params;
	for (int64_t i = 0; i < n; i++)
		to[i] = from[one[0] ? 0 : i];
}

/* A scale or bias of any shape that broadcasts to the normalised dimensions, as [n]. */
static pai_status spread(pai_call *c, const layer *l, const pai_tensor *x, int k, double **out)
{
	static const pai_elementwise copy = {.loop[PAI_LANE_F64] = copy_f64};
	pai_tensor whole = {.dtype = PAI_DOUBLE,
			    .rank = x->rank - l->axis,
			    .dims = x->dims + l->axis,
			    .data = pai_call_scratch(c, sizeof(double) * (size_t)(l->n + 1))};
	const pai_operand both[2] = {{c->in[k], 0}, {&whole, 0}};
	int rank;
	int64_t dims[PAI_MAX_RANK];
	if (!whole.data)
		return pai_call_nomem(c);
	PAI_TRY(pai_broadcast_dims(c, 2, both, &rank, dims));
	whole.rank = rank;
	whole.dims = dims;
	if (pai_tensor_nelem(&whole) != l->n || pai_lane_of(c->in[k]->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, k),
				"does not broadcast to the normalised dimensions");
	*out = whole.data;
	return pai_elementwise_apply(c, &copy, PAI_LANE_F64, 1, both, &whole, &(pai_params){{0}});
}

/* The input stands at slot `at`, its scale behind it. */
static pai_status layer_init(pai_call *c, int at, layer *l)
{
	const pai_tensor *x = c->in[at];
	int64_t axis = pai_node_int(c->node, "axis", -1);
	if (pai_lane_of(x->dtype) == PAI_LANE_NONE || axis < -x->rank || axis >= x->rank)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, at),
				"has no numbers, or no axis %lld", (long long)axis);
	*l = (layer){.outer = 1, .n = 1, .axis = (int)(axis < 0 ? axis + x->rank : axis)};
	l->centred = pai_node_int(c->node, "centred", pai_node_is(c->node, "LayerNormalization"));
	l->epsilon = (double)pai_node_float(c->node, "epsilon", 1e-5f);
	for (int d = 0; d < x->rank; d++)
		*(d < l->axis ? &l->outer : &l->n) *= x->dims[d];
	l->row = pai_call_scratch(c, sizeof(double) * (size_t)(l->n + 1));
	l->dy = pai_call_scratch(c, sizeof(double) * (size_t)(l->n + 1));
	return l->row && l->dy ? spread(c, l, x, at + 1, &l->scale) : pai_call_nomem(c);
}

/* Replaces the row by u; gives m and r. */
static void normalise(const layer *l, double *mean, double *r)
{
	double sum = 0, square = 0;
	for (int64_t i = 0; l->centred && i < l->n; i++)
		sum += l->row[i];
	*mean = sum / (double)l->n;
	for (int64_t i = 0; i < l->n; i++) {
		l->row[i] -= *mean;
		square += l->row[i] * l->row[i];
	}
	*r = 1 / sqrt(square / (double)l->n + l->epsilon);
	for (int64_t i = 0; i < l->n; i++)
		l->row[i] *= *r;
}

static pai_status give_statistics(pai_call *c, const layer *l)
{
	int64_t stash = pai_node_int(c->node, "stash_type", PAI_FLOAT), dims[PAI_MAX_RANK];
	pai_dtype to = stash > 0 && stash < PAI_DTYPE_COUNT ? (pai_dtype)stash : PAI_FLOAT;
	for (int d = 0; d < c->in[0]->rank; d++)
		dims[d] = d < l->axis ? c->in[0]->dims[d] : 1;
	for (int o = 1; o < c->n_out; o++)
		if (c->out[o])
			PAI_TRY(pai_call_output(c, o, to, c->in[0]->rank, dims));
	return PAI_OK;
}

static pai_status layer_normalization(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	layer l;
	PAI_TRY(layer_init(c, 0, &l));
	if (c->n_in > 2 && c->in[2])
		PAI_TRY(spread(c, &l, x, 2, &l.bias));
	PAI_TRY(pai_call_output(c, 0, l.centred ? x->dtype : c->in[1]->dtype, x->rank, x->dims));
	PAI_TRY(give_statistics(c, &l));
	for (int64_t o = 0; o < l.outer; o++) {
		double of[2];
		pai_lane_load(PAI_LANE_F64, l.row, x->dtype, x->data, o * l.n, l.n);
		normalise(&l, &of[0], &of[1]);
		for (int k = 1; k < c->n_out; k++)
			if (c->out[k])
				pai_lane_store(PAI_LANE_F64, &of[k - 1], c->out[k]->dtype,
					       c->out[k]->data, o, 1);
		for (int64_t i = 0; i < l.n; i++)
			l.row[i] = l.row[i] * l.scale[i] + (l.bias ? l.bias[i] : 0);
		pai_lane_store(PAI_LANE_F64, l.row, c->out[0]->dtype, c->out[0]->data, o * l.n,
			       l.n);
	}
	return PAI_OK;
}
const pai_kernel pai_kernel_layer_normalization = {.run = layer_normalization};

/* With d = dy scale and means over a row:
 *     dx = r (d - mean(d) - u mean(d u)),  dscale = sum(dy u),  dbias = sum(dy)  over the rows;
 * without centring mean(d) is left out. The sums have the normalised dimensions. */
static pai_status layer_norm_grad(pai_call *c)
{
	const pai_tensor *dy = c->in[0], *x = c->in[1];
	layer l;
	double *sums[2];
	PAI_TRY(layer_init(c, 1, &l));
	if (pai_tensor_nelem(dy) != l.outer * l.n)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"has another size than the input");
	for (int k = 0; k < 2; k++) {
		sums[k] = pai_call_scratch(c, sizeof(double) * (size_t)(l.n + 1));
		if (!sums[k])
			return pai_call_nomem(c);
		memset(sums[k], 0, sizeof(double) * (size_t)l.n);
	}
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	for (int64_t o = 0; o < l.outer; o++) {
		double m, r, d_sum = 0, du_sum = 0;
		pai_lane_load(PAI_LANE_F64, l.row, x->dtype, x->data, o * l.n, l.n);
		pai_lane_load(PAI_LANE_F64, l.dy, dy->dtype, dy->data, o * l.n, l.n);
		normalise(&l, &m, &r);
		for (int64_t i = 0; i < l.n; i++) {
			sums[0][i] += l.dy[i] * l.row[i];
			sums[1][i] += l.dy[i];
			l.dy[i] *= l.scale[i];
			d_sum += l.centred ? l.dy[i] : 0;
			du_sum += l.dy[i] * l.row[i];
		}
		for (int64_t i = 0; i < l.n; i++)
			l.dy[i] = r * (l.dy[i] - (d_sum + l.row[i] * du_sum) / (double)l.n);
		pai_lane_store(PAI_LANE_F64, l.dy, x->dtype, c->out[0]->data, o * l.n, l.n);
	}
	for (int k = 1; k < c->n_out; k++) {
		if (!c->out[k])
			continue;
		PAI_TRY(pai_call_output(c, k, c->in[2]->dtype, x->rank - l.axis, x->dims + l.axis));
		pai_lane_store(PAI_LANE_F64, sums[k - 1], c->out[k]->dtype, c->out[k]->data, 0,
			       l.n);
	}
	return PAI_OK;
}
const pai_kernel pai_kernel_layer_norm_grad = {.run = layer_norm_grad};

pai_status pai_shape_layer_norm_grad(pai_shape_ctx *s)
{
	int64_t axis;
	pai_shape_copy(s, 0, 1);
	if (!pai_shape_known(s, 1))
		return PAI_OK;
	const pai_type *x = s->in[1];
	PAI_TRY(pai_shape_axis(s, pai_node_int(s->node, "axis", -1), x->rank, &axis));
	for (int o = 1; o < s->n_out; o++)
		pai_shape_set(s, o, x->rank - (int)axis, x->dims + axis);
	return PAI_OK;
}

pai_status pai_grad_layer_normalization(pai_grad *g, const pai_node *n, pai_value *const *dy,
					pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	PAI_TRY(pai_grad_first_only(n, dy));
	pai_value *in[3] = {dy[0], n->in[0], n->in[1]};
	pai_node *made = pai_patch_node(p, PAI_DOMAIN_INTERNAL, "LayerNormGrad", "grad", 3, in, 3);
	pai_patch_set_int(p, made, "axis", pai_node_int(n, "axis", -1));
	pai_patch_set_int(p, made, "centred", pai_node_is(n, "LayerNormalization"));
	pai_patch_set_float(p, made, "epsilon", pai_node_float(n, "epsilon", 1e-5f));
	dx[0] = made->out[0];
	for (int k = 1; k < 3; k++)
		if (pai_node_in(n, k) && pai_grad_wanted(g, n, k))
			dx[k] = pai_grad_sum_to(g, n, made->out[k], NULL, n->in[k]);
	return PAI_OK;
}
