/* shape_rules_index.c -- rules of operators that pick elements by index or by content, rearrange
 * blocks of an image, or change its size. Where the number of results depends on contents, only the
 * rank and the other sizes are told.
 */
#include "compiler/compiler.h"
#include <math.h>
#include <string.h>

static pai_status wrong_rank(pai_shape_ctx *s, int i, const char *need)
{
	return pai_fail(s->ctx, PAI_E_shape_rank, pai_at_input(s->node, i), "is %s, needs %s",
			pai_type_text(s->ctx, s->arena, s->in[i]), need);
}

/* The only element of input i as a size. */
static pai_dim scalar_dim(const pai_shape_ctx *s, int i)
{
	const pai_dim *dims;
	return pai_shape_ints(s, i, &dims) == 1 ? dims[0] : PAI_DIM_UNKNOWN;
}

pai_status pai_shape_gather_elements(pai_shape_ctx *s)
{
	int64_t axis;
	if (pai_shape_known(s, 0))
		PAI_TRY(pai_shape_axis(s, pai_node_int(s->node, "axis", 0), s->in[0]->rank, &axis));
	if (pai_shape_known(s, 0) && pai_shape_known(s, 1) && s->in[0]->rank != s->in[1]->rank)
		return pai_fail(s->ctx, PAI_E_shape_rank, pai_at_input(s->node, 1),
				"has rank %d, input 0 has rank %d", s->in[1]->rank, s->in[0]->rank);
	pai_shape_copy(s, 0, 1);
	return PAI_OK;
}

/* indices [i.., k], data [d..] -> [i..] + d[batch_dims + k ..] */
pai_status pai_shape_gather_nd(pai_shape_ctx *s)
{
	const int64_t batch = pai_node_int(s->node, "batch_dims", 0);
	pai_dim out[2 * PAI_MAX_RANK];
	int rank = 0;
	if (!pai_shape_known(s, 0) || !pai_shape_known(s, 1))
		return PAI_OK;
	const pai_type *x = s->in[0], *index = s->in[1];
	if (index->rank < 1)
		return wrong_rank(s, 1, "at least rank 1");
	if (batch < 0 || batch >= index->rank || batch > x->rank)
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "batch_dims"),
				"is %lld, does not fit ranks %d and %d", (long long)batch, x->rank,
				index->rank);
	const pai_dim k = index->dims[index->rank - 1];
	if (k < 0)
		return PAI_OK;
	if (k > x->rank - batch)
		return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, 1),
				"is %s, indexes more axes than %s has",
				pai_type_text(s->ctx, s->arena, index),
				pai_type_text(s->ctx, s->arena, x));
	for (int i = 0; i < index->rank - 1; i++)
		out[rank++] = index->dims[i];
	for (int i = (int)(batch + k); i < x->rank; i++)
		out[rank++] = x->dims[i];
	pai_shape_set(s, 0, rank, out);
	return PAI_OK;
}

pai_status pai_shape_one_hot(pai_shape_ctx *s)
{
	pai_dim out[PAI_MAX_RANK + 1];
	int64_t axis;
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const int rank = s->in[0]->rank + 1;
	PAI_TRY(pai_shape_axis(s, pai_node_int(s->node, "axis", -1), rank, &axis));
	for (int i = 0, from = 0; i < rank; i++)
		out[i] = i == axis ? scalar_dim(s, 1) : s->in[0]->dims[from++];
	pai_shape_set(s, 0, rank, out);
	return PAI_OK;
}

