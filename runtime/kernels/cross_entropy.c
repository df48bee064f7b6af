/* cross_entropy.c -- SoftmaxCrossEntropyLoss, NegativeLogLikelihoodLoss, their gradients. Scores
 * are [n, classes, d...]; the arithmetic is double.
 *
 *     loss[n, d] = -w[t] log_softmax(x)[t],  0 where the target t is ignore_index
 *
 * `mean` divides the sum by that of the weights of the targets counted. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/lanes.h"
#include <math.h>
#include <string.h>

typedef struct problem { /* one target for each of outer * inner places */
	int64_t outer, classes, inner;
	const double *weight; /* NULL: all 1 */
	const pai_tensor *labels;
	bool ignores, mean, none;
	int64_t ignore;
	double counted; /* sum of the weights of the targets counted */
} problem;

enum { IGNORED = -1 };

/* The target of a place, which problem_init has found to be a class, or IGNORED. */
static int64_t target(const problem *p, int64_t place)
{
	int64_t t = pai_tensor_get_int(p->labels, place);
	return p->ignores && t == p->ignore ? IGNORED : t;
}

static double weight_of(const problem *p, int64_t t)
{
	return t < 0 ? 0 : p->weight ? p->weight[t] : 1;
}

/* Inputs x, labels and weights stand at slots `at`, `at` + 1, `at` + 2. */
static pai_status problem_init(pai_call *c, int at, problem *p)
{
	const pai_tensor *x = c->in[at], *labels = c->in[at + 1];
	const pai_tensor *w = at + 2 < c->n_in ? c->in[at + 2] : NULL;
	const char *reduction = pai_node_string(c->node, "reduction", "mean");
	const pai_attr *ignore = pai_node_attr(c->node, "ignore_index");
	pai_lane lane = pai_lane_of(x->dtype);
	if (x->rank < 2 || (lane != PAI_LANE_F32 && lane != PAI_LANE_F64))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, at),
				"needs floats of the form [n, classes, ...]");
	*p = (problem){.outer = x->dims[0], .classes = x->dims[1], .inner = 1, .labels = labels};
	for (int d = 2; d < x->rank; d++)
		p->inner *= x->dims[d];
	p->mean = strcmp(reduction, "mean") == 0;
	p->none = strcmp(reduction, "none") == 0;
	p->ignores = ignore != NULL;
	p->ignore = ignore ? ignore->i : 0;
	if (pai_tensor_nelem(labels) != p->outer * p->inner)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, at + 1),
				"has %lld targets, expected %lld",
				(long long)pai_tensor_nelem(labels),
				(long long)(p->outer * p->inner));
	if (w) {
		if (pai_tensor_nelem(w) != p->classes)
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, at + 2),
					"needs one weight for each of %lld classes",
					(long long)p->classes);
		p->weight = pai_lane_view(c, PAI_LANE_F64, w);
		if (!p->weight)
			return pai_call_nomem(c);
	}
	for (int64_t i = 0; i < p->outer * p->inner; i++) {
		int64_t t = pai_tensor_get_int(labels, i);
		if ((t < 0 || t >= p->classes) && !(p->ignores && t == p->ignore))
			return pai_fail(c->ctx, PAI_E_bad_index, pai_at_input(c->node, at + 1),
					"target %lld is no class: there are %lld", (long long)t,
					(long long)p->classes);
		p->counted += weight_of(p, target(p, i));
	}
	return PAI_OK;
}

/* log_softmax over the classes of every place; lp may be x. */
static void log_softmax(const problem *p, const double *x, double *lp)
{
	for (int64_t o = 0; o < p->outer; o++)
		for (int64_t k = 0; k < p->inner; k++) {
			int64_t first = o * p->classes * p->inner + k;
			double max = -INFINITY, sum = 0;
			for (int64_t j = 0; j < p->classes; j++)
				max = fmax(max, x[first + j * p->inner]);
			for (int64_t j = 0; j < p->classes; j++)
				sum += exp(x[first + j * p->inner] - max);
			const double shift = max + log(sum);
			for (int64_t j = 0; j < p->classes; j++)
				lp[first + j * p->inner] = x[first + j * p->inner] - shift;
		}
}

static pai_status write_loss(pai_call *c, const problem *p, const double *lp, pai_dtype dtype)
{
	int64_t places = p->outer * p->inner;
	double sum = 0, *loss = pai_call_scratch(c, sizeof(double) * (size_t)(places + 1));
	if (!loss)
		return pai_call_nomem(c);
	for (int64_t i = 0; i < places; i++) {
		int64_t t = target(p, i), at = i / p->inner * p->classes * p->inner + i % p->inner;
		loss[i] = t < 0 ? 0 : -weight_of(p, t) * lp[at + t * p->inner];
		sum += loss[i];
	}
	if (p->none)
		PAI_TRY(pai_call_output(c, 0, dtype, p->labels->rank, p->labels->dims));
	else
		PAI_TRY(pai_call_output(c, 0, dtype, 0, NULL));
	if (!p->none)
		loss[0] = p->mean ? sum / p->counted : sum;
	pai_lane_store(PAI_LANE_F64, loss, dtype, c->out[0]->data, 0, p->none ? places : 1);
	return PAI_OK;
}

