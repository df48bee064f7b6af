/* dropout.c -- Dropout. Where an element is kept depends on the seed, the
 * node, the step and the element alone. Before opset 7 `is_test` = 0 means training; in opset 7 to
 * 11 the operator only passes its input on; from 12 on the input training_mode tells. */
#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/grad.h"

/* y = x where the mask is set, scaled by p0; p0 = 1 / (1 - ratio). */
#define KEEP_LOOP(name, T, field)                                                      \
	static void name(int64_t n, void *out, const void *const *in, const bool *one, \
			 const pai_params *p)                                          \
	{                                                                              \
		const T *x = in[0], *mask = in[1], scale = p->field[0];                \
		T *y = out;                                                            \
		(void)one;                                                             \
		_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) y[i] =            \
			mask[i] != 0 ? x[i] * scale : 0;                               \
	}
KEEP_LOOP(keep_f32, float, f32)
KEEP_LOOP(keep_f64, double, f64)
static const pai_elementwise keep = {.loop = {keep_f32, keep_f64}};

static pai_status apply_mask(pai_call *c, const pai_tensor *x, const pai_tensor *mask, double ratio)
{
	pai_lane lane = pai_lane_of(x->dtype);
	pai_params p = {{0}};
	double scale = ratio < 1 ? 1 / (1 - ratio) : 0;
	if (lane == PAI_LANE_F32)
		p.f32[0] = (float)scale;
	else
		p.f64[0] = scale;
	const pai_operand in[2] = {{x, 0}, {mask, 0}};
	return pai_elementwise_apply(c, &keep, lane, 2, in, c->out[0], &p);
}

/* Input k as one number. */
static double number(const pai_call *c, int k, double otherwise)
{
	const pai_tensor *t = k < c->n_in ? c->in[k] : NULL;
	return t && pai_tensor_nelem(t) > 0 ? pai_tensor_get(t, 0) : otherwise;
}

static bool is_training(const pai_call *c)
{
	if (pai_op_attr_find(c->node->op, "is_test"))
		return !pai_node_int(c->node, "is_test", 0);
	return number(c, 2, 0) != 0;
}

static pai_status pass_on(pai_call *c, const pai_tensor *x, pai_tensor *mask)
{
	size_t n;
	if (pai_tensor_nbytes(x->dtype, x->rank, x->dims, &n) && x->data != c->out[0]->data)
		pai_copy(c->out[0]->data, x->data, n);
	const float one = 1;
	for (int64_t i = 0; mask && i < pai_tensor_nelem(x); i++)
		pai_lane_store(PAI_LANE_F32, &one, mask->dtype, mask->data, i, 1);
	return PAI_OK;
}

static void draw_mask(const pai_random *r, double ratio, pai_tensor *mask)
{
	int64_t n = pai_tensor_nelem(mask);
	float u[PAI_CHUNK];
	for (int64_t i = 0; i < n; i += PAI_CHUNK) {
		int64_t m = n - i < PAI_CHUNK ? n - i : PAI_CHUNK;
		pai_random_uniforms(r, (uint64_t)i, (size_t)m, u);
		for (int64_t k = 0; k < m; k++)
			u[k] = (double)u[k] >= ratio;
		pai_lane_store(PAI_LANE_F32, u, mask->dtype, mask->data, i, m);
	}
}

static pai_status dropout(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	pai_lane lane = pai_lane_of(x->dtype);
	bool by_input = !pai_op_attr_find(c->node->op, "ratio");
	double ratio =
		by_input ? number(c, 1, 0.5) : (double)pai_node_float(c->node, "ratio", 0.5f);
	if ((lane != PAI_LANE_F32 && lane != PAI_LANE_F64) || !(ratio >= 0 && ratio <= 1))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"takes floats and a ratio from 0 to 1");
	bool mask_is_bool = by_input || c->node->op->since == 10;
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	pai_tensor *mask = c->n_out > 1 ? c->out[1] : NULL;
	if (mask)
		PAI_TRY(pai_call_output(c, 1, mask_is_bool ? PAI_BOOL : x->dtype, x->rank,
					x->dims));
	if (!is_training(c) || ratio == 0)
		return pass_on(c, x, mask);
	pai_tensor own = {.dtype = PAI_BOOL, .rank = x->rank, .dims = x->dims};
	if (!mask) {
		own.data = pai_call_scratch(c, (size_t)pai_tensor_nelem(x));
		if (!own.data)
			return pai_call_nomem(c);
		mask = &own;
	}
	const pai_random r = pai_call_random(c);
	draw_mask(&r, ratio, mask);
	return apply_mask(c, x, mask, ratio);
}
const pai_kernel pai_kernel_dropout = {.run = dropout};

