/* clip.c -- Clip: bounds as attributes (opset < 11) or as inputs. Where the lower bound is above
 * the upper one the upper one wins; NaN stays. */
#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/grad.h"

PAI_FLOATS(PAI_LOOP1, clip, (a < p0 ? p0 : a) > p1 ? p1 : (a < p0 ? p0 : a))
PAI_INTS(PAI_LOOP1, clip, (a < p0 ? p0 : a) > p1 ? p1 : (a < p0 ? p0 : a))
static const pai_elementwise clip_rows = {.loop = {clip_f32, clip_f64, clip_i64, clip_u64}};

static const pai_params everything[PAI_LANES] = {
	[PAI_LANE_F32].f32 = {-INFINITY, INFINITY},
	[PAI_LANE_F64].f64 = {-INFINITY, INFINITY},
	[PAI_LANE_I64].i64 = {INT64_MIN, INT64_MAX},
	[PAI_LANE_U64].u64 = {0, UINT64_MAX},
};

/* Bound k (0: lower, 1: upper), an attribute or the input `first` + k, into the lane's params. */
static pai_status read_bound(pai_call *c, pai_lane lane, int first, int k, pai_params *p)
{
	static const char *const names[] = {"min", "max"};
	size_t width = pai_lane_size(lane);
	const pai_tensor *t = first + k < c->n_in ? c->in[first + k] : NULL;
	const float otherwise = k ? INFINITY : -INFINITY;
	if (t && pai_tensor_nelem(t) != 1)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, first + k),
				"must be a single number");
	if (t)
		pai_lane_load(lane, (char *)p + width * (size_t)k, t->dtype, t->data, 0, 1);
	else if (pai_op_attr_find(c->node->op, names[k])) {
		float v = pai_node_float(c->node, names[k], otherwise);
		pai_lane_load(lane, (char *)p + width * (size_t)k, PAI_FLOAT, &v, 0, 1);
	}
	return PAI_OK;
}

static pai_status run(pai_call *c, const pai_elementwise *e, int n)
{
	pai_lane lane = pai_lane_of(c->in[0]->dtype);
	if (lane == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"has no numbers");
	pai_params p = everything[lane];
	PAI_TRY(read_bound(c, lane, n, 0, &p));
	PAI_TRY(read_bound(c, lane, n, 1, &p));
	return pai_elementwise_call(c, e, n, 0, &p);
}

static pai_status clip(pai_call *c)
{
	return run(c, &clip_rows, 1);
}
const pai_kernel pai_kernel_clip = {.run = clip};

/* dx = dy strictly between the bounds, else 0. ClipGrad(dY, X, min, max). */
PAI_FLOATS(PAI_LOOP2, clip_grad, b > p0 && b < p1 ? a : 0)
static const pai_elementwise clip_grad_rows = {.loop = {clip_grad_f32, clip_grad_f64}};

static pai_status clip_grad(pai_call *c)
{
	return run(c, &clip_grad_rows, 2);
}
const pai_kernel pai_kernel_clip_grad = {.run = clip_grad};

/* A bound gets the gradient of all elements it replaces: those with `beyond`(x, bound). */
static pai_value *to_bound(pai_grad *g, const pai_node *n, int k, const char *beyond, pai_value *dy)
{
	pai_patch *p = pai_grad_patch(g);
	pai_value *replaced = PAI_OP2(p, beyond, "replaced", n->in[0], n->in[k]);
	pai_value *zero = pai_grad_scalar(g, n, n->out[0]->type.dtype, 0);
	pai_value *part = PAI_OP3(p, "Where", "grad", replaced, dy, zero);
	return pai_grad_sum_to(g, n, part, n->out[0], n->in[k]);
}

pai_status pai_grad_clip(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	static const char *const names[] = {"min", "max"}, *const beyond[] = {"Less", "Greater"};
	pai_value *in[4] = {dy[0], n->in[0], pai_node_in(n, 1), pai_node_in(n, 2)};
	for (int k = 0; k < 2; k++)
		if (pai_op_attr_find(n->op, names[k]))
			in[k + 2] = pai_grad_scalar(
				g, n, n->out[0]->type.dtype,
				(double)pai_node_float(n, names[k], k ? INFINITY : -INFINITY));
	dx[0] = pai_grad_internal(g, "ClipGrad", 4, in, NULL);
	for (int k = 1; k < n->n_in; k++)
		if (n->in[k] && pai_grad_wanted(g, n, k))
			dx[k] = to_bound(g, n, k, beyond[k - 1], dy[0]);
	return PAI_OK;
}
