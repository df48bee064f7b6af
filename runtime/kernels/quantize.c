/* quantize.c -- QuantizeLinear and DequantizeLinear: one scale for the tensor, for each index of an
 * axis, or for each block along an axis.
 *
 *     q = saturate(rne(x / s) + z)      y = (q - z) s
 *
 * The division is a true one, rounded to the precision of the scale. 8- and 4-bit floats are
 * rounded by their own format instead of to integers. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/lanes.h"
#include <math.h>
#include <string.h>

/* x is [outer, axis, inner]; the scale of element (o, d, i) is number
 * (o * outer_step + d / block) * axis_step + i * inner_step. */
typedef struct grid {
	const pai_tensor *x, *s, *z; /* z may be NULL */
	int64_t outer, axis, inner;
	int64_t block, outer_step, axis_step, inner_step;
	float *scale;
	double *zero; /* of any integer type, exact */
	double *sum;  /* of a gradient */
} grid;

static pai_status bad_scale(const pai_call *c)
{
	return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 1),
			"does not fit the input, the axis and the block size");
}

/* Sizes around the axis, and the steps for one scale an index of it. */
static pai_status split_at_axis(const pai_call *c, grid *g)
{
	const pai_tensor *x = g->x;
	int64_t axis = pai_node_int(c->node, "axis", 1);
	if (axis < -x->rank || axis >= x->rank)
		return bad_scale(c);
	axis += axis < 0 ? x->rank : 0;
	g->axis = x->dims[axis];
	g->inner = 1;
	g->axis_step = 1;
	for (int d = 0; d < x->rank; d++)
		if (d != axis)
			*(d < axis ? &g->outer : &g->inner) *= x->dims[d];
	return PAI_OK;
}

static pai_status use_blocks(const pai_call *c, grid *g)
{
	const pai_tensor *x = g->x, *s = g->s;
	int64_t axis = pai_node_int(c->node, "axis", 1);
	int64_t blocks = s->dims[axis < 0 ? axis + x->rank : axis];
	g->block = pai_node_int(c->node, "block_size", 0);
	if (g->block <= 0 && blocks > 0)
		g->block = (g->axis + blocks - 1) / blocks;
	if (g->block <= 0 || g->axis / g->block + (g->axis % g->block != 0) != blocks ||
	    pai_tensor_nelem(s) != g->outer * blocks * g->inner)
		return bad_scale(c);
	g->outer_step = blocks;
	g->axis_step = g->inner;
	g->inner_step = 1;
	return PAI_OK;
}

/* An axis without anything inside would make rows of one element: the same as longer rows. */
static void lengthen_rows(grid *g)
{
	if (g->inner != 1)
		return;
	if (!g->outer_step && g->axis_step) {
		g->inner = g->axis;
		g->axis = 1;
		g->inner_step = 1;
		g->axis_step = 0;
	} else if (g->outer_step && g->axis % g->block == 0) {
		g->axis = g->outer * g->outer_step;
		g->inner = g->block;
		g->outer = g->block = 1;
		g->outer_step = g->inner_step = 0;
	}
}

/* Tensor, scale and zero point stand at inputs k, k + 1, k + 2. */
static pai_status grid_init(pai_call *c, int k, grid *g)
{
	const pai_tensor *x = c->in[k], *s = c->in[k + 1],
			 *z = k + 2 < c->n_in ? c->in[k + 2] : NULL;
	int64_t n = pai_tensor_nelem(s);
	*g = (grid){.x = x, .s = s, .z = z, .outer = 1, .axis = 1, .block = 1};
	g->inner = pai_tensor_nelem(x);
	if (pai_lane_of(x->dtype) == PAI_LANE_NONE || pai_lane_of(s->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node), "has no numbers");
	if (z && pai_tensor_nelem(z) != n)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, k + 2),
				"has another shape than the scale");
	bool blocked = s->rank == x->rank && x->rank > 0 &&
		       (x->rank > 1 || pai_node_int(c->node, "block_size", 0) > 0);
	if (n != 1 || blocked) {
		PAI_TRY(split_at_axis(c, g));
		if (blocked)
			PAI_TRY(use_blocks(c, g));
		else if (s->rank != 1 || n != g->axis)
			return bad_scale(c);
		lengthen_rows(g);
	}
	g->scale = pai_call_scratch(c, sizeof(float) * (size_t)(n + 1));
	g->zero = pai_call_scratch(c, sizeof(double) * (size_t)(n + 1));
	if (!g->scale || !g->zero)
		return pai_call_nomem(c);
	pai_lane_load(PAI_LANE_F32, g->scale, s->dtype, s->data, 0, n);
	for (int64_t i = 0; i < n; i++)
		g->zero[i] = 0;
	if (z)
		pai_lane_load(PAI_LANE_F64, g->zero, z->dtype, z->data, 0, n);
	return PAI_OK;
}

/* Elements first .. first+n, n <= PAI_CHUNK; the scale of element i is number at + i * inner_step.
 */
typedef void (*row_fn)(const pai_call *c, const grid *g, int64_t first, int64_t n, int64_t at);

