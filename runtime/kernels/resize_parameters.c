/* resize_parameters.c -- where each place of the output of a Resize lies in its input: the choices
 * of the node, and the sizes, scales and region it is given.
 */
#include "runtime/kernels/resize.h"
#include <math.h>
#include <string.h>

static float asymmetric(const pai_resize *r, int k, float o)
{
	return o / r->scale[k];
}

static float half_pixel(const pai_resize *r, int k, float o)
{
	return (o + 0.5f) / r->scale[k] - 0.5f;
}

/* Of version 11 only. */
static float tf_half_pixel(const pai_resize *r, int k, float o)
{
	return (o + 0.5f) / r->scale[k];
}

static float half_pixel_symmetric(const pai_resize *r, int k, float o)
{
	float in = (float)r->in[k], adjustment = (float)r->out[k] / (r->scale[k] * in);
	return in / 2 * (1 - adjustment) + half_pixel(r, k, o);
}

static float pytorch_half_pixel(const pai_resize *r, int k, float o)
{
	return r->out[k] > 1 ? half_pixel(r, k, o) : 0;
}

/* By the unrounded size of the result. */
static float align_corners(const pai_resize *r, int k, float o)
{
	float in = (float)r->in[k];
	return r->out[k] == 1 ? 0 : o * (in - 1) / (in * r->scale[k] - 1);
}

static float crop_and_resize(const pai_resize *r, int k, float o)
{
	float last = (float)(r->in[k] - 1), start = r->start[k], end = r->end[k];
	return r->out[k] > 1 ? start * last + o * (end - start) * last / (float)(r->out[k] - 1)
			     : 0.5f * (start + end) * last;
}

static double prefer_floor(double x, double scale)
{
	(void)scale;
	return ceil(x - 0.5);
}

static double prefer_ceil(double x, double scale)
{
	(void)scale;
	return floor(x + 0.5);
}

static double take_floor(double x, double scale)
{
	(void)scale;
	return floor(x);
}

static double take_ceil(double x, double scale)
{
	(void)scale;
	return ceil(x);
}

/* Before version 11, which brought the choice: what its tests expect. */
static double outward(double x, double scale)
{
	return scale < 1 ? ceil(x) : floor(x);
}

static const struct coordinate {
	const char *name;
	pai_coordinate_fn coordinate;
} coordinates[] = {
	{"half_pixel", half_pixel},
	{"asymmetric", asymmetric},
	{"align_corners", align_corners},
	{"pytorch_half_pixel", pytorch_half_pixel},
	{"half_pixel_symmetric", half_pixel_symmetric},
	{"tf_crop_and_resize", crop_and_resize},
	{"tf_half_pixel_for_nn", tf_half_pixel},
	{NULL, NULL},
};
static const struct nearest {
	const char *name;
	pai_nearest_fn nearest;
} nearests[] = {
	{"round_prefer_floor", prefer_floor},
	{"round_prefer_ceil", prefer_ceil},
	{"floor", take_floor},
	{"ceil", take_ceil},
	{"outward", outward},
	{NULL, NULL},
};

static pai_status unknown_choice(pai_call *c, const char *attr, const char *given)
{
	return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, attr), "is \"%s\"", given);
}

static pai_status read_choices(pai_call *c, pai_resize *r)
{
	const char *how = pai_node_string(c->node, "coordinate_transformation_mode", "asymmetric");
	const char *nearest = pai_node_string(c->node, "nearest_mode", "outward");
	const bool old = !pai_op_attr_find(c->node->op, "nearest_mode") || *c->node->op->domain;
	const struct coordinate *found = pai_table_find(PAI_TABLE(coordinates), how);
	const struct nearest *taken = pai_table_find(PAI_TABLE(nearests), nearest);
	if (!found)
		return unknown_choice(c, "coordinate_transformation_mode", how);
	if (!taken || (taken->nearest == outward && !old))
		return unknown_choice(c, "nearest_mode", nearest);
	r->coordinate = found->coordinate;
	r->nearest = taken->nearest;
	r->crop = r->coordinate == crop_and_resize;
	return PAI_OK;
}

static pai_status read_mode(pai_call *c, pai_resize *r)
{
	const char *mode = pai_node_string(c->node, "mode", "nearest");
	if (strcmp(mode, "nearest") != 0 && strcmp(mode, "linear") != 0 &&
	    strcmp(mode, "bilinear") != 0 && strcmp(mode, "cubic") != 0)
		return unknown_choice(c, "mode", mode);
	r->mode = mode[0] == 'n'   ? PAI_RESIZE_NEAREST
		  : mode[0] == 'c' ? PAI_RESIZE_CUBIC
				   : PAI_RESIZE_LINEAR;
	r->cubic_a = (double)pai_node_float(c->node, "cubic_coeff_a", -0.75f);
	r->extrapolation = (double)pai_node_float(c->node, "extrapolation_value", 0);
	r->exclude_outside = pai_node_int(c->node, "exclude_outside", 0);
	r->antialias = pai_node_int(c->node, "antialias", 0);
	return read_choices(c, r);
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
static pai_status from_sizes(pai_call *c, const pai_tensor *sizes, const pai_int_list *axes,
			     pai_resize *r)
{
	const char *policy = pai_node_string(c->node, "keep_aspect_ratio_policy", "stretch");
	bool larger = strcmp(policy, "not_smaller") == 0, stretch = strcmp(policy, "stretch") == 0;
	if (!larger && !stretch && strcmp(policy, "not_larger") != 0)
		return unknown_choice(c, "keep_aspect_ratio_policy", policy);
	float common = larger ? 0 : INFINITY;
	for (int i = 0; i < axes->n; i++) {
		int k = (int)axes->at[i];
		r->out[k] = pai_tensor_get_int(sizes, i);
		r->scale[k] = (float)r->out[k] / (float)r->in[k];
		common = larger ? fmaxf(common, r->scale[k]) : fminf(common, r->scale[k]);
	}
	for (int i = 0; i < axes->n && !stretch; i++) {
		int k = (int)axes->at[i];
		double size = floor((double)common * (double)r->in[k] + 0.5);
		if (!(size >= 0 && size < 1e15))
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
					"axis %d has no size under the policy %s", k, policy);
		r->scale[k] = common;
		r->out[k] = (int64_t)size;
	}
	return PAI_OK;
}

static pai_status read_sizes(pai_call *c, pai_resize *r)
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
		r->start[axes.at[i]] = (float)pai_tensor_get(roi, i);
		r->end[axes.at[i]] = (float)pai_tensor_get(roi, axes.n + i);
	}
	if (sizes)
		return from_sizes(c, sizes, &axes, r);
	for (int i = 0; i < axes.n; i++) {
		int k = (int)axes.at[i];
		float part = r->crop ? r->end[k] - r->start[k] : 1;
		r->scale[k] = scales ? (float)pai_tensor_get(scales, i) : list[i];
		/* in float, as shape inference does it: 10 * 0.7f is 7 */
		float size = floorf((float)r->in[k] * part * r->scale[k]);
		if (!(r->scale[k] > 0) || !(size >= 0 && size < 1e15f))
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
					"scale %d is %g", i, (double)r->scale[k]);
		r->out[k] = (int64_t)size;
	}
	return PAI_OK;
}

pai_status pai_resize_read(pai_call *c, int rank, const int64_t *dims, pai_resize *r)
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
