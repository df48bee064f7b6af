/* random.c -- operators that draw numbers: uniform, normal, and truth values of given probability.
 * Element i of a node depends on the seed, the node and the step alone. */
#include "runtime/kernels/lanes.h"

typedef struct distribution {
	bool normal, like;   /* like: the shape is that of the input, else the attribute `shape` */
	const char *at, *by; /* attributes: u from at to by, or at + by * z */
	float at_default, by_default;
} distribution;

static void fill(const pai_call *c, const distribution *d, pai_tensor *y)
{
	const pai_random r = pai_call_random(c);
	double at = (double)pai_node_float(c->node, d->at, d->at_default);
	double by = (double)pai_node_float(c->node, d->by, d->by_default);
	int64_t n = pai_tensor_nelem(y);
	float v[PAI_CHUNK];
	for (int64_t i = 0; i < n; i += PAI_CHUNK) {
		int64_t m = n - i < PAI_CHUNK ? n - i : PAI_CHUNK;
		if (!d->normal)
			pai_random_uniforms(&r, (uint64_t)i, (size_t)m, v);
		for (int64_t k = 0; k < m; k++)
			v[k] = d->normal ? (float)(at + by * (double)pai_random_normal(
								     &r, (uint64_t)(i + k)))
					 : (float)(at + (by - at) * (double)v[k]);
		pai_lane_store(PAI_LANE_F32, v, y->dtype, y->data, i, m);
	}
}

static pai_status draw(pai_call *c)
{
	const distribution *d = c->kernel->data;
	const int64_t *dims = d->like ? c->in[0]->dims : NULL;
	int rank = d->like ? c->in[0]->rank : pai_node_ints(c->node, "shape", &dims);
	int64_t stated = pai_node_int(c->node, "dtype", d->like ? c->in[0]->dtype : PAI_FLOAT);
	pai_dtype to = stated > 0 && stated < PAI_DTYPE_COUNT ? (pai_dtype)stated : PAI_UNDEFINED;
	if (pai_dtype_get(to)->kind != PAI_KIND_FLOAT || rank < 0)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "dtype"),
				"random numbers are of a float type");
	PAI_TRY(pai_call_output(c, 0, to, rank, dims));
	fill(c, d, c->out[0]);
	return PAI_OK;
}

const pai_kernel pai_kernel_random_uniform = {
	.run = draw, .data = &(const distribution){false, false, "low", "high", 0, 1}};
const pai_kernel pai_kernel_random_uniform_like = {
	.run = draw, .data = &(const distribution){false, true, "low", "high", 0, 1}};
const pai_kernel pai_kernel_random_normal = {
	.run = draw, .data = &(const distribution){true, false, "mean", "scale", 0, 1}};
const pai_kernel pai_kernel_random_normal_like = {
	.run = draw, .data = &(const distribution){true, true, "mean", "scale", 0, 1}};

/* 1 with the probability that the input holds. */
static pai_status bernoulli(pai_call *c)
{
	const pai_tensor *p = c->in[0];
	int64_t stated = pai_node_int(c->node, "dtype", p->dtype), n = pai_tensor_nelem(p);
	pai_dtype to = stated > 0 && stated < PAI_DTYPE_COUNT ? (pai_dtype)stated : PAI_UNDEFINED;
	if (pai_lane_of(to) == PAI_LANE_NONE || pai_lane_of(p->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node), "has no numbers");
	PAI_TRY(pai_call_output(c, 0, to, p->rank, p->dims));
	const pai_random r = pai_call_random(c);
	float u[PAI_CHUNK], v[PAI_CHUNK];
	for (int64_t i = 0; i < n; i += PAI_CHUNK) {
		int64_t m = n - i < PAI_CHUNK ? n - i : PAI_CHUNK;
		pai_random_uniforms(&r, (uint64_t)i, (size_t)m, u);
		pai_lane_load(PAI_LANE_F32, v, p->dtype, p->data, i, m);
		for (int64_t k = 0; k < m; k++)
			v[k] = u[k] < v[k];
		pai_lane_store(PAI_LANE_F32, v, to, c->out[0]->data, i, m);
	}
	return PAI_OK;
}
const pai_kernel pai_kernel_bernoulli = {.run = bernoulli};
