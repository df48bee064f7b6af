/* quantized.c -- DynamicQuantizeLinear, and the operators on quantised operands: products,
 * convolutions and pools of integers with a scale and a zero point.
 *
 * The arithmetic is that of the operator they are a form of: its kernel is called on q - zero point
 * as doubles, which hold every such sum exactly, and the result is scaled and rounded once.
 */
#include "runtime/kernels/quantized.h"
#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/move.h"
#include "runtime/kernels/pool.h"
#include "runtime/run.h"

static float byte_of(float q) /* 0 for a NaN */
{
	return q > 0 ? fminf(q, 255) : 0;
}

pai_byte_range pai_byte_range_of(float low, float high)
{
	float scale = (high - low) / 255;
	scale = scale > 0 ? scale : 1;
	return (pai_byte_range){scale, byte_of(rintf(-low / scale))};
}

float pai_byte_of(pai_byte_range r, float x)
{
	return byte_of(rintf(x / r.scale) + r.zero);
}

static pai_status dynamic_quantize_linear(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	int64_t n = pai_tensor_nelem(x);
	if (x->dtype != PAI_FLOAT)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0), "is not float");
	PAI_TRY(pai_call_output(c, 0, PAI_UINT8, x->rank, x->dims));
	PAI_TRY(pai_call_output(c, 1, PAI_FLOAT, 0, NULL));
	PAI_TRY(pai_call_output(c, 2, PAI_UINT8, 0, NULL));
	const float *from = x->data;
	float low = 0, high = 0;
	for (int64_t i = 0; i < n; i++) {
		low = fminf(low, from[i]);
		high = fmaxf(high, from[i]);
	}
	pai_byte_range r = pai_byte_range_of(low, high);
	for (int64_t i = 0; c->out[0] && i < n; i++)
		((uint8_t *)c->out[0]->data)[i] = (uint8_t)pai_byte_of(r, from[i]);
	if (c->out[1])
		*(float *)c->out[1]->data = r.scale;
	if (c->out[2])
		*(uint8_t *)c->out[2]->data = (uint8_t)r.zero;
	return PAI_OK;
}
const pai_kernel pai_kernel_dynamic_quantize_linear = {.run = dynamic_quantize_linear};

/* ---- operands ---- */

PAI_LOOP2(minus_f64, double, f64, T, a - b)
PAI_LOOP3(ratio_f32, float, f32, T, a *b / c)
PAI_LOOP3(scaled_f32, float, f32, T, a *b + c)
PAI_LOOP3(rounded_f32, float, f32, T, rint(a *b) + c)

static const pai_elementwise minus = {.loop = {[PAI_LANE_F64] = minus_f64}};
static const pai_elementwise ratio = {.loop = {[PAI_LANE_F32] = ratio_f32}};
static const pai_elementwise scaled = {.loop = {[PAI_LANE_F32] = scaled_f32}};
static const pai_elementwise rounded = {.loop = {[PAI_LANE_F32] = rounded_f32}};

enum { WHOLE = -1000 }; /* the operand has one element, or the rank of what it goes with */

static pai_status scratch_tensor(pai_call *c, pai_dtype dtype, int rank, const int64_t *dims,
				 pai_tensor *out)
{
	void *sizes = NULL, *data = NULL;
	size_t nbytes;
	if (!pai_tensor_nbytes(dtype, rank, dims, &nbytes))
		nbytes = SIZE_MAX;
	PAI_TRY(pai_call_room(c, rank, sizeof *dims, &sizes));
	PAI_TRY(pai_call_room(c, 1, nbytes, &data));
	pai_copy(sizes, dims, sizeof *dims * (size_t)rank);
	*out = (pai_tensor){
		.dtype = dtype, .rank = rank, .dims = sizes, .data = data, .nbytes = nbytes};
	return PAI_OK;
}