/* DropoutMask: y = x mask / (1 - ratio), which is Dropout with its mask given, and its gradient. */
static pai_status dropout_mask(pai_call *c)
{
	const pai_tensor *x = c->in[0], *mask = c->in[1];
	pai_lane lane = pai_lane_of(x->dtype);
	if ((lane != PAI_LANE_F32 && lane != PAI_LANE_F64) ||
	    pai_tensor_nelem(mask) != pai_tensor_nelem(x))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 1),
				"has another size than the tensor, or that has no floats");
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	return apply_mask(c, x, mask, number(c, 2, 0.5));
}
const pai_kernel pai_kernel_dropout_mask = {.run = dropout_mask};

/* Dropout is linear: with the mask of output 1, or drawn again, its gradient is itself. */
pai_status pai_grad_dropout(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	const bool by_input = !pai_op_attr_find(n->op, "ratio");
	const bool by_attr = pai_op_attr_find(n->op, "is_test") && !pai_node_int(n, "is_test", 0);
	pai_value *training = by_input ? pai_node_in(n, 2) : NULL;
	const pai_tensor *known = training ? pai_value_constant(training) : NULL;
	if ((!training && !by_attr) || (known && pai_tensor_get(known, 0) == 0)) {
		dx[0] = dy[0];
		return PAI_OK;
	}
	pai_value *ratio = by_input ? pai_node_in(n, 1)
				    : pai_grad_scalar(g, n, PAI_FLOAT,
						      (double)pai_node_float(n, "ratio", 0.5f));
	pai_value *in[3] = {dy[0], ratio, training};
	dx[0] = pai_grad_internal(g, "DropoutGrad", training ? 3 : 2, in, NULL);
	pai_patch_set_int(p, dx[0]->producer, "node", n->id);
	const pai_attr *seed = pai_node_attr(n, "seed");
	if (seed)
		pai_patch_set_int(p, dx[0]->producer, "seed", seed->i);
	return PAI_OK;
}

/* DropoutGrad(dY, ratio, training_mode): draws the mask of the forward node again. */
static pai_status dropout_grad(pai_call *c)
{
	pai_node forward = *c->node;
	forward.id = (int)pai_node_int(c->node, "node", 0);
	pai_call as_forward = *c;
	as_forward.node = &forward;
	const pai_random r = pai_call_random(&as_forward);
	const pai_tensor *dy = c->in[0];
	double ratio = number(c, 1, 0.5);
	pai_lane lane = pai_lane_of(dy->dtype);
	if ((lane != PAI_LANE_F32 && lane != PAI_LANE_F64) || !(ratio >= 0 && ratio <= 1))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"takes floats and a ratio from 0 to 1");
	PAI_TRY(pai_call_output(c, 0, dy->dtype, dy->rank, dy->dims));
	if (number(c, 2, 1) == 0 || ratio == 0)
		return pass_on(c, dy, NULL);
	pai_tensor mask = {.dtype = PAI_BOOL, .rank = dy->rank, .dims = dy->dims};
	mask.data = pai_call_scratch(c, (size_t)pai_tensor_nelem(dy));
	if (!mask.data)
		return pai_call_nomem(c);
	draw_mask(&r, ratio, &mask);
	return apply_mask(c, dy, &mask, ratio);
}
const pai_kernel pai_kernel_dropout_grad = {.run = dropout_grad};

/* For a mask that is given. */
pai_status pai_grad_dropout_mask(pai_grad *g, const pai_node *n, pai_value *const *dy,
				 pai_value **dx)
{
	dx[0] = pai_grad_internal(g, "DropoutMask", 3, (pai_value *[]){dy[0], n->in[1], n->in[2]},
				  NULL);
	return PAI_OK;
}