static void each_row(const pai_call *c, const grid *g, row_fn fn)
{
	int64_t at = 0;
	for (int64_t o = 0; o < g->outer; o++)
		for (int64_t d = 0; d < g->axis; d++, at += g->inner) {
			int64_t s = (o * g->outer_step + d / g->block) * g->axis_step;
			for (int64_t i = 0; i < g->inner; i += PAI_CHUNK) {
				int64_t left = g->inner - i, k = s + i * g->inner_step;
				fn(c, g, at + i, left < PAI_CHUNK ? left : PAI_CHUNK, k);
			}
		}
}

/* Rounds to a shorter type and back, when the division is done in that. */
static void round_through(float *v, int64_t n, pai_dtype dtype)
{
	uint16_t shorter[PAI_CHUNK];
	if (dtype != PAI_FLOAT16 && dtype != PAI_BFLOAT16)
		return;
	pai_lane_store(PAI_LANE_F32, v, dtype, shorter, 0, n);
	pai_lane_load(PAI_LANE_F32, v, dtype, shorter, 0, n);
}

static void quantize_row(const pai_call *c, const grid *g, int64_t first, int64_t n, int64_t at)
{
	const pai_tensor *x = c->in[0];
	const float *scale = g->scale + at;
	const double *zero = g->zero + at;
	const int64_t step = g->inner_step;
	pai_tensor *y = c->out[0];
	const pai_dtype_info *to = pai_dtype_get(y->dtype);
	pai_dtype precision = (pai_dtype)pai_node_int(c->node, "precision", 0);
	float v[PAI_CHUNK];
	pai_lane_load(PAI_LANE_F32, v, x->dtype, x->data, first, n);
	for (int64_t i = 0; i < n; i++)
		v[i] /= scale[i * step];
	round_through(v, n, precision ? precision : c->in[1]->dtype);
	if (to->kind != PAI_KIND_FLOAT)
		for (int64_t i = 0; i < n; i++)
			v[i] = rintf(v[i]) + (float)zero[i * step];
	else if (to->bits == 8 && !pai_node_int(c->node, "saturate", 1)) {
		for (int64_t i = 0; i < n; i++)
			((uint8_t *)y->data)[first + i] = pai_float_to_small(y->dtype, v[i], false);
		return;
	}
	pai_lane_store(PAI_LANE_F32, v, y->dtype, y->data, first, n);
}

static pai_status quantize_linear(pai_call *c)
{
	const pai_tensor *x = c->in[0], *z = c->n_in > 2 ? c->in[2] : NULL;
	int64_t stated = pai_node_int(c->node, "output_dtype", 0);
	pai_dtype to = z                                        ? z->dtype
		       : stated > 0 && stated < PAI_DTYPE_COUNT ? (pai_dtype)stated
								: PAI_UINT8;
	grid g;
	PAI_TRY(grid_init(c, 0, &g));
	PAI_TRY(pai_call_output(c, 0, to, x->rank, x->dims));
	each_row(c, &g, quantize_row);
	return PAI_OK;
}
const pai_kernel pai_kernel_quantize_linear = {.run = quantize_linear};

/* The difference is exact: int32 has more digits than float. */
static void dequantize_row(const pai_call *c, const grid *g, int64_t first, int64_t n, int64_t at)
{
	const pai_tensor *q = c->in[0];
	const float *scale = g->scale + at;
	const double *zero = g->zero + at;
	const int64_t step = g->inner_step;
	double v[PAI_CHUNK];
	float y[PAI_CHUNK];
	pai_lane_load(PAI_LANE_F64, v, q->dtype, q->data, first, n);
	for (int64_t i = 0; i < n; i++)
		y[i] = (float)(v[i] - zero[i * step]) * scale[i * step];
	pai_lane_store(PAI_LANE_F32, y, c->out[0]->dtype, c->out[0]->data, first, n);
}

static pai_status dequantize_linear(pai_call *c)
{
	const pai_tensor *q = c->in[0];
	int64_t stated = pai_node_int(c->node, "output_dtype", 0);
	pai_dtype to = stated > 0 && stated < PAI_DTYPE_COUNT ? (pai_dtype)stated : c->in[1]->dtype;
	grid g;
	PAI_TRY(grid_init(c, 0, &g));
	PAI_TRY(pai_call_output(c, 0, to, q->rank, q->dims));
	each_row(c, &g, dequantize_row);
	return PAI_OK;
}
const pai_kernel pai_kernel_dequantize_linear = {.run = dequantize_linear};

/* Gradients. The tensor between the two is a float for this purpose: its gradient is carried in
 * the units of the dequantised value, so that a pair passes dy on exactly (straight-through). The
 * metadata `pai.grad` of QuantizeLinear chooses the rule: "ste" passes everything (the default),
 * "ste_range" only where rne(x / s) + z lies in the range of the type before it is clamped. */