/* A scale or zero point beside a tensor: one for all, a list along `axis` (from the right, -1 the
 * last), or the whole rank with sizes of 1. `missing` where the input is omitted. */
static pai_status beside(pai_call *c, int slot, const pai_tensor *whole, int axis,
			 const pai_tensor *missing, pai_tensor *copy, pai_operand *out)
{
	const pai_tensor *t = slot >= 0 && slot < c->n_in ? c->in[slot] : NULL;
	*copy = t ? *t : *missing;
	*out = (pai_operand){copy, 0};
	if (pai_lane_of(copy->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, slot),
				"has no numbers");
	if (pai_tensor_nelem(copy) == 1) {
		copy->rank = 0;
		return PAI_OK;
	}
	if (copy->rank == 1 && axis != WHOLE)
		out->skip = -1 - axis;
	bool fits = copy->rank + out->skip <= whole->rank;
	for (int i = 0; fits && i < copy->rank; i++) {
		int64_t d = whole->dims[whole->rank - copy->rank - out->skip + i];
		fits = copy->dims[i] == 1 || copy->dims[i] == d;
	}
	if (!fits)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, slot),
				"is neither one number nor a list that fits the tensor");
	return PAI_OK;
}

static const float zero_data = 0, one_data = 1;
static const pai_tensor no_zero = {.dtype = PAI_FLOAT, .data = (void *)&zero_data, .nbytes = 4};
static const pai_tensor no_scale = {.dtype = PAI_FLOAT, .data = (void *)&one_data, .nbytes = 4};

/* Input `slot` minus its zero point, as double. */
static pai_status centred(pai_call *c, int slot, int zero, int axis, pai_tensor *out)
{
	const pai_tensor *q = c->in[slot];
	pai_tensor z;
	pai_operand in[2] = {{q, 0}};
	if (pai_lane_of(q->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, slot),
				"has no numbers");
	PAI_TRY(beside(c, zero, q, axis, &no_zero, &z, &in[1]));
	PAI_TRY(scratch_tensor(c, PAI_DOUBLE, q->rank, q->dims, out));
	return pai_elementwise_apply(c, &minus, PAI_LANE_F64, 2, in, out, &(pai_params){{0}});
}

/* ---- the kernel of the plain operator ---- */

static pai_status output_in_scratch(pai_call *c, int o, pai_dtype dtype, int rank,
				    const int64_t *dims)
{
	return scratch_tensor(c, dtype, rank, dims, c->out[o]);
}

/* Calls a kernel with operands of ours, attributes being those of the node; its output 0 comes to
 * be in scratch. */
static pai_status apply(pai_call *c, const pai_kernel *k, int n_in, const pai_tensor *const *in,
			pai_tensor *out)
{
	*out = (pai_tensor){.rank = -1};
	pai_call inner = *c;
	pai_status (*own)(pai_call *, int, pai_dtype, int, const int64_t *) = c->run->output;
	inner.kernel = k;
	inner.n_in = n_in;
	inner.in = in;
	inner.n_out = 1;
	inner.out = &out;
	c->run->output = output_in_scratch;
	pai_status status = k->run(&inner);
	c->run->output = own;
	return status;
}

/* Output 0 as int32 from exact sums. */
static pai_status give_sums(pai_call *c, const pai_tensor *sum)
{
	PAI_TRY(pai_call_output(c, 0, PAI_INT32, sum->rank, sum->dims));
	const double *from = sum->data;
	for (int64_t i = 0, n = pai_tensor_nelem(sum); i < n; i++)
		((int32_t *)c->out[0]->data)[i] = (int32_t)(int64_t)from[i];
	return PAI_OK;
}

typedef struct scaling { /* slots of the scales and zero point of a result; -1: none */
	int a, a_axis, b, b_axis, y, zero;
	pai_dtype otherwise; /* type of the result without a zero point */
} scaling;

/* Output 0 = round(sum * (a * b / y)) + zero, in the type of the zero point; float is not rounded.
 */
