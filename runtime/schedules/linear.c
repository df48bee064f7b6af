/* linear.c -- a straight line from 1 to end:  f = 1 + (end - 1) t / T */
#include "runtime/runtime.h"

enum { END };

static const pai_option options[] = {
	PAI_WARMUP,
	{.name = "end", .type = PAI_OPT_FLOAT, .def = "0", .max = 1, .help = "factor at the end"},
	{.name = NULL},
};

static double factor(const double *settings, const pai_moment *at)
{
	return 1 + (settings[END] - 1) * (double)at->step / (double)at->steps;
}

const pai_schedule pai_schedule_linear = {
	.name = "linear",
	.summary = "a straight line from the learning rate down to its end",
	.options = options,
	.factor = factor,
};
