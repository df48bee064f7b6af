/* dropout.c -- Dropout and RandomUniformLike. Where an element is kept depends on the seed, the
 * node, the step and the element alone. Before opset 7 `is_test` = 0 means training; in opset 7 to
 * 11 the operator only passes its input on; from 12 on the input training_mode tells. */
#include "runtime/kernels/elementwise.h"

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

static void draw_mask(const pai_call *c, double ratio, pai_tensor *mask)
{
	const pai_random r = pai_call_random(c);
	int64_t n = pai_tensor_nelem(mask);
	float u[PAI_CHUNK];
	for (int64_t i = 0; i < n; i += PAI_CHUNK) {
		int64_t m = n - i < PAI_CHUNK ? n - i : PAI_CHUNK;
		pai_random_uniforms(&r, (uint64_t)i, (size_t)m, u);
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
	draw_mask(c, ratio, mask);
	return apply_mask(c, x, mask, ratio);
}
const pai_kernel pai_kernel_dropout = {dropout, NULL};

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
const pai_kernel pai_kernel_dropout_mask = {dropout_mask, NULL};

static pai_status random_uniform_like(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	int64_t stated = pai_node_int(c->node, "dtype", x->dtype);
	pai_dtype to = stated > 0 && stated < PAI_DTYPE_COUNT ? (pai_dtype)stated : PAI_UNDEFINED;
	double low = (double)pai_node_float(c->node, "low", 0);
	double high = (double)pai_node_float(c->node, "high", 1);
	if (pai_dtype_get(to)->kind != PAI_KIND_FLOAT)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "dtype"),
				"random numbers are of a float type");
	PAI_TRY(pai_call_output(c, 0, to, x->rank, x->dims));
	const pai_random r = pai_call_random(c);
	int64_t n = pai_tensor_nelem(x);
	float u[PAI_CHUNK];
	for (int64_t i = 0; i < n; i += PAI_CHUNK) {
		int64_t m = n - i < PAI_CHUNK ? n - i : PAI_CHUNK;
		pai_random_uniforms(&r, (uint64_t)i, (size_t)m, u);
		for (int64_t k = 0; k < m; k++)
			u[k] = (float)(low + (high - low) * (double)u[k]);
		pai_lane_store(PAI_LANE_F32, u, to, c->out[0]->data, i, m);
	}
	return PAI_OK;
}
const pai_kernel pai_kernel_random_uniform_like = {random_uniform_like, NULL};
