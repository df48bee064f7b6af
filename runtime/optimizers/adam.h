/* adam.h -- the step that Adam and AdamW share. */
#ifndef PAI_ADAM_H
#define PAI_ADAM_H

#include "runtime/runtime.h"

/* m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2  with g = dL/dp + l2 * p,
 * p = shrink * p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps). */
pai_factors pai_adam_prepare(const pai_hyper *h, double l2, double shrink);
bool pai_adam_step(const pai_factors *f, size_t n, float scale, const float *g, float *p,
		   float *const *state);

enum { PAI_ADAM_BETA1, PAI_ADAM_BETA2, PAI_ADAM_EPS, PAI_ADAM_DECAY }; /* options after lr */

#define PAI_ADAM_OPTIONS(decay, decay_help)                            \
	{                                                              \
		{.name = "lr",                                         \
		 .type = PAI_OPT_FLOAT,                                \
		 .def = "0.001",                                       \
		 .max = 1e38,                                          \
		 .help = "learning rate"},                             \
			{.name = "beta1",                              \
			 .type = PAI_OPT_FLOAT,                        \
			 .def = "0.9",                                 \
			 .max = 1 - 1e-9, /* at 1 nothing is learnt */ \
			 .help = "memory of the mean"},                \
			{.name = "beta2",                              \
			 .type = PAI_OPT_FLOAT,                        \
			 .def = "0.999",                               \
			 .max = 1 - 1e-9,                              \
			 .help = "memory of the variance"},            \
			{.name = "eps",                                \
			 .type = PAI_OPT_FLOAT,                        \
			 .def = "1e-8",                                \
			 .max = 1,                                     \
			 .help = "added to the root of the variance"}, \
			{.name = "weight_decay",                       \
			 .type = PAI_OPT_FLOAT,                        \
			 .def = decay,                                 \
			 .max = 1e38,                                  \
			 .help = decay_help},                          \
			{0},                                           \
	}

#endif