pai_status pai_shape_top_k(pai_shape_ctx *s)
{
	pai_dim out[PAI_MAX_RANK];
	int64_t axis, k = 0;
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_type *x = s->in[0];
	const pai_attr *a = pai_node_attr(s->node, "k");
	const pai_dim count =
		a && a->type == PAI_ATTR_INT ? pai_dim_int(s->ctx, a->i) : scalar_dim(s, 1);
	PAI_TRY(pai_shape_axis(s, pai_node_int(s->node, "axis", -1), x->rank, &axis));
	if (pai_dim_const(s->ctx, count, &k) &&
	    (k < 0 || (x->dims[axis] >= 0 && k > x->dims[axis])))
		return pai_fail(s->ctx, PAI_E_shape_contents, pai_at_node(s->node),
				"k is %lld, the axis has %s elements", (long long)k,
				pai_dim_text(s->ctx, x->dims[axis]));
	pai_copy(out, x->dims, sizeof *out * (size_t)x->rank);
	out[axis] = count;
	pai_shape_set(s, 0, x->rank, out);
	pai_shape_set(s, 1, x->rank, out);
	return PAI_OK;
}

pai_status pai_shape_non_zero(pai_shape_ctx *s)
{
	const pai_dim out[] = {pai_shape_known(s, 0) ? s->in[0]->rank : PAI_DIM_UNKNOWN,
			       PAI_DIM_UNKNOWN};
	pai_shape_set(s, 0, 2, out);
	return PAI_OK;
}

pai_status pai_shape_non_max_suppression(pai_shape_ctx *s)
{
	const pai_dim out[] = {PAI_DIM_UNKNOWN, 3};
	pai_shape_set(s, 0, 2, out);
	return PAI_OK;
}

/* Sizes of input 0 with that along the axis unknown, or a list of unknown length without an axis.
 */
static pai_status some_of(pai_shape_ctx *s)
{
	pai_dim out[PAI_MAX_RANK] = {PAI_DIM_UNKNOWN};
	const pai_attr *a = pai_node_attr(s->node, "axis");
	int64_t axis;
	if (!a) {
		pai_shape_set(s, 0, 1, out);
		return PAI_OK;
	}
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	PAI_TRY(pai_shape_axis(s, a->i, s->in[0]->rank, &axis));
	pai_copy(out, s->in[0]->dims, sizeof *out * (size_t)s->in[0]->rank);
	out[axis] = PAI_DIM_UNKNOWN;
	pai_shape_set(s, 0, s->in[0]->rank, out);
	return PAI_OK;
}

pai_status pai_shape_compress(pai_shape_ctx *s)
{
	return some_of(s);
}

/* Values, first places, inverse (one for each slice that came in), counts. */
pai_status pai_shape_unique(pai_shape_ctx *s)
{
	const pai_attr *a = pai_node_attr(s->node, "axis");
	const pai_dim unknown = PAI_DIM_UNKNOWN;
	pai_dim all = 1;
	int64_t axis;
	PAI_TRY(some_of(s));
	for (int o = 1; o < s->n_out; o++)
		pai_shape_set(s, o, 1, &unknown);
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	for (int i = 0; i < s->in[0]->rank; i++)
		all = pai_dim_mul(s->ctx, all, s->in[0]->dims[i]);
	if (a) {
		PAI_TRY(pai_shape_axis(s, a->i, s->in[0]->rank, &axis));
		all = s->in[0]->dims[axis];
	}
	pai_shape_set(s, 2, 1, &all);
	return PAI_OK;
}

static pai_status block_size(pai_shape_ctx *s, int64_t *b)
{
	*b = pai_node_int(s->node, "blocksize", 0);
	if (*b < 1 || *b > INT32_MAX)
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "blocksize"),
				"is %lld, must be at least 1", (long long)*b);
	if (pai_shape_known(s, 0) && s->in[0]->rank != 4)
		return wrong_rank(s, 0, "rank 4");
	return PAI_OK;
}

static pai_status divided(pai_shape_ctx *s, int axis, int64_t by, pai_dim *out)
{
	const pai_dim d = s->in[0]->dims[axis];
	if (d >= 0 && d % by)
		return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, 0),
				"has %lld elements along axis %d, no multiple of %lld",
				(long long)d, axis, (long long)by);
	*out = pai_dim_div(s->ctx, d, by);
	return PAI_OK;
}

