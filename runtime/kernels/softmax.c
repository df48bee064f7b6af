/* softmax.c -- Softmax, LogSoftmax and Hardmax. Before opset 13 the input is taken as a matrix:
 * dimensions from `axis` on are normalised together. Sums are double. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/lanes.h"
#include <tgmath.h>

typedef struct rows { /* a tensor seen as [outer, n, inner]; the middle is normalised */
	int64_t outer, n, inner;
} rows;

enum { COERCES_BEFORE = 13 }; /* opset */

static pai_status rows_of(const pai_call *c, const pai_tensor *t, rows *r)
{
	const pai_op *op = c->node->op;
	bool coerce =
		*op->domain ? pai_node_int(c->node, "coerce", 0) != 0 : op->since < COERCES_BEFORE;
	int64_t axis = pai_node_int(c->node, "axis", -1), rank = t->rank ? t->rank : 1;
	if (axis < -rank || axis >= rank + (coerce ? 1 : 0))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "axis"),
				"is %lld, but the input has %d dimensions", (long long)axis,
				t->rank);
	if (axis < 0)
		axis += rank;
	*r = (rows){1, 1, 1};
	for (int d = 0; d < t->rank; d++) {
		if (d < axis)
			r->outer *= t->dims[d];
		else if (d == axis || coerce)
			r->n *= t->dims[d];
		else
			r->inner *= t->dims[d];
	}
	return PAI_OK;
}

/* One block [n, inner] of up to two inputs. `sum` and `max` have `inner` elements; y may be an
 * input. */
typedef void (*block_fn)(const void *const *in, void *out, rows r, double *sum, void *max);

typedef struct family {
	block_fn f32, f64;
	int n_in;
} family;

static pai_status run_blocks(pai_call *c)
{
	const family *f = c->kernel->data;
	const pai_tensor *x = c->in[f->n_in - 1];
	pai_lane lane = pai_lane_of(x->dtype);
	rows r;
	for (int k = 0; k < f->n_in; k++)
		if ((lane != PAI_LANE_F32 && lane != PAI_LANE_F64) ||
		    pai_tensor_nelem(c->in[k]) != pai_tensor_nelem(x))
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, k),
					"has another type or size than the operator takes");
	PAI_TRY(rows_of(c, x, &r));
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	if (r.n == 0 || r.outer == 0 || r.inner == 0)
		return PAI_OK;
	const void *in[2] = {NULL};
	void *out = pai_lane_begin(c, lane, c->out[0]);
	double *sum = pai_call_scratch(c, sizeof(double) * (size_t)r.inner);
	double *max = pai_call_scratch(c, sizeof(double) * (size_t)r.inner);
	for (int k = 0; k < f->n_in; k++)
		in[k] = pai_lane_view(c, lane, c->in[k]);
	if (!out || !sum || !max || !in[0] || !in[f->n_in - 1])
		return pai_call_nomem(c);
	size_t block = pai_lane_size(lane) * (size_t)(r.n * r.inner);
	for (int64_t o = 0; o < r.outer; o++) {
		size_t at = block * (size_t)o;
		const void *from[2] = {(const char *)in[0] + at,
				       in[1] ? (const char *)in[1] + at : NULL};
		(lane == PAI_LANE_F32 ? f->f32 : f->f64)(from, (char *)out + at, r, sum, max);
	}
	pai_lane_finish(lane, out, c->out[0]);
	return PAI_OK;
}

/* e = exp(x - max), s = sum(e); softmax e / s, log-softmax x - max - log(s). */
#define FORWARD(name, T, first, second)                                                     \
	static void name(const void *const *in, void *out, rows r, double *sum, void *most) \
	{                                                                                   \
		const T *x = in[0];                                                         \
		T *y = out, *max = most;                                                    \
		for (int64_t k = 0; k < r.inner; k++) {                                     \
			max[k] = x[k];                                                      \
			sum[k] = 0;                                                         \
		}                                                                           \
		for (int64_t i = 1; i < r.n; i++)                                           \
			for (int64_t k = 0; k < r.inner; k++) {                             \
				const T v = x[i * r.inner + k];                             \
				max[k] = v > max[k] ? v : max[k];                           \
			}                                                                   \
		for (int64_t i = 0; i < r.n; i++)                                           \
			for (int64_t k = 0; k < r.inner; k++) {                             \
				const T v = x[i * r.inner + k] - max[k], e = exp(v);        \
				sum[k] += (double)e;                                        \
				y[i * r.inner + k] = first;                                 \
			}                                                                   \
		for (int64_t k = 0; k < r.inner; k++) {                                     \
			const double s = sum[k];                                            \
			max[k] = (T)(second);                                               \
		}                                                                           \
	}
