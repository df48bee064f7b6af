/* lrn.c -- LRN, local response normalisation across channels, and its gradient. The arithmetic is
 * double.
 *
 *     s = bias + alpha / size * sum of x^2 over the window of channels,  y = x s^-beta
 *
 * The window of channel c is c - floor((size - 1) / 2) .. c + ceil((size - 1) / 2).
 */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/lanes.h"
#include "runtime/kernels/move.h"
#include <math.h>

typedef struct lrn { /* x is [batch, channels, inner] */
	int64_t batch, channels, inner, before, after;
	double alpha, beta, bias; /* alpha is that of the sum: over size */
	const double *x;
	double *s; /* of one sample */
} lrn;

static pai_status lrn_init(pai_call *c, int slot, lrn *l)
{
	const pai_tensor *x = c->in[slot];
	int64_t size = pai_node_int(c->node, "size", 0);
	void *room = NULL;
	if (size < 1)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "size"), "is %lld",
				(long long)size);
	if (pai_lane_of(x->dtype) == PAI_LANE_NONE || x->rank < 2)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, slot),
				"has no channels of numbers");
	*l = (lrn){.batch = x->dims[0], .channels = x->dims[1], .inner = 1};
	l->before = (size - 1) / 2;
	l->after = size - 1 - l->before;
	l->alpha = (double)pai_node_float(c->node, "alpha", 1e-4f) / (double)size;
	l->beta = (double)pai_node_float(c->node, "beta", 0.75f);
	l->bias = (double)pai_node_float(c->node, "bias", 1);
	for (int i = 2; i < x->rank; i++)
		l->inner *= x->dims[i];
	PAI_TRY(pai_call_room(c, l->channels * l->inner, sizeof(double), &room));
	l->s = room;
	l->x = pai_lane_view(c, PAI_LANE_F64, x);
	return l->x ? PAI_OK : pai_call_nomem(c);
}

/* Channels [from, to) of the window of channel c, cut to those that exist. */
static void window(const lrn *l, int64_t c, int64_t before, int64_t after, int64_t *from,
		   int64_t *to)
{
	*from = c > before ? c - before : 0;
	*to = l->channels - c > after ? c + after + 1 : l->channels;
}

static void fill_s(const lrn *l, const double *x)
{
	for (int64_t c = 0; c < l->channels; c++) {
		int64_t from, to;
		window(l, c, l->before, l->after, &from, &to);
		for (int64_t i = 0; i < l->inner; i++) {
			double sum = 0;
			for (int64_t k = from; k < to; k++)
				sum += x[k * l->inner + i] * x[k * l->inner + i];
			l->s[c * l->inner + i] = l->bias + l->alpha * sum;
		}
	}
}

static pai_status local_response(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	lrn l;
	PAI_TRY(lrn_init(c, 0, &l));
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	int64_t sample = l.channels * l.inner;
	for (int64_t n = 0; n < l.batch; n++) {
		const double *from = l.x + n * sample;
		fill_s(&l, from);
		for (int64_t i = 0; i < sample; i++)
			l.s[i] = from[i] * pow(l.s[i], -l.beta);
		pai_lane_store(PAI_LANE_F64, l.s, x->dtype, c->out[0]->data, n * sample, sample);
	}
	return PAI_OK;
}

/* Squares under the windows, those of both sweeps of the gradient counted alike; powers. */
static double lrn_work(const pai_node *n, const pai_tensor *const *in, const pai_tensor *const *out)
{
	(void)in;
	double size = (double)pai_node_int(n, "size", 1), x = pai_elements(out[0]);
	double channels = out[0] && out[0]->rank > 1 ? (double)out[0]->dims[1] : 0;
	return x * (30 + 2 * (size < channels ? size : channels));
}

const pai_kernel pai_kernel_lrn = {.run = local_response, .work = lrn_work};

/* dx_c = dy_c s_c^-beta - 2 alpha beta x_c sum of dy_k x_k s_k^(-beta - 1) over the channels k
 * whose windows hold c */
static pai_status lrn_grad(pai_call *c)
{
	const pai_tensor *dy = c->in[0], *x = c->in[1];
	lrn l;
	void *room = NULL;
	PAI_TRY(lrn_init(c, 1, &l));
	if (pai_tensor_nelem(dy) != pai_tensor_nelem(x))
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 0),
				"is not shaped as the output of the normalisation");
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	int64_t sample = l.channels * l.inner;
	PAI_TRY(pai_call_room(c, sample, sizeof(double), &room));
	const double *up = pai_lane_view(c, PAI_LANE_F64, dy);
	double *to = room;
	if (!up)
		return pai_call_nomem(c);
	for (int64_t n = 0; n < l.batch; n++, up += sample) {
		const double *from = l.x + n * sample;
		fill_s(&l, from);
		for (int64_t i = 0; i < sample; i++) {
			to[i] = up[i] * pow(l.s[i], -l.beta);
			l.s[i] = to[i] * from[i] / l.s[i];
		}
		for (int64_t i = 0; i < sample; i++) {
			int64_t first, end;
			double sum = 0;
			window(&l, i / l.inner, l.after, l.before, &first, &end);
			for (int64_t k = first; k < end; k++)
				sum += l.s[k * l.inner + i % l.inner];
			to[i] -= 2 * l.alpha * l.beta * from[i] * sum;
		}
		pai_lane_store(PAI_LANE_F64, to, x->dtype, c->out[0]->data, n * sample, sample);
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_lrn_grad = {.run = lrn_grad, .work = lrn_work};

pai_status pai_grad_lrn(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	dx[0] = pai_grad_internal(g, "LRNGrad", 2, (pai_value *[]){dy[0], n->in[0]}, n);
	return PAI_OK;
}
