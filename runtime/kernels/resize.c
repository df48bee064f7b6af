/* resize.c -- Resize and Upsample: for each axis a sparse matrix of weights, applied one by one.
 *
 * Place o of the output lies at a coordinate of the input that the coordinate transformation gives;
 * nearest takes one element there, linear two, cubic four, and with antialias as many as the shrunk
 * filter covers. The rows of weights depend on the axis only, so the interpolation of all axes is a
 * product of matrices, and its adjoint the product of their transposes.
 */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/resize.h"
#include <math.h>
#include <string.h>

typedef struct taps {   /* the weights of one axis */
	int64_t n;      /* taps of an output place */
	int64_t *at;    /* [out, n] */
	double *weight; /* [out, n] */
	bool *outside;  /* [out] the place lies outside the input: takes the extrapolation value */
} taps;

/* Weight of an element at distance d from the place: triangle, or Keys' cubic with coefficient a.
 */
static double filter(const pai_resize *r, double d)
{
	double a = r->cubic_a;
	d = fabs(d);
	if (r->mode == PAI_RESIZE_LINEAR)
		return d < 1 ? 1 - d : 0;
	if (d <= 1)
		return ((a + 2) * d - (a + 3)) * d * d + 1;
	return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

/* Taps of place o: elements first, first + 1, ... at filter distances (element - x) * shrink. */
static void fill_place(const pai_resize *r, int k, int64_t o, double shrink, taps *t)
{
	double x = (double)r->coordinate(r, k, (float)o), sum = 0;
	int64_t *at = t->at + o * t->n, last = r->in[k] - 1;
	double *weight = t->weight + o * t->n;
	t->outside[o] = r->crop && (x < 0 || x > (double)last);
	if (r->mode == PAI_RESIZE_NEAREST) {
		double i = r->nearest(x, (double)r->scale[k]);
		at[0] = i > 0 ? (i < (double)last ? (int64_t)i : last) : 0;
		weight[0] = 1;
		return;
	}
	double reach = (r->mode == PAI_RESIZE_LINEAR ? 1 : 2) / shrink;
	int64_t first = (int64_t)floor(x - reach) + 1;
	for (int64_t i = 0; i < t->n; i++) {
		int64_t e = first + i;
		weight[i] = filter(r, ((double)e - x) * shrink);
		if (r->exclude_outside && (e < 0 || e > last))
			weight[i] = 0;
		at[i] = e < 0 ? 0 : e > last ? last : e;
		sum += weight[i];
	}
	for (int64_t i = 0; i < t->n && (r->exclude_outside || shrink < 1) && sum != 0; i++)
		weight[i] /= sum;
}

static pai_status make_taps(pai_call *c, const pai_resize *r, int k, taps *t)
{
	double shrink = r->antialias && r->scale[k] < 1 ? (double)r->scale[k] : 1;
	void *at = NULL, *weight = NULL, *outside = NULL;
	t->n = r->mode == PAI_RESIZE_NEAREST
		       ? 1
		       : (int64_t)ceil((r->mode == PAI_RESIZE_LINEAR ? 2 : 4) / shrink);
	int64_t n;
	if (__builtin_mul_overflow(t->n, r->out[k], &n))
		n = INT64_MAX;
	PAI_TRY(pai_call_room(c, n, sizeof(int64_t), &at));
	PAI_TRY(pai_call_room(c, n, sizeof(double), &weight));
	PAI_TRY(pai_call_room(c, r->out[k], sizeof(bool), &outside));
	t->at = at;
	t->weight = weight;
	t->outside = outside;
	for (int64_t o = 0; o < r->out[k]; o++)
		fill_place(r, k, o, shrink, t);
	return PAI_OK;
}

/* [outer, in, inner] -> [outer, out, inner] by the weights, or their transpose. */
static void apply(const taps *t, bool adjoint, int64_t outer, int64_t in, int64_t out,
		  int64_t inner, const double *from, double *to)
{
	for (int64_t i = 0, n = outer * (adjoint ? in : out) * inner; i < n; i++)
		to[i] = 0;
	for (int64_t a = 0; a < outer; a++)
		for (int64_t o = 0; o < out; o++)
			for (int64_t k = 0; k < t->n; k++) {
				double w = t->weight[o * t->n + k];
				const double *src = from;
				double *dst = to;
				int64_t at = (a * in + t->at[o * t->n + k]) * inner;
				int64_t place = (a * out + o) * inner;
				src += adjoint ? place : at;
				dst += adjoint ? at : place;
				for (int64_t i = 0; i < inner && w != 0; i++)
					dst[i] += w * src[i];
			}
}

/* All axes in turn; `data` has the dims `have`, which become the other side's. */
static pai_status apply_all(pai_call *c, const pai_resize *r, bool adjoint, double **data)
{
	int64_t have[PAI_MAX_RANK];
	for (int i = 0; i < r->rank; i++)
		have[i] = adjoint ? r->out[i] : r->in[i];
	for (int k = 0; k < r->rank; k++) {
		if (r->in[k] == r->out[k] && r->scale[k] == 1 && !r->crop)
			continue;
		int64_t outer = 1, inner = 1, n;
		for (int i = 0; i < r->rank; i++) {
			outer *= i < k ? have[i] : 1;
			inner *= i > k ? have[i] : 1;
		}
		have[k] = adjoint ? r->in[k] : r->out[k];
		n = outer * have[k] * inner;
		taps t;
		void *room = NULL;
		PAI_TRY(make_taps(c, r, k, &t));
		PAI_TRY(pai_call_room(c, n, sizeof(double), &room));
		apply(&t, adjoint, outer, r->in[k], r->out[k], inner, *data, room);
		for (int64_t i = 0; i < n && !adjoint; i++)
			if (t.outside[i / inner % r->out[k]])
				((double *)room)[i] = r->extrapolation;
		*data = room;
	}
	return PAI_OK;
}

/* Nearest without arithmetic, for types that have none. */
static pai_status move_nearest(pai_call *c, const pai_resize *r)
{
	taps t[PAI_MAX_RANK];
	int64_t index[PAI_MAX_RANK] = {0}, strides[PAI_MAX_RANK];
	pai_flat from, to;
	for (int k = 0; k < r->rank; k++)
		PAI_TRY(make_taps(c, r, k, &t[k]));
	PAI_TRY(pai_flat_in(c, 0, &from));
	PAI_TRY(pai_flat_out(c, 0, &to));
	pai_strides(r->rank, r->in, strides);
	for (int64_t i = 0, n = pai_tensor_nelem(c->out[0]); i < n; i++) {
		int64_t at = 0;
		for (int k = 0; k < r->rank; k++)
			at += t[k].at[index[k]] * strides[k];
		memcpy(to.at + (size_t)i * to.size, from.at + (size_t)at * to.size, to.size);
		for (int k = r->rank - 1; k >= 0 && ++index[k] == r->out[k]; k--)
			index[k] = 0;
	}
	pai_flat_done(c, 0, &to);
	return PAI_OK;
}

static pai_status as_double(pai_call *c, int slot, double **out)
{
	const pai_tensor *t = c->in[slot];
	void *room = NULL;
	PAI_TRY(pai_call_room(c, pai_tensor_nelem(t), sizeof(double), &room));
	*out = room;
	for (int64_t i = 0, n = pai_tensor_nelem(t); i < n; i++)
		(*out)[i] = pai_tensor_get(t, i);
	return PAI_OK;
}

static pai_status run(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	pai_resize r;
	double *data = NULL;
	PAI_TRY(pai_resize_read(c, x->rank, x->dims, &r));
	PAI_TRY(pai_call_output(c, 0, x->dtype, r.rank, r.out));
	if (pai_tensor_nelem(c->out[0]) == 0)
		return PAI_OK;
	if (pai_tensor_nelem(x) == 0)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"has no elements to take from");
	pai_dtype_kind kind = pai_dtype_get(x->dtype)->kind;
	if (r.mode == PAI_RESIZE_NEAREST && !r.crop)
		return move_nearest(c, &r);
	if (kind == PAI_KIND_STRING || kind == PAI_KIND_COMPLEX)
		return pai_fail(c->ctx, PAI_E_no_kernel, pai_at_node(c->node), "interpolates %s",
				pai_dtype_get(x->dtype)->text);
	PAI_TRY(as_double(c, 0, &data));
	PAI_TRY(apply_all(c, &r, false, &data));
	for (int64_t i = 0, n = pai_tensor_nelem(c->out[0]); i < n; i++)
		pai_tensor_set(c->out[0], i, data[i]);
	return PAI_OK;
}

