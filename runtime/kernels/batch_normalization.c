/* batch_normalization.c -- BatchNormalization of all opsets, and its gradient. The arithmetic is
 * double throughout.
 *
 *     y = (x - m) / sqrt(v + epsilon) * scale + bias
 *
 * m and v are inputs, or in training mode the mean and the population variance of the batch; then
 * the running statistics become old * momentum + batch * (1 - momentum). Opset 14 states the mode;
 * opset 7 and 9 train where outputs beside Y are asked for; before that `is_test` tells. Without
 * `spatial` (opset < 9) every element of a sample has statistics of its own. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/lanes.h"
#include <math.h>
#include <string.h>

enum { STATES_MODE = 14, SAVED_MEAN = 3, OLD_OUTPUTS = 5 };

typedef struct batch { /* x is [n, channels, inner] */
	int64_t n, channels, inner;
	double epsilon;
} batch;

static batch batch_of(const pai_call *c, const pai_tensor *x)
{
	bool spatial = pai_node_int(c->node, "spatial", 1) != 0;
	batch b = {1, 1, 1, (double)pai_node_float(c->node, "epsilon", 1e-5f)};
	for (int d = 0; d < x->rank; d++)
		*(d == 0 ? &b.n : d == 1 || !spatial ? &b.channels : &b.inner) *= x->dims[d];
	return b;
}

/* Calls part(row of x as double, elements, channel, payload) for all of x, in order. */
typedef void (*part_fn)(void *payload, const double *x, int64_t first, int64_t n, int64_t channel);

static void each_part(const batch *b, const pai_tensor *x, part_fn part, void *payload)
{
	double v[PAI_CHUNK];
	int64_t at = 0;
	for (int64_t row = 0; row < b->n * b->channels; row++)
		for (int64_t i = 0; i < b->inner; i += PAI_CHUNK) {
			int64_t m = b->inner - i < PAI_CHUNK ? b->inner - i : PAI_CHUNK;
			pai_lane_load(PAI_LANE_F64, v, x->dtype, x->data, at, m);
			part(payload, v, at, m, row % b->channels);
			at += m;
		}
}

typedef struct statistics { /* [channels] each */
	double *mean, *var, *scale, *bias;
	double *sum_dy, *sum_dy_x; /* of a gradient: sum(dy), sum(dy (x - mean)) */
	const pai_tensor *dy;
	pai_tensor *out;
	double count, epsilon;
	bool training;
} statistics;

static void add_mean(void *payload, const double *x, int64_t first, int64_t n, int64_t channel)
{
	statistics *s = payload;
	double sum = 0;
	(void)first;
	for (int64_t i = 0; i < n; i++)
		sum += x[i];
	s->mean[channel] += sum / s->count;
}

static void add_variance(void *payload, const double *x, int64_t first, int64_t n, int64_t channel)
{
	statistics *s = payload;
	double sum = 0, mean = s->mean[channel];
	(void)first;
	for (int64_t i = 0; i < n; i++)
		sum += (x[i] - mean) * (x[i] - mean);
	s->var[channel] += sum / s->count;
}

static void normalise(void *payload, const double *x, int64_t first, int64_t n, int64_t channel)
{
	statistics *s = payload;
	double y[PAI_CHUNK], mean = s->mean[channel], bias = s->bias[channel];
	double by = s->scale[channel] / sqrt(s->var[channel] + s->epsilon);
	for (int64_t i = 0; i < n; i++)
		y[i] = (x[i] - mean) * by + bias;
	pai_lane_store(PAI_LANE_F64, y, s->out->dtype, s->out->data, first, n);
}

/* Input k as [channels] doubles; NULL reported. */
static pai_status vector(pai_call *c, int k, int64_t channels, double **out)
{
	const pai_tensor *t = k < c->n_in ? c->in[k] : NULL;
	if (!t || pai_tensor_nelem(t) != channels || pai_lane_of(t->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, k),
				"needs %lld numbers, one for each channel", (long long)channels);
	*out = pai_call_scratch(c, sizeof(double) * (size_t)(channels + 1));
	if (!*out)
		return pai_call_nomem(c);
	pai_lane_load(PAI_LANE_F64, *out, t->dtype, t->data, 0, channels);
	return PAI_OK;
}

static pai_status zeros(pai_call *c, int64_t n, double **out)
{
	*out = pai_call_scratch(c, sizeof(double) * (size_t)(n + 1));
	if (!*out)
		return pai_call_nomem(c);
	memset(*out, 0, sizeof(double) * (size_t)n);
	return PAI_OK;
}