#define FORWARDS(name, first, second, last)                      \
	FORWARD(name##_first_f32, float, first, second)          \
	FORWARD(name##_first_f64, double, first, second)         \
	FINISH(name##_f32, float, name##_first_f32, last)        \
	FINISH(name##_f64, double, name##_first_f64, last)       \
	const pai_kernel pai_kernel_##name = {.run = run_blocks, \
					      .data = &(const family){name##_f32, name##_f64, 1}};
/* The last step, from `max`, which the first has replaced by what each column needs. */
#define FINISH(name, T, begin, last)                                                        \
	static void name(const void *const *in, void *out, rows r, double *sum, void *most) \
	{                                                                                   \
		begin(in, out, r, sum, most);                                               \
		T *y = out;                                                                 \
		const T *z = most;                                                          \
		for (int64_t i = 0; i < r.n; i++)                                           \
			for (int64_t k = 0; k < r.inner; k++)                               \
				y[i * r.inner + k] = y[i * r.inner + k] last z[k];          \
	}

FORWARDS(softmax, e, s, /)
FORWARDS(log_softmax, v, log(s), -)

/* softmax:     dx = y (dy - sum(dy y))
 * log-softmax: dx = dy - exp(y) sum(dy) */
#define BACKWARD(name, T, part, whole)                                                        \
	static void name(const void *const *in, void *out, rows r, double *sum, void *unused) \
	{                                                                                     \
		const T *dys = in[0], *ys = in[1];                                            \
		T *dx = out;                                                                  \
		(void)unused;                                                                 \
		for (int64_t k = 0; k < r.inner; k++)                                         \
			sum[k] = 0;                                                           \
		for (int64_t i = 0; i < r.n * r.inner; i += r.inner)                          \
			for (int64_t k = 0; k < r.inner; k++) {                               \
				const double dy = (double)dys[i + k], y = (double)ys[i + k];  \
				(void)y;                                                      \
				sum[k] += part;                                               \
			}                                                                     \
		for (int64_t i = 0; i < r.n * r.inner; i += r.inner)                          \
			for (int64_t k = 0; k < r.inner; k++) {                               \
				const T dy = dys[i + k], y = ys[i + k], s = (T)sum[k];        \
				dx[i + k] = whole;                                            \
			}                                                                     \
	}
#define BACKWARDS(name, part, whole)                             \
	BACKWARD(name##_f32, float, part, whole)                 \
	BACKWARD(name##_f64, double, part, whole)                \
	const pai_kernel pai_kernel_##name = {.run = run_blocks, \
					      .data = &(const family){name##_f32, name##_f64, 2}};

BACKWARDS(softmax_grad, dy *y, y *(dy - s))
BACKWARDS(log_softmax_grad, dy, dy - exp(y) * s)

static pai_value *from_output(pai_grad *g, const char *op, const pai_node *n, pai_value *dy)
{
	pai_patch *p = pai_grad_patch(g);
	pai_value *dx = pai_grad_internal(g, op, 2, (pai_value *[]){dy, n->out[0]}, NULL);
	pai_patch_set_int(p, dx->producer, "axis", pai_node_int(n, "axis", -1));
	pai_patch_set_int(p, dx->producer, "coerce", n->op->since < COERCES_BEFORE);
	return dx;
}

pai_status pai_grad_softmax(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	dx[0] = from_output(g, "SoftmaxGrad", n, dy[0]);
	return PAI_OK;
}

pai_status pai_grad_log_softmax(pai_grad *g, const pai_node *n, pai_value *const *dy,
				pai_value **dx)
{
	dx[0] = from_output(g, "LogSoftmaxGrad", n, dy[0]);
	return PAI_OK;
}

/* 1 at the first maximum, 0 elsewhere */
#define HARD(T)                                                                                  \
	static void hard_##T(const void *const *in, void *out, rows r, double *at, void *unused) \
	{                                                                                        \
		const T *x = in[0];                                                              \
		T *y = out;                                                                      \
		(void)unused;                                                                    \
		for (int64_t k = 0; k < r.inner; k++)                                            \
			at[k] = 0;                                                               \
		for (int64_t i = 1; i < r.n; i++)                                                \
			for (int64_t k = 0; k < r.inner; k++)                                    \
				if (x[i * r.inner + k] > x[(int64_t)at[k] * r.inner + k])        \
					at[k] = (double)i;                                       \
		for (int64_t i = 0; i < r.n; i++)                                                \
			for (int64_t k = 0; k < r.inner; k++)                                    \
				y[i * r.inner + k] = (T)((double)i == at[k]);                    \
	}
HARD(float)
HARD(double)
const pai_kernel pai_kernel_hardmax = {.run = run_blocks,
				       .data = &(const family){hard_float, hard_double, 1}};
