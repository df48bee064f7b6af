/* step.c -- drops by gamma every so many epochs:  f = gamma ^ floor(epoch / every) */
#include "runtime/runtime.h"
#include <math.h>

enum { EVERY, GAMMA };

static const pai_option options[] = {
	PAI_WARMUP,
	{.name = "every",
	 .type = PAI_OPT_INT,
	 .def = "10",
	 .min = 1,
	 .max = 1e9,
	 .help = "epochs between drops"},
	{.name = "gamma", .type = PAI_OPT_FLOAT, .def = "0.1", .max = 1, .help = "what is left"},
	{.name = NULL},
};

static double factor(const double *settings, const pai_moment *at)
{
	return pow(settings[GAMMA], floor((double)at->epoch / settings[EVERY]));
}

const pai_schedule pai_schedule_step = {
	.name = "step",
	.summary = "drops by a factor every so many epochs",
	.options = options,
	.factor = factor,
};