static pai_status softmax_cross_entropy_loss(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	problem p;
	PAI_TRY(problem_init(c, 0, &p));
	int64_t n = pai_tensor_nelem(x);
	double *lp = pai_call_scratch(c, sizeof(double) * (size_t)(n + 1));
	if (!lp)
		return pai_call_nomem(c);
	pai_lane_load(PAI_LANE_F64, lp, x->dtype, x->data, 0, n);
	log_softmax(&p, lp, lp);
	if (c->n_out > 1 && c->out[1]) {
		PAI_TRY(pai_call_output(c, 1, x->dtype, x->rank, x->dims));
		pai_lane_store(PAI_LANE_F64, lp, x->dtype, c->out[1]->data, 0, n);
	}
	return c->out[0] ? write_loss(c, &p, lp, x->dtype) : PAI_OK;
}
const pai_kernel pai_kernel_softmax_cross_entropy_loss = {.run = softmax_cross_entropy_loss};

/* What both gradients have in common: they differ in what a place with target t adds to dx. */
static pai_status loss_grad(pai_call *c, bool softmax)
{
	const pai_tensor *dloss = c->in[0], *x = c->in[1];
	problem p;
	PAI_TRY(problem_init(c, 1, &p));
	int64_t n = pai_tensor_nelem(x), places = p.outer * p.inner;
	if (pai_tensor_nelem(dloss) != (p.none ? places : 1))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"has another size than the loss");
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	double *dx = pai_call_scratch(c, sizeof(double) * (size_t)(n + 1));
	if (!dx)
		return pai_call_nomem(c);
	if (softmax) {
		pai_lane_load(PAI_LANE_F64, dx, x->dtype, x->data, 0, n);
		log_softmax(&p, dx, dx);
	}
	for (int64_t i = 0; i < places; i++) {
		int64_t t = target(&p, i), at = i / p.inner * p.classes * p.inner + i % p.inner;
		double g = pai_tensor_get(dloss, p.none ? i : 0) / (p.mean ? p.counted : 1);
		double by = t < 0 ? 0 : g * weight_of(&p, t);
		for (int64_t j = 0; j < p.classes; j++) {
			double *d = &dx[at + j * p.inner], share = softmax ? exp(*d) : 0;
			*d = t >= 0 && (softmax || j == t) ? by * (share - (j == t)) : 0;
		}
	}
	pai_lane_store(PAI_LANE_F64, dx, x->dtype, c->out[0]->data, 0, n);
	return PAI_OK;
}

/* SoftmaxCrossEntropyGrad(dloss, x, labels, weights):
 *     dx[j] = g w[t] (softmax(x)[j] - [j = t]),  g = dloss, or dloss / sum(w[t]) for the mean. */
static pai_status softmax_cross_entropy_grad(pai_call *c)
{
	return loss_grad(c, true);
}
const pai_kernel pai_kernel_softmax_cross_entropy_grad = {.run = softmax_cross_entropy_grad};

pai_status pai_grad_softmax_cross_entropy_loss(pai_grad *g, const pai_node *n, pai_value *const *dy,
					       pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	pai_value *in[4] = {dy[0], n->in[0], n->in[1], pai_node_in(n, 2)};
	if (dy[0])
		dx[0] = pai_grad_internal(g, "SoftmaxCrossEntropyGrad", in[3] ? 4 : 3, in, n);
	if (n->n_out > 1 && dy[1]) { /* log_prob is a LogSoftmax of its own */
		pai_value *part = pai_grad_internal(g, "LogSoftmaxGrad", 2,
						    (pai_value *[]){dy[1], n->out[1]}, NULL);
		pai_patch_set_int(p, part->producer, "axis", 1);
		dx[0] = dx[0] ? PAI_OP2(p, "Add", "grad", dx[0], part) : part;
	}
	if (in[3] && pai_grad_wanted(g, n, 2))
		return pai_fail(n->graph->model->ctx, PAI_E_no_gradient, pai_at_input(n, 2),
				"the weights of the classes cannot be learned");
	return PAI_OK;
}

/* The same loss of logarithms of probabilities that are given. */
static pai_status negative_log_likelihood_loss(pai_call *c)
{
	problem p;
	PAI_TRY(problem_init(c, 0, &p));
	const double *lp = pai_lane_view(c, PAI_LANE_F64, c->in[0]);
	return lp ? write_loss(c, &p, lp, c->in[0]->dtype) : pai_call_nomem(c);
}
const pai_kernel pai_kernel_negative_log_likelihood_loss = {.run = negative_log_likelihood_loss};

/* NegativeLogLikelihoodGrad(dloss, x, labels, weights): dx[t] = -g w[t], else 0. */
static pai_status negative_log_likelihood_grad(pai_call *c)
{
	return loss_grad(c, false);
}
const pai_kernel pai_kernel_negative_log_likelihood_grad = {.run = negative_log_likelihood_grad};

pai_status pai_grad_negative_log_likelihood_loss(pai_grad *g, const pai_node *n,
						 pai_value *const *dy, pai_value **dx)
{
	pai_value *in[4] = {dy[0], n->in[0], n->in[1], pai_node_in(n, 2)};
	dx[0] = pai_grad_internal(g, "NegativeLogLikelihoodGrad", in[3] ? 4 : 3, in, n);
	if (in[3] && pai_grad_wanted(g, n, 2))
		return pai_fail(n->graph->model->ctx, PAI_E_no_gradient, pai_at_input(n, 2),
				"the weights of the classes cannot be learned");
	return PAI_OK;
}

pai_status pai_shape_softmax_cross_entropy_grad(pai_shape_ctx *s)
{
	pai_shape_copy(s, 0, 1);
	return PAI_OK;
}