static void range_row(const pai_call *c, const grid *g, int64_t first, int64_t n, int64_t at)
{
	const pai_tensor *dy = c->in[0], *x = g->x;
	pai_dtype to = (pai_dtype)pai_node_int(c->node, "to", PAI_UINT8);
	const pai_dtype_info *type = pai_dtype_get(to);
	float low = type->kind == PAI_KIND_SIGNED ? -ldexpf(1, type->bits - 1) : 0;
	float high = low + ldexpf(1, type->bits) - 1, v[PAI_CHUNK], d[PAI_CHUNK];
	pai_lane_load(PAI_LANE_F32, v, x->dtype, x->data, first, n);
	pai_lane_load(PAI_LANE_F32, d, dy->dtype, dy->data, first, n);
	for (int64_t i = 0; i < n; i++) {
		int64_t k = at + i * g->inner_step;
		float q = rintf(v[i] / g->scale[k]) + (float)g->zero[k];
		d[i] = q >= low && q <= high ? d[i] : 0;
	}
	pai_lane_store(PAI_LANE_F32, d, c->out[0]->dtype, c->out[0]->data, first, n);
}

/* QuantizeGrad(dY, x, scale, zero_point) for ste_range. */
static pai_status quantize_grad(pai_call *c)
{
	grid g;
	PAI_TRY(grid_init(c, 1, &g));
	PAI_TRY(pai_call_output(c, 0, g.x->dtype, g.x->rank, g.x->dims));
	each_row(c, &g, range_row);
	return PAI_OK;
}
const pai_kernel pai_kernel_quantize_grad = {.run = quantize_grad};

static void copy_layout(pai_patch *p, pai_node *to, const pai_node *n)
{
	static const char *const names[] = {"axis", "block_size"};
	for (int i = 0; i < 2; i++)
		if (pai_op_attr_find(n->op, names[i]))
			pai_patch_set_int(p, to, names[i], pai_node_int(n, names[i], i == 0));
}

pai_status pai_grad_quantize_linear(pai_grad *g, const pai_node *n, pai_value *const *dy,
				    pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	const char *rule = pai_prop_get(&n->props, "pai.grad");
	pai_dtype to = n->out[0]->type.dtype;
	dx[0] = dy[0];
	if (rule && strcmp(rule, "ste") != 0 && strcmp(rule, "ste_range") != 0)
		return pai_fail(n->graph->model->ctx, PAI_E_bad_grad_rule, pai_at_node(n),
				"pai.grad is \"%s\", expected \"ste\" or \"ste_range\"", rule);
	if (!rule || strcmp(rule, "ste") == 0 || pai_dtype_get(to)->kind == PAI_KIND_FLOAT)
		return PAI_OK;
	pai_value *in[4] = {dy[0], n->in[0], n->in[1], pai_node_in(n, 2)};
	dx[0] = pai_grad_internal(g, "QuantizeGrad", in[3] ? 4 : 3, in, NULL);
	copy_layout(p, dx[0]->producer, n);
	pai_patch_set_int(p, dx[0]->producer, "to", to);
	return PAI_OK;
}

/* Of the scale: ds = sum of dy (q - z) over the elements it stands for. */
static void scale_row(const pai_call *c, const grid *g, int64_t first, int64_t n, int64_t at)
{
	const pai_tensor *dy = c->in[0], *q = g->x;
	double v[PAI_CHUNK], d[PAI_CHUNK];
	pai_lane_load(PAI_LANE_F64, v, q->dtype, q->data, first, n);
	pai_lane_load(PAI_LANE_F64, d, dy->dtype, dy->data, first, n);
	for (int64_t i = 0; i < n; i++) {
		int64_t k = at + i * g->inner_step;
		g->sum[k] += d[i] * (v[i] - g->zero[k]);
	}
}

/* DequantizeGrad(dY, x, scale, zero_point) -> dscale. */
static pai_status dequantize_grad(pai_call *c)
{
	grid g;
	const pai_tensor *s = c->in[2];
	int64_t n = pai_tensor_nelem(s);
	PAI_TRY(grid_init(c, 1, &g));
	PAI_TRY(pai_call_output(c, 0, s->dtype, s->rank, s->dims));
	g.sum = pai_call_scratch(c, sizeof(double) * (size_t)(n + 1));
	if (!g.sum)
		return pai_call_nomem(c);
	memset(g.sum, 0, sizeof(double) * (size_t)n);
	each_row(c, &g, scale_row);
	pai_lane_store(PAI_LANE_F64, g.sum, s->dtype, c->out[0]->data, 0, n);
	return PAI_OK;
}
const pai_kernel pai_kernel_dequantize_grad = {.run = dequantize_grad};

pai_status pai_shape_dequantize_grad(pai_shape_ctx *s)
{
	pai_shape_copy(s, 0, 2);
	return PAI_OK;
}

pai_status pai_grad_dequantize_linear(pai_grad *g, const pai_node *n, pai_value *const *dy,
				      pai_value **dx)
{
	pai_value *in[4] = {dy[0], n->in[0], n->in[1], pai_node_in(n, 2)};
	dx[0] = dy[0];
	if (!pai_grad_wanted(g, n, 1))
		return PAI_OK;
	dx[1] = pai_grad_internal(g, "DequantizeGrad", in[3] ? 4 : 3, in, NULL);
	copy_layout(pai_grad_patch(g), dx[1]->producer, n);
	return PAI_OK;
}