pai_status pai_shape_depth_to_space(pai_shape_ctx *s)
{
	int64_t b;
	PAI_TRY(block_size(s, &b));
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_dim *d = s->in[0]->dims;
	pai_dim out[] = {d[0], 0, pai_dim_mul(s->ctx, d[2], b), pai_dim_mul(s->ctx, d[3], b)};
	PAI_TRY(divided(s, 1, b * b, &out[1]));
	pai_shape_set(s, 0, 4, out);
	return PAI_OK;
}

pai_status pai_shape_space_to_depth(pai_shape_ctx *s)
{
	int64_t b;
	PAI_TRY(block_size(s, &b));
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_dim *d = s->in[0]->dims;
	pai_dim out[] = {d[0], pai_dim_mul(s->ctx, d[1], b * b), 0, 0};
	PAI_TRY(divided(s, 2, b, &out[2]));
	PAI_TRY(divided(s, 3, b, &out[3]));
	pai_shape_set(s, 0, 4, out);
	return PAI_OK;
}

/* floor(size * scale) where it can be told. */
static pai_dim scaled(pai_ctx *ctx, pai_dim size, float scale)
{
	if (!(scale >= 0 && scale < 1e9f))
		return PAI_DIM_UNKNOWN;
	if (size >= 0) {
		double v = floor((double)((float)size * scale));
		return v < 9e15 ? (pai_dim)v : PAI_DIM_UNKNOWN;
	}
	return scale == floorf(scale) ? pai_dim_mul(ctx, size, (pai_dim)scale) : PAI_DIM_UNKNOWN;
}

typedef struct resize { /* factors or sizes of a Resize or Upsample, along n axes */
	int n;
	const float *scales; /* NULL: not given, or not known */
	const pai_dim *sizes;
} resize;

/* Scales and sizes stand in other places in each version. */
static resize read_resize(pai_shape_ctx *s)
{
	const int since = s->node->op ? s->node->op->since : 0;
	const bool upsample = pai_node_is(s->node, "Upsample");
	const int slot = upsample || since == 10 ? 1 : 2;
	resize r = {-1, NULL, NULL};
	int n = pai_node_floats(s->node, "scales", &r.scales);
	if (n < 0 && upsample && since == 1) { /* NCHW */
		float *four = PAI_NEWS(s->arena, float, 4);
		four[0] = four[1] = 1;
		four[2] = pai_node_float(s->node, "height_scale", 1);
		four[3] = pai_node_float(s->node, "width_scale", 1);
		return (resize){4, four, NULL};
	}
	if (n >= 0)
		return (resize){n, r.scales, NULL};
	const pai_tensor *t = slot < s->n_in ? s->data[slot] : NULL;
	int64_t count = t && t->data && t->rank == 1 ? pai_tensor_nelem(t) : 0;
	if (count > 0 && count <= PAI_MAX_RANK && t->dtype == PAI_FLOAT)
		return (resize){(int)count, t->data, NULL};
	n = since >= 11 ? pai_shape_ints(s, 3, &r.sizes) : -1;
	if (n > 0)
		return (resize){n, NULL, r.sizes};
	return r;
}

pai_status pai_shape_resize(pai_shape_ctx *s)
{
	pai_dim out[PAI_MAX_RANK];
	int64_t *axes;
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_type *x = s->in[0];
	const pai_attr *policy = pai_node_attr(s->node, "keep_aspect_ratio_policy");
	const bool stretch =
		!policy || policy->type != PAI_ATTR_STRING || strcmp(policy->s.at, "stretch") == 0;
	const resize r = read_resize(s);
	const pai_attr *how = pai_node_attr(s->node, "coordinate_transformation_mode");
	const bool crop =
		how && how->type == PAI_ATTR_STRING && strcmp(how->s.at, "tf_crop_and_resize") == 0;
	int n = pai_shape_axes(s, "axes", -1, x->rank, &axes);
	if (n == -2)
		return PAI_INVALID;
	n = axes ? n : x->rank;
	if (r.n >= 0 && r.n != n)
		return pai_fail(s->ctx, PAI_E_shape_contents, pai_at_node(s->node),
				"has %d scales or sizes, needs %d", r.n, n);
	pai_copy(out, x->dims, sizeof *out * (size_t)x->rank);
	for (int k = 0; k < n; k++) {
		const int64_t axis = axes ? axes[k] : k;
		out[axis] = PAI_DIM_UNKNOWN; /* a crop also depends on the region */
		if (r.scales && !crop)
			out[axis] = scaled(s->ctx, x->dims[axis], r.scales[k]);
		else if (r.sizes && stretch)
			out[axis] = r.sizes[k];
	}
	pai_shape_set(s, 0, x->rank, out);
	return PAI_OK;
}

