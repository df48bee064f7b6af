/* sgd.c -- gradient descent with momentum.
 *
 *     g = dL/dp + weight_decay * p
 *     b = g in the first step, then momentum * b + (1 - dampening) * g
 *     p = p - lr * b;  nesterov: p = p - lr * (g + momentum * b)
 */
#include "runtime/runtime.h"
#include "runtime/simd.h"

enum { MOMENTUM, NESTEROV, DAMPENING, WEIGHT_DECAY }; /* order of the options after lr */

PAI_CLONES static void plain(size_t n, float *restrict p, const float *restrict g, float lr,
			     float decay)
{
	for (size_t i = 0; i < n; i++)
		p[i] -= lr * (g[i] + decay * p[i]);
}

typedef struct factors {
	float lr, decay;
	float keep, add;              /* b = keep * b + add * g */
	float of_gradient, of_buffer; /* the step: of_gradient * g + of_buffer * b */
} factors;

PAI_CLONES static void with_momentum(size_t n, float *restrict p, const float *restrict g,
				     float *restrict b, factors f)
{
	for (size_t i = 0; i < n; i++) {
		float d = g[i] + f.decay * p[i];
		float now = f.keep * b[i] + f.add * d;
		b[i] = now;
		p[i] -= f.lr * (f.of_gradient * d + f.of_buffer * now);
	}
}

static void update(const pai_hyper *h, size_t n, float *p, const float *g, float *const *state)
{
	const double *s = h->settings;
	if (s[MOMENTUM] == 0) {
		plain(n, p, g, (float)h->lr, (float)s[WEIGHT_DECAY]);
		return;
	}
	bool first = h->t == 1, nesterov = s[NESTEROV] != 0;
	factors f = {
		.lr = (float)h->lr,
		.decay = (float)s[WEIGHT_DECAY],
		.keep = first ? 0 : (float)s[MOMENTUM],
		.add = first ? 1 : (float)(1 - s[DAMPENING]),
		.of_gradient = nesterov ? 1 : 0,
		.of_buffer = nesterov ? (float)s[MOMENTUM] : 1,
	};
	with_momentum(n, p, g, state[0], f);
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
	.update = update,
};
