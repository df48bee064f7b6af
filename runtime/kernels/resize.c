/* resize.c -- Resize and Upsample: for each axis a sparse matrix of weights, applied one by one.
 *
 * Place o of the output lies at a coordinate of the input that the coordinate transformation gives;
 * nearest takes one element there, linear two, cubic four, and with antialias as many as the shrunk
 * filter covers. The rows of weights depend on the axis only, so the interpolation of all axes is a
 * product of matrices, and its adjoint the product of their transposes.
 */
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/grad.h"
#include <math.h>
#include <string.h>

enum mode { NEAREST, LINEAR, CUBIC };

typedef struct resize { /* parameters of a node */
	enum mode mode;
	const char *coordinates, *nearest;
	double cubic_a, extrapolation;
	bool exclude_outside, antialias;
	int rank;
	int64_t in[PAI_MAX_RANK], out[PAI_MAX_RANK];
	double scale[PAI_MAX_RANK], start[PAI_MAX_RANK], end[PAI_MAX_RANK];
} resize;

typedef struct taps {   /* the weights of one axis */
	int64_t n;      /* taps of an output place */
	int64_t *at;    /* [out, n] */
	double *weight; /* [out, n] */
	bool *outside;  /* [out] the place lies outside the input: takes the extrapolation value */
} taps;

static pai_status read_mode(pai_call *c, resize *r)
{
	const char *mode = pai_node_string(c->node, "mode", "nearest");
	if (strcmp(mode, "nearest") != 0 && strcmp(mode, "linear") != 0 &&
	    strcmp(mode, "bilinear") != 0 && strcmp(mode, "cubic") != 0)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "mode"),
				"is none of nearest, linear, cubic");
	r->mode = mode[0] == 'n' ? NEAREST : mode[0] == 'c' ? CUBIC : LINEAR;
	/* before version 11 there was no choice */
	r->coordinates = pai_node_string(c->node, "coordinate_transformation_mode", "asymmetric");
	r->nearest = pai_node_string(c->node, "nearest_mode", "floor");
	r->cubic_a = (double)pai_node_float(c->node, "cubic_coeff_a", -0.75f);
	r->extrapolation = (double)pai_node_float(c->node, "extrapolation_value", 0);
	r->exclude_outside = pai_node_int(c->node, "exclude_outside", 0);
	r->antialias = pai_node_int(c->node, "antialias", 0);
	return PAI_OK;
}

/* Slot of a parameter, -1: the version has none. */
static int slot_of(const pai_call *c, const char *name)
{
	for (int i = 0; i < c->node->op->n_in; i++)
		if (strcmp(c->node->op->in[i].name, name) == 0)
			return i;
	return -1;
}

static const pai_tensor *parameter(const pai_call *c, const char *name)
{
	int slot = slot_of(c, name);
	const pai_tensor *t = slot >= 0 && slot < c->n_in ? c->in[slot] : NULL;
	return t && pai_tensor_nelem(t) > 0 ? t : NULL;
}

/* Axes the parameters are for, all where there is no such attribute. */
static pai_status read_axes(pai_call *c, int rank, pai_int_list *axes)
{
	PAI_TRY(pai_call_ints(c, "axes", -1, axes));
	if (axes->n < 0) {
		axes->n = rank;
		for (int i = 0; i < rank; i++)
			axes->at[i] = i;
	}
	for (int i = 0; i < axes->n; i++) {
		int axis;
		PAI_TRY(pai_call_axis(c, axes->at[i], rank, &axis));
		axes->at[i] = axis;
	}
	return PAI_OK;
}