static pai_status give_scaled(pai_call *c, const pai_tensor *sum, const scaling *s)
{
	pai_tensor a, b, y, zero, factor;
	pai_operand scales[3], all[3] = {{sum, 0}, {&factor, 0}};
	const pai_tensor *z = s->zero >= 0 && s->zero < c->n_in ? c->in[s->zero] : NULL;
	pai_dtype to = z ? z->dtype : s->otherwise;
	PAI_TRY(pai_call_output(c, 0, to, sum->rank, sum->dims));
	PAI_TRY(beside(c, s->a, sum, s->a_axis, &no_scale, &a, &scales[0]));
	PAI_TRY(beside(c, s->b, sum, s->b_axis, &no_scale, &b, &scales[1]));
	PAI_TRY(beside(c, s->y, sum, WHOLE, &no_scale, &y, &scales[2]));
	PAI_TRY(beside(c, s->zero, sum, WHOLE, &no_zero, &zero, &all[2]));
	PAI_TRY(scratch_tensor(c, PAI_FLOAT, sum->rank, sum->dims, &factor));
	PAI_TRY(pai_elementwise_apply(c, &ratio, PAI_LANE_F32, 3, scales, &factor,
				      &(pai_params){{0}}));
	bool round = pai_dtype_get(to)->kind != PAI_KIND_FLOAT;
	return pai_elementwise_apply(c, round ? &rounded : &scaled, PAI_LANE_F32, 3, all, c->out[0],
				     &(pai_params){{0}});
}

/* ---- products ---- */

/* The work of the plain operator whose operands stand at these slots. */
static double work_of(const pai_kernel *k, const pai_node *n, const pai_tensor *a,
		      const pai_tensor *b, const pai_tensor *const *out)
{
	const pai_tensor *const in[PAI_WORK_OPERANDS] = {a, b};
	return k->work(n, in, out);
}

static pai_status mat_mul_integer(pai_call *c)
{
	pai_tensor a, b, sum;
	PAI_TRY(centred(c, 0, 2, -2, &a));
	PAI_TRY(centred(c, 1, 3, -1, &b));
	PAI_TRY(apply(c, &pai_kernel_mat_mul, 2, (const pai_tensor *[]){&a, &b}, &sum));
	return give_sums(c, &sum);
}

static double mat_mul_integer_work(const pai_node *n, const pai_tensor *const *in,
				   const pai_tensor *const *out)
{
	return work_of(&pai_kernel_mat_mul, n, in[0], in[1], out);
}

const pai_kernel pai_kernel_mat_mul_integer = {.run = mat_mul_integer,
					       .work = mat_mul_integer_work};

static pai_status qlinear_mat_mul(pai_call *c)
{
	pai_tensor a, b, sum;
	PAI_TRY(centred(c, 0, 2, -2, &a));
	PAI_TRY(centred(c, 3, 5, -1, &b));
	PAI_TRY(apply(c, &pai_kernel_mat_mul, 2, (const pai_tensor *[]){&a, &b}, &sum));
	return give_scaled(c, &sum, &(scaling){1, -2, 4, -1, 6, 7, c->in[0]->dtype});
}

static double qlinear_mat_mul_work(const pai_node *n, const pai_tensor *const *in,
				   const pai_tensor *const *out)
{
	return work_of(&pai_kernel_mat_mul, n, in[0], in[3], out);
}

const pai_kernel pai_kernel_qlinear_mat_mul = {.run = qlinear_mat_mul,
					       .work = qlinear_mat_mul_work};

/* Of com.microsoft: alpha (A' B' + C), C in the units of the sums; float where no scale of Y is
 * given. The columns of the result are rows of B where that is transposed. */