static pai_status batch_statistics(pai_call *c, const batch *b, const pai_tensor *x, statistics *s)
{
	PAI_TRY(zeros(c, b->channels, &s->mean));
	PAI_TRY(zeros(c, b->channels, &s->var));
	s->count = (double)(b->n * b->inner);
	each_part(b, x, add_mean, s);
	each_part(b, x, add_variance, s);
	return PAI_OK;
}

/* Running statistics to outputs 1 and 2; before opset 14 those of the batch to outputs 3 and 4. */
static pai_status write_statistics(pai_call *c, const batch *b, const statistics *s)
{
	double momentum = (double)pai_node_float(c->node, "momentum", 0.9f);
	for (int o = 1; o < c->n_out && o < OLD_OUTPUTS; o++) {
		const pai_tensor *old = c->in[2 + (o - 1) % 2 + 1];
		if (!c->out[o])
			continue;
		PAI_TRY(pai_call_output(c, o, old->dtype, old->rank, old->dims));
		for (int64_t k = 0; k < b->channels; k++) {
			double now = o % 2 ? s->mean[k] : s->var[k], before;
			pai_lane_load(PAI_LANE_F64, &before, old->dtype, old->data, k, 1);
			if (o < SAVED_MEAN)
				now = before * momentum + now * (1 - momentum);
			pai_lane_store(PAI_LANE_F64, &now, c->out[o]->dtype, c->out[o]->data, k, 1);
		}
	}
	return PAI_OK;
}

static pai_status batch_normalization(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	const batch b = batch_of(c, x);
	statistics s = {.epsilon = b.epsilon};
	if (pai_lane_of(x->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"has no numbers");
	PAI_TRY(vector(c, 1, b.channels, &s.scale));
	PAI_TRY(vector(c, 2, b.channels, &s.bias));
	PAI_TRY(vector(c, 3, b.channels, &s.mean));
	PAI_TRY(vector(c, 4, b.channels, &s.var));
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
	if (pai_normalization_trains(c->node)) {
		PAI_TRY(batch_statistics(c, &b, x, &s));
		PAI_TRY(write_statistics(c, &b, &s));
	}
	s.out = c->out[0];
	if (s.out)
		each_part(&b, x, normalise, &s);
	return PAI_OK;
}
const pai_kernel pai_kernel_batch_normalization = {.run = batch_normalization};

/* With r = 1 / sqrt(v + epsilon), u = (x - m) r and means over the batch:
 *     dbias = sum(dy)      dscale = sum(dy u)
 *     dx = scale r dy                                       with given statistics
 *     dx = scale r (dy - mean(dy) - u mean(dy u))           with those of the batch
 * (S. Ioffe, C. Szegedy, "Batch normalization", 2015, section 3). */
static void add_products(void *payload, const double *x, int64_t first, int64_t n, int64_t channel)
{
	statistics *s = payload;
	double dy[PAI_CHUNK], sum = 0, product = 0, mean = s->mean[channel];
	pai_lane_load(PAI_LANE_F64, dy, s->dy->dtype, s->dy->data, first, n);
	for (int64_t i = 0; i < n; i++) {
		sum += dy[i];
		product += dy[i] * (x[i] - mean);
	}
	s->sum_dy[channel] += sum;
	s->sum_dy_x[channel] += product;
}

static void denormalise(void *payload, const double *x, int64_t first, int64_t n, int64_t channel)
{
	statistics *s = payload;
	double dy[PAI_CHUNK], mean = s->mean[channel];
	double r = 1 / sqrt(s->var[channel] + s->epsilon), by = s->scale[channel] * r;
	double mean_dy = s->training ? s->sum_dy[channel] / s->count : 0;
	double slope = s->training ? s->sum_dy_x[channel] / s->count * r * r : 0;
	pai_lane_load(PAI_LANE_F64, dy, s->dy->dtype, s->dy->data, first, n);
	for (int64_t i = 0; i < n; i++)
		dy[i] = by * (dy[i] - mean_dy - (x[i] - mean) * slope);
	pai_lane_store(PAI_LANE_F64, dy, s->out->dtype, s->out->data, first, n);
}

static pai_status write_sums(pai_call *c, int o, const pai_tensor *like, int64_t n, const double *v)
{
	if (o >= c->n_out || !c->out[o])
		return PAI_OK;
	PAI_TRY(pai_call_output(c, o, like->dtype, like->rank, like->dims));
	pai_lane_store(PAI_LANE_F64, v, c->out[o]->dtype, c->out[o]->data, 0, n);
	return PAI_OK;
}

/* BatchNormGrad(dY, X, scale, mean, var) -> dX, dscale, dbias. */
static pai_status batch_norm_grad(pai_call *c)
{
	const pai_tensor *dy = c->in[0], *x = c->in[1];
	const batch b = batch_of(c, x);
	statistics s = {.epsilon = b.epsilon, .dy = dy, .out = c->out[0]};
	s.training = pai_node_int(c->node, "training_mode", 0) != 0;
	if (pai_tensor_nelem(dy) != pai_tensor_nelem(x))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"has another size than the input");
	PAI_TRY(vector(c, 2, b.channels, &s.scale));
	if (s.training)
		PAI_TRY(batch_statistics(c, &b, x, &s));
	else {
		PAI_TRY(vector(c, 3, b.channels, &s.mean));
		PAI_TRY(vector(c, 4, b.channels, &s.var));
	}
	PAI_TRY(zeros(c, b.channels, &s.sum_dy));
	PAI_TRY(zeros(c, b.channels, &s.sum_dy_x));
	each_part(&b, x, add_products, &s);
	if (c->out[0]) {
		PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, x->dims));
		each_part(&b, x, denormalise, &s);
	}
	for (int64_t k = 0; k < b.channels; k++)
		s.sum_dy_x[k] /= sqrt(s.var[k] + s.epsilon);
	PAI_TRY(write_sums(c, 1, c->in[2], b.channels, s.sum_dy_x));
	return write_sums(c, 2, c->in[2], b.channels, s.sum_dy);
}
const pai_kernel pai_kernel_batch_norm_grad = {.run = batch_norm_grad};