/* X [N, C, ..], rois [R, ..] -> [R, C, height, width] */
pai_status pai_shape_roi_align(pai_shape_ctx *s)
{
	const int64_t *pooled;
	int64_t h = pai_node_int(s->node, "output_height", 1);
	int64_t w = pai_node_int(s->node, "output_width", 1);
	if (pai_node_ints(s->node, "pooled_shape", &pooled) == 2) { /* MaxRoiPool */
		h = pooled[0];
		w = pooled[1];
	}
	const pai_dim out[] = {
		pai_shape_known(s, 1) && s->in[1]->rank ? s->in[1]->dims[0] : PAI_DIM_UNKNOWN,
		pai_shape_known(s, 0) && s->in[0]->rank > 1 ? s->in[0]->dims[1] : PAI_DIM_UNKNOWN,
		pai_dim_int(s->ctx, h), pai_dim_int(s->ctx, w)};
	pai_shape_set(s, 0, 4, out);
	return PAI_OK;
}

/* X [N, C, d..], grid [N, o.., n] -> [N, C, o..] */
pai_status pai_shape_grid_sample(pai_shape_ctx *s)
{
	pai_dim out[PAI_MAX_RANK];
	if (!pai_shape_known(s, 0) || !pai_shape_known(s, 1))
		return PAI_OK;
	const int rank = s->in[0]->rank;
	if (rank < 3)
		return wrong_rank(s, 0, "at least rank 3");
	if (s->in[1]->rank != rank)
		return pai_fail(s->ctx, PAI_E_shape_rank, pai_at_input(s->node, 1),
				"has rank %d, input 0 has rank %d", s->in[1]->rank, rank);
	out[0] = s->in[0]->dims[0];
	out[1] = s->in[0]->dims[1];
	for (int i = 2; i < rank; i++)
		out[i] = s->in[1]->dims[i - 1];
	pai_shape_set(s, 0, rank, out);
	return PAI_OK;
}

pai_status pai_shape_det(pai_shape_ctx *s)
{
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	if (s->in[0]->rank < 2)
		return wrong_rank(s, 0, "at least rank 2");
	pai_shape_set(s, 0, s->in[0]->rank - 2, s->in[0]->dims);
	return PAI_OK;
}

pai_status pai_shape_center_crop_pad(pai_shape_ctx *s)
{
	pai_dim out[PAI_MAX_RANK];
	const pai_dim *sizes;
	int64_t *axes;
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_type *x = s->in[0];
	int n = pai_shape_axes(s, "axes", -1, x->rank, &axes);
	int count = pai_shape_ints(s, 1, &sizes);
	if (n == -2)
		return PAI_INVALID;
	n = axes ? n : x->rank;
	if (count >= 0 && count != n)
		return pai_fail(s->ctx, PAI_E_shape_contents, pai_at_input(s->node, 1),
				"needs %d sizes, has %d", n, count);
	pai_copy(out, x->dims, sizeof *out * (size_t)x->rank);
	for (int k = 0; k < n; k++)
		out[axes ? axes[k] : k] = count >= 0 ? sizes[k] : PAI_DIM_UNKNOWN;
	pai_shape_set(s, 0, x->rank, out);
	return PAI_OK;
}
