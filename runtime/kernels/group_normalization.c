/* group_normalization.c -- GroupNormalization and InstanceNormalization: the channels of a sample
 * are cut into groups (of one channel each), and every group is brought to mean 0 and variance 1.
 * The arithmetic is double.
 *
 *     u = (x - m) / sqrt(v + epsilon),  y = u scale + bias
 *
 * The scales belong to channels, in the first version of GroupNormalization to groups.
 */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/lanes.h"
#include "runtime/kernels/move.h"
#include <math.h>

typedef struct groups { /* x is [batch, groups, units, inner] */
	int64_t batch, groups, units, inner;
	bool of_group; /* one scale for a group */
	double epsilon;
	const double *scale, *bias;
} groups;

static bool scales_are_of_groups(const pai_node *n)
{
	return pai_node_is(n, "GroupNormalization") && n->op->since < 21;
}

static pai_status read_scale(pai_call *c, const groups *g, int slot, const double **out)
{
	const pai_tensor *t = c->in[slot];
	int64_t n = g->groups * (g->of_group ? 1 : g->units);
	if (pai_lane_of(t->dtype) == PAI_LANE_NONE || t->rank != 1 || t->dims[0] != n)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, slot),
				"is %s, expected a list of %lld numbers",
				pai_tensor_text(c->node->graph->model->arena, t), (long long)n);
	*out = pai_lane_view(c, PAI_LANE_F64, t);
	return *out ? PAI_OK : pai_call_nomem(c);
}

static pai_status groups_init(pai_call *c, groups *g)
{
	const pai_tensor *x = c->in[0];
	if (pai_lane_of(x->dtype) == PAI_LANE_NONE || x->rank < 2)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"has no channels of numbers");
	*g = (groups){.batch = x->dims[0], .inner = 1};
	g->groups = pai_node_int(c->node, "num_groups", x->dims[1]);
	g->of_group = scales_are_of_groups(c->node);
	g->epsilon = (double)pai_node_float(c->node, "epsilon", 1e-5f);
	if (g->groups < (x->dims[1] ? 1 : 0) || (g->groups && x->dims[1] % g->groups))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "num_groups"),
				"is %lld, does not divide %lld channels", (long long)g->groups,
				(long long)x->dims[1]);
	g->units = g->groups ? x->dims[1] / g->groups : 0;
	for (int i = 2; i < x->rank; i++)
		g->inner *= x->dims[i];
	PAI_TRY(read_scale(c, g, 1, &g->scale));
	return read_scale(c, g, 2, &g->bias);
}

/* One group of n elements in place. */
static void normalise(const groups *g, int64_t group, double *x, int64_t n)
{
	double sum = 0, square = 0;
	for (int64_t i = 0; i < n; i++)
		sum += x[i];
	double mean = sum / (double)n;
	for (int64_t i = 0; i < n; i++) {
		x[i] -= mean;
		square += x[i] * x[i];
	}
	double r = 1 / sqrt(square / (double)n + g->epsilon);
	for (int64_t u = 0; u < g->units; u++) {
		int64_t k = g->of_group ? group : group * g->units + u;
		double scale = r * g->scale[k];
		for (int64_t i = 0; i < g->inner; i++, x++)
			*x = *x * scale + g->bias[k];
	}
}

static pai_status group_normalization(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	groups g;
	void *room = NULL;
	PAI_TRY(groups_init(c, &g));
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	int64_t n = g.units * g.inner;
	PAI_TRY(pai_call_room(c, n, sizeof(double), &room));
	for (int64_t i = 0; i < g.batch * g.groups && n; i++) {
		pai_lane_load(PAI_LANE_F64, room, x->dtype, x->data, i * n, n);
		normalise(&g, i % g.groups, room, n);
		pai_lane_store(PAI_LANE_F64, room, x->dtype, c->out[0]->data, i * n, n);
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_group_normalization = {.run = group_normalization};

/* [batch, groups or channels, rest]; count 0: the channels as they are */
static pai_value *as_rows(pai_grad *g, const pai_node *n, pai_value *v, int64_t count)
{
	return PAI_OP2(pai_grad_patch(g), "Reshape", "rows", v,
		       pai_grad_ints(g, n, 3, (int64_t[]){0, count, -1}));
}

/* Over batch and rest of rows, one number for each scale. */
static pai_value *sum_of_rows(pai_grad *g, const pai_node *n, pai_value *v)
{
	pai_value *sum = PAI_OP2(pai_grad_patch(g), "ReduceSum", "grad", v,
				 pai_grad_ints(g, n, 2, (int64_t[]){0, 2}));
	pai_patch_set_int(pai_grad_patch(g), sum->producer, "keepdims", 0);
	return sum;
}

/* LayerNormalization over the groups as rows, with scale 1, is u, and its gradient of dy scale is
 * dx; dscale = sum(dy u), dbias = sum(dy). */
pai_status pai_grad_group_normalization(pai_grad *g, const pai_node *n, pai_value *const *dy,
					pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	int64_t count = pai_node_int(n, "num_groups", 0), of = scales_are_of_groups(n) ? count : 0;
	float epsilon = pai_node_float(n, "epsilon", 1e-5f);
	pai_value *shape = pai_grad_shape(g, n, n->in[0]), *x = as_rows(g, n, n->in[0], count);
	pai_value *one = pai_grad_scalar(g, n, n->in[0]->type.dtype, 1);
	pai_value *up = as_rows(g, n, dy[0], of);
	if (pai_grad_wanted(g, n, 0)) {
		pai_value *scale = PAI_OP2(p, "Reshape", "scale", n->in[1],
					   pai_grad_ints(g, n, 2, (int64_t[]){-1, 1}));
		pai_value *d =
			PAI_OP2(p, "Reshape", "grad", PAI_OP2(p, "Mul", "grad", up, scale), shape);
		dx[0] = pai_grad_internal(g, "LayerNormGrad", 3,
					  (pai_value *[]){as_rows(g, n, d, count), x, one}, NULL);
		pai_patch_set_int(p, dx[0]->producer, "axis", 2);
		pai_patch_set_int(p, dx[0]->producer, "centred", 1);
		pai_patch_set_float(p, dx[0]->producer, "epsilon", epsilon);
		dx[0] = PAI_OP2(p, "Reshape", "grad", dx[0], shape);
	}
	if (pai_grad_wanted(g, n, 1)) {
		pai_value *u = PAI_OP2(p, "LayerNormalization", "u", x, one);
		pai_patch_set_int(p, u->producer, "axis", 2);
		pai_patch_set_float(p, u->producer, "epsilon", epsilon);
		u = as_rows(g, n, PAI_OP2(p, "Reshape", "u", u, shape), of);
		dx[1] = sum_of_rows(g, n, PAI_OP2(p, "Mul", "grad", up, u));
	}
	if (pai_grad_wanted(g, n, 2))
		dx[2] = sum_of_rows(g, n, up);
	return PAI_OK;
}