/* Sizes, or one factor for all axes that makes the result no larger or no smaller than them. */
static void from_sizes(pai_call *c, const pai_tensor *sizes, const pai_int_list *axes, resize *r)
{
	const char *policy = pai_node_string(c->node, "keep_aspect_ratio_policy", "stretch");
	bool larger = strcmp(policy, "not_smaller") == 0;
	double common = larger ? 0 : INFINITY;
	for (int i = 0; i < axes->n; i++) {
		int k = (int)axes->at[i];
		r->out[k] = pai_tensor_get_int(sizes, i);
		r->scale[k] = (double)r->out[k] / (double)r->in[k];
		common = larger ? fmax(common, r->scale[k]) : fmin(common, r->scale[k]);
	}
	if (strcmp(policy, "stretch") == 0)
		return;
	for (int i = 0; i < axes->n; i++) {
		int k = (int)axes->at[i];
		r->scale[k] = common;
		r->out[k] = (int64_t)floor(common * (double)r->in[k] + 0.5);
	}
}

static pai_status read_sizes(pai_call *c, resize *r)
{
	const pai_tensor *sizes = parameter(c, "sizes"), *scales = parameter(c, "scales");
	const pai_tensor *roi = parameter(c, "roi");
	const float *list;
	int n = pai_node_floats(c->node, "scales", &list);
	float two[4] = {1, 1, pai_node_float(c->node, "height_scale", 1),
			pai_node_float(c->node, "width_scale", 1)};
	pai_int_list axes;
	PAI_TRY(read_axes(c, r->rank, &axes));
	if (!scales && n < 0 && c->node->op->since == 1) {
		list = two;
		n = 4;
	}
	const pai_tensor *given = sizes ? sizes : scales;
	if ((given ? pai_tensor_nelem(given) : n) != axes.n ||
	    (roi && pai_tensor_nelem(roi) != 2 * axes.n))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"needs a scale or size for each of %d axes", axes.n);
	for (int i = 0; i < axes.n && roi; i++) {
		r->start[axes.at[i]] = pai_tensor_get(roi, i);
		r->end[axes.at[i]] = pai_tensor_get(roi, axes.n + i);
	}
	if (sizes) {
		from_sizes(c, sizes, &axes, r);
		return PAI_OK;
	}
	bool crop = strcmp(r->coordinates, "tf_crop_and_resize") == 0;
	for (int i = 0; i < axes.n; i++) {
		int k = (int)axes.at[i];
		double part = crop ? r->end[k] - r->start[k] : 1;
		r->scale[k] = scales ? pai_tensor_get(scales, i) : (double)list[i];
		double size = floor((double)r->in[k] * part * r->scale[k]);
		if (!(r->scale[k] > 0) || !(size >= 0 && size < 1e15))
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
					"scale %d is %g", i, r->scale[k]);
		r->out[k] = (int64_t)size;
	}
	return PAI_OK;
}

/* dims: of the forward input, which the adjoint has as an operand. */
static pai_status read_parameters(pai_call *c, int rank, const int64_t *dims, resize *r)
{
	r->rank = rank;
	for (int i = 0; i < rank; i++) {
		r->in[i] = r->out[i] = dims[i];
		r->scale[i] = 1;
		r->start[i] = 0;
		r->end[i] = 1;
	}
	PAI_TRY(read_mode(c, r));
	return read_sizes(c, r);
}

/* Where output place o of axis k lies in the input. */
static double coordinate(const resize *r, int k, int64_t o)
{
	double x = (double)o, scale = r->scale[k], in = (double)r->in[k], out = (double)r->out[k];
	if (strcmp(r->coordinates, "asymmetric") == 0)
		return x / scale;
	if (strcmp(r->coordinates, "align_corners") == 0)
		return r->out[k] == 1 ? 0 : x * (in - 1) / (in * scale - 1); /* unrounded size */
	if (strcmp(r->coordinates, "pytorch_half_pixel") == 0)
		return r->out[k] > 1 ? (x + 0.5) / scale - 0.5 : 0;
	if (strcmp(r->coordinates, "tf_crop_and_resize") == 0)
		return r->out[k] > 1 ? r->start[k] * (in - 1) +
					       x * (r->end[k] - r->start[k]) * (in - 1) / (out - 1)
				     : 0.5 * (r->start[k] + r->end[k]) * (in - 1);
	if (strcmp(r->coordinates, "half_pixel_symmetric") == 0) {
		double adjustment = out / (scale * in), centre = in / 2;
		return centre * (1 - adjustment) + (x + 0.5) / scale - 0.5;
	}
	return (x + 0.5) / scale - 0.5;
}

