/* clip.c -- Clip: bounds as attributes (opset < 11) or as inputs. Where the lower bound is above
 * the upper one the upper one wins; NaN stays. */
#include "runtime/kernels/elementwise.h"

PAI_FLOATS(PAI_LOOP1, clip, (a < p0 ? p0 : a) > p1 ? p1 : (a < p0 ? p0 : a))
PAI_INTS(PAI_LOOP1, clip, (a < p0 ? p0 : a) > p1 ? p1 : (a < p0 ? p0 : a))
static const pai_elementwise clip_rows = {.loop = {clip_f32, clip_f64, clip_i64, clip_u64}};

static const pai_params everything[PAI_LANES] = {
	[PAI_LANE_F32].f32 = {-INFINITY, INFINITY},
	[PAI_LANE_F64].f64 = {-INFINITY, INFINITY},
	[PAI_LANE_I64].i64 = {INT64_MIN, INT64_MAX},
	[PAI_LANE_U64].u64 = {0, UINT64_MAX},
};

/* Bound k (0: lower, 1: upper) into the lane's params. */
static pai_status read_bound(pai_call *c, pai_lane lane, int k, pai_params *p)
{
	static const char *const names[] = {"min", "max"};
	size_t width = pai_lane_size(lane);
	const pai_tensor *t = k + 1 < c->n_in ? c->in[k + 1] : NULL;
	const float otherwise = k ? INFINITY : -INFINITY;
	if (t && pai_tensor_nelem(t) != 1)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, k + 1),
				"must be a single number");
	if (t)
		pai_lane_load(lane, (char *)p + width * (size_t)k, t->dtype, t->data, 0, 1);
	else if (pai_op_attr_find(c->node->op, names[k])) {
		float v = pai_node_float(c->node, names[k], otherwise);
		pai_lane_load(lane, (char *)p + width * (size_t)k, PAI_FLOAT, &v, 0, 1);
	}
	return PAI_OK;
}

/* The bounds of a Clip, or of what carries its attributes and inputs. */
static pai_status clip(pai_call *c)
{
	pai_lane lane = pai_lane_of(c->in[0]->dtype);
	if (lane == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"has no numbers");
	pai_params p = everything[lane];
	PAI_TRY(read_bound(c, lane, 0, &p));
	PAI_TRY(read_bound(c, lane, 1, &p));
	return pai_elementwise_call(c, &clip_rows, 1, 0, &p);
}
const pai_kernel pai_kernel_clip = {clip, NULL};