pai_status pai_shape_batch_norm_grad(pai_shape_ctx *s)
{
	pai_shape_copy(s, 0, 1);
	for (int o = 1; o < s->n_out; o++)
		pai_shape_copy(s, o, 2);
	return PAI_OK;
}

/* With given statistics: dm = -dbias scale r, dv = -dscale scale r^2 / 2, r^2 = 1 / (v + epsilon).
 */
static void to_statistics(pai_grad *g, const pai_node *n, pai_value *dscale, pai_value *dbias,
			  pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	pai_value *scale = n->in[1], *v = n->in[4];
	pai_dtype dtype = v->type.dtype;
	double e = (double)pai_node_float(n, "epsilon", 1e-5f);
	pai_value *shifted = PAI_OP2(p, "Add", "v", v, pai_grad_scalar(g, n, dtype, e));
	pai_value *root = PAI_OP1(p, "Sqrt", "root", shifted);
	if (pai_grad_wanted(g, n, 3))
		dx[3] = PAI_OP1(
			p, "Neg", "grad",
			PAI_OP2(p, "Div", "grad", PAI_OP2(p, "Mul", "grad", dbias, scale), root));
	if (pai_grad_wanted(g, n, 4))
		dx[4] = PAI_OP2(p, "Mul", "grad",
				PAI_OP2(p, "Div", "grad", PAI_OP2(p, "Mul", "grad", dscale, scale),
					shifted),
				pai_grad_scalar(g, n, dtype, -0.5));
}

pai_status pai_grad_batch_normalization(pai_grad *g, const pai_node *n, pai_value *const *dy,
					pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	PAI_TRY(pai_grad_first_only(n, dy));
	pai_value *in[5] = {dy[0], n->in[0], n->in[1], n->in[3], n->in[4]};
	pai_node *made = pai_patch_node(p, PAI_DOMAIN_INTERNAL, "BatchNormGrad", "grad", 5, in, 3);
	pai_patch_set_float(p, made, "epsilon", pai_node_float(n, "epsilon", 1e-5f));
	pai_patch_set_int(p, made, "spatial", pai_node_int(n, "spatial", 1));
	pai_patch_set_int(p, made, "training_mode", pai_normalization_trains(n));
	for (int k = 0; k < 3; k++)
		dx[k] = made->out[k];
	if (!pai_normalization_trains(n) && (pai_grad_wanted(g, n, 3) || pai_grad_wanted(g, n, 4)))
		to_statistics(g, n, made->out[1], made->out[2], dx);
	return PAI_OK;
}