static int64_t nearest(const resize *r, double x)
{
	if (strcmp(r->nearest, "floor") == 0)
		return (int64_t)floor(x);
	if (strcmp(r->nearest, "ceil") == 0)
		return (int64_t)ceil(x);
	if (strcmp(r->nearest, "round_prefer_ceil") == 0)
		return (int64_t)floor(x + 0.5);
	return (int64_t)ceil(x - 0.5);
}

/* Weight of an element at distance d from the place: triangle, or Keys' cubic with coefficient a.
 */
static double filter(const resize *r, double d)
{
	double a = r->cubic_a;
	d = fabs(d);
	if (r->mode == LINEAR)
		return d < 1 ? 1 - d : 0;
	if (d <= 1)
		return ((a + 2) * d - (a + 3)) * d * d + 1;
	return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

/* Taps of place o: elements first, first + 1, ... at filter distances (element - x) * shrink. */
static void fill_place(const resize *r, int k, int64_t o, double shrink, taps *t)
{
	double x = coordinate(r, k, o), sum = 0;
	int64_t *at = t->at + o * t->n, last = r->in[k] - 1;
	double *weight = t->weight + o * t->n;
	t->outside[o] =
		strcmp(r->coordinates, "tf_crop_and_resize") == 0 && (x < 0 || x > (double)last);
	if (r->mode == NEAREST) {
		int64_t i = nearest(r, x);
		at[0] = i < 0 ? 0 : i > last ? last : i;
		weight[0] = 1;
		return;
	}
	double reach = (r->mode == LINEAR ? 1 : 2) / shrink;
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

static pai_status make_taps(pai_call *c, const resize *r, int k, taps *t)
{
	double shrink = r->antialias && r->scale[k] < 1 ? r->scale[k] : 1;
	void *at = NULL, *weight = NULL, *outside = NULL;
	t->n = r->mode == NEAREST ? 1 : (int64_t)ceil((r->mode == LINEAR ? 2 : 4) / shrink);
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
static pai_status apply_all(pai_call *c, const resize *r, bool adjoint, double **data)
{
	int64_t have[PAI_MAX_RANK];
	for (int i = 0; i < r->rank; i++)
		have[i] = adjoint ? r->out[i] : r->in[i];
	for (int k = 0; k < r->rank; k++) {
		if (r->in[k] == r->out[k] && r->scale[k] == 1 &&
		    strcmp(r->coordinates, "tf_crop_and_resize") != 0)
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
static pai_status move_nearest(pai_call *c, const resize *r)
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
	resize r;
	double *data = NULL;
	PAI_TRY(read_parameters(c, x->rank, x->dims, &r));
	PAI_TRY(pai_call_output(c, 0, x->dtype, r.rank, r.out));
	if (pai_tensor_nelem(c->out[0]) == 0)
		return PAI_OK;
	if (pai_tensor_nelem(x) == 0)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"has no elements to take from");
	pai_dtype_kind kind = pai_dtype_get(x->dtype)->kind;
	bool crop = strcmp(r.coordinates, "tf_crop_and_resize") == 0;
	if (r.mode == NEAREST && !crop)
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
	resize r;
	double *data = NULL;
	PAI_TRY(pai_call_ints(c, "shape", 1, &shape));
	PAI_TRY(read_parameters(c, shape.n, shape.at, &r));
	PAI_TRY(pai_call_output(c, 0, dy->dtype, shape.n, shape.at));
	bool fits = dy->rank == r.rank;
	for (int i = 0; fits && i < r.rank; i++)
		fits = dy->dims[i] == r.out[i];
	if (!fits || strcmp(r.coordinates, "tf_crop_and_resize") == 0)
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
		pai_patch_set_string(p, made, "nearest_mode", "floor");
	}
	return PAI_OK;
}