const pai_kernel pai_kernel_resize = {.run = run};

/* dY, shape of X, roi, scales, sizes -> dX: the transposed weights */
static pai_status resize_grad(pai_call *c)
{
	const pai_tensor *dy = c->in[0];
	pai_int_list shape;
	pai_resize r;
	double *data = NULL;
	PAI_TRY(pai_call_ints(c, "shape", 1, &shape));
	PAI_TRY(pai_resize_read(c, shape.n, shape.at, &r));
	PAI_TRY(pai_call_output(c, 0, dy->dtype, shape.n, shape.at));
	bool fits = dy->rank == r.rank;
	for (int i = 0; fits && i < r.rank; i++)
		fits = dy->dims[i] == r.out[i];
	if (!fits || r.crop)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 0),
				"is not shaped as the output of the Resize");
	PAI_TRY(as_double(c, 0, &data));
	PAI_TRY(apply_all(c, &r, true, &data));
	for (int64_t i = 0, n = pai_tensor_nelem(c->out[0]); i < n; i++)
		pai_tensor_set(c->out[0], i, data[i]);
	return PAI_OK;
}

const pai_kernel pai_kernel_resize_grad = {.run = resize_grad};

/* The versions before 11 are the same with other defaults, which are spelled out. */
pai_status pai_grad_resize(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	const char *how = pai_node_string(n, "coordinate_transformation_mode", "asymmetric");
	const float *list;
	bool old = n->op->since < 11;
	if (strcmp(how, "tf_crop_and_resize") == 0)
		return pai_fail(n->graph->model->ctx, PAI_E_no_gradient,
				pai_at_attr(n, "coordinate_transformation_mode"), "is %s", how);
	pai_value *in[5] = {dy[0], pai_grad_shape(g, n, n->in[0])};
	in[3] = pai_node_in(n, old ? 1 : 2);
	in[4] = old ? NULL : pai_node_in(n, 3);
	if (!in[3] && old) { /* Upsample with its scales as an attribute */
		float four[4] = {1, 1, pai_node_float(n, "height_scale", 1),
				 pai_node_float(n, "width_scale", 1)};
		int64_t count = pai_node_floats(n, "scales", &list);
		list = count < 0 ? four : list;
		count = count < 0 ? 4 : count;
		pai_tensor *t = pai_tensor_new(n->graph->model->arena, PAI_FLOAT, 1, &count);
		if (!t)
			return pai_fail(n->graph->model->ctx, PAI_E_memory, pai_at_node(n),
					"for its gradient");
		pai_copy(t->data, list, t->nbytes);
		in[3] = pai_patch_init(p, "scales", t);
	}
	dx[0] = pai_grad_internal(g, "ResizeGrad", 5, in, old ? NULL : n);
	if (old) {
		pai_node *made = dx[0]->producer;
		pai_patch_set_string(p, made, "mode", pai_node_string(n, "mode", "nearest"));
		pai_patch_set_string(p, made, "coordinate_transformation_mode", "asymmetric");
		pai_patch_set_string(p, made, "nearest_mode", "outward");
	}
	return PAI_OK;
}
