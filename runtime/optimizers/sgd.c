/* sgd.c -- gradient descent with momentum.
 *
 *     g = dL/dp + weight_decay * p
 *     b = g in the first step, then momentum * b + (1 - dampening) * g
 *     p = p - lr * b;  nesterov: p = p - lr * (g + momentum * b)
 */
#include "runtime/runtime.h"
#include "runtime/simd.h"

enum { MOMENTUM, NESTEROV, DAMPENING, WEIGHT_DECAY }; /* order of the options after lr */

enum {
	LR,
	DECAY,
	KEEP, /* b = KEEP * b + ADD * g */
	ADD,
	OF_GRADIENT, /* the step: OF_GRADIENT * g + OF_BUFFER * b */
	OF_BUFFER,
	PLAIN, /* not 0: there is no b */
};

PAI_CLONES static bool plain(size_t n, float scale, const float *restrict g, float *restrict p,
			     pai_factors f)
{
	uint32_t most = 0;
	for (size_t i = 0; i < n; i++) {
		float to = p[i] - f.at[LR] * (scale * g[i] + f.at[DECAY] * p[i]);
		p[i] = to;
		most = pai_larger(most, pai_magnitude(to));
	}
	return most < PAI_INFINITE;
}

/* No weight decay, no dampening, no looking ahead: what is left of the general loop below. */
PAI_CLONES static bool heavy_ball(size_t n, float scale, const float *restrict g, float *restrict p,
				  float *restrict b, pai_factors f)
{
	uint32_t most = 0;
	for (size_t i = 0; i < n; i++) {
		float now = f.at[KEEP] * b[i] + scale * g[i], to = p[i] - f.at[LR] * now;
		b[i] = now;
		p[i] = to;
		most = pai_larger(most, pai_magnitude(to));
	}
	return most < PAI_INFINITE;
}

PAI_CLONES static bool with_momentum(size_t n, float scale, const float *restrict g,
				     float *restrict p, float *restrict b, pai_factors f)
{
	uint32_t most = 0;
	for (size_t i = 0; i < n; i++) {
		float d = scale * g[i] + f.at[DECAY] * p[i];
		float now = f.at[KEEP] * b[i] + f.at[ADD] * d;
		float to = p[i] - f.at[LR] * (f.at[OF_GRADIENT] * d + f.at[OF_BUFFER] * now);
		b[i] = now;
		p[i] = to;
		most = pai_larger(most, pai_magnitude(to));
	}
	return most < PAI_INFINITE;
}

static pai_factors prepare(const pai_hyper *h)
{
	const double *s = h->settings;
	bool first = h->t == 1, nesterov = s[NESTEROV] != 0;
	return (pai_factors){{
		[LR] = (float)h->lr,
		[DECAY] = (float)s[WEIGHT_DECAY],
		[KEEP] = first ? 0 : (float)s[MOMENTUM],
		[ADD] = first ? 1 : (float)(1 - s[DAMPENING]),
		[OF_GRADIENT] = nesterov ? 1 : 0,
		[OF_BUFFER] = nesterov ? (float)s[MOMENTUM] : 1,
		[PLAIN] = s[MOMENTUM] == 0 ? 1 : 0,
	}};
}

static bool update(const pai_factors *f, size_t n, float scale, const float *g, float *p,
		   float *const *state)
{
	if (f->at[PLAIN] != 0)
		return plain(n, scale, g, p, *f);
	if (f->at[DECAY] == 0 && f->at[ADD] == 1 && f->at[OF_GRADIENT] == 0)
		return heavy_ball(n, scale, g, p, state[0], *f);
	return with_momentum(n, scale, g, p, state[0], *f);
}

static const pai_option options[] = {
	{.name = "lr", .type = PAI_OPT_FLOAT, .def = "0.01", .max = 1e38, .help = "learning rate"},
	{.name = "momentum", .type = PAI_OPT_FLOAT, .def = "0", .max = 1, .help = "of the buffer"},
	{.name = "nesterov", .type = PAI_OPT_BOOL, .def = "false", .help = "look ahead"},
	{.name = "dampening",
	 .type = PAI_OPT_FLOAT,
	 .def = "0",
	 .max = 1,
	 .help = "weakens what enters the buffer"},
	{.name = "weight_decay",
	 .type = PAI_OPT_FLOAT,
	 .def = "0",
	 .max = 1e6,
	 .help = "added to the gradient, times the weight"},
	{0},
};

const pai_optimizer pai_optimizer_sgd = {
	.name = "sgd",
	.summary = "gradient descent, with momentum when it is set",
	.options = options,
	.n_states = 1,
	.prepare = prepare,
	.update = update,
};