static pai_status qgemm(pai_call *c)
{
	pai_tensor a, b, sum, bias;
	bool addend = c->n_in > 6 && c->in[6];
	PAI_TRY(centred(c, 0, 2, WHOLE, &a));
	PAI_TRY(centred(c, 3, 5, pai_node_int(c->node, "transB", 0) ? -2 : -1, &b));
	if (addend)
		PAI_TRY(centred(c, 6, -1, WHOLE, &bias));
	double alpha = (double)pai_node_float(c->node, "alpha", 1);
	for (int64_t i = 0; addend && i < pai_tensor_nelem(&bias); i++)
		((double *)bias.data)[i] *= alpha;
	PAI_TRY(apply(c, &pai_kernel_gemm, addend ? 3 : 2, (const pai_tensor *[]){&a, &b, &bias},
		      &sum));
	return give_scaled(c, &sum, &(scaling){1, WHOLE, 4, -1, 7, 8, PAI_FLOAT});
}

static double qgemm_work(const pai_node *n, const pai_tensor *const *in,
			 const pai_tensor *const *out)
{
	return work_of(&pai_kernel_gemm, n, in[0], in[3], out);
}

const pai_kernel pai_kernel_qgemm = {.run = qgemm, .work = qgemm_work};

/* ---- convolutions ---- */

/* Filters lie along the first axis of W. */
static int filter_axis(const pai_call *c, int w)
{
	return -c->in[w]->rank;
}

static pai_status conv_integer(pai_call *c)
{
	pai_tensor x, w, sum;
	PAI_TRY(centred(c, 0, 2, WHOLE, &x));
	PAI_TRY(centred(c, 1, 3, filter_axis(c, 1), &w));
	PAI_TRY(apply(c, &pai_kernel_conv, 2, (const pai_tensor *[]){&x, &w}, &sum));
	return give_sums(c, &sum);
}

static double conv_integer_work(const pai_node *n, const pai_tensor *const *in,
				const pai_tensor *const *out)
{
	return work_of(&pai_kernel_conv, n, in[0], in[1], out);
}

const pai_kernel pai_kernel_conv_integer = {.run = conv_integer, .work = conv_integer_work};

/* The bias is in the units of the sums. */
static pai_status qlinear_conv(pai_call *c)
{
	pai_tensor x, w, bias, sum;
	bool addend = c->n_in > 8 && c->in[8];
	PAI_TRY(centred(c, 0, 2, WHOLE, &x));
	PAI_TRY(centred(c, 3, 5, filter_axis(c, 3), &w));
	if (addend)
		PAI_TRY(centred(c, 8, -1, WHOLE, &bias));
	PAI_TRY(apply(c, &pai_kernel_conv, addend ? 3 : 2, (const pai_tensor *[]){&x, &w, &bias},
		      &sum));
	return give_scaled(c, &sum, &(scaling){1, WHOLE, 4, 1 - sum.rank, 6, 7, c->in[0]->dtype});
}

static double qlinear_conv_work(const pai_node *n, const pai_tensor *const *in,
				const pai_tensor *const *out)
{
	return work_of(&pai_kernel_conv, n, in[0], in[3], out);
}

const pai_kernel pai_kernel_qlinear_conv = {.run = qlinear_conv, .work = qlinear_conv_work};

/* ---- pools, of com.microsoft ---- */

static pai_status qlinear_average_pool(pai_call *c)
{
	pai_tensor x, mean;
	if (pai_node_int(c->node, "channels_last", 0))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "channels_last"),
				"is set; only channels first can be executed");
	PAI_TRY(centred(c, 0, 2, WHOLE, &x));
	PAI_TRY(apply(c, &pai_kernel_average_pool, 1, (const pai_tensor *[]){&x}, &mean));
	return give_scaled(c, &mean, &(scaling){1, WHOLE, -1, WHOLE, 3, 4, c->in[0]->dtype});
}

const pai_kernel pai_kernel_qlinear_average_pool = {.run = qlinear_average_pool,
						    .work = pai_pool_work};
